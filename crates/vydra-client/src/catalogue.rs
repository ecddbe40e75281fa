//! The codes of the server's errors: their status, whether a repetition can help, and what to tell people.

// Written by `cargo xtask openapi`; do not change it here.

/// The stable word for programs in an error.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// `INVALID_INPUT`, 400.
    InvalidInput,
    /// `INVALID_FILE_TYPE`, 400.
    InvalidFileType,
    /// `FILE_TOO_LARGE`, 400.
    FileTooLarge,
    /// `INVALID_URL`, 400.
    InvalidUrl,
    /// `MISSING_AUTH`, 401.
    MissingAuth,
    /// `INVALID_FORMAT`, 401.
    InvalidFormat,
    /// `KEY_NOT_FOUND`, 401.
    KeyNotFound,
    /// `KEY_REVOKED`, 401.
    KeyRevoked,
    /// `KEY_EXPIRED`, 401.
    KeyExpired,
    /// `INSUFFICIENT_CREDITS`, 402.
    InsufficientCredits,
    /// `INSUFFICIENT_SCOPE`, 403.
    InsufficientScope,
    /// `NOT_FOUND`, 404.
    NotFound,
    /// `MODEL_NOT_FOUND`, 404.
    ModelNotFound,
    /// `JOB_NOT_FOUND`, 404.
    JobNotFound,
    /// `METHOD_NOT_ALLOWED`, 405.
    MethodNotAllowed,
    /// `IDEMPOTENCY_CONFLICT`, 409.
    IdempotencyConflict,
    /// `JOB_NOT_CANCELLABLE`, 409.
    JobNotCancellable,
    /// `RATE_LIMIT_EXCEEDED`, 429.
    RateLimitExceeded,
    /// `GENERATION_FAILED`, 500.
    GenerationFailed,
    /// `PROCESSING_TIMEOUT`, 500.
    ProcessingTimeout,
    /// `INTERNAL_ERROR`, 500.
    InternalError,
    /// `UNAVAILABLE`, 503.
    Unavailable,
    /// A word that this version does not know.
    Unknown(String),
}

/// What is known of a code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) status: u16,
    pub(crate) retryable: bool,
    pub(crate) friendly: &'static str,
}

impl Code {
    /// Every code that this version knows.
    pub const ALL: [Self; 22] = [
        Self::InvalidInput,
        Self::InvalidFileType,
        Self::FileTooLarge,
        Self::InvalidUrl,
        Self::MissingAuth,
        Self::InvalidFormat,
        Self::KeyNotFound,
        Self::KeyRevoked,
        Self::KeyExpired,
        Self::InsufficientCredits,
        Self::InsufficientScope,
        Self::NotFound,
        Self::ModelNotFound,
        Self::JobNotFound,
        Self::MethodNotAllowed,
        Self::IdempotencyConflict,
        Self::JobNotCancellable,
        Self::RateLimitExceeded,
        Self::GenerationFailed,
        Self::ProcessingTimeout,
        Self::InternalError,
        Self::Unavailable,
    ];

    pub(crate) const fn entry(&self) -> Option<Entry> {
        Some(match self {
            Self::InvalidInput => Entry {
                name: "INVALID_INPUT",
                status: 400,
                retryable: false,
                friendly: "Something in this request is not right. Please check what you entered.",
            },
            Self::InvalidFileType => Entry {
                name: "INVALID_FILE_TYPE",
                status: 400,
                retryable: false,
                friendly: "This kind of file can't be used. Please choose a JPEG, PNG, WebP or GIF picture, or a file of the kind that is asked for.",
            },
            Self::FileTooLarge => Entry {
                name: "FILE_TOO_LARGE",
                status: 400,
                retryable: false,
                friendly: "This file is too large. Please choose a smaller one.",
            },
            Self::InvalidUrl => Entry {
                name: "INVALID_URL",
                status: 400,
                retryable: false,
                friendly: "The link can't be opened. Please check it, or upload the file instead.",
            },
            Self::MissingAuth => Entry {
                name: "MISSING_AUTH",
                status: 401,
                retryable: false,
                friendly: "You are not signed in to this service.",
            },
            Self::InvalidFormat => Entry {
                name: "INVALID_FORMAT",
                status: 401,
                retryable: false,
                friendly: "The API key is not complete. Please copy it again.",
            },
            Self::KeyNotFound => Entry {
                name: "KEY_NOT_FOUND",
                status: 401,
                retryable: false,
                friendly: "This API key is not known here. Please check it.",
            },
            Self::KeyRevoked => Entry {
                name: "KEY_REVOKED",
                status: 401,
                retryable: false,
                friendly: "This API key has been revoked. Please use another one.",
            },
            Self::KeyExpired => Entry {
                name: "KEY_EXPIRED",
                status: 401,
                retryable: false,
                friendly: "This API key has expired. Please use a new one.",
            },
            Self::InsufficientCredits => Entry {
                name: "INSUFFICIENT_CREDITS",
                status: 402,
                retryable: false,
                friendly: "You've run out of credits: this costs {creditsRequired}, and you have {creditsRemaining}.",
            },
            Self::InsufficientScope => Entry {
                name: "INSUFFICIENT_SCOPE",
                status: 403,
                retryable: false,
                friendly: "This API key may not do that.",
            },
            Self::NotFound => Entry {
                name: "NOT_FOUND",
                status: 404,
                retryable: false,
                friendly: "We couldn't find that.",
            },
            Self::ModelNotFound => Entry {
                name: "MODEL_NOT_FOUND",
                status: 404,
                retryable: false,
                friendly: "This model is not available. Please choose another one.",
            },
            Self::JobNotFound => Entry {
                name: "JOB_NOT_FOUND",
                status: 404,
                retryable: false,
                friendly: "We couldn't find that job.",
            },
            Self::MethodNotAllowed => Entry {
                name: "METHOD_NOT_ALLOWED",
                status: 405,
                retryable: false,
                friendly: "That can't be done here.",
            },
            Self::IdempotencyConflict => Entry {
                name: "IDEMPOTENCY_CONFLICT",
                status: 409,
                retryable: false,
                friendly: "This request was already sent, in another form. Please start again.",
            },
            Self::JobNotCancellable => Entry {
                name: "JOB_NOT_CANCELLABLE",
                status: 409,
                retryable: false,
                friendly: "It is too late to cancel: the job has ended.",
            },
            Self::RateLimitExceeded => Entry {
                name: "RATE_LIMIT_EXCEEDED",
                status: 429,
                retryable: true,
                friendly: "That was a bit fast. Please try again in {retryAfter} s.",
            },
            Self::GenerationFailed => Entry {
                name: "GENERATION_FAILED",
                status: 500,
                retryable: true,
                friendly: "It didn't work this time, and you got your credits back. Please try again.",
            },
            Self::ProcessingTimeout => Entry {
                name: "PROCESSING_TIMEOUT",
                status: 500,
                retryable: true,
                friendly: "It took too long, and you got your credits back. Please try again.",
            },
            Self::InternalError => Entry {
                name: "INTERNAL_ERROR",
                status: 500,
                retryable: true,
                friendly: "Something went wrong on our side. Please try again later.",
            },
            Self::Unavailable => Entry {
                name: "UNAVAILABLE",
                status: 503,
                retryable: true,
                friendly: "The service is busy right now. Please try again in a moment.",
            },
            Self::Unknown(_) => return None,
        })
    }
}
