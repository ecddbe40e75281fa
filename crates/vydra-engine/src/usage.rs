//! Usage: what a caller's organization did in a span of time, and what it cost.

use crate::{Caller, Engine, Result};
use std::collections::HashMap;
use std::time::Duration;
use vydra_core::catalog::Violations;
use vydra_core::time::Timestamp;
use vydra_core::usage::{UsageBy, UsageFigures, UsageRow};

const DAY: Duration = Duration::from_hours(24);
const SHOWN_BY_DEFAULT: Duration = Duration::from_hours(24 * 30);
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// Which span, and how its rows are made.
#[derive(Debug, Clone, Copy)]
pub struct UsageQuery {
    pub by: UsageBy,
    pub from: Option<Timestamp>,
    /// The first moment that is not counted.
    pub to: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct Usage {
    pub by: UsageBy,
    pub from: Timestamp,
    pub to: Timestamp,
    pub rows: Vec<UsageRow>,
    /// Names of the keys that stand in the rows, as far as these still exist.
    pub key_names: HashMap<String, String>,
}

impl Usage {
    pub fn totals(&self) -> UsageFigures {
        self.rows.iter().map(|row| row.figures).sum()
    }
}

impl Engine {
    pub async fn usage(&self, caller: &Caller, query: UsageQuery) -> Result<Usage> {
        // What happens at this very moment counts too.
        let to = query
            .to
            .unwrap_or_else(|| self.now().plus(Duration::from_micros(1)));
        let from = query.from.unwrap_or_else(|| to.minus(SHOWN_BY_DEFAULT));
        if from >= to {
            return Err(Violations::one("from", "out of range", "a time before to").into());
        }
        if to.since(from) > LONGEST {
            let expected = format!("a time at most {} days before to", days(LONGEST));
            return Err(Violations::one("from", "out of range", &expected).into());
        }
        let org = &caller.organization.id;
        let rows = self
            .store()
            .usage(org, caller.mode(), query.by, from, to)
            .await?;
        let key_names = match query.by {
            UsageBy::Day | UsageBy::Model => HashMap::new(),
            UsageBy::Key => self
                .store()
                .keys(org)
                .await?
                .into_iter()
                .map(|key| (key.id.to_string(), key.name))
                .collect(),
        };
        Ok(Usage {
            by: query.by,
            from,
            to,
            rows,
            key_names,
        })
    }
}

const fn days(span: Duration) -> u64 {
    span.as_secs() / DAY.as_secs()
}
