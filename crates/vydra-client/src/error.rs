//! What a call can fail with.

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the server could not be reached")]
    Connection(#[from] reqwest::Error),
    #[error("the server's answer could not be read")]
    Unreadable(#[source] serde_json::Error),
    #[error("no secure connection can be made")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Api(Box<ApiError>),
}

/// The server's own error.
#[derive(Debug, Clone, Default, Deserialize, thiserror::Error)]
#[error("{error} ({code})")]
#[serde(rename_all = "camelCase", default)]
pub struct ApiError {
    #[serde(skip)]
    pub status: u16,
    pub error: String,
    pub code: String,
    pub details: Value,
    pub credits_required: Option<i64>,
    pub credits_remaining: Option<i64>,
    pub retry_after: Option<u64>,
    pub refund: Option<Refund>,
    pub request_id: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refund {
    pub applied: bool,
    pub credits_refunded: i64,
}

impl ApiError {
    pub(crate) fn read(status: u16, body: &[u8]) -> Self {
        let told: Self = serde_json::from_slice(body).unwrap_or_default();
        Self {
            status,
            error: if told.error.is_empty() {
                format!("the server answered {status}")
            } else {
                told.error.clone()
            },
            ..told
        }
    }
}
