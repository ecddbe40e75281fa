//! Agents that register themselves: an organization without credits, and a key for it (contract, section 3).

use crate::keys::CreatedKey;
use crate::organizations::opening;
use crate::throttle::{Origin, Throttle};
use crate::{Engine, Error, LimitKind, Result};
use std::net::IpAddr;
use std::time::Duration;
use vydra_core::api_key::{ApiKey, KeyKind, KeySecret};
use vydra_core::catalog::{FieldProblem, Violations};
use vydra_core::credits::Credits;
use vydra_core::ids::{KeyId, OrgId};
use vydra_core::job::Mode;
use vydra_core::organization::Organization;
use vydra_core::random::letters_and_digits;
use vydra_core::scope::GrantedScopes;
use vydra_core::user::normal_email;
use vydra_store::store::Creation;

const MAX_AGENT_NAME: usize = 80;
/// Two agents of one name are two organizations.
const SUFFIX_LENGTH: usize = 10;
const PER_ADDRESS: u32 = 5;
const SPAN: Duration = Duration::from_hours(1);
const REMEMBERED: usize = 50_000;

#[derive(Debug)]
pub(crate) struct Registrations(Throttle<Origin>);

impl Default for Registrations {
    fn default() -> Self {
        Self(Throttle::new(
            LimitKind::Hour,
            PER_ADDRESS,
            SPAN,
            REMEMBERED,
        ))
    }
}

#[derive(Debug, Clone)]
pub struct NewBot {
    pub agent_name: String,
    pub billing_email: String,
    pub address: Option<IpAddr>,
}

#[derive(Debug)]
pub struct RegisteredBot {
    pub created: CreatedKey,
    pub organization: Organization,
    pub agent_name: String,
    pub billing_email: String,
}

impl Engine {
    /// Where the operator does not want it, there is nothing, and who asks is counted as at any path that is not there.
    pub fn check_bots_welcome(&self, address: Option<IpAddr>) -> Result<()> {
        if self.settings().auth.bot_register {
            Ok(())
        } else {
            self.count_stranger(address)?;
            Err(Error::NotFound {
                what: "registration of agents".to_owned(),
            })
        }
    }

    pub async fn register_bot(&self, new: NewBot) -> Result<RegisteredBot> {
        self.check_bots_welcome(new.address)?;
        let agent_name = new.agent_name.trim().to_owned();
        let billing_email = normal_email(&new.billing_email);
        let mut wrong = Vec::new();
        let mut tell = |field: &str, expected: String| {
            wrong.push(FieldProblem {
                field: field.to_owned(),
                problem: "not usable".to_owned(),
                expected,
            });
        };
        if !(1..=MAX_AGENT_NAME).contains(&agent_name.chars().count())
            || agent_name.chars().any(char::is_control)
        {
            tell(
                "agent_name",
                format!("1 to {MAX_AGENT_NAME} printable characters"),
            );
        }
        if billing_email.is_none() {
            tell("billing_email", "an email address".to_owned());
        }
        if let Some(violations) = Violations::of(wrong) {
            return Err(violations.into());
        }
        let billing_email = billing_email.unwrap_or_default();
        let now = self.now();
        if let Some(address) = new.address {
            let counted = self
                .registrations
                .0
                .count(&Origin::of(address), self.clock());
            counted.map_err(Error::RateLimited)?;
        }
        let id = OrgId::new(now, self.random());
        let suffix = letters_and_digits(self.random(), SUFFIX_LENGTH).to_lowercase();
        let secret = KeySecret::generate_for(KeyKind::Bot, Mode::Live, id.bare(), self.random());
        let key = ApiKey {
            id: KeyId::new(now, self.random()),
            org_id: id.clone(),
            name: agent_name.clone(),
            shown_prefix: secret.shown_prefix(),
            mode: Mode::Live,
            scopes: GrantedScopes::everything(),
            created_at: now,
            expires_at: None,
            revoked_at: None,
            user_id: None,
            origin_id: None,
            request_count: 0,
            last_used_at: None,
        };
        let organization = opening(
            self,
            id,
            format!("{agent_name}-{suffix}"),
            self.settings().auth.bot_plan.clone(),
            Credits::default(),
        );
        let name = organization.name.clone();
        let hash = secret.hash(&self.store().pepper());
        let creation = self
            .store()
            .register_bot(organization, &billing_email, &key, &hash)
            .await?;
        match creation {
            Creation::Created(organization) => Ok(RegisteredBot {
                created: CreatedKey { key, secret },
                organization,
                agent_name,
                billing_email,
            }),
            Creation::NameTaken => Err(Error::NameTaken(name)),
        }
    }
}
