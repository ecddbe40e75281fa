//! Credits: what there is, what was given, and whether the books agree.

use crate::{Engine, Error, Result};
use vydra_core::credits::Credits;
use vydra_core::ids::OrgId;
use vydra_core::job::Mode;
use vydra_core::ledger::{Audit, CreditTotals};
use vydra_store::store::Grant;

/// Far above any real balance, and far below where sums would overflow.
pub(crate) const MOST_AT_ONCE: Credits = match Credits::new(1_000_000_000_000_000) {
    Some(credits) => credits,
    None => Credits::ZERO,
};

impl Engine {
    pub async fn credit_totals(&self, org: &OrgId, mode: Mode) -> Result<CreditTotals> {
        Ok(self.store().credit_totals(org, mode).await?)
    }

    /// Answers what there is afterwards.
    pub async fn grant(
        &self,
        org: &OrgId,
        mode: Mode,
        amount: Credits,
        reason: &str,
    ) -> Result<Credits> {
        if amount == Credits::ZERO {
            return Err(Error::invalid(
                "Invalid field: amount is too small, expected at least 1",
            ));
        }
        if amount > MOST_AT_ONCE {
            return Err(Error::invalid(format!(
                "Invalid field: amount is too large, expected at most {MOST_AT_ONCE}"
            )));
        }
        if reason.trim().is_empty() {
            return Err(Error::invalid("Missing required field: reason (string)"));
        }
        let grant = Grant {
            id: self.new_entry(),
            org_id: org.clone(),
            mode,
            amount,
            reason: reason.to_owned(),
            now: self.now(),
        };
        self.store()
            .grant(grant)
            .await?
            .ok_or_else(|| Error::NotFound {
                what: "organization".to_owned(),
            })
    }

    pub async fn audit(&self) -> Result<Audit> {
        Ok(self.store().audit().await?)
    }
}
