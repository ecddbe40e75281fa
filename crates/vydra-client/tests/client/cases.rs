//! The cases that the clients of all languages share (sdks/cases), on the async client and on the blocking one.

use crate::support::{FakeClock, KEY, Scripted, filled, subset};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use vydra_client::{
    AssetFilter, Builder, Buy, Client, Code, DeliveryFilter, Environment, Error, ErrorClass,
    EventFilter, Job, JobFilter, ModelFilter, Progress, Quoted, Source, TransactionFilter,
    UploadOptions, UsageFilter, Wait, blocking, types, webhooks,
};

/// The arguments of a call.
struct Arguments<'a> {
    given: &'a Value,
    folder: &'a Path,
    seen: Arc<Mutex<Value>>,
    clock: FakeClock,
}

impl Arguments<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.given[name].as_str().map(str::to_owned)
    }

    fn word(&self, name: &str) -> &str {
        self.given[name].as_str().unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.given[name].as_u64()
    }

    fn short(&self, name: &str) -> Option<u32> {
        self.number(name).map(|number| number.try_into().unwrap())
    }

    fn job(&self) -> String {
        let job = &self.given["job"];
        let named = job
            .as_str()
            .or(job["id"].as_str())
            .or(job["jobId"].as_str());
        named.unwrap().to_owned()
    }

    fn input(&self) -> &Value {
        &self.given["input"]
    }

    fn buy(&self) -> Buy {
        Buy {
            idempotency_key: self.text("idempotencyKey"),
            max_credits: self.number("maxCredits"),
            webhook_url: self.text("webhookUrl"),
            simulate: self.text("simulate"),
            no_fallback: self.given["noFallback"] == true,
            respond_async: false,
        }
    }

    fn wait(&self) -> Wait {
        let standard = Wait::default();
        Wait {
            timeout: self
                .number("timeout")
                .map_or(standard.timeout, Duration::from_secs),
            ..standard
        }
    }

    fn jobs(&self) -> JobFilter {
        JobFilter {
            status: self.text("status"),
            workflow: self.text("workflow"),
            after: self.text("after"),
            limit: self.short("limit"),
            offset: self.short("offset"),
        }
    }

    fn assets(&self) -> AssetFilter {
        AssetFilter {
            workflow: self.text("workflow"),
            after: self.text("after"),
            limit: self.short("limit"),
            offset: self.short("offset"),
        }
    }

    fn transactions(&self) -> TransactionFilter {
        TransactionFilter {
            r#type: self.text("type"),
            job_id: self.text("jobId"),
            after: self.text("after"),
            limit: self.short("limit"),
            offset: self.short("offset"),
        }
    }

    fn deliveries(&self) -> DeliveryFilter {
        DeliveryFilter {
            status: self.text("status"),
            endpoint_id: self.text("endpointId"),
            after: self.text("after"),
            limit: self.short("limit"),
            offset: self.short("offset"),
        }
    }

    fn models(&self) -> ModelFilter {
        ModelFilter {
            provider: self.text("provider"),
            is_active: self.given["isActive"].as_bool(),
        }
    }

    fn usage(&self) -> UsageFilter {
        UsageFilter {
            from: self.text("from"),
            to: self.text("to"),
            by: self.text("by"),
        }
    }

    fn events(&self) -> EventFilter {
        EventFilter {
            after: self.text("after"),
            limit: self.short("limit"),
            wait: self.number("wait"),
        }
    }

    fn changes(&self) -> types::EndpointChanges {
        types::EndpointChanges {
            enabled: self.given["enabled"].as_bool(),
            ..types::EndpointChanges::default()
        }
    }

    /// A file to send in; `reader` makes one that blocks of a stream.
    fn source(&self, reader: bool) -> (Source, UploadOptions) {
        let file = &self.given["file"];
        let content = STANDARD.decode(file["base64"].as_str().unwrap()).unwrap();
        let source = match file["as"].as_str().unwrap() {
            "path" => {
                let path = self.folder.join(file["name"].as_str().unwrap());
                std::fs::write(&path, content).unwrap();
                Source::path(path)
            }
            "bytes" => Source::bytes(content),
            _ if reader => Source::reader(std::io::Cursor::new(content)),
            _ => Source::stream(std::io::Cursor::new(content)),
        };
        let options = UploadOptions {
            filename: self.text("filename"),
            r#type: self.text("type"),
        };
        (source, options)
    }

    fn progress(&self) -> Progress {
        let seen = Arc::clone(&self.seen);
        Progress::new(move |received, total| *seen.lock().unwrap() = json!([received, total]))
    }

    fn file(&self, content: &[u8]) -> Value {
        json!({"base64": STANDARD.encode(content), "progress": *self.seen.lock().unwrap()})
    }

    fn to(&self) -> std::path::PathBuf {
        self.folder.join(self.word("to"))
    }

    fn verified(&self) -> Result<Value, Error> {
        let headers = self.given["headers"].as_object().unwrap();
        let header = |name: &str| {
            let mut named = headers
                .iter()
                .filter(|(given, _)| given.eq_ignore_ascii_case(name));
            named.next()?.1.as_str()
        };
        let secrets: Vec<String> = match &self.given["secret"] {
            Value::Array(secrets) => secrets
                .iter()
                .map(|secret| secret.as_str().unwrap().to_owned())
                .collect(),
            secret => vec![secret.as_str().unwrap().to_owned()],
        };
        let now = vydra_client::Clock::now(&self.clock);
        webhooks::verify_at(now, self.word("body").as_bytes(), header, secrets).map(shown)
    }
}

fn shown(answer: impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap()
}

/// A job that was waited for has `url` and `urls`.
fn completed(job: &Job) -> Value {
    let mut value = shown(job);
    value["url"] = json!(job.url());
    value["urls"] = json!(job.urls());
    value
}

async fn pages<T: Serialize + DeserializeOwned>(
    page: vydra_client::Page<T>,
) -> Result<Value, Error> {
    let data = shown(&page.data);
    let mut items = page.items();
    let mut all = Vec::new();
    while let Some(item) = items.next().await? {
        all.push(shown(item));
    }
    Ok(json!({"data": data, "items": all}))
}

fn blocking_pages<T: Serialize + DeserializeOwned>(
    page: blocking::Page<T>,
) -> Result<Value, Error> {
    let data = shown(&page.data);
    let items: Result<Vec<T>, Error> = page.items().collect();
    Ok(json!({"data": data, "items": shown(items?)}))
}

async fn call(client: &Client, op: &str, given: &Arguments<'_>) -> Result<Value, Error> {
    let (buy, wait) = (given.buy(), given.wait());
    Ok(match op {
        "generate.image" => completed(&client.generate().image(given.input(), &buy, &wait).await?),
        "generate.video" => completed(&client.generate().video(given.input(), &buy, &wait).await?),
        "generate.speech" => {
            completed(&client.generate().speech(given.input(), &buy, &wait).await?)
        }
        "jobs.create" => shown(
            client
                .jobs()
                .create(given.word("workflow"), given.input(), &buy)
                .await?,
        ),
        "jobs.get" => shown(
            client
                .jobs()
                .get(&given.job(), given.number("wait"))
                .await?,
        ),
        "jobs.list" => pages(client.jobs().list(&given.jobs()).await?).await?,
        "jobs.cancel" => shown(client.jobs().cancel(&given.job()).await?),
        "wait" => completed(&client.wait(&given.job(), &wait).await?),
        "stream" => {
            let mut stream = client.stream(&given.job(), &wait);
            let mut events = Vec::new();
            while let Some(event) = stream.next().await? {
                events.push(shown(event));
            }
            json!({"events": events})
        }
        "upload" => {
            let (source, options) = given.source(false);
            shown(client.upload(source, &options, &Progress::none()).await?)
        }
        "download" => {
            let length = client
                .download(given.word("url"), given.to(), &given.progress())
                .await?;
            let content = std::fs::read(given.to()).unwrap();
            assert_eq!(content.len() as u64, length);
            given.file(&content)
        }
        "bytes" => given.file(&client.bytes(given.word("url"), &given.progress()).await?),
        "models.list" => shown(client.models().list(&given.models()).await?),
        "models.run" => shown(
            client
                .models()
                .run(given.word("path"), given.input(), &buy)
                .await?,
        ),
        "quote" => shown(
            client
                .quote(Quoted::Workflow(given.word("workflow")), given.input())
                .await?,
        ),
        "credits" => shown(client.credits().await?),
        "usage" => shown(client.usage(&given.usage()).await?),
        "transactions" => pages(client.transactions(&given.transactions()).await?).await?,
        "events" => shown(client.events(&given.events()).await?),
        "assets.list" => pages(client.assets().list(&given.assets()).await?).await?,
        "webhooks.endpoints.update" => {
            let endpoints = client.webhooks().endpoints();
            shown(endpoints.update(given.word("id"), &given.changes()).await?)
        }
        "webhooks.deliveries.list" => {
            pages(
                client
                    .webhooks()
                    .deliveries()
                    .list(&given.deliveries())
                    .await?,
            )
            .await?
        }
        "webhooks.verify" => given.verified()?,
        _ => panic!("{op} is not known"),
    })
}

fn call_blocking(
    client: &blocking::Client,
    op: &str,
    given: &Arguments<'_>,
) -> Result<Value, Error> {
    let (buy, wait) = (given.buy(), given.wait());
    Ok(match op {
        "generate.image" => completed(&client.generate().image(given.input(), &buy, &wait)?),
        "generate.video" => completed(&client.generate().video(given.input(), &buy, &wait)?),
        "generate.speech" => completed(&client.generate().speech(given.input(), &buy, &wait)?),
        "jobs.create" => shown(client.jobs().create(
            given.word("workflow"),
            given.input(),
            &buy,
        )?),
        "jobs.get" => shown(client.jobs().get(&given.job(), given.number("wait"))?),
        "jobs.list" => blocking_pages(client.jobs().list(&given.jobs())?)?,
        "jobs.cancel" => shown(client.jobs().cancel(&given.job())?),
        "wait" => completed(&client.wait(&given.job(), &wait)?),
        "stream" => {
            let events: Result<Vec<_>, Error> = client.stream(&given.job(), &wait).collect();
            json!({"events": shown(events?)})
        }
        "upload" => {
            let (source, options) = given.source(true);
            shown(client.upload(source, &options, &Progress::none())?)
        }
        "download" => {
            client.download(given.word("url"), given.to(), &given.progress())?;
            given.file(&std::fs::read(given.to()).unwrap())
        }
        "bytes" => given.file(&client.bytes(given.word("url"), &given.progress())?),
        "models.list" => shown(client.models().list(&given.models())?),
        "models.run" => shown(
            client
                .models()
                .run(given.word("path"), given.input(), &buy)?,
        ),
        "quote" => shown(client.quote(Quoted::Workflow(given.word("workflow")), given.input())?),
        "credits" => shown(client.credits()?),
        "usage" => shown(client.usage(&given.usage())?),
        "transactions" => blocking_pages(client.transactions(&given.transactions())?)?,
        "events" => shown(client.events(&given.events())?),
        "assets.list" => blocking_pages(client.assets().list(&given.assets())?)?,
        "webhooks.endpoints.update" => {
            let endpoints = client.webhooks().endpoints();
            shown(endpoints.update(given.word("id"), &given.changes())?)
        }
        "webhooks.deliveries.list" => {
            blocking_pages(client.webhooks().deliveries().list(&given.deliveries())?)?
        }
        "webhooks.verify" => given.verified()?,
        _ => panic!("{op} is not known"),
    })
}

/// The classes of docs/clients.md that an error belongs to.
fn classes(error: &Error) -> Vec<String> {
    let name = |text: &str| vec![text.to_owned()];
    match error {
        Error::Configuration(_) | Error::Request(_) => name("ConfigurationError"),
        Error::Connection { .. } => name("ConnectionError"),
        Error::Timeout(_) => vec!["TimeoutError".into(), "ConnectionError".into()],
        Error::WaitTimeout { .. } => name("WaitTimeoutError"),
        Error::JobCancelled { .. } => name("JobCancelledError"),
        Error::WebhookVerification(_) => name("WebhookVerificationError"),
        Error::Download(_) => name("DownloadError"),
        Error::Api(error) => {
            let class = match error.class() {
                ErrorClass::BadRequest => "BadRequestError",
                ErrorClass::Authentication => "AuthenticationError",
                ErrorClass::PaymentRequired => "PaymentRequiredError",
                ErrorClass::PermissionDenied => "PermissionDeniedError",
                ErrorClass::NotFound => "NotFoundError",
                ErrorClass::MethodNotAllowed => "MethodNotAllowedError",
                ErrorClass::Conflict => "ConflictError",
                ErrorClass::RateLimit => "RateLimitError",
                ErrorClass::Server => "ServerError",
                ErrorClass::Unavailable => "UnavailableError",
                _ => "ApiError",
            };
            let mut names = vec!["ApiError".to_owned(), class.to_owned()];
            names.extend(error.code.as_ref().and_then(class_of_code));
            names
        }
        _ => Vec::new(),
    }
}

/// `INVALID_INPUT` as `InvalidInputError`; the languages with classes call two of them otherwise.
fn class_of_code(code: &Code) -> Option<String> {
    match code {
        Code::Unknown(_) => None,
        Code::NotFound => Some("ResourceNotFoundError".into()),
        Code::InternalError => Some("InternalError".into()),
        known => Some(format!("{known:?}Error")),
    }
}

fn check_error(wanted: &Value, error: &Error) {
    let mut classes = classes(error);
    classes.push("VydraError".into());
    let listed = wanted["classes"].as_array().into_iter().flatten();
    for class in std::iter::once(&wanted["class"])
        .chain(listed)
        .filter_map(Value::as_str)
    {
        assert!(
            classes.iter().any(|name| name == class),
            "{error:?} is no {class} but {classes:?}"
        );
    }
    for (name, value) in wanted.as_object().unwrap() {
        if !matches!(name.as_str(), "class" | "classes") {
            subset(value, &field(error, name), name);
        }
    }
    let everything = format!("{error} {error:?} {error:#?}");
    let words: BTreeSet<&str> = everything
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .collect();
    assert!(!words.contains(KEY), "{everything}");
}

fn field(error: &Error, name: &str) -> Value {
    match (name, error) {
        ("friendly", _) => json!(error.friendly()),
        ("retryable", _) => json!(error.retryable()),
        ("job", _) => json!(error.job()),
        ("jobId", Error::WaitTimeout { job_id, .. }) => json!(job_id),
        ("message", Error::Api(error)) => json!(error.message),
        ("message", _) => json!(error.to_string()),
        ("status", Error::Api(error)) => json!(error.status),
        ("code", Error::Api(error)) => json!(error.code),
        ("details", Error::Api(error)) => json!(error.details),
        ("requestId", Error::Api(error)) => json!(error.request_id),
        ("creditsRequired", Error::Api(error)) => json!(error.credits_required),
        ("creditsRemaining", Error::Api(error)) => json!(error.credits_remaining),
        ("retryAfter", Error::Api(error)) => {
            json!(error.retry_after.map(|after| after.as_secs_f64()))
        }
        ("limits", Error::Api(error)) => json!(error.limits),
        ("refund", Error::Api(error)) => json!(error.refund),
        ("body", Error::Api(error)) => error.body.clone(),
        _ => panic!("{error:?} has no {name}"),
    }
}

/// What the client of a case is told; `config` is where its credentials are.
fn builder(case: &Value, base: &str, clock: &FakeClock, config: &Path) -> Builder {
    let given = &case["client"];
    let env = |name: &str| case["env"][name].as_str().map(str::to_owned);
    let environment = Environment {
        base_url: env("VYDRA_BASE_URL"),
        api_key: env("VYDRA_API_KEY"),
        config_home: Some(config.to_owned()),
    };
    let mut builder = Client::builder()
        .clock(clock.clone())
        .environment(environment);
    // What is null is not given.
    let told = |name: &str, otherwise: &str| match given.get(name) {
        None => Some(otherwise.to_owned()),
        Some(value) => value.as_str().map(str::to_owned),
    };
    if let Some(url) = told("baseUrl", base) {
        builder = builder.base_url(url);
    }
    if let Some(key) = told("apiKey", KEY) {
        builder = builder.api_key(key);
    }
    if let Some(retries) = given["maxRetries"].as_u64() {
        builder = builder.max_retries(retries.try_into().unwrap());
    }
    let seconds = |name: &str| given[name].as_f64().map(Duration::from_secs_f64);
    if let Some(timeout) = seconds("timeout") {
        builder = builder.timeout(timeout);
    }
    if let Some(budget) = seconds("retryBudget") {
        builder = builder.retry_budget(budget);
    }
    if let Some(most) = seconds("maxRetryAfter") {
        builder = builder.max_retry_after(most);
    }
    for (code, text) in given["friendly"].as_object().into_iter().flatten() {
        builder = builder.friendly(code, text.as_str().unwrap());
    }
    builder
}

fn run(case: &Value, is_blocking: bool) {
    let (folder, config) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let clock = FakeClock::of(case);
    let (server, other) = (Scripted::start(&clock), Scripted::start(&clock));
    let case = filled(case, &server.url, &other.url);
    server.answers_with(&case["exchanges"]);
    other.answers_with(&case["other"]);
    if let Some(credentials) = case.get("credentials") {
        let text = credentials
            .as_str()
            .map_or_else(|| credentials.to_string(), str::to_owned);
        std::fs::create_dir(config.path().join("vydra")).unwrap();
        std::fs::write(config.path().join("vydra/credentials.json"), text).unwrap();
    }
    let given = Arguments {
        given: &case["call"]["args"],
        folder: folder.path(),
        seen: Arc::default(),
        clock: clock.clone(),
    };
    let op = case["call"]["op"].as_str().unwrap();
    let builder = builder(&case, &server.url, &clock, config.path());
    let outcome = if is_blocking {
        builder
            .build_blocking()
            .and_then(|client| call_blocking(&client, op, &given))
    } else {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async { call(&builder.build()?, op, &given).await })
    };
    let (requests, others) = (server.finish(), other.finish());
    match (case.get("error"), &outcome) {
        (Some(wanted), Err(error)) => check_error(wanted, error),
        (None, Ok(result)) => case
            .get("result")
            .into_iter()
            .for_each(|wanted| subset(wanted, result, "result")),
        (_, outcome) => panic!("gave {outcome:?}"),
    }
    let count = |exchanges: &Value| exchanges.as_array().map_or(0, Vec::len);
    assert_eq!(requests, count(&case["exchanges"]), "requests");
    assert_eq!(
        others,
        count(&case["other"]),
        "requests of the other server"
    );
    if let Some(wanted) = case["waits"].as_array() {
        let waits = clock.waits();
        let are_so = wanted.len() == waits.len()
            && wanted
                .iter()
                .zip(&waits)
                .all(|(wanted, wait)| (wanted.as_f64().unwrap() - wait).abs() < 1e-6);
        assert!(are_so, "waited {waits:?} and not {wanted:?}");
    }
    if op == "download" {
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left.len(), usize::from(outcome.is_ok()), "{left:?}");
    }
}

/// Every case of a file, each of which may fail without hiding the others.
fn all(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../sdks/cases")
        .join(file);
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(!cases.is_empty());
    let mut failed = BTreeMap::new();
    for case in &cases {
        for (way, is_blocking) in [("async", false), ("blocking", true)] {
            let name = format!("{} ({way})", case["name"].as_str().unwrap());
            if let Err(panic) = std::panic::catch_unwind(|| run(case, is_blocking)) {
                let text = panic.downcast_ref::<String>().cloned();
                failed.insert(
                    name,
                    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())),
                );
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} failed: {failed:#?}",
        failed.len(),
        cases.len() * 2
    );
}

#[test]
fn errors() {
    all("errors.json");
}

#[test]
fn files() {
    all("files.json");
}

#[test]
fn keys() {
    all("keys.json");
}

#[test]
fn lists() {
    all("lists.json");
}

#[test]
fn retries() {
    all("retries.json");
}

#[test]
fn streams() {
    all("streams.json");
}

#[test]
fn waits() {
    all("waits.json");
}

#[test]
fn verified_webhooks() {
    all("webhooks.json");
}

#[test]
fn no_file_of_cases_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdks/cases");
    let names = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<_> = names.filter(|name| name != "README.md").collect();
    let known = [
        "errors", "files", "keys", "lists", "retries", "streams", "waits", "webhooks",
    ];
    assert_eq!(names, known.map(|name| format!("{name}.json")).into());
}
