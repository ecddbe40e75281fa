//! Errors on the wire: one shape, and the only file with statuses (contract, section 2).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use vydra_core::asset::MediaKind;
use vydra_core::error_code::ErrorCode;
use vydra_core::job::{Failure, Job};
use vydra_engine::{Error, Exceeded, KeyConflict, LimitKind};

/// Seconds after which a caller may try again when the store is away.
const UNAVAILABLE_RETRY_S: u32 = 5;
/// The same, while the first request of an idempotency key is being handled.
const IN_PROGRESS_RETRY_S: u32 = 2;

/// For images word by word as clients know it (contract, section 9).
fn invalid_file_type(kind: MediaKind) -> String {
    let mut allowed = kind.media_types().join(", ");
    if kind == MediaKind::Image {
        allowed = allowed.replacen("image/jpeg", "image/jpeg, image/jpg", 1);
    }
    format!("Invalid file type. Allowed: {allowed}")
}

/// The one shape of every error. Fields that do not belong to an error's code are absent.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorBody {
    /// A sentence for a human.
    pub(crate) error: String,
    /// A stable word for programs.
    #[schema(value_type = String, example = "INVALID_INPUT")]
    pub(crate) code: ErrorCode,
    /// More about this error; what it holds depends on the code.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub(crate) details: Map<String, Value>,
    /// With `INSUFFICIENT_CREDITS`: the price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credits_required: Option<i64>,
    /// With `INSUFFICIENT_CREDITS`: the balance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credits_remaining: Option<i64>,
    /// With `RATE_LIMIT_EXCEEDED` and `UNAVAILABLE`, and while an idempotency key is in use: whole seconds to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after: Option<u32>,
    /// With `RATE_LIMIT_EXCEEDED`: which limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<ExceededLimit>,
    /// After a charge: what was paid back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refund: Option<Refund>,
    /// What to tell the operator; also in the header x-request-id.
    pub(crate) request_id: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ExceededLimit {
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "minute")]
    pub(crate) kind: LimitKind,
    pub(crate) limit: u32,
    /// The refused request counted.
    pub(crate) used: u32,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refund {
    pub(crate) applied: bool,
    pub(crate) credits_refunded: i64,
}

impl Refund {
    /// None when nothing was paid back.
    pub(crate) fn of(job: &Job) -> Option<Self> {
        (job.refunded.get() > 0).then(|| Self {
            applied: true,
            credits_refunded: job.refunded.get(),
        })
    }
}

impl ErrorBody {
    pub(crate) fn of(code: ErrorCode) -> Self {
        let mut details = Map::new();
        if code.entry().status >= 500 {
            details.insert("retryable".to_owned(), Value::Bool(code.entry().retryable));
        }
        Self {
            error: code.entry().sentence.to_owned(),
            code,
            details,
            credits_required: None,
            credits_remaining: None,
            retry_after: (code == ErrorCode::Unavailable).then_some(UNAVAILABLE_RETRY_S),
            limits: None,
            refund: None,
            request_id: String::new(),
        }
    }

    pub(crate) fn saying(mut self, sentence: impl Into<String>) -> Self {
        self.error = sentence.into();
        self
    }

    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.details.insert(name.to_owned(), value);
        self
    }
}

/// What a handler returns when it cannot do what was asked. The body is written by the outermost layer, which alone knows
/// the request's id.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Error);

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl ApiError {
    pub(crate) fn body(self) -> ErrorBody {
        let code = self.0.code();
        let body = ErrorBody::of(code);
        match self.0 {
            Error::MissingAuth
            | Error::InvalidFormat
            | Error::KeyNotFound
            | Error::KeyRevoked
            | Error::KeyExpired
            | Error::JobNotFound
            | Error::NotFound { .. }
            | Error::Simulated(_) => body,
            Error::InvalidFileType(kind) => body.saying(invalid_file_type(kind)),
            Error::FileTooLarge(sentence) => body.saying(sentence),
            Error::LoginFailed => body.saying("Email or password is wrong"),
            Error::NotLoggedIn => body.saying("You are not logged in"),
            Error::ForeignOrigin => body.saying("The request came from another site"),
            Error::KeyOutOfReach { required, granted } => body
                .saying("That key has scopes that yours lacks")
                .with("required", json!(required))
                .with("granted", json!(granted)),
            Error::InsufficientScope { required, granted } => body
                .with("required", json!([required]))
                .with("granted", json!(granted)),
            Error::InvalidInput {
                sentence,
                fields,
                allowed,
            } => {
                let mut body = body.saying(sentence);
                if !fields.is_empty() {
                    body = body.with("fields", json!(fields));
                }
                if allowed.is_empty() {
                    body
                } else {
                    body.with("allowed", json!(allowed))
                }
            }
            Error::InvalidUrl { field, sentence } => {
                body.saying(sentence).with("field", json!(field))
            }
            Error::InsufficientCredits {
                required,
                remaining,
            } => ErrorBody {
                credits_required: Some(required.get()),
                credits_remaining: Some(remaining.get()),
                ..body
            },
            Error::TooExpensive {
                required,
                remaining,
                allowed,
            } => ErrorBody {
                credits_required: Some(required.get()),
                credits_remaining: Some(remaining.get()),
                ..body
            }
            .saying(format!(
                "This would cost {required} credits, more than maxCredits ({allowed}) allows"
            ))
            .with("maxCredits", json!(allowed)),
            Error::IdempotencyConflict(KeyConflict::DifferentRequest) => {
                body.with("reason", json!("different_request"))
            }
            Error::IdempotencyConflict(KeyConflict::InProgress) => ErrorBody {
                retry_after: Some(IN_PROGRESS_RETRY_S),
                ..body
            }
            .saying("The first request with this Idempotency-Key is still running; try again in a moment")
            .with("reason", json!("in_progress")),
            Error::RateLimited(Exceeded {
                kind,
                limit,
                used,
                retry_after_s,
                ..
            }) => ErrorBody {
                retry_after: Some(retry_after_s.max(1)),
                limits: Some(ExceededLimit { kind, limit, used }),
                ..body
            },
            Error::ModelNotFound { model, hint } => {
                body.with("model", json!(model)).with("hint", json!(hint))
            }
            Error::JobNotCancellable(status) => body.with("status", json!(status)),
            Error::NameTaken(name) => body.saying(format!("The name {name:?} is taken")),
            Error::EmailTaken(email) => body.saying(format!("The email {email:?} is taken")),
            Error::JobFailed(job) => failed(body, &job),
            Error::Unavailable(source) => {
                tracing::error!(
                    error = source.as_ref() as &dyn std::error::Error,
                    "a request could not be served"
                );
                body
            }
            Error::Internal(source) => {
                tracing::error!(
                    error = source.as_ref() as &dyn std::error::Error,
                    "a request failed"
                );
                body
            }
        }
    }
}

fn failed(body: ErrorBody, job: &Job) -> ErrorBody {
    let body = ErrorBody {
        refund: Refund::of(job),
        ..body
    }
    .with("jobId", json!(job.id));
    match &job.failure {
        None => body,
        Some(Failure {
            message,
            reason,
            retryable,
            ..
        }) => body
            .saying(message.as_str())
            .with("reason", json!(reason))
            .with("retryable", json!(retryable)),
    }
}

impl IntoResponse for ErrorBody {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.entry().status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.body().into_response();
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            // The router answers the real ones, and knows their methods; this one was asked for.
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET,HEAD"));
        }
        response
    }
}

/// The code for what the HTTP machinery answers by itself, in plain text or not at all.
pub(crate) fn of_plain_status(status: StatusCode) -> ErrorCode {
    match status {
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ErrorCode::MethodNotAllowed,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable,
        status if status.is_client_error() => ErrorCode::InvalidInput,
        _ => ErrorCode::InternalError,
    }
}
