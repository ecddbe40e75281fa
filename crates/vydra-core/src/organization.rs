//! An organization: who is billed and limited.

use crate::credits::Credits;
use crate::ids::OrgId;
use crate::job::Mode;
use crate::plan::LimitOverrides;
use crate::time::Timestamp;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    pub id: OrgId,
    pub name: String,
    pub plan: String,
    pub overrides: LimitOverrides,
    pub live_credits: Credits,
    pub test_credits: Credits,
    /// Of whoever pays for an agent that registered itself.
    pub billing_email: Option<String>,
    /// How long its files are kept; for ever when there is no term.
    pub keep_assets: Option<Duration>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Organization {
    pub fn credits(&self, mode: Mode) -> Credits {
        match mode {
            Mode::Live => self.live_credits,
            Mode::Test => self.test_credits,
        }
    }
}
