//! Calls over HTTP, with nothing hidden: status, headers and body are what a test looks at.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Longer than the server holds any answer back.
const TIMEOUT: Duration = Duration::from_secs(90);

/// One caller of one server.
#[derive(Clone)]
pub(crate) struct Api {
    http: Client,
    url: String,
    key: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self.json()
    }

    /// The body of a refusal with this status and code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        assert!(body["error"].is_string(), "{body}");
        body
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn media_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }
}

impl Api {
    pub(crate) fn new(url: &str, key: &str) -> Self {
        Self {
            http: http(),
            url: url.to_owned(),
            key: key.to_owned(),
        }
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/api/v1/{path}", self.url))
            .bearer_auth(&self.key)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        must(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        must(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        must(self.request(Method::POST, path).json(body)).await
    }

    /// As a browser does: with its cookie, and without a key.
    pub(crate) async fn browse(&self, path: &str, session: &str, body: Option<&Value>) -> Answer {
        let url = format!("{}/api/v1/{path}", self.url);
        let request = match body {
            None => self.http.get(url),
            Some(body) => self.http.post(url).json(body).header("origin", &self.url),
        };
        must(request.header("cookie", format!("__session={session}"))).await
    }

    /// With a test key: the outcome to make happen.
    pub(crate) async fn simulate(&self, outcome: &str, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).json(body);
        must(request.header("x-vydra-simulate", outcome)).await
    }

    /// The same for a server that may be gone.
    pub(crate) async fn try_simulate(
        &self,
        outcome: &str,
        path: &str,
        body: &Value,
    ) -> reqwest::Result<Answer> {
        let request = self.request(Method::POST, path).json(body);
        send(request.header("x-vydra-simulate", outcome)).await
    }

    pub(crate) const FORM: &str = "multipart/form-data; boundary=between";

    /// The body of an upload.
    pub(crate) fn form(name: &str, file: &[u8]) -> Vec<u8> {
        let head = format!(
            "--between\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
        );
        [head.as_bytes(), file, b"\r\n--between--\r\n"].concat()
    }

    pub(crate) async fn upload(&self, name: &str, file: &[u8]) -> Answer {
        let request = self.request(Method::POST, "upload");
        let request = request.header("content-type", Self::FORM);
        must(request.body(Self::form(name, file))).await
    }

    /// Whatever is there, without a key.
    pub(crate) async fn fetch(&self, url: &str) -> Answer {
        must(self.http.get(url)).await
    }

    pub(crate) async fn head(&self, url: &str) -> Answer {
        must(self.http.head(url)).await
    }

    pub(crate) async fn fetch_range(&self, url: &str, range: &str) -> Answer {
        must(self.http.get(url).header("range", range)).await
    }

    /// A job at its end.
    pub(crate) async fn end_of(&self, job: &str) -> Value {
        let body = self.get(&format!("jobs/{job}?wait=60")).await.expect(200);
        let status = body["status"].as_str().unwrap_or_default();
        assert!(is_final(status), "not at its end: {body}");
        body
    }

    pub(crate) async fn credits(&self) -> i64 {
        let body = self.get("billing/credits").await.expect(200);
        body["creditsRemaining"].as_i64().unwrap()
    }

    /// All jobs of the caller's organization.
    pub(crate) async fn all_jobs(&self) -> Vec<Value> {
        let mut jobs = Vec::new();
        loop {
            let path = format!("jobs?limit=100&offset={}", jobs.len());
            let page = self.get(&path).await.expect(200);
            let data = page["data"].as_array().unwrap();
            jobs.extend(data.iter().cloned());
            let count = page["pagination"]["count"].as_u64().unwrap();
            if data.is_empty() || jobs.len() as u64 >= count {
                return jobs;
            }
        }
    }
}

pub(crate) fn is_final(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "cancelled")
}

async fn must(request: RequestBuilder) -> Answer {
    send(request)
        .await
        .unwrap_or_else(|error| panic!("no answer: {error:?}"))
}

async fn send(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await?.to_vec(),
    })
}

/// Only plain HTTP to this machine is spoken here, so it trusts no certificate and asks no proxy.
fn http() -> Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    #[expect(
        clippy::disallowed_methods,
        reason = "a test calls the server by itself"
    )]
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .tls_backend_preconfigured(tls)
        .build()
        .unwrap()
}
