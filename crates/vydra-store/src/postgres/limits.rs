use super::db::Db;
use super::rows::collect;
use crate::store::{KeyUse, Usage};
use crate::{Result, StoreError};
use vydra_core::ids::OrgId;
use vydra_core::time::Timestamp;
use vydra_core::window::{pack, unpack};

/// How many rows one call forgets at least, if so many are too old.
const FORGETS: usize = 1_000;

pub(super) async fn record(db: &Db, usage: &Usage) -> Result<()> {
    remember(db, &usage.admissions).await?;
    count(db, &usage.keys).await?;
    // Always more than were added, so that the table cannot grow for ever.
    let most = usage.admissions.len().saturating_mul(2).max(FORGETS);
    // Whatever another node forgets is left to it.
    db.run(
        "DELETE FROM admissions WHERE seq IN
             (SELECT seq FROM admissions WHERE last_at <= $1 ORDER BY last_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        &[
            &usage.forget.as_micros(),
            &i64::try_from(most).unwrap_or(i64::MAX),
        ],
    )
    .await?;
    Ok(())
}

async fn remember(db: &Db, admissions: &[(OrgId, Vec<Timestamp>)]) -> Result<()> {
    let (mut orgs, mut ends, mut packed) = (Vec::new(), Vec::new(), Vec::new());
    for (org, moments) in admissions {
        if let Some(last) = moments.last() {
            orgs.push(org.as_str());
            ends.push(last.as_micros());
            packed.push(pack(moments));
        }
    }
    if orgs.is_empty() {
        return Ok(());
    }
    // One that is gone must not keep the others from being remembered.
    db.run(
        "INSERT INTO admissions (org_id, last_at, moments)
         SELECT o.id, a.last_at, a.moments
         FROM unnest($1::text[], $2::bigint[], $3::bytea[]) WITH ORDINALITY AS a (org_id, last_at, moments, place)
         JOIN organizations o ON o.id = a.org_id ORDER BY a.place",
        &[&orgs, &ends, &packed],
    )
    .await?;
    Ok(())
}

async fn count(db: &Db, used: &[KeyUse]) -> Result<()> {
    if used.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = used.iter().map(|used| used.key.as_str()).collect();
    let requests: Vec<i64> = used
        .iter()
        .map(|used| i64::try_from(used.requests).unwrap_or(i64::MAX))
        .collect();
    let last: Vec<i64> = used
        .iter()
        .map(|used| used.last_used_at.as_micros())
        .collect();
    // An update takes its rows in no order of its own; two nodes that count the same keys must not wait for each other.
    db.run(
        "SELECT id FROM api_keys WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
        &[&keys],
    )
    .await?;
    // Each row is changed once, however often its key is listed.
    db.run(
        "UPDATE api_keys k SET request_count = k.request_count + u.requests, last_used_at = greatest(k.last_used_at, u.last)
         FROM (SELECT id, sum(requests)::bigint AS requests, max(last) AS last
               FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS listed (id, requests, last) GROUP BY id) u
         WHERE k.id = u.id",
        &[&keys, &requests, &last],
    )
    .await?;
    Ok(())
}

pub(super) async fn admissions(db: &Db, since: Timestamp) -> Result<Vec<(OrgId, Vec<Timestamp>)>> {
    let rows = db
        .all(
            "SELECT org_id, moments FROM admissions WHERE last_at > $1 ORDER BY last_at, seq",
            &[&since.as_micros()],
        )
        .await?;
    collect(&rows, |row| {
        let org = OrgId::trusted(row.take()?);
        let moments = unpack(&row.take::<Vec<u8>>()?)
            .ok_or_else(|| StoreError::Corrupt(format!("an admission of {org} cannot be read")))?;
        Ok((org, moments))
    })
}
