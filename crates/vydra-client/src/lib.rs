//! How others call a Vydra server from Rust.
//!
//! Knows the wire only: nothing of the server's own crates. The key goes to the address that it was made with and to no
//! other, as redirects are not followed.

mod error;

pub use error::{ApiError, ClientError, Refund};

use bytes::Bytes;
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_mins(2);

/// A client for one server and one key.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    key: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

/// Headers that change how a model is called.
#[derive(Debug, Clone, Copy, Default)]
pub struct CallOptions<'a> {
    /// Answer at once with the job instead of waiting for its result.
    pub respond_async: bool,
    /// Test keys only: the outcome to make happen.
    pub simulate: Option<&'a str>,
}

impl Client {
    /// `base_url` is the server's address, such as `http://127.0.0.1:8787`.
    pub fn new(base_url: &str, key: &str) -> Result<Self, ClientError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the client that others use"
        )]
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .user_agent(concat!("vydra-client/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls()?);
        if is_this_machine(base_url) {
            // A proxy of the environment leads away from it.
            http = http.no_proxy();
        }
        let http = http.build()?;
        Ok(Self {
            http,
            base_url: base_url.trim_end_matches('/').to_owned(),
            key: key.to_owned(),
        })
    }

    /// Calls a model at its path, such as `gemini/generate`.
    pub async fn call(
        &self,
        path: &str,
        input: &Value,
        options: CallOptions<'_>,
    ) -> Result<Value, ClientError> {
        let mut request = self
            .http
            .post(self.url(&format!("/models/{path}")))
            .json(input);
        if options.respond_async {
            request = request.header("prefer", "respond-async");
        }
        if let Some(outcome) = options.simulate {
            request = request.header("x-vydra-simulate", outcome);
        }
        self.send(request).await
    }

    /// The job as it stands, or as it ends when that is within `wait` (at most a minute).
    pub async fn job(&self, id: &str, wait: Duration) -> Result<Value, ClientError> {
        self.send(
            self.http
                .get(self.url(&format!("/jobs/{id}?wait={}", wait.as_secs().min(60)))),
        )
        .await
    }

    pub async fn credits(&self) -> Result<Value, ClientError> {
        self.send(self.http.get(self.url("/billing/credits"))).await
    }

    /// The ends of jobs behind the event `after`, or `latest`; held back until there is one or `wait` is over (at most a
    /// minute).
    pub async fn events(&self, after: Option<&str>, wait: Duration) -> Result<Value, ClientError> {
        let after = after.map_or_else(String::new, |after| format!("&after={after}"));
        let path = format!("/events?limit=100&wait={}{after}", wait.as_secs().min(60));
        self.send(self.http.get(self.url(&path))).await
    }

    /// With what the organization's webhooks are signed.
    pub async fn webhook_secret(&self) -> Result<Value, ClientError> {
        self.send(self.http.get(self.url("/webhooks/secret"))).await
    }

    /// A media file. The key is not sent: the address alone opens it.
    pub async fn download(&self, url: &str) -> Result<Bytes, ClientError> {
        Ok(self
            .http
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.base_url)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, ClientError> {
        let response = request.bearer_auth(&self.key).send().await?;
        let status = response.status();
        let body = response.bytes().await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(ClientError::Unreadable);
        }
        Err(ClientError::Api(Box::new(ApiError::read(
            status.as_u16(),
            &body,
        ))))
    }
}

fn is_this_machine(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn tls() -> Result<rustls::ClientConfig, ClientError> {
    use rustls_platform_verifier::ConfigVerifierExt as _;
    // Tolerates a provider that the program has chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(rustls::ClientConfig::with_platform_verifier()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_this_machine() {
        for here in [
            "http://127.0.0.1:8787",
            "http://localhost",
            "http://[::1]:80",
        ] {
            assert!(is_this_machine(here), "{here}");
        }
        for elsewhere in [
            "http://10.0.0.1",
            "https://api.example.com",
            "http://127.0.0.1.example.com",
            "nonsense",
        ] {
            assert!(!is_this_machine(elsewhere), "{elsewhere}");
        }
    }
}
