//! The one catalogue of errors: a code, its status, its default sentence, whether a retry can help, and what to do.
//! The wire, the OpenAPI document and the documentation are derived from it (contract, section 2).

use serde::Serialize;

/// Every code that a caller can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    InvalidInput,
    InvalidFileType,
    FileTooLarge,
    InvalidUrl,
    MissingAuth,
    InvalidFormat,
    KeyNotFound,
    KeyRevoked,
    KeyExpired,
    InsufficientCredits,
    InsufficientScope,
    NotFound,
    ModelNotFound,
    JobNotFound,
    MethodNotAllowed,
    IdempotencyConflict,
    JobNotCancellable,
    RateLimitExceeded,
    GenerationFailed,
    ProcessingTimeout,
    InternalError,
    Unavailable,
}

/// What the catalogue says of one code.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// Whether the same request, unchanged, may succeed later. A failed job may know better.
    pub retryable: bool,
    /// The sentence when nothing more exact is known.
    pub sentence: &'static str,
    /// What the caller can do.
    pub advice: &'static str,
}

impl ErrorCode {
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

    pub const fn entry(self) -> Entry {
        const fn entry(
            code: &'static str,
            status: u16,
            retryable: bool,
            sentence: &'static str,
            advice: &'static str,
        ) -> Entry {
            Entry {
                code,
                status,
                retryable,
                sentence,
                advice,
            }
        }
        match self {
            Self::InvalidInput => entry(
                "INVALID_INPUT",
                400,
                false,
                "Invalid request parameters",
                "Mend the fields that details.fields names, then send the request again.",
            ),
            Self::InvalidFileType => entry(
                "INVALID_FILE_TYPE",
                400,
                false,
                "Invalid file type",
                "Send a file of a type that the sentence lists; its bytes count, not its name.",
            ),
            Self::FileTooLarge => entry(
                "FILE_TOO_LARGE",
                400,
                false,
                "File exceeds the size limit",
                "Send a smaller file.",
            ),
            Self::InvalidUrl => entry(
                "INVALID_URL",
                400,
                false,
                "The provided URL is invalid or inaccessible",
                "Give a public http or https URL that answers with the media itself, or a URL of this server.",
            ),
            Self::MissingAuth => entry(
                "MISSING_AUTH",
                401,
                false,
                "No Authorization header provided",
                "Send the header Authorization: Bearer <your API key>.",
            ),
            Self::InvalidFormat => entry(
                "INVALID_FORMAT",
                401,
                false,
                "API key format is invalid",
                "Copy the whole key; it starts with vydra_live_ or vydra_test_ and is sent as a Bearer token.",
            ),
            Self::KeyNotFound => entry(
                "KEY_NOT_FOUND",
                401,
                false,
                "API key doesn't exist",
                "Check that the key belongs to this server, or create a new one.",
            ),
            Self::KeyRevoked => entry(
                "KEY_REVOKED",
                401,
                false,
                "API key was revoked",
                "Use another key.",
            ),
            Self::KeyExpired => entry(
                "KEY_EXPIRED",
                401,
                false,
                "API key has expired",
                "Create a new key.",
            ),
            Self::InsufficientCredits => entry(
                "INSUFFICIENT_CREDITS",
                402,
                false,
                "Insufficient credits",
                "Add credits; nothing was charged. Repeating the request does not help.",
            ),
            Self::InsufficientScope => entry(
                "INSUFFICIENT_SCOPE",
                403,
                false,
                "API key lacks the required scope",
                "Use a key that has the scope in details.required.",
            ),
            Self::NotFound => entry(
                "NOT_FOUND",
                404,
                false,
                "The requested resource doesn't exist",
                "Check the path; the API reference is at /docs.",
            ),
            Self::ModelNotFound => entry(
                "MODEL_NOT_FOUND",
                404,
                false,
                "The specified model doesn't exist",
                "GET /api/v1/models lists the models that can be called.",
            ),
            Self::JobNotFound => entry(
                "JOB_NOT_FOUND",
                404,
                false,
                "Job not found",
                "Check the job's id, and that the key belongs to the organization that made the job.",
            ),
            Self::MethodNotAllowed => entry(
                "METHOD_NOT_ALLOWED",
                405,
                false,
                "This path does not take that method",
                "Use a method that the Allow header lists.",
            ),
            Self::IdempotencyConflict => entry(
                "IDEMPOTENCY_CONFLICT",
                409,
                false,
                "The Idempotency-Key was used for another request",
                "Use a new key for a new request.",
            ),
            Self::JobNotCancellable => entry(
                "JOB_NOT_CANCELLABLE",
                409,
                false,
                "The job has already ended",
                "Nothing to do: read the job to see how it ended.",
            ),
            Self::RateLimitExceeded => entry(
                "RATE_LIMIT_EXCEEDED",
                429,
                true,
                "Rate limit exceeded",
                "Wait for retryAfter seconds, then send the request again.",
            ),
            Self::GenerationFailed => entry(
                "GENERATION_FAILED",
                500,
                true,
                "Generation failed",
                "The charge was refunded. details.retryable tells whether trying again can help.",
            ),
            Self::ProcessingTimeout => entry(
                "PROCESSING_TIMEOUT",
                500,
                true,
                "Processing took longer than 30 minutes",
                "The charge was refunded. Try again later.",
            ),
            Self::InternalError => entry(
                "INTERNAL_ERROR",
                500,
                true,
                "Something went wrong on our end",
                "Try again later; if it goes on, tell the operator the requestId.",
            ),
            Self::Unavailable => entry(
                "UNAVAILABLE",
                503,
                true,
                "The service is temporarily unavailable",
                "Nothing was charged. Wait for the seconds in Retry-After, then try again.",
            ),
        }
    }

    pub const fn as_str(self) -> &'static str {
        self.entry().code
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_each_code_parses_back() {
        for (place, code) in ErrorCode::ALL.into_iter().enumerate() {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
            assert_eq!(
                code as usize, place,
                "ALL is in the order of the enum and leaves none out"
            );
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn only_429_and_5xx_are_worth_a_retry() {
        for code in ErrorCode::ALL {
            let entry = code.entry();
            assert_eq!(
                entry.retryable,
                entry.status == 429 || entry.status >= 500,
                "{code}"
            );
        }
    }
}
