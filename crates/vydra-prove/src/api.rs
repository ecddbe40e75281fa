//! Calls over HTTP to the real program.

use crate::front::Front;
use anyhow::Context;
use reqwest::{Client, ClientBuilder, Method, RequestBuilder};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Longer than the server holds any answer back.
const TIMEOUT: Duration = Duration::from_secs(90);

pub(crate) fn client() -> anyhow::Result<Client> {
    Ok(builder()?.build()?)
}

/// With a connection for each request: what stood open to a server that goes cannot be met.
pub(crate) fn client_without_connections() -> anyhow::Result<Client> {
    Ok(builder()?.pool_max_idle_per_host(0).build()?)
}

/// Plain HTTP to this machine alone: trusts no certificate and asks no proxy.
fn builder() -> anyhow::Result<ClientBuilder> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    #[expect(
        clippy::disallowed_methods,
        reason = "calls the server from outside, as a client does"
    )]
    let builder = Client::builder();
    Ok(builder
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .tls_backend_preconfigured(tls))
}

/// One caller.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    client: Client,
    servers: Servers,
    key: String,
}

#[derive(Debug, Clone)]
enum Servers {
    One(String),
    Behind(Arc<Front>),
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) replayed: bool,
    /// Of a login.
    pub(crate) session: Option<String>,
}

/// A call that costs credits.
#[derive(Debug, Clone)]
pub(crate) struct Purchase {
    pub(crate) path: Cow<'static, str>,
    pub(crate) body: Value,
    /// Of `X-Vydra-Simulate`; empty for none.
    pub(crate) outcome: &'static str,
    pub(crate) respond_async: bool,
    pub(crate) key: Option<String>,
}

impl Api {
    pub(crate) fn new(client: &Client, url: &str, key: &str) -> Self {
        Self {
            client: client.clone(),
            servers: Servers::One(url.to_owned()),
            key: key.to_owned(),
        }
    }

    /// Of whichever of them is next; as long as none is ready, it waits.
    pub(crate) fn behind(front: &Arc<Front>, client: &Client, key: &str) -> Self {
        Self {
            client: client.clone(),
            servers: Servers::Behind(Arc::clone(front)),
            key: key.to_owned(),
        }
    }

    async fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = match &self.servers {
            Servers::One(url) => url.clone(),
            Servers::Behind(front) => front.next().await,
        };
        self.client
            .request(method, format!("{url}/api/v1/{path}"))
            .bearer_auth(&self.key)
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Option<Answer>> {
        send(self.request(Method::GET, path).await).await
    }

    pub(crate) async fn cancel(&self, job: &str) -> anyhow::Result<Option<Answer>> {
        self.delete(&format!("jobs/{job}")).await
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Option<Answer>> {
        send(self.request(Method::DELETE, path).await).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Option<Answer>> {
        send(self.request(Method::POST, path).await.json(body)).await
    }

    /// A form with one file.
    pub(crate) async fn upload(&self, name: &str, file: &[u8]) -> anyhow::Result<Option<Answer>> {
        let (content_type, body) = form(name, file);
        let request = self
            .request(Method::POST, "upload")
            .await
            .header("content-type", content_type)
            .body(body);
        send(request).await
    }

    pub(crate) async fn buy(&self, purchase: &Purchase) -> anyhow::Result<Option<Answer>> {
        let mut request = self
            .request(Method::POST, &purchase.path)
            .await
            .json(&purchase.body);
        if !purchase.outcome.is_empty() {
            request = request.header("x-vydra-simulate", purchase.outcome);
        }
        if purchase.respond_async {
            request = request.header("prefer", "respond-async");
        }
        if let Some(key) = &purchase.key {
            request = request.header("idempotency-key", key);
        }
        send(request).await
    }
}

/// The content type of a form with one file, and its bytes (RFC 7578).
pub(crate) fn form(name: &str, file: &[u8]) -> (&'static str, Vec<u8>) {
    let head = format!(
        "--the-end-of-a-part\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
    );
    let body = [head.as_bytes(), file, b"\r\n--the-end-of-a-part--\r\n"].concat();
    ("multipart/form-data; boundary=the-end-of-a-part", body)
}

/// None when the connection ended before the answer did. An answer that came whole and cannot be understood is an error.
async fn send(request: RequestBuilder) -> anyhow::Result<Option<Answer>> {
    let Ok(response) = request.send().await else {
        return Ok(None);
    };
    let status = response.status().as_u16();
    let replayed = response.headers().contains_key("idempotent-replayed");
    let Ok(body) = response.bytes().await else {
        return Ok(None);
    };
    let body = serde_json::from_slice(&body)
        .with_context(|| format!("{status} with no JSON: {}", String::from_utf8_lossy(&body)))?;
    Ok(Some(Answer {
        status,
        body,
        replayed,
        session: None,
    }))
}

/// The job that an answer to a purchase names, with its status; None for a refusal.
pub(crate) fn bought(answer: &Answer) -> Option<(String, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match answer.status {
        200 | 202 => Some((text(&answer.body["jobId"])?, text(&answer.body["status"])?)),
        201 => Some((text(&answer.body["id"])?, text(&answer.body["status"])?)),
        500 => Some((text(&answer.body["details"]["jobId"])?, "failed".to_owned())),
        _ => None,
    }
}

pub(crate) fn is_final(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "cancelled")
}
