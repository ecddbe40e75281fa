//! Why the engine says no: one arm for each thing that a caller can understand, and one for what is ours alone.

use crate::KeyConflict;
use crate::limits::Exceeded;
use vydra_core::asset::MediaKind;
use vydra_core::catalog::{FieldProblem, Violations};
use vydra_core::credits::Credits;
use vydra_core::error_code::ErrorCode;
use vydra_core::job::{Job, JobStatus};
use vydra_outbound::media::MediaError;
use vydra_outbound::windows::WindowsError;
use vydra_store::StoreError;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no authorization header")]
    MissingAuth,
    #[error("the key's format is wrong")]
    InvalidFormat,
    #[error("there is no such key")]
    KeyNotFound,
    #[error("the key was revoked")]
    KeyRevoked,
    #[error("the key has expired")]
    KeyExpired,
    /// Also for an email that nobody has: nobody learns who has a login.
    #[error("email or password is wrong")]
    LoginFailed,
    #[error("nobody is logged in")]
    NotLoggedIn,
    /// A page of another site made a browser send it.
    #[error("the request came from another site")]
    ForeignOrigin,
    /// A key would act on one that may do more.
    #[error("the key has scopes that the caller lacks")]
    KeyOutOfReach {
        required: Vec<String>,
        granted: Vec<String>,
    },
    #[error("the key lacks a scope")]
    InsufficientScope {
        /// A scope, or `session`.
        required: &'static str,
        granted: Vec<String>,
    },
    #[error("the input is wrong: {sentence}")]
    InvalidInput {
        sentence: String,
        fields: Vec<FieldProblem>,
        allowed: Vec<String>,
    },
    #[error("a url cannot be used: {sentence}")]
    InvalidUrl { field: String, sentence: String },
    /// With the kind that was asked for.
    #[error("the file is of no type that is taken")]
    InvalidFileType(MediaKind),
    #[error("the file is too large")]
    FileTooLarge(String),
    #[error("not enough credits")]
    InsufficientCredits {
        required: Credits,
        remaining: Credits,
    },
    /// Dearer than the caller allowed, whether or not it could be paid.
    #[error("it would cost {required}, more than {allowed} credits")]
    TooExpensive {
        required: Credits,
        remaining: Credits,
        allowed: Credits,
    },
    #[error("a limit is reached")]
    RateLimited(Exceeded),
    #[error("nothing is there")]
    NotFound { what: String },
    #[error("there is no model {model}")]
    ModelNotFound { model: String, hint: String },
    #[error("there is no such job")]
    JobNotFound,
    #[error("the job has ended")]
    JobNotCancellable(JobStatus),
    #[error("the idempotency key cannot be used: {0:?}")]
    IdempotencyConflict(KeyConflict),
    #[error("the name is taken")]
    NameTaken(String),
    #[error("the email is taken")]
    EmailTaken(String),
    /// A call that waited for its job, which failed.
    #[error("the job failed")]
    JobFailed(Box<Job>),
    /// What a test key asked to be told.
    #[error("simulated {0}")]
    Simulated(ErrorCode),
    #[error("temporarily unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("an internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::MissingAuth | Self::LoginFailed | Self::NotLoggedIn => ErrorCode::MissingAuth,
            Self::InvalidFormat => ErrorCode::InvalidFormat,
            Self::KeyNotFound => ErrorCode::KeyNotFound,
            Self::KeyRevoked => ErrorCode::KeyRevoked,
            Self::KeyExpired => ErrorCode::KeyExpired,
            Self::InsufficientScope { .. } | Self::KeyOutOfReach { .. } | Self::ForeignOrigin => {
                ErrorCode::InsufficientScope
            }
            Self::InvalidInput { .. } | Self::NameTaken(_) | Self::EmailTaken(_) => {
                ErrorCode::InvalidInput
            }
            Self::InvalidUrl { .. } => ErrorCode::InvalidUrl,
            Self::InvalidFileType(_) => ErrorCode::InvalidFileType,
            Self::FileTooLarge(_) => ErrorCode::FileTooLarge,
            Self::InsufficientCredits { .. } | Self::TooExpensive { .. } => {
                ErrorCode::InsufficientCredits
            }
            Self::RateLimited(_) => ErrorCode::RateLimitExceeded,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::ModelNotFound { .. } => ErrorCode::ModelNotFound,
            Self::JobNotFound => ErrorCode::JobNotFound,
            Self::JobNotCancellable(_) => ErrorCode::JobNotCancellable,
            Self::IdempotencyConflict(_) => ErrorCode::IdempotencyConflict,
            Self::JobFailed(job) => job
                .failure
                .as_ref()
                .map_or(ErrorCode::GenerationFailed, |failure| failure.code),
            Self::Simulated(code) => *code,
            Self::Unavailable(_) => ErrorCode::Unavailable,
            Self::Internal(_) => ErrorCode::InternalError,
        }
    }

    /// Whether a job was charged before it came to this: the answer is then the request's own, and is remembered.
    pub fn follows_a_charge(&self) -> bool {
        matches!(self, Self::JobFailed(_))
    }

    pub fn invalid(sentence: impl Into<String>) -> Self {
        Self::InvalidInput {
            sentence: sentence.into(),
            fields: Vec::new(),
            allowed: Vec::new(),
        }
    }
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::InvalidInput {
            sentence: violations.sentence,
            fields: violations.fields,
            allowed: Vec::new(),
        }
    }
}

impl From<WindowsError> for Error {
    fn from(error: WindowsError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if error.is_temporary() {
            Self::Unavailable(Box::new(error))
        } else {
            Self::Internal(Box::new(error))
        }
    }
}

impl From<MediaError> for Error {
    fn from(error: MediaError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}
