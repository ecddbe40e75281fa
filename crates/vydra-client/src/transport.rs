//! Sends requests, repeats those that may be, and makes errors of what is no answer.

use crate::clock::Clock;
use crate::code::Code;
use crate::config::Secret;
use crate::error::{ApiError, Error, Texts};
use crate::hooks::{Hooks, RequestEvent, ResponseEvent, RetryEvent};
use bytes::{Bytes, BytesMut};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode, Url};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::task::TaskTracker;

/// Without a byte for so long, an upload, a download or a stream is given up.
pub(crate) const SILENCE: Duration = Duration::from_mins(1);

const USER_AGENT: &str = concat!("vydra-rust/", env!("CARGO_PKG_VERSION"));
/// The longest answer that is understood. Pages of lists and results are far from it.
const ANSWER_MOST: usize = 64 << 20;
/// As much of an error is read. What is longer is a page of somebody else's.
const ERROR_MOST: usize = 1 << 20;
const JITTER_MOST: f64 = 8.0;
const JITTER_FIRST: f64 = 0.5;

pub(crate) struct Settings {
    pub(crate) base: Url,
    pub(crate) key: Secret,
    pub(crate) timeout: Duration,
    pub(crate) max_retries: u32,
    pub(crate) retry_budget: Duration,
    pub(crate) max_retry_after: Duration,
    pub(crate) texts: Texts,
    pub(crate) hooks: Hooks,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What all calls of a client share.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    /// What goes on when nobody waits for it any more.
    pub(crate) background: TaskTracker,
    http: Http,
}

/// The connections. None but the first is ever given the key.
struct Http {
    api: reqwest::Client,
    files: reqwest::Client,
    /// For files of this machine.
    files_here: reqwest::Client,
}

/// A request, which may be sent several times.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    body: Option<Bytes>,
    /// Whether it may be sent twice: GET and DELETE, and what bears an idempotency key.
    pub(crate) repeat: bool,
    /// How long the server was asked to hold its answer: that comes on top of the time of a request.
    pub(crate) hold: Duration,
    is_file: bool,
}

impl Request {
    /// Of a file: without the key, wherever it is.
    pub(crate) fn file(url: Url) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        // As it is, so that the promised length is that of the file.
        headers.insert(
            reqwest::header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        Self {
            method: Method::GET,
            url,
            headers,
            body: None,
            repeat: true,
            hold: Duration::ZERO,
            is_file: true,
        }
    }

    pub(crate) fn query(mut self, name: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.url
                .query_pairs_mut()
                .append_pair(name, &value.to_string());
        }
        self
    }

    /// Asks the server to hold its answer for so many seconds.
    pub(crate) fn wait(mut self, seconds: Option<u64>) -> Self {
        self.hold = Duration::from_secs(seconds.unwrap_or(0));
        self.query("wait", seconds)
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Error> {
        let text = serde_json::to_vec(body)
            .map_err(|error| Error::Request(format!("what is to be sent is no JSON: {error}")))?;
        self.body = Some(text.into());
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(self)
    }

    pub(crate) fn header(mut self, name: &'static str, value: Option<&str>) -> Result<Self, Error> {
        if let Some(value) = value {
            let value = HeaderValue::from_str(value).map_err(|_| {
                Error::Request(format!("{name} holds characters that no header has"))
            })?;
            self.headers.insert(HeaderName::from_static(name), value);
        }
        Ok(self)
    }

    pub(crate) fn repeated(mut self) -> Self {
        self.repeat = true;
        self
    }

    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

impl Core {
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let wrong = |error: &dyn std::error::Error| {
            Error::Configuration(format!("no connection can be made: {}", root(error)))
        };
        let tls = tls().map_err(|error| wrong(&error))?;
        let build = |redirects: reqwest::redirect::Policy, is_here: bool| {
            #[expect(
                clippy::disallowed_methods,
                reason = "this is the client that others use"
            )]
            let http = reqwest::Client::builder()
                .redirect(redirects)
                .referer(false)
                .user_agent(USER_AGENT)
                .tls_backend_preconfigured(tls.clone());
            // A proxy of the environment leads away from this machine.
            let http = if is_here { http.no_proxy() } else { http };
            http.build().map_err(|error| wrong(&error))
        };
        let http = Http {
            api: build(
                reqwest::redirect::Policy::none(),
                is_this_machine(&settings.base),
            )?,
            files: build(reqwest::redirect::Policy::default(), false)?,
            files_here: build(reqwest::redirect::Policy::default(), true)?,
        };
        Ok(Self {
            settings,
            background: TaskTracker::new(),
            http,
        })
    }

    /// A request with the key, to a path of these segments below /api/v1.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> Result<Request, Error> {
        if let Some(name) = segments
            .iter()
            .find(|name| matches!(**name, "" | "." | ".."))
        {
            return Err(Error::Request(format!("{name:?} names nothing")));
        }
        let mut url = self.settings.base.clone();
        let mut path = format!("{}/api/v1", url.path().trim_end_matches('/'));
        for segment in segments {
            path.push('/');
            path.push_str(&encoded(segment));
        }
        url.set_path(&path);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, self.settings.key.header());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let repeat = matches!(method, Method::GET | Method::DELETE);
        Ok(Request {
            method,
            url,
            headers,
            body: None,
            repeat,
            hold: Duration::ZERO,
            is_file: false,
        })
    }

    pub(crate) fn get(&self, segments: &[&str]) -> Result<Request, Error> {
        self.request(Method::GET, segments)
    }

    /// The answer, repeating what may be repeated.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        self.repeating(request, |attempt| self.once(request, attempt))
            .await
    }

    pub(crate) async fn repeating<T, F: Future<Output = Result<T, Error>>>(
        &self,
        request: &Request,
        once: impl Fn(u32) -> F,
    ) -> Result<T, Error> {
        let settings = &self.settings;
        let began = settings.clock.monotonic();
        let mut attempt = 0;
        loop {
            let error = match once(attempt).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may = request.repeat && attempt < settings.max_retries;
            let Some(pause) = may.then(|| self.pause(&error, attempt + 1)).flatten() else {
                return Err(error);
            };
            let passed = settings.clock.monotonic().saturating_sub(began);
            if passed.saturating_add(pause) > settings.retry_budget {
                return Err(error);
            }
            attempt += 1;
            self.tell_retry(request, attempt, pause, &error);
            settings.clock.pause(pause).await;
        }
    }

    /// How long to wait before a repetition (the first is 1); none where no repetition can help.
    pub(crate) fn pause(&self, error: &Error, repetition: u32) -> Option<Duration> {
        let jitter = || {
            let exponent = i32::try_from(repetition.saturating_sub(1).min(10)).unwrap_or(10);
            let most = JITTER_MOST.min(JITTER_FIRST * 2_f64.powi(exponent));
            let share = self.settings.clock.random().clamp(0.0, 1.0);
            Duration::try_from_secs_f64(share * most).unwrap_or_default()
        };
        let error = match error {
            Error::Connection { .. } | Error::Timeout(_) => return Some(jitter()),
            Error::Api(error) => error,
            _ => return None,
        };
        let told = error
            .details
            .as_ref()
            .and_then(|details| details.get("retryable"));
        let again = match (&error.code, error.status) {
            // The try before this one was taken, and is still at work.
            (Some(Code::IdempotencyConflict), _) => repetition > 1 && error.retry_after.is_some(),
            (_, 429 | 500 | 502 | 503 | 504) => told != Some(&Value::Bool(false)),
            _ => false,
        };
        let is_over = error.retry_after > Some(self.settings.max_retry_after);
        (again && !error.made_a_job() && !is_over).then(|| error.retry_after.unwrap_or_else(jitter))
    }

    pub(crate) fn tell_retry(
        &self,
        request: &Request,
        attempt: u32,
        wait: Duration,
        error: &Error,
    ) {
        self.settings.hooks.retry(&RetryEvent {
            method: request.method.as_str(),
            url: request.url.as_str(),
            attempt,
            wait,
            error,
        });
    }

    /// One try, bounded from its beginning to its last byte.
    pub(crate) async fn once<T: DeserializeOwned>(
        &self,
        request: &Request,
        attempt: u32,
    ) -> Result<T, Error> {
        let bound = self.settings.timeout.saturating_add(request.hold);
        let whole = async {
            let body = request.body.clone().map(reqwest::Body::from);
            let response = self.open(request, attempt, |http| match body {
                Some(body) => http.body(body),
                None => http,
            });
            self.answer(request, response.await?).await
        };
        within(bound, request, whole).await
    }

    /// What a good answer says.
    pub(crate) async fn answer<T: DeserializeOwned>(
        &self,
        request: &Request,
        response: Response,
    ) -> Result<T, Error> {
        let response = self.good(request, response).await?;
        let status = response.status().as_u16();
        let (body, is_whole) = read(request, response, ANSWER_MOST).await?;
        if !is_whole {
            return Err(Error::connection(format!(
                "{} answered {status} with more than {} MiB",
                request.host(),
                ANSWER_MOST >> 20
            )));
        }
        serde_json::from_slice(&body).map_err(|error| Error::Connection {
            message: format!(
                "{} answered {status} with what cannot be understood",
                request.host()
            ),
            source: Some(error.into()),
        })
    }

    /// One try, up to the beginning of the answer's body.
    pub(crate) async fn open(
        &self,
        request: &Request,
        attempt: u32,
        with_body: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<Response, Error> {
        let (method, url) = (request.method.as_str(), request.url.as_str());
        let http = match (request.is_file, is_this_machine(&request.url)) {
            (false, _) => &self.http.api,
            (true, false) => &self.http.files,
            (true, true) => &self.http.files_here,
        };
        let hooks = &self.settings.hooks;
        hooks.request(&RequestEvent {
            method,
            url,
            attempt,
        });
        let began = self.settings.clock.monotonic();
        let builder = http
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        let sent = with_body(builder).send().await;
        let response = sent.map_err(|error| broken(request, error))?;
        hooks.response(&ResponseEvent {
            method,
            url,
            attempt,
            status: response.status().as_u16(),
            request_id: text(response.headers(), "x-request-id"),
            duration: self.settings.clock.monotonic().saturating_sub(began),
        });
        Ok(response)
    }

    /// The answer, or the error that it is.
    pub(crate) async fn good(
        &self,
        request: &Request,
        response: Response,
    ) -> Result<Response, Error> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        let (body, _) = read(request, response, ERROR_MOST).await?;
        Err(self.error(status, &headers, &body).into())
    }

    fn error(&self, status: StatusCode, headers: &HeaderMap, raw: &[u8]) -> ApiError {
        let number = status.as_u16();
        let body: Value =
            serde_json::from_slice(raw).unwrap_or_else(|_| String::from_utf8_lossy(raw).into());
        let nothing = Map::new();
        // What is not of our shape is a proxy's.
        let told = body
            .as_object()
            .filter(|told| told.get("error").is_some_and(Value::is_string));
        let told = told.unwrap_or(&nothing);
        let field = |name: &str| told.get(name);
        let word = |name: &str| field(name).and_then(Value::as_str);
        let (code, message) = if status.is_redirection() {
            let message =
                format!("The server answered {number}, a redirect, which is not followed.");
            (Some("UNEXPECTED_REDIRECT"), message)
        } else {
            let unreadable = || format!("The server answered {number} without a readable error.");
            (
                word("code"),
                word("error").map_or_else(unreadable, str::to_owned),
            )
        };
        ApiError {
            status: number,
            code: code.map(Code::from),
            message,
            details: field("details").and_then(Value::as_object).cloned(),
            request_id: word("requestId")
                .or_else(|| text(headers, "x-request-id"))
                .map(str::to_owned),
            credits_required: field("creditsRequired").and_then(Value::as_i64),
            credits_remaining: field("creditsRemaining").and_then(Value::as_i64),
            retry_after: retry_after(headers, told, self.settings.clock.now()),
            limits: field("limits").and_then(|limits| serde_json::from_value(limits.clone()).ok()),
            refund: field("refund").and_then(|refund| serde_json::from_value(refund.clone()).ok()),
            replayed: text(headers, "idempotent-replayed")
                .is_some_and(|said| said.eq_ignore_ascii_case("true")),
            job: None,
            job_id: None,
            texts: Arc::clone(&self.settings.texts),
            body,
        }
    }
}

/// What comes in time, or an error that says so.
pub(crate) async fn within<T>(
    bound: Duration,
    request: &Request,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let late = |_| {
        let (host, seconds) = (request.host(), bound.as_secs_f64());
        Error::Timeout(format!("{host} did not answer in {seconds} s"))
    };
    tokio::time::timeout(bound, work).await.map_err(late)?
}

/// The next piece of a body; none at its end.
pub(crate) async fn chunk(
    request: &Request,
    response: &mut Response,
) -> Result<Option<Bytes>, Error> {
    let next = async {
        response
            .chunk()
            .await
            .map_err(|error| broken(request, error))
    };
    within(SILENCE, request, next).await
}

/// What a body begins with, and whether that is all of it.
async fn read(
    request: &Request,
    mut response: Response,
    most: usize,
) -> Result<(BytesMut, bool), Error> {
    let mut body = BytesMut::new();
    loop {
        let piece = response.chunk().await;
        let Some(piece) = piece.map_err(|error| broken(request, error))? else {
            return Ok((body, true));
        };
        let room = most - body.len();
        if piece.len() > room {
            body.extend_from_slice(&piece[..room]);
            return Ok((body, false));
        }
        body.extend_from_slice(&piece);
    }
}

fn broken(request: &Request, error: reqwest::Error) -> Error {
    // The address of a file opens it, so that no error shows it.
    let error = error.without_url();
    let host = request.host();
    Error::Connection {
        message: format!("no whole answer of {host}: {}", root(&error)),
        source: Some(error.into()),
    }
}

/// What lies at the bottom of an error.
fn root(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(below) = at.source() {
        at = below;
    }
    at.to_string()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The header, in seconds or as a date; else what the body says.
fn retry_after(
    headers: &HeaderMap,
    body: &Map<String, Value>,
    now: SystemTime,
) -> Option<Duration> {
    let said = text(headers, RETRY_AFTER.as_str())
        .unwrap_or_default()
        .trim();
    if !said.is_empty() && said.bytes().all(|byte| byte.is_ascii_digit()) {
        // What is too large for a number is too long to wait.
        return Some(Duration::from_secs(said.parse().unwrap_or(u64::MAX)));
    }
    if let Ok(date) = httpdate::parse_http_date(said) {
        return Some(date.duration_since(now).unwrap_or_default());
    }
    let seconds = body.get("retryAfter")?.as_f64()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A segment of a path, which leads to no other.
fn encoded(segment: &str) -> String {
    let mut text = String::new();
    for byte in segment.bytes() {
        match byte {
            b'-' | b'_' | b'.' | b'~' => text.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => text.push(byte.into()),
            _ => {
                // Nothing can fail that writes to a text.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

/// Chance as text, for names of files that nobody else chooses.
pub(crate) fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 6];
    fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// A random UUID.
pub(crate) fn uuid() -> Result<String, Error> {
    let mut bytes = [0; 16];
    fill(&mut bytes).map_err(|error| Error::Configuration(error.to_string()))?;
    let number = u128::from_be_bytes(bytes);
    // Version 4 of the first variant.
    let number = number & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let text = format!("{number:032x}");
    Ok([
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ]
    .join("-"))
}

fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let filled = SystemRandom::new().fill(bytes);
    filled.map_err(|_| io::Error::other("the system gives no random numbers"))
}

pub(crate) fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn tls() -> Result<rustls::ClientConfig, rustls::Error> {
    use rustls_platform_verifier::ConfigVerifierExt as _;
    // Tolerates a provider that the program has chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    rustls::ClientConfig::with_platform_verifier()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_this_machine() {
        let is_here = |url: &str| is_this_machine(&Url::parse(url).unwrap());
        for here in [
            "http://127.0.0.1:8787",
            "http://localhost",
            "http://[::1]:80",
        ] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in [
            "http://10.0.0.1",
            "https://api.example.com",
            "http://127.0.0.1.example.com",
        ] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_uuid_is_random_and_says_so() {
        let (one, other) = (uuid().unwrap(), uuid().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 36);
        assert_eq!(&one[14..15], "4");
        assert!(matches!(&one[19..20], "8" | "9" | "a" | "b"), "{one}");
    }
}
