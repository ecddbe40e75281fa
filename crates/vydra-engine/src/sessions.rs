//! Sessions: who logs in, for how long, and from which pages (contract, section 3).

use crate::throttle::{Origin, Throttle};
use crate::{Caller, Engine, Error, Exceeded, Identity, LimitKind, Result};
use std::net::IpAddr;
use std::time::Duration;
use url::Url;
use vydra_core::ids::OrgId;
use vydra_core::organization::Organization;
use vydra_core::session::SessionToken;
use vydra_core::time::{Clock, Timestamp};
use vydra_core::user::{Membership, Password, Role, User};
use vydra_store::store::NewSession;

const TRIES_SPAN: Duration = Duration::from_hours(1);
const TRIES_PER_ADDRESS: u32 = 20;
/// From one address. Who guesses elsewhere must not keep the owner out.
const TRIES_PER_ACCOUNT: u32 = 10;
/// From all addresses together.
const TRIES_PER_ACCOUNT_ANYWHERE: u32 = 100;
const TRIES_REMEMBERED: usize = 50_000;

/// Failed logins, by whom they were tried for and from where.
#[derive(Debug)]
pub(crate) struct LoginTries {
    accounts: Throttle<(String, Option<Origin>)>,
    anywhere: Throttle<String>,
    addresses: Throttle<Origin>,
}

impl Default for LoginTries {
    fn default() -> Self {
        fn throttle<K: Clone + Eq + std::hash::Hash>(limit: u32) -> Throttle<K> {
            Throttle::new(LimitKind::Hour, limit, TRIES_SPAN, TRIES_REMEMBERED)
        }
        Self {
            accounts: throttle(TRIES_PER_ACCOUNT),
            anywhere: throttle(TRIES_PER_ACCOUNT_ANYWHERE),
            addresses: throttle(TRIES_PER_ADDRESS),
        }
    }
}

/// One try that is counted until it is given back.
struct Try<'a> {
    tries: &'a LoginTries,
    account: ((String, Option<Origin>), Timestamp),
    anywhere: Option<Timestamp>,
    address: Option<Timestamp>,
}

impl LoginTries {
    /// Counts for all or for none.
    fn count(&self, email: &str, address: Option<IpAddr>, clock: &dyn Clock) -> Result<Try<'_>> {
        let account = (email.to_owned(), address.map(Origin::of));
        let at = self
            .accounts
            .count(&account, clock)
            .map_err(Error::RateLimited)?;
        let mut counted = Try {
            tries: self,
            account: (account, at),
            anywhere: None,
            address: None,
        };
        match self.count_more(&mut counted, clock) {
            Ok(()) => Ok(counted),
            Err(exceeded) => {
                counted.give_back();
                Err(Error::RateLimited(exceeded))
            }
        }
    }

    fn count_more(
        &self,
        counted: &mut Try<'_>,
        clock: &dyn Clock,
    ) -> std::result::Result<(), Exceeded> {
        let ((email, origin), _) = &counted.account;
        counted.anywhere = Some(self.anywhere.count(email, clock)?);
        if let Some(origin) = origin {
            counted.address = Some(self.addresses.count(origin, clock)?);
        }
        Ok(())
    }
}

impl Try<'_> {
    fn give_back(self) {
        let (account, at) = &self.account;
        self.tries.accounts.give_back(account, *at);
        if let Some(at) = self.anywhere {
            self.tries.anywhere.give_back(&account.0, at);
        }
        if let (Some(origin), Some(at)) = (&account.1, self.address) {
            self.tries.addresses.give_back(origin, at);
        }
    }
}

pub struct LoginRequest<'a> {
    pub email: &'a str,
    pub password: Password,
    /// Where to; absent, the place where the user has been longest.
    pub organization: Option<&'a str>,
    /// What the request's cookie held: a login ends it.
    pub session: Option<&'a str>,
    pub address: Option<IpAddr>,
}

impl std::fmt::Debug for LoginRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRequest")
            .field("email", &self.email)
            .field("organization", &self.organization)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A person in one of their organizations.
#[derive(Debug, Clone)]
pub struct Person {
    pub user: User,
    pub role: Role,
    pub organization: Organization,
    /// All of theirs.
    pub memberships: Vec<Membership>,
}

#[derive(Debug)]
pub struct LoggedIn {
    pub token: SessionToken,
    pub expires_at: Timestamp,
    pub person: Person,
}

impl Engine {
    /// An unknown email and a wrong password take the same way and get the same answer.
    pub async fn login(&self, login: LoginRequest<'_>) -> Result<LoggedIn> {
        self.count_stranger(login.address)?;
        let email = crate::users::email(login.email)?;
        // Before the password is looked at, so that many tries at once are no way around the count.
        let counted = self
            .login_tries
            .count(&email, login.address, self.clock())?;
        if !login.password.can_be_digested() {
            return Err(Error::LoginFailed);
        }
        let (user, hash) = match self.store().user_by_email(&email).await? {
            Some((user, hash)) => (Some(user), Some(hash)),
            None => (None, None),
        };
        let verified = self.passwords.verify(login.password, hash.clone()).await;
        // Who was not even heard has not guessed.
        if verified.as_ref().map_or(true, |right| *right) {
            counted.give_back();
        }
        let (true, Some(user), Some(hash)) = (verified?, user, hash) else {
            return Err(Error::LoginFailed);
        };
        let memberships = self.store().memberships(&user.id).await?;
        let chosen = match login.organization {
            None => memberships.first(),
            Some(wanted) => memberships.iter().find(|m| m.org_id.as_str() == wanted),
        };
        let chosen = chosen.cloned().ok_or_else(no_organization)?;
        let organization = self.organization_of(&chosen.org_id).await?;
        let (token, now, pepper) = (
            SessionToken::generate(self.random()),
            self.now(),
            self.store().pepper(),
        );
        let expires_at = now.plus(self.settings().auth.session_lifetime);
        let begun = self
            .store()
            .create_session(NewSession {
                mark: token.mark(&pepper),
                user_id: user.id.clone(),
                org_id: chosen.org_id,
                password: hash,
                replaces: login
                    .session
                    .and_then(SessionToken::parse)
                    .map(|old| old.mark(&pepper)),
                expires_at,
                now,
            })
            .await?;
        if !begun {
            return Err(Error::LoginFailed);
        }
        Ok(LoggedIn {
            token,
            expires_at,
            person: Person {
                user,
                role: chosen.role,
                organization,
                memberships,
            },
        })
    }

    /// Fine also for a session that is not there.
    pub async fn logout(&self, session: Option<&str>, address: Option<IpAddr>) -> Result<()> {
        self.count_stranger(address)?;
        if let Some(token) = session.and_then(SessionToken::parse) {
            let mark = token.mark(&self.store().pepper());
            // Strangers must not make work for the one who writes.
            if self.store().session(&mark, self.now()).await?.is_some() {
                self.store().end_session(&mark).await?;
            }
        }
        Ok(())
    }

    /// The person behind a caller who logged in.
    pub async fn person(&self, caller: Caller) -> Result<Person> {
        let Identity::Person { user, role } = caller.identity else {
            return Err(Error::NotLoggedIn);
        };
        Ok(Person {
            memberships: self.store().memberships(&user.id).await?,
            organization: caller.organization,
            user,
            role,
        })
    }

    pub(crate) async fn by_session(&self, session: &str) -> Result<(Identity, Organization)> {
        let token = SessionToken::parse(session).ok_or(Error::NotLoggedIn)?;
        let mark = token.mark(&self.store().pepper());
        let found = self.store().session(&mark, self.now()).await?;
        let (user, role, organization) = found.ok_or(Error::NotLoggedIn)?;
        Ok((Identity::Person { user, role }, organization))
    }

    async fn organization_of(&self, id: &OrgId) -> Result<Organization> {
        let found = self.store().organization(id).await?;
        found.ok_or_else(no_organization)
    }

    /// Whether a request that a browser signs with a cookie comes from a page of this server.
    pub fn check_origin(&self, origin: Option<&str>, fetch_site: Option<&str>) -> Result<()> {
        if is_own_page(&self.settings().public_url, origin, fetch_site) {
            Ok(())
        } else {
            Err(Error::ForeignOrigin)
        }
    }
}

fn no_organization() -> Error {
    Error::NotFound {
        what: "organization".to_owned(),
    }
}

/// By the headers `Origin` and `Sec-Fetch-Site`. Every browser sends one of them with what changes something; whoever sends
/// neither is no browser, and has no cookie that a foreign page could use.
fn is_own_page(public_url: &str, origin: Option<&str>, fetch_site: Option<&str>) -> bool {
    match (origin, fetch_site) {
        (Some(origin), _) => Url::parse(public_url)
            .map(|own| own.origin())
            .is_ok_and(|own| own.is_tuple() && own.ascii_serialization() == origin),
        (None, Some(site)) => matches!(site, "same-origin" | "none"),
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_our_own_are_let_through() {
        for (public_url, own) in [
            ("https://vydra.test", "https://vydra.test"),
            ("https://VYDRA.test:443/below", "https://vydra.test"),
            ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
        ] {
            assert!(is_own_page(public_url, Some(own), None));
            assert!(is_own_page(public_url, Some(own), Some("cross-site")));
        }
        for foreign in [
            "",
            "null",
            "https://evil.test",
            "http://vydra.test",
            "https://vydra.test:8443",
            "https://vydra.test.evil.test",
            "https://sub.vydra.test",
            "https://vydra.test/",
            "https://evil.test, https://vydra.test",
        ] {
            // What the other header says does not matter then.
            for site in [None, Some("same-origin")] {
                assert!(
                    !is_own_page("https://vydra.test", Some(foreign), site),
                    "{foreign}"
                );
            }
        }
        for (site, own) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
            ("", false),
        ] {
            assert_eq!(
                is_own_page("https://vydra.test", None, Some(site)),
                own,
                "{site}"
            );
        }
        assert!(is_own_page("https://vydra.test", None, None));
        assert!(!is_own_page("no address", Some("null"), None));
    }
}
