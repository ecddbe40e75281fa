//! Plans and the limits they give (contract, section 4).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much an organization may ask for: requests in each sliding window, and jobs that are not yet final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub rpm: u32,
    pub rph: u32,
    pub rpd: u32,
    pub concurrent: u32,
}

/// Limits set for one organization alone; what is absent comes from its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LimitOverrides {
    pub rpm: Option<u32>,
    pub rph: Option<u32>,
    pub rpd: Option<u32>,
    pub concurrent: Option<u32>,
}

impl LimitOverrides {
    pub fn apply(self, plan: Limits) -> Limits {
        Limits {
            rpm: self.rpm.unwrap_or(plan.rpm),
            rph: self.rph.unwrap_or(plan.rph),
            rpd: self.rpd.unwrap_or(plan.rpd),
            concurrent: self.concurrent.unwrap_or(plan.concurrent),
        }
    }
}

/// The plans of this server, by name: configuration, not code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Plans(BTreeMap<String, Limits>);

impl Plans {
    pub fn new(plans: BTreeMap<String, Limits>) -> Self {
        Self(plans)
    }

    pub fn get(&self, name: &str) -> Option<Limits> {
        self.0.get(name).copied()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
