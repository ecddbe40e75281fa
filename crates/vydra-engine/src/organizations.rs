//! Organizations: who is billed and limited.

use crate::credits::MOST_AT_ONCE;
use crate::{Engine, Error, Result};
use std::ops::RangeInclusive;
use std::time::Duration;
use vydra_core::credits::Credits;
use vydra_core::ids::OrgId;
use vydra_core::organization::Organization;
use vydra_core::plan::{LimitOverrides, Limits};
use vydra_store::store::{Creation, NewOrganization};

/// What every organization's sandbox starts with (contract, section 12).
const SANDBOX_CREDITS: i64 = 10_000;
const MAX_NAME: usize = 100;
/// Shorter than an hour, a result could be gone before its caller has read it.
const SPAN_OF_RETENTION: RangeInclusive<Duration> =
    Duration::from_hours(1)..=Duration::from_hours(24 * 36_500);
/// What holds when a plan was taken out of the configuration under an organization that has it.
pub(crate) const STRICTEST: Limits = Limits {
    rpm: 10,
    rph: 100,
    rpd: 500,
    concurrent: 2,
};

#[derive(Debug, Clone)]
pub struct NewOrganizationRequest {
    pub name: String,
    pub plan: String,
    pub credits: Credits,
}

/// What every organization begins with.
pub(crate) fn opening(
    engine: &Engine,
    id: OrgId,
    name: String,
    plan: String,
    credits: Credits,
) -> NewOrganization {
    NewOrganization {
        id,
        name,
        plan,
        overrides: LimitOverrides::default(),
        live: (engine.new_entry(), credits),
        test: (
            engine.new_entry(),
            Credits::new(SANDBOX_CREDITS).unwrap_or_default(),
        ),
        reason: "opening balance".to_owned(),
        now: engine.now(),
    }
}

impl Engine {
    pub async fn create_organization(&self, new: NewOrganizationRequest) -> Result<Organization> {
        let name = new.name.trim();
        if name.is_empty()
            || name.len() > MAX_NAME
            || name.chars().any(char::is_control)
            || OrgId::parse(name).is_some()
        {
            return Err(Error::invalid(format!(
                "Invalid field: name is not usable, expected 1 to {MAX_NAME} printable characters"
            )));
        }
        if new.credits > MOST_AT_ONCE {
            return Err(Error::invalid(format!(
                "Invalid field: credits is too large, expected at most {MOST_AT_ONCE}"
            )));
        }
        self.check_plan(&new.plan)?;
        let id = OrgId::new(self.now(), self.random());
        let creation = self
            .store()
            .create_organization(opening(self, id, name.to_owned(), new.plan, new.credits))
            .await?;
        match creation {
            Creation::Created(organization) => Ok(organization),
            Creation::NameTaken => Err(Error::NameTaken(name.to_owned())),
        }
    }

    /// By id or by name.
    pub async fn find_organization(&self, word: &str) -> Result<Organization> {
        let found = match OrgId::parse(word) {
            Some(id) => self.store().organization(&id).await?,
            None => self.store().organization_by_name(word).await?,
        };
        found.ok_or_else(|| Error::NotFound {
            what: format!("organization {word:?}"),
        })
    }

    pub async fn organizations(&self) -> Result<Vec<Organization>> {
        Ok(self.store().organizations().await?)
    }

    pub async fn set_plan(
        &self,
        id: &OrgId,
        plan: &str,
        overrides: LimitOverrides,
    ) -> Result<Organization> {
        self.check_plan(plan)?;
        let changed = self
            .store()
            .set_plan(id, plan, overrides, self.now())
            .await?;
        changed.ok_or_else(|| Error::NotFound {
            what: "organization".to_owned(),
        })
    }

    /// How long the organization's files are kept; None for ever.
    pub async fn set_retention(
        &self,
        id: &OrgId,
        keep_assets: Option<Duration>,
    ) -> Result<Organization> {
        if keep_assets.is_some_and(|span| !SPAN_OF_RETENTION.contains(&span)) {
            return Err(Error::invalid(
                "Invalid field: keep-assets is out of range, expected 1h to 36500d, or forever",
            ));
        }
        let changed = self.store().set_retention(id, keep_assets, self.now());
        changed.await?.ok_or_else(|| Error::NotFound {
            what: "organization".to_owned(),
        })
    }

    pub fn limits_of(&self, organization: &Organization) -> Limits {
        organization.overrides.apply(
            self.settings()
                .plans
                .get(&organization.plan)
                .unwrap_or(STRICTEST),
        )
    }

    fn check_plan(&self, plan: &str) -> Result<()> {
        if self.settings().plans.get(plan).is_some() {
            return Ok(());
        }
        Err(Error::InvalidInput {
            sentence: format!(
                "Invalid field: plan {plan:?} is not one of the plans of this server"
            ),
            fields: Vec::new(),
            allowed: self.settings().plans.names().map(str::to_owned).collect(),
        })
    }
}
