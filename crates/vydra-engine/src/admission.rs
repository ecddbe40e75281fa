//! Admission: who calls, what they may do, and whether they ask too often.

use crate::limits::{Counted, Counting, Standing};
use crate::{Engine, Error, Exceeded, LimitKind, Result};
use std::borrow::Cow;
use std::net::IpAddr;
use vydra_core::api_key::{ApiKey, KeySecret};
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::KeyId;
use vydra_core::job::Mode;
use vydra_core::organization::Organization;
use vydra_core::plan::Limits;
use vydra_core::scope::{GrantedScopes, Scope};
use vydra_core::user::{Role, User};
use vydra_store::store::KeyAdmission;

/// What an operation asks of its caller. Every operation is registered with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// A key with this scope, or a person whose role has it.
    Scope(Scope),
    /// Whoever has the scope, or made the job: decided when the job is known.
    OwnJobs,
    /// A person who has logged in; never a key.
    Person,
}

/// What a request brings to say who sends it.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The header `Authorization`.
    pub authorization: Option<&'a str>,
    /// The cookie `__session`; looked at only where there is no `Authorization`.
    pub session: Option<&'a str>,
    /// Where the request comes from.
    pub address: Option<IpAddr>,
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("authorization", &self.authorization.map(|_| "…"))
            .field("session", &self.session.map(|_| "…"))
            .field("address", &self.address)
            .finish()
    }
}

#[derive(Debug, Clone)]
pub enum Identity {
    Key(ApiKey),
    Person { user: User, role: Role },
}

impl Identity {
    fn key_id(&self) -> Option<&KeyId> {
        match self {
            Self::Key(key) => Some(&key.id),
            Self::Person { .. } => None,
        }
    }
}

/// A caller who was recognised, and counted against the limits of the organization.
#[derive(Debug, Clone)]
pub struct Caller {
    pub identity: Identity,
    pub organization: Organization,
    pub limits: Limits,
    pub standing: Standing,
}

impl Caller {
    pub fn granted(&self) -> Cow<'_, GrantedScopes> {
        match &self.identity {
            Identity::Key(key) => Cow::Borrowed(&key.scopes),
            Identity::Person { role, .. } => Cow::Owned(role.scopes()),
        }
    }

    pub fn require(&self, scope: Scope) -> Result<()> {
        let granted = self.granted();
        if granted.allow(scope) {
            return Ok(());
        }
        Err(Error::InsufficientScope {
            required: scope.as_str(),
            granted: granted.words().to_vec(),
        })
    }

    /// A person acts on real credits.
    pub fn mode(&self) -> Mode {
        match &self.identity {
            Identity::Key(key) => key.mode,
            Identity::Person { .. } => Mode::Live,
        }
    }

    /// The key under whose name jobs are made: of those that replaced one another, the first.
    pub fn origin_key(&self) -> Option<&KeyId> {
        match &self.identity {
            Identity::Key(key) => Some(key.origin()),
            Identity::Person { .. } => None,
        }
    }

    /// Whether the operation is theirs.
    pub fn permit(&self, access: Access) -> Result<()> {
        match (access, &self.identity) {
            (Access::Public | Access::OwnJobs, _) | (Access::Person, Identity::Person { .. }) => {
                Ok(())
            }
            (Access::Scope(scope), _) => self.require(scope),
            (Access::Person, Identity::Key(key)) => Err(Error::InsufficientScope {
                required: "session",
                granted: key.scopes.words().to_vec(),
            }),
        }
    }
}

/// Whether the answer means that nobody was recognised.
fn of_nobody(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::MissingAuth
            | ErrorCode::InvalidFormat
            | ErrorCode::KeyNotFound
            | ErrorCode::KeyRevoked
            | ErrorCode::KeyExpired
    )
}

/// Whatever the clock says: a clock that is set back must not bring a key back.
fn inactive(key: &ApiKey) -> Error {
    if key.revoked_at.is_some() {
        Error::KeyRevoked
    } else {
        Error::KeyExpired
    }
}

impl Access {
    /// What somebody is told who brings nothing to be recognised by.
    fn unknown_caller(self) -> Error {
        match self {
            Self::Person => Error::NotLoggedIn,
            Self::Public | Self::Scope(_) | Self::OwnJobs => Error::MissingAuth,
        }
    }
}

impl Engine {
    /// Recognises the caller and counts the request. Looked up at each request, so that a revocation holds at the next one.
    ///
    /// A key that could be one is always looked up: whoever has a good one is never refused because of others behind the
    /// same address.
    pub async fn authenticate(
        &self,
        access: Access,
        credentials: Credentials<'_>,
    ) -> Result<Caller> {
        let recognised = self.recognise(access, credentials).await;
        if let Err(error) = &recognised
            && of_nobody(error.code())
        {
            self.count_stranger(credentials.address)?;
        }
        recognised
    }

    /// For a request to what is not there: counted all the same, against the caller or, of nobody, the address. Fails
    /// when it is one too many.
    pub async fn count_in_vain(&self, credentials: Credentials<'_>) -> Result<Option<Standing>> {
        match self.authenticate(Access::Public, credentials).await {
            Ok(caller) => Ok(Some(caller.standing)),
            Err(error @ Error::RateLimited(_)) => Err(error),
            // That nothing is there can be told to anybody.
            Err(_) => Ok(None),
        }
    }

    async fn recognise(&self, access: Access, credentials: Credentials<'_>) -> Result<Caller> {
        let (identity, organization, counted) =
            match (credentials.authorization, credentials.session) {
                (Some(header), _) => self.by_key(header).await?,
                (None, Some(session)) => {
                    let (identity, organization) = self.by_session(session).await?;
                    let counted = self.count(&organization).await?;
                    (identity, organization, counted)
                }
                (None, None) => return Err(access.unknown_caller()),
            };
        let standing = counted.standing().map_err(Error::RateLimited)?;
        if let Some(key) = identity.key_id() {
            self.usage.add_use(key, self.now());
        }
        Ok(Caller {
            limits: self.limits_of(&organization),
            identity,
            organization,
            standing,
        })
    }

    async fn by_key(&self, header: &str) -> Result<(Identity, Organization, Counted)> {
        let secret = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, key)| KeySecret::parse(key.trim()))
            .ok_or(Error::InvalidFormat)?;
        let hash = secret.hash(&self.store().pepper());
        if let Counting::Store(counter) = &self.counting {
            return match counter.admit_key(&hash, self.now()).await? {
                KeyAdmission::Unknown => Err(Error::KeyNotFound),
                KeyAdmission::Inactive(key) => Err(inactive(&key)),
                KeyAdmission::Counted { key, admission } => {
                    let counted = Counted::from(admission.as_ref());
                    Ok((Identity::Key(*key), admission.organization, counted))
                }
            };
        }
        let found = self.store().key_by_hash(&hash).await?;
        let (key, organization) = found.ok_or(Error::KeyNotFound)?;
        if key.revoked_at.is_some() || key.is_expired(self.now()) {
            return Err(inactive(&key));
        }
        let counted = self.count(&organization).await?;
        Ok((Identity::Key(key), organization, counted))
    }

    pub(crate) fn too_many_jobs(caller: &Caller, open: u32) -> Error {
        Error::RateLimited(Exceeded {
            kind: LimitKind::Concurrent,
            limit: caller.limits.concurrent,
            used: open.saturating_add(1),
            // Nobody knows when a job will end: soon enough to be worth another try.
            retry_after_s: 5,
            standing: Some(caller.standing),
        })
    }
}
