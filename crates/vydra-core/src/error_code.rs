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
    /// What happened. Names of fields and headers stand in backticks.
    pub meaning: &'static str,
    /// What the caller can do.
    pub advice: &'static str,
    /// For the person in front of the caller's program, who knows nothing of it. Names of the error's fields stand in braces.
    pub friendly: &'static str,
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
            meaning: &'static str,
            advice: &'static str,
            friendly: &'static str,
        ) -> Entry {
            Entry {
                code,
                status,
                retryable,
                sentence,
                meaning,
                advice,
                friendly,
            }
        }
        match self {
            Self::InvalidInput => entry(
                "INVALID_INPUT",
                400,
                false,
                "Invalid request parameters",
                "The request could not be read, or a field or parameter of it is missing, unknown or out of range. Nothing was started and nothing was charged.",
                "Read `error`: it names what is wrong. When `details.fields` is there, it lists every wrong field with what was expected; mend them all, then send the request again.",
                "Something in this request is not right. Please check what you entered.",
            ),
            Self::InvalidFileType => entry(
                "INVALID_FILE_TYPE",
                400,
                false,
                "Invalid file type",
                "The uploaded file is none of the types that are taken. What counts is what its bytes are, not its name or the type that the client claims.",
                "Convert the file to one of the types that `error` lists, then upload it again.",
                "This kind of file can't be used. Please choose a JPEG, PNG, WebP or GIF picture, or a file of the kind that is asked for.",
            ),
            Self::FileTooLarge => entry(
                "FILE_TOO_LARGE",
                400,
                false,
                "File exceeds the size limit",
                "The uploaded file has more bytes or more pixels than are taken. Nothing of it was kept.",
                "Make the file smaller than the limit that `error` names, then upload it again.",
                "This file is too large. Please choose a smaller one.",
            ),
            Self::InvalidUrl => entry(
                "INVALID_URL",
                400,
                false,
                "The provided URL is invalid or inaccessible",
                "A URL in the request is malformed, leads to an address that is not public, cannot be reached, or does not answer with the media that the field needs. Nothing was charged.",
                "Check the field that `details.field` names. Give a public http or https URL that answers with the media itself, without a login, or upload the file and give the URL of the upload.",
                "The link can't be opened. Please check it, or upload the file instead.",
            ),
            Self::MissingAuth => entry(
                "MISSING_AUTH",
                401,
                false,
                "No Authorization header provided",
                "The request has no `Authorization` header. A proxy or a redirect on the way may have taken it out.",
                "Send the header `Authorization: Bearer` with your API key behind it.",
                "You are not signed in to this service.",
            ),
            Self::InvalidFormat => entry(
                "INVALID_FORMAT",
                401,
                false,
                "API key format is invalid",
                "The `Authorization` header is there, but what it holds cannot be an API key: another scheme, a part that is missing, or a slip of the pen, which the key's checksum reveals.",
                "Copy the whole key again. It starts with `vydra_live_` or `vydra_test_` and stands behind the word Bearer.",
                "The API key is not complete. Please copy it again.",
            ),
            Self::KeyNotFound => entry(
                "KEY_NOT_FOUND",
                401,
                false,
                "API key doesn't exist",
                "The key is well-formed, but this server does not know it. It may belong to another server or have been made for another database.",
                "Check the address that you call and the key that you use, or create a new key.",
                "This API key is not known here. Please check it.",
            ),
            Self::KeyRevoked => entry(
                "KEY_REVOKED",
                401,
                false,
                "API key was revoked",
                "Somebody of your organization revoked this key. It will not work again.",
                "Use another key, or create a new one. If nobody meant to revoke it, ask who did before you replace it.",
                "This API key has been revoked. Please use another one.",
            ),
            Self::KeyExpired => entry(
                "KEY_EXPIRED",
                401,
                false,
                "API key has expired",
                "The key was made for a limited time, and that time is over.",
                "Create a new key and put it in the place of this one.",
                "This API key has expired. Please use a new one.",
            ),
            Self::InsufficientCredits => entry(
                "INSUFFICIENT_CREDITS",
                402,
                false,
                "Insufficient credits",
                "The balance is lower than the price. The price is `creditsRequired`, the balance `creditsRemaining`; nothing was started and nothing was charged.",
                "Add credits, or ask for less: fewer outputs, or a cheaper model. The same request will be refused until the balance suffices.",
                "You've run out of credits: this costs {creditsRequired}, and you have {creditsRemaining}.",
            ),
            Self::InsufficientScope => entry(
                "INSUFFICIENT_SCOPE",
                403,
                false,
                "API key lacks the required scope",
                "The key is valid, but may not do this. `details.required` lists the scope that is missing, `details.granted` those that the key has.",
                "Use a key that has the scope, or create one. A key's scopes never change.",
                "This API key may not do that.",
            ),
            Self::NotFound => entry(
                "NOT_FOUND",
                404,
                false,
                "The requested resource doesn't exist",
                "Nothing is at this path, or what was there belongs to another organization or was deleted; the answer is the same for all of them.",
                "Check the path and the id. All paths of the API start with `/api/v1` and end without a slash; the reference is at `/docs`.",
                "We couldn't find that.",
            ),
            Self::ModelNotFound => entry(
                "MODEL_NOT_FOUND",
                404,
                false,
                "The specified model doesn't exist",
                "No model can be called at this path, or the model that a workflow's input names is not there. `details.model` repeats the name. A model that this server has no provider for is not there either.",
                "Take a path from `GET /api/v1/models`, which lists what can be called. A model is called by its path, which is not always its slug.",
                "This model is not available. Please choose another one.",
            ),
            Self::JobNotFound => entry(
                "JOB_NOT_FOUND",
                404,
                false,
                "Job not found",
                "No job of your organization has this id. A malformed id and a job of another organization are answered alike.",
                "Check the id, and that the key belongs to the organization that started the job. Test keys see the jobs of test keys only.",
                "We couldn't find that job.",
            ),
            Self::MethodNotAllowed => entry(
                "METHOD_NOT_ALLOWED",
                405,
                false,
                "This path does not take that method",
                "The path exists, but not for this method.",
                "Use a method that the `Allow` header lists.",
                "That can't be done here.",
            ),
            Self::IdempotencyConflict => entry(
                "IDEMPOTENCY_CONFLICT",
                409,
                false,
                "The Idempotency-Key was used for another request",
                "The `Idempotency-Key` was used before with another request, or the first request with it is still running. Nothing was started twice.",
                "For another request, make a new key. When `Retry-After` is there, the first one still runs: wait, then send the same request again to get its answer.",
                "This request was already sent, in another form. Please start again.",
            ),
            Self::JobNotCancellable => entry(
                "JOB_NOT_CANCELLABLE",
                409,
                false,
                "The job has already ended",
                "The job has already completed or failed, so there is nothing to cancel. `details.status` tells how it ended; nothing changed.",
                "Nothing to do. Read the job to see its result, or its error and refund.",
                "It is too late to cancel: the job has ended.",
            ),
            Self::RateLimitExceeded => entry(
                "RATE_LIMIT_EXCEEDED",
                429,
                true,
                "Rate limit exceeded",
                "Too many requests in a minute, an hour or a day, or too many jobs at once, over all keys of the organization. `limits` names the limit, and `used` counts this request. Nothing was started and nothing was charged.",
                "Wait for the seconds in `Retry-After`, which `retryAfter` repeats, then send the same request again. Send fewer at once: the `X-RateLimit-` headers of every answer tell what is left.",
                "That was a bit fast. Please try again in {retryAfter} s.",
            ),
            Self::GenerationFailed => entry(
                "GENERATION_FAILED",
                500,
                true,
                "Generation failed",
                "The job was started and charged, and then the model failed or refused the input. `refund` shows what was paid back; the balance already shows it.",
                "Look at `details.retryable`. If it is true, the same request may succeed later; if it is false, change the input first. `details.reason` says more.",
                "It didn't work this time, and you got your credits back. Please try again.",
            ),
            Self::ProcessingTimeout => entry(
                "PROCESSING_TIMEOUT",
                500,
                true,
                "Processing took longer than 30 minutes",
                "The job was still running after 30 minutes, or waited for its turn longer than the operator allows (`details.reason` is then `queue_timeout`), and was ended. `refund` shows what was paid back; the balance already shows it.",
                "Try again later, or ask for less: a shorter video, or fewer outputs.",
                "It took too long, and you got your credits back. Please try again.",
            ),
            Self::InternalError => entry(
                "INTERNAL_ERROR",
                500,
                true,
                "Something went wrong on our end",
                "Something failed on the server that should not have. Credits taken for a job that is lost by it are paid back by themselves.",
                "Try again later. If it goes on, tell the operator the `requestId`.",
                "Something went wrong on our side. Please try again later.",
            ),
            Self::Unavailable => entry(
                "UNAVAILABLE",
                503,
                true,
                "The service is temporarily unavailable",
                "The server is stopping or cannot reach its own storage for the moment. The request was not carried out and nothing was charged.",
                "Wait for the seconds in `Retry-After`, then send the same request again.",
                "The service is busy right now. Please try again in a moment.",
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
    fn every_text_is_made_of_sentences() {
        for code in ErrorCode::ALL {
            let entry = code.entry();
            for text in [entry.meaning, entry.advice] {
                assert!(text.len() > 30 && text.ends_with('.'), "{code}: {text}");
                assert!(
                    text.matches('`').count().is_multiple_of(2),
                    "{code}: {text}"
                );
            }
        }
    }

    #[test]
    fn what_people_are_told_names_only_what_an_error_has() {
        for code in ErrorCode::ALL {
            let text = code.entry().friendly;
            assert!(text.ends_with('.') && !text.contains('`'), "{code}: {text}");
            let mut named = text.split('{').skip(1);
            let known = |part: &str| {
                let name = part.split_once('}').map(|(name, _)| name);
                matches!(
                    name,
                    Some("retryAfter" | "creditsRequired" | "creditsRemaining")
                )
            };
            assert!(named.all(known), "{code}: {text}");
            // A word behind a number is wrong for one or for many.
            let mut behind = text.split('}').skip(1);
            let fits = |rest: &str| rest.starts_with(['.', ',']) || rest.starts_with(" s.");
            assert!(behind.all(fits), "{code}: {text}");
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
