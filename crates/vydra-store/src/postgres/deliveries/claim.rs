//! Which deliveries are taken to be sent, and the taking of them.
//!
//! Several nodes take from the same receivers. Those who take from an organization hold its lock until they have committed,
//! so that each counts what the others have taken; who finds it locked leaves that organization to the other one.

use super::{COLUMNS, delivery, give_up};
use crate::Result;
use crate::postgres::db::Db;
use crate::postgres::rows::{Columns, collect};
use crate::store::{ClaimedDeliveries, ClaimedDelivery, DeliveryClaim, Lane};
use std::collections::{BTreeSet, HashMap, HashSet};

/// How many receivers are looked at for one claim, and for one question to the database.
const LANES_AT_ONCE: usize = 1_000;
const LANES_IN_A_PAGE: i64 = 64;
/// Behind every receiver.
const END: &str = "\u{10FFFF}";
/// Sets the locks of organizations whose deliveries are taken apart from all others: any number that nobody else uses.
const LOCKS: i64 = 0x7679_6472_6120_0002;

/// What could be claimed now, with its receiver.
pub(in crate::postgres) struct Found {
    pub(in crate::postgres) due: Vec<(i64, Lane)>,
    /// The receiver that was looked at last.
    pub(in crate::postgres) last: Option<Lane>,
}

/// The places that are left with each receiver and its organization.
struct Places<'a> {
    claim: &'a DeliveryClaim,
    of_lane: HashMap<Lane, usize>,
    of_organization: HashMap<String, usize>,
}

impl<'a> Places<'a> {
    /// Counts what all nodes have under way, but for what is taken for lost. Of its own a node may know more.
    async fn count(db: &Db, claim: &'a DeliveryClaim) -> Result<Self> {
        let rows = db
            .all(
                "SELECT lane, count(*) FROM deliveries WHERE sending AND next_at > $1 GROUP BY lane",
                &[&claim.now.as_micros()],
            )
            .await?;
        let mut of_lane = claim.held.clone();
        let counted = collect(&rows, |row| Ok((Lane(row.take()?), row.number::<usize>()?)))?;
        for (lane, count) in counted {
            let held = of_lane.entry(lane).or_default();
            *held = count.max(*held);
        }
        let mut of_organization: HashMap<String, usize> = HashMap::new();
        for (lane, count) in &of_lane {
            *of_organization
                .entry(lane.organization().to_owned())
                .or_default() += count;
        }
        Ok(Self {
            claim,
            of_lane,
            of_organization,
        })
    }

    fn left_with_organization(&self, organization: &str) -> usize {
        let taken = self.of_organization.get(organization).copied();
        let share = self.claim.share_of_organization;
        share.saturating_sub(taken.unwrap_or(0))
    }

    fn left(&self, lane: &Lane) -> usize {
        let taken = self.of_lane.get(lane).copied().unwrap_or(0);
        let left = self.left_with_organization(lane.organization());
        self.claim.share.saturating_sub(taken).min(left)
    }

    fn take(&mut self, lane: &Lane, count: usize) {
        *self.of_lane.entry(lane.clone()).or_default() += count;
        *self
            .of_organization
            .entry(lane.organization().to_owned())
            .or_default() += count;
    }
}

/// Of each receiver the earliest, as many as it and its organization have places for, beginning behind the one that was
/// looked at last. Others may take them meanwhile, and places too: see [`claim`].
pub(in crate::postgres) async fn find(db: &Db, claim: &DeliveryClaim) -> Result<Found> {
    let mut places = Places::count(db, claim).await?;
    let mut found = Found {
        due: Vec::new(),
        last: None,
    };
    let (mut looked_at, start) = (0, claim.after.as_ref().map_or("", |lane| lane.0.as_str()));
    // Behind the last one to the end, and then from the beginning up to it.
    for (from, to) in [(start, END), ("", start)] {
        let mut at = from.to_owned();
        while found.due.len() < claim.limit && looked_at < LANES_AT_ONCE {
            let page = waiting(db, claim, &at, to).await?;
            let Some((end, _)) = page.last() else { break };
            let end = end.0.clone();
            for (lane, due) in page {
                if found.due.len() >= claim.limit || looked_at >= LANES_AT_ONCE {
                    break;
                }
                if lane.0 <= at {
                    continue;
                }
                looked_at += 1;
                at = if places.left_with_organization(lane.organization()) == 0 {
                    // Behind all lanes of the organization: 0 follows the slash.
                    format!("{}0", lane.organization())
                } else {
                    lane.0.clone()
                };
                if !claim.closed.contains(&lane) {
                    let free = places.left(&lane).min(claim.limit - found.due.len());
                    let taken = due.len().min(free);
                    places.take(&lane, taken);
                    let due = due.into_iter().take(taken);
                    found.due.extend(due.map(|seq| (seq, lane.clone())));
                }
                found.last = Some(lane);
            }
            at = at.max(end);
        }
    }
    Ok(found)
}

/// Some receivers behind `from` for which something waits, in their order, and the earliest that is due of each.
async fn waiting(
    db: &Db,
    claim: &DeliveryClaim,
    from: &str,
    to: &str,
) -> Result<Vec<(Lane, Vec<i64>)>> {
    let most = claim
        .limit
        .min(claim.share)
        .min(claim.share_of_organization);
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = db
        .all(
            "WITH RECURSIVE lanes (lane, place) AS (
                 SELECT (SELECT min(d.lane) FROM deliveries d WHERE d.status = 'pending' AND d.lane > $1 AND d.lane <= $2), 1
                 UNION ALL
                 SELECT (SELECT min(d.lane) FROM deliveries d WHERE d.status = 'pending' AND d.lane > l.lane AND d.lane <= $2), l.place + 1
                 FROM lanes l WHERE l.lane IS NOT NULL AND l.place < $3::bigint)
             SELECT l.lane, ARRAY(SELECT d.seq FROM deliveries d WHERE d.status = 'pending' AND d.lane = l.lane AND d.next_at <= $4
                                  ORDER BY d.next_at LIMIT $5)
             FROM lanes l WHERE l.lane IS NOT NULL ORDER BY l.place",
            &[&from, &to, &LANES_IN_A_PAGE, &claim.now.as_micros(), &most],
        )
        .await?;
    collect(&rows, |row| Ok((Lane(row.take()?), row.take()?)))
}

/// Takes what was found, as far as it is still due and there are places now.
pub(in crate::postgres) async fn claim(
    db: &Db,
    found: &Found,
    claim: &DeliveryClaim,
) -> Result<ClaimedDeliveries> {
    let mut claimed = ClaimedDeliveries {
        last: found.last.clone(),
        ..ClaimedDeliveries::default()
    };
    let ours = lock(db, found).await?;
    // Only now: whoever had the locks before has committed what it took.
    let mut places = Places::count(db, claim).await?;
    let mut wanted: Vec<i64> = Vec::new();
    for (seq, lane) in &found.due {
        if ours.contains(lane.organization()) && places.left(lane) > 0 {
            places.take(lane, 1);
            wanted.push(*seq);
        }
    }
    if wanted.is_empty() {
        return Ok(claimed);
    }
    let lanes: HashMap<i64, &Lane> = found.due.iter().map(|(seq, lane)| (*seq, lane)).collect();
    let mut taken = take(db, &wanted, &lanes, claim).await?;
    let missing: Vec<i64> = wanted
        .iter()
        .copied()
        .filter(|seq| !taken.contains_key(seq))
        .collect();
    // In the order in which they were found.
    let in_order = wanted.iter().filter_map(|seq| taken.remove(seq));
    claimed.deliveries = in_order.collect();
    if !missing.is_empty() {
        for lane in switched_off(db, &missing).await? {
            claimed.given_up += give_up(db, &lane, claim.now).await?;
        }
    }
    Ok(claimed)
}

/// Locks the organizations until the commit, but for those from which another node takes at this moment: two that waited
/// for each other would never end.
async fn lock(db: &Db, found: &Found) -> Result<HashSet<String>> {
    let organizations: BTreeSet<&str> = found
        .due
        .iter()
        .map(|(_, lane)| lane.organization())
        .collect();
    let organizations: Vec<&str> = organizations.into_iter().collect();
    let rows = db
        .all(
            "SELECT org FROM unnest($1::text[]) AS org WHERE pg_try_advisory_xact_lock(hashtextextended(org, $2))",
            &[&organizations, &LOCKS],
        )
        .await?;
    rows.iter().map(|row| Columns::of(row).take()).collect()
}

async fn take(
    db: &Db,
    wanted: &Vec<i64>,
    lanes: &HashMap<i64, &Lane>,
    claim: &DeliveryClaim,
) -> Result<HashMap<i64, ClaimedDelivery>> {
    let rows = db
        .all(
            &format!(
                "UPDATE deliveries SET attempts = attempts + 1, sending = true, again = false, next_at = $3,
                     url = coalesce((SELECT e.url FROM webhook_endpoints e WHERE e.id = endpoint_id), url)
                 WHERE seq = ANY (ARRAY(
                     SELECT d.seq FROM deliveries d
                     WHERE d.seq = ANY ($1::bigint[]) AND d.status = 'pending' AND d.next_at <= $2 AND (d.endpoint_id IS NULL OR EXISTS (
                         SELECT 1 FROM webhook_endpoints e WHERE e.id = d.endpoint_id AND e.disabled IS NULL AND e.deleted_at IS NULL))
                     FOR UPDATE OF d SKIP LOCKED))
                 RETURNING {COLUMNS}, failed, data, seq"
            ),
            &[wanted, &claim.now.as_micros(), &claim.until.as_micros()],
        )
        .await?;
    let taken = collect(&rows, |row| {
        let (delivery, failed, data) = (delivery(row)?, row.number()?, row.take()?);
        let seq: i64 = row.take()?;
        Ok(lanes.get(&seq).map(|lane| {
            let lane = Lane::clone(lane);
            let claimed = ClaimedDelivery {
                delivery,
                lane,
                failed,
                data,
            };
            (seq, claimed)
        }))
    })?;
    Ok(taken.into_iter().flatten().collect())
}

/// The receivers of these that are told no more.
async fn switched_off(db: &Db, deliveries: &Vec<i64>) -> Result<Vec<Lane>> {
    let rows = db
        .all(
            "SELECT DISTINCT d.lane FROM deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
             WHERE d.seq = ANY ($1::bigint[]) AND (e.disabled IS NOT NULL OR e.deleted_at IS NOT NULL) ORDER BY d.lane",
            &[deliveries],
        )
        .await?;
    collect(&rows, |row| Ok(Lane(row.take()?)))
}
