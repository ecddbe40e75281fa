//! I1 to I8, each in a few lines that a reader can check against its sentence.

use super::rows::{AssetRow, Books, Entry, JobRow, Link, Purse};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// One place where a sentence does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violated {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

impl fmt::Display for Violated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// Every invariant that can be seen in rows alone.
pub(crate) fn check(books: &Books) -> Vec<Violated> {
    let by_id: HashMap<&str, &JobRow> = books
        .jobs
        .iter()
        .map(|job| (job.id.as_str(), job))
        .collect();
    let mut found = Vec::new();
    balances(books, &mut found);
    counters(books, &mut found);
    chains(books, &mut found);
    movements(books, &by_id, &mut found);
    deliveries(books, &mut found);
    queue(books, &mut found);
    events(books, &by_id, &mut found);
    assets(books, &by_id, &mut found);
    inputs(books, &by_id, &mut found);
    keys(books, &by_id, &mut found);
    states(books, &mut found);
    steps(books, &by_id, &mut found);
    found
}

fn note(found: &mut Vec<Violated>, rule: &'static str, what: String) {
    found.push(Violated { rule, what });
}

/// I1: a balance is the sum of its rows, at each row too, and never below zero.
fn balances(books: &Books, found: &mut Vec<Violated>) {
    let mut sums: BTreeMap<&Purse, i64> = BTreeMap::new();
    for entry in &books.entries {
        let sum = sums.entry(&entry.purse).or_default();
        *sum += entry.amount;
        if *sum < 0 {
            note(found, "I1", format!("below zero after {}: {sum}", entry.id));
        }
        if *sum != entry.balance_after {
            let what = format!(
                "{} says {} after it, and it is {sum}",
                entry.id, entry.balance_after
            );
            note(found, "I1", what);
        }
    }
    for balance in &books.balances {
        let sum = sums.remove(&balance.purse).unwrap_or(0);
        if sum != balance.credits {
            let what = format!(
                "{:?} has {}, its rows give {sum}",
                balance.purse, balance.credits
            );
            note(found, "I1", what);
        }
    }
    for (purse, sum) in sums {
        note(
            found,
            "I1",
            format!("rows of {sum} without a balance: {purse:?}"),
        );
    }
}

/// I1: what a balance counts of its rows and jobs is what there is of them.
fn counters(books: &Books, found: &mut Vec<Violated>) {
    let mut counted: HashMap<&Purse, (i64, i64, i64)> = HashMap::new();
    for entry in &books.entries {
        let (charged, refunded, _) = counted.entry(&entry.purse).or_default();
        match entry.kind.as_str() {
            "charge" => *charged -= entry.amount,
            "refund" => *refunded += entry.amount,
            _ => {}
        }
    }
    for job in books.jobs.iter().filter(|job| job.is_open()) {
        counted.entry(&job.purse).or_default().2 += 1;
    }
    for balance in &books.balances {
        let there = counted.remove(&balance.purse).unwrap_or_default();
        let said = (balance.charged, balance.refunded, balance.open);
        if said != there {
            let what = format!(
                "{:?} counts {said:?}, and there is {there:?}",
                balance.purse
            );
            note(found, "I1", what);
        }
    }
}

/// I1: each row names the one before it with the same purse, and the balance counts them and names the last.
fn chains(books: &Books, found: &mut Vec<Violated>) {
    let jobs = by_purse(books.jobs.iter().map(|job| (job.link, &job.purse)));
    let entries = by_purse(books.entries.iter().map(|entry| (entry.link, &entry.purse)));
    let events = by_purse(books.events.iter().map(|event| (event.link, &event.purse)));
    for balance in &books.balances {
        for (what, rows, said) in [
            ("events", &events, balance.events),
            ("jobs", &jobs, balance.jobs),
            ("ledger rows", &entries, balance.entries),
        ] {
            let (mut count, mut last, mut whole) = (0, None, true);
            for link in rows.get(&balance.purse).into_iter().flatten() {
                whole &= link.previous == last;
                (count, last) = (count + 1, Some(link.seq));
            }
            if !whole || said != (count, last) {
                let purse = &balance.purse;
                note(found, "I1", format!("{purse:?}: a broken chain of {what}"));
            }
        }
    }
}

/// In the order of their numbers.
fn by_purse<'a>(rows: impl Iterator<Item = (Link, &'a Purse)>) -> HashMap<&'a Purse, Vec<Link>> {
    let mut sorted: HashMap<&Purse, Vec<Link>> = HashMap::new();
    for (link, purse) in rows {
        sorted.entry(purse).or_default().push(link);
    }
    for links in sorted.values_mut() {
        links.sort_by_key(|link| link.seq);
    }
    sorted
}

/// I2: one charge a job, of its price; one refund at most, no more than the charge, and as the job says.
fn movements(books: &Books, by_id: &HashMap<&str, &JobRow>, found: &mut Vec<Violated>) {
    let mut of_job: HashMap<&str, Vec<&Entry>> = HashMap::new();
    for entry in &books.entries {
        let Some(id) = entry.job.as_deref() else {
            if entry.kind == "charge" || entry.kind == "refund" {
                note(found, "I2", format!("{} names no job", entry.id));
            }
            continue;
        };
        match by_id.get(id) {
            Some(job) if job.purse == entry.purse => of_job.entry(id).or_default().push(entry),
            Some(_) => note(
                found,
                "I2",
                format!("{} is paid from another purse than {id}", entry.id),
            ),
            None => note(
                found,
                "I2",
                format!("{} names {id}, which is not there", entry.id),
            ),
        }
    }
    for job in &books.jobs {
        let entries = of_job.remove(job.id.as_str()).unwrap_or_default();
        let amounts = |kind: &str| -> Vec<i64> {
            let of_kind = entries.iter().filter(|entry| entry.kind == kind);
            of_kind.map(|entry| entry.amount).collect()
        };
        let charges = amounts("charge");
        if charges != [-job.price] {
            let what = format!("{} costs {} and was charged {charges:?}", job.id, job.price);
            note(found, "I2", what);
        }
        let refunds = amounts("refund");
        if refunds.len() > 1
            || refunds
                .iter()
                .any(|refund| !(1..=job.price).contains(refund))
        {
            let what = format!(
                "{} costs {} and was refunded {refunds:?}",
                job.id, job.price
            );
            note(found, "I2", what);
        }
        if refunds.iter().sum::<i64>() != job.refunded {
            let what = format!(
                "{} says {} refunded, its rows {refunds:?}",
                job.id, job.refunded
            );
            note(found, "I2", what);
        }
    }
}

/// I3: what is kept of a price is the share that was delivered.
fn deliveries(books: &Books, found: &mut Vec<Violated>) {
    let mut delivered: HashMap<&str, i64> = HashMap::new();
    for asset in &books.assets {
        if let (Some(job), "output") = (asset.job.as_deref(), asset.role.as_str()) {
            *delivered.entry(job).or_default() += 1;
        }
    }
    for job in &books.jobs {
        let files = delivered.remove(job.id.as_str()).unwrap_or(0);
        let kept = job.price - job.refunded;
        let due = match job.status.as_str() {
            // What cannot be divided is the caller's.
            "completed" => job.price * files.min(job.outputs) / job.outputs.max(1),
            "failed" | "cancelled" => 0,
            _ => job.price,
        };
        if kept != due {
            let what = format!(
                "{} ({}, {files} of {} outputs) keeps {kept} of {}, and {due} is due",
                job.id, job.status, job.outputs, job.price
            );
            note(found, "I3", what);
        }
        if files > 0 && job.status != "completed" {
            note(
                found,
                "I3",
                format!("{} ({}) delivered {files}", job.id, job.status),
            );
        }
    }
}

/// I4: a job that has not ended waits in the queue, or has a lease that ends and a deadline that comes.
fn queue(books: &Books, found: &mut Vec<Violated>) {
    for job in books.jobs.iter().filter(|job| job.is_open()) {
        let watched = match job.status.as_str() {
            "pending" => job.lease_token.is_none() && job.deadline_at.is_some(),
            _ => job.lease_until.is_some() && job.deadline_at.is_some(),
        };
        if !watched {
            note(found, "I4", format!("nothing will ever end {job:?}"));
        }
    }
}

/// I5: each job that has ended is told of once, as what it is; no other is.
fn events(books: &Books, by_id: &HashMap<&str, &JobRow>, found: &mut Vec<Violated>) {
    let mut told = HashSet::new();
    let mut places: HashMap<&Purse, i64> = HashMap::new();
    for event in &books.events {
        let place = places.entry(&event.purse).or_default();
        *place += 1;
        if event.number != *place {
            note(found, "I5", format!("{event:?} is number {place}"));
        }
        let right = by_id.get(event.job.as_str()).is_some_and(|job| {
            !job.is_open()
                && job.purse == event.purse
                && event.kind == format!("job.{}", job.status)
        });
        if !right || !told.insert(event.job.as_str()) {
            note(
                found,
                "I5",
                format!("{event:?} does not tell what happened"),
            );
        }
    }
    for job in books.jobs.iter().filter(|job| !job.is_open()) {
        if !told.contains(job.id.as_str()) {
            note(
                found,
                "I5",
                format!("nobody is told that {} was {}", job.id, job.status),
            );
        }
    }
}

/// I6, without looking for the files: each belongs to an upload or to a job of its organization, an output to a completed one.
fn assets(books: &Books, by_id: &HashMap<&str, &JobRow>, found: &mut Vec<Violated>) {
    let mut places = HashSet::new();
    for asset in &books.assets {
        let job = asset.job.as_deref().map(|id| by_id.get(id));
        let belongs = match (asset.role.as_str(), job) {
            ("output", Some(Some(job))) => is_of(asset, job) && job.status == "completed",
            ("input" | "upload", None) => true,
            ("input" | "step", Some(Some(job))) => is_of(asset, job),
            ("late", Some(Some(job))) => is_of(asset, job) && !job.is_open(),
            _ => false,
        };
        if !belongs {
            note(found, "I6", format!("{asset:?} belongs to nothing"));
        }
        if !places.insert(asset.storage_key.as_str()) {
            note(found, "I6", format!("{} shares its file", asset.id));
        }
    }
}

fn is_of(asset: &AssetRow, job: &JobRow) -> bool {
    job.purse.org == asset.org && job.purse.mode == asset.mode
}

/// I6: what is written down as taken in is a file of the same organization, still there, and of a job that has not ended.
fn inputs(books: &Books, by_id: &HashMap<&str, &JobRow>, found: &mut Vec<Violated>) {
    if books.inputs.is_empty() {
        return;
    }
    let assets: HashMap<&str, &AssetRow> = books
        .assets
        .iter()
        .map(|asset| (asset.id.as_str(), asset))
        .collect();
    for input in &books.inputs {
        let right = by_id
            .get(input.job.as_str())
            .zip(assets.get(input.asset.as_str()))
            .is_some_and(|(job, asset)| {
                job.is_open() && job.purse.org == asset.org && !asset.is_erased
            });
        if !right {
            note(found, "I6", format!("{input:?} is of no open job"));
        }
    }
}

/// I6, the files: each that a row names is there, and none that was erased.
pub(crate) fn files(books: &Books, size: impl Fn(&str) -> Option<u64>) -> Vec<Violated> {
    let mut found = Vec::new();
    for asset in &books.assets {
        let there = size(&asset.storage_key).and_then(|size| i64::try_from(size).ok());
        let right = match there {
            // Between the mark and the end of its bytes either may be.
            None => asset.is_deleted,
            Some(bytes) => bytes == asset.bytes && !asset.is_erased,
        };
        if !right {
            let what = format!("{} has {} bytes, its file {there:?}", asset.id, asset.bytes);
            note(&mut found, "I6", what);
        }
    }
    found
}

/// I7: a key stands for one job, and a job for one key.
fn keys(books: &Books, by_id: &HashMap<&str, &JobRow>, found: &mut Vec<Violated>) {
    let (mut names, mut jobs) = (HashSet::new(), HashSet::new());
    for row in &books.keys {
        if !names.insert((&row.purse, row.key.as_str())) || !jobs.insert(row.job.as_str()) {
            note(
                found,
                "I7",
                format!("{} or its job {} is there twice", row.key, row.job),
            );
        }
        if by_id
            .get(row.job.as_str())
            .is_none_or(|job| job.purse != row.purse)
        {
            note(
                found,
                "I7",
                format!(
                    "{} stands for {}, which its caller does not have",
                    row.key, row.job
                ),
            );
        }
    }
}

/// I8: the times and marks of a job are those of its state.
fn states(books: &Books, found: &mut Vec<Violated>) {
    let mut ids = HashSet::new();
    for job in &books.jobs {
        let ends = job.completed_at;
        let right = match job.status.as_str() {
            "pending" => job.started_at.is_none() && ends.is_none(),
            "running" => job.started_at.is_some() && ends.is_none(),
            "completed" => job.started_at.is_some() && ends.is_some() && job.lease_token.is_none(),
            "failed" | "cancelled" => ends.is_some() && job.lease_token.is_none(),
            _ => false,
        };
        if !right || !ids.insert(job.id.as_str()) {
            note(found, "I8", format!("no way leads to {job:?}"));
        }
    }
}

/// I8: steps are those of a job that has begun, each once.
fn steps(books: &Books, by_id: &HashMap<&str, &JobRow>, found: &mut Vec<Violated>) {
    let mut places = HashSet::new();
    for step in &books.steps {
        let begun = by_id
            .get(step.job.as_str())
            .is_some_and(|job| job.started_at.is_some());
        if !begun || !places.insert((step.job.as_str(), step.step)) {
            note(
                found,
                "I8",
                format!("{step:?} of a job that has not begun, or twice"),
            );
        }
    }
}
