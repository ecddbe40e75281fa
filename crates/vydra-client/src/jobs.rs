//! Jobs: buying them, looking at them, waiting for them.

use crate::client::Client;
use crate::code::Code;
use crate::error::{ApiError, Error, whole_seconds};
use crate::options::{Buy, JobFilter, Wait};
use crate::pages::Page;
use crate::transport::{Core, Request, uuid};
use crate::types::{Charges, Job};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// How long the server is asked to hold an answer of which it is waited for.
const HOLD: Duration = Duration::from_secs(25);
/// An answer that comes sooner was not held.
const SOON: Duration = Duration::from_secs(1);

/// How a job stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum JobStatus {
    /// It has not begun.
    #[default]
    Pending,
    /// It is being done.
    Running,
    /// What was asked for is there.
    Completed,
    /// It could not be done; what it cost came back.
    Failed,
    /// Somebody has cancelled it; what it cost came back.
    Cancelled,
    /// A word that this version does not know.
    Unknown(String),
}

impl JobStatus {
    /// As it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown(word) => word,
        }
    }

    /// Whether nothing comes after it.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl From<String> for JobStatus {
    fn from(word: String) -> Self {
        match word.as_str() {
            "pending" => Self::Pending,
            "running" => Self::Running,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            _ => Self::Unknown(word),
        }
    }
}

impl From<JobStatus> for String {
    fn from(status: JobStatus) -> Self {
        status.as_str().to_owned()
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Job {
    /// The first of what was made, whatever it is.
    pub fn url(&self) -> Option<&str> {
        let output = self.output.as_ref().map(|output| output.url.as_str());
        output
            .filter(|url| !url.is_empty())
            .or_else(|| self.urls().first().copied())
    }

    /// All that was made.
    pub fn urls(&self) -> Vec<&str> {
        if let Some(urls) = self.result_urls.as_ref().filter(|urls| !urls.is_empty()) {
            return urls.iter().map(String::as_str).collect();
        }
        let Some(output) = &self.output else {
            return Vec::new();
        };
        let urls: Vec<_> = output
            .assets
            .iter()
            .map(|asset| asset.url.as_str())
            .collect();
        let only = Some(output.url.as_str()).filter(|url| urls.is_empty() && !url.is_empty());
        only.map_or(urls, |url| vec![url])
    }

    /// Answers name a job by `id`, by `jobId`, or by both.
    fn named(mut self) -> Self {
        if self.id.is_empty() {
            self.id.clone_from(&self.job_id);
        } else if self.job_id.is_empty() {
            self.job_id.clone_from(&self.id);
        }
        self
    }
}

/// What [`Client::generate`] gives: buys, waits, and gives the completed job.
#[derive(Debug, Clone, Copy)]
pub struct Generate<'a>(&'a Client);

impl Generate<'_> {
    /// Makes an image of a text.
    pub async fn image(
        &self,
        input: &impl Serialize,
        buy: &Buy,
        wait: &Wait,
    ) -> Result<Job, Error> {
        self.job("generate_image", input, buy, wait).await
    }

    /// Makes a video of a text, or of an image and a text.
    pub async fn video(
        &self,
        input: &impl Serialize,
        buy: &Buy,
        wait: &Wait,
    ) -> Result<Job, Error> {
        self.job("generate_video", input, buy, wait).await
    }

    /// Speaks a text.
    pub async fn speech(
        &self,
        input: &impl Serialize,
        buy: &Buy,
        wait: &Wait,
    ) -> Result<Job, Error> {
        let buy = Buy {
            respond_async: true,
            ..buy.clone()
        };
        let request = of_model(&self.0.core, "elevenlabs/tts", input, &buy)?;
        buy_and_wait(&self.0.core, request, wait).await
    }

    async fn job(
        &self,
        workflow: &str,
        input: &impl Serialize,
        buy: &Buy,
        wait: &Wait,
    ) -> Result<Job, Error> {
        let request = of_workflow(&self.0.core, workflow, input, buy)?;
        buy_and_wait(&self.0.core, request, wait).await
    }
}

/// What [`Client::jobs`] gives: what was bought.
#[derive(Debug, Clone, Copy)]
pub struct Jobs<'a>(&'a Client);

impl Jobs<'_> {
    /// Buys a job of a workflow, and does not wait for it.
    pub async fn create(
        &self,
        workflow: &str,
        input: &impl Serialize,
        buy: &Buy,
    ) -> Result<Job, Error> {
        let core = &self.0.core;
        run(core, &of_workflow(core, workflow, input, buy)?).await
    }

    /// A job as it is; with `wait`, once it has ended or after so many seconds (at most 60).
    pub async fn get(&self, id: &str, wait: Option<u64>) -> Result<Job, Error> {
        let core = &self.0.core;
        let request = core.get(&["jobs", id])?.wait(wait);
        core.json(&request).await.map(Job::named)
    }

    /// The jobs of the organization, the newest first.
    pub async fn list(&self, filter: &JobFilter) -> Result<Page<Job>, Error> {
        let core = &self.0.core;
        let request = core
            .get(&["jobs"])?
            .query("limit", filter.limit)
            .query("offset", filter.offset)
            .query("status", filter.status.as_ref())
            .query("workflow", filter.workflow.as_ref())
            .query("after", filter.after.as_ref());
        Page::fetch(core, request).await
    }

    /// Cancels a job; what it cost comes back.
    pub async fn cancel(&self, id: &str) -> Result<Job, Error> {
        cancel(&self.0.core, id).await
    }

    /// Why a job cost what it cost.
    pub async fn charges(&self, id: &str) -> Result<Charges, Error> {
        let core = &self.0.core;
        core.json(&core.get(&["jobs", id, "charges"])?).await
    }
}

impl Client {
    /// Buys, waits, and gives the completed job with the addresses of what was made.
    pub fn generate(&self) -> Generate<'_> {
        Generate(self)
    }

    /// What was bought.
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs(self)
    }

    /// Waits until a job has ended, and gives it completed. A job that failed is the error of its code, one that was cancelled
    /// [`Error::JobCancelled`], and one that goes on when the time is over [`Error::WaitTimeout`].
    pub async fn wait(&self, id: &str, wait: &Wait) -> Result<Job, Error> {
        let guard = wait
            .cancel_on_drop
            .then(|| CancelOnDrop::of_job(&self.core, id));
        let ended = ended(&self.core, id, wait.timeout).await;
        if let Some(guard) = guard {
            guard.disarm();
        }
        ended
    }
}

pub(crate) async fn cancel(core: &Core, id: &str) -> Result<Job, Error> {
    let request = core.request(Method::DELETE, &["jobs", id])?;
    core.json(&request).await.map(Job::named)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewJob<'a, T> {
    workflow: &'a str,
    input: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_url: Option<&'a str>,
}

fn of_workflow(
    core: &Core,
    workflow: &str,
    input: &impl Serialize,
    buy: &Buy,
) -> Result<Request, Error> {
    let body = NewJob {
        workflow,
        input,
        webhook_url: buy.webhook_url.as_deref(),
    };
    bought(core.request(Method::POST, &["jobs"])?.json(&body)?, buy)
}

/// A call of a model, at its path below `models`.
pub(crate) fn of_model(
    core: &Core,
    path: &str,
    input: &impl Serialize,
    buy: &Buy,
) -> Result<Request, Error> {
    let input = serde_json::to_value(input);
    let Ok(Value::Object(mut input)) = input else {
        return Err(Error::Request("the input of a model is an object".into()));
    };
    if let Some(url) = &buy.webhook_url {
        input.insert("webhookUrl".into(), url.as_str().into());
    }
    let segments = std::iter::once("models").chain(path.trim_matches('/').split('/'));
    let segments: Vec<_> = segments.collect();
    bought(core.request(Method::POST, &segments)?.json(&input)?, buy)
}

/// Buys once, however often it is sent.
fn bought(request: Request, buy: &Buy) -> Result<Request, Error> {
    let key = buy.idempotency_key.clone().map_or_else(uuid, Ok)?;
    let max_credits = buy.max_credits.map(|credits| credits.to_string());
    Ok(request
        .header("idempotency-key", Some(&key))?
        .header("x-max-credits", max_credits.as_deref())?
        .header("x-vydra-simulate", buy.simulate.as_deref())?
        .header("x-vydra-no-fallback", buy.no_fallback.then_some("true"))?
        .header("prefer", buy.respond_async.then_some("respond-async"))?
        .repeated())
}

/// The answer to a purchase. One that names no job is none of ours: nobody could look at what was bought.
#[derive(Deserialize)]
#[serde(try_from = "Job")]
struct Named(Job);

impl TryFrom<Job> for Named {
    type Error = &'static str;

    fn try_from(job: Job) -> Result<Self, Self::Error> {
        let job = job.named();
        if job.id.is_empty() {
            return Err("it names no job");
        }
        Ok(Self(job))
    }
}

/// Buys, and gives the results or a pending job.
pub(crate) async fn run(core: &Core, request: &Request) -> Result<Job, Error> {
    let Named(job) = core.json(request).await?;
    Ok(job)
}

async fn buy_and_wait(core: &Arc<Core>, request: Request, wait: &Wait) -> Result<Job, Error> {
    if !wait.cancel_on_drop {
        let job = run(core, &request).await?;
        return ended(core, &job.id, wait.timeout).await;
    }
    let mut guard = CancelOnDrop::of_purchase(core, request);
    let job = guard.job().await?;
    let ended = ended(core, &job.id, wait.timeout).await;
    guard.disarm();
    ended
}

/// What is cancelled when this is dropped.
enum Bought {
    Job(String),
    /// It goes on when nobody waits for it any more: broken off, it would leave a job that nobody knows of.
    Purchase(JoinHandle<Result<Job, Error>>),
    Nothing,
}

pub(crate) struct CancelOnDrop {
    core: Arc<Core>,
    runtime: Handle,
    bought: Bought,
}

impl CancelOnDrop {
    pub(crate) fn of_job(core: &Arc<Core>, id: &str) -> Self {
        Self::new(core, Bought::Job(id.to_owned()))
    }

    fn of_purchase(core: &Arc<Core>, request: Request) -> Self {
        let buyer = Arc::clone(core);
        let purchase = core
            .background
            .spawn(async move { run(&buyer, &request).await });
        Self::new(core, Bought::Purchase(purchase))
    }

    fn new(core: &Arc<Core>, bought: Bought) -> Self {
        Self {
            core: Arc::clone(core),
            runtime: Handle::current(),
            bought,
        }
    }

    /// The job, once it is bought.
    async fn job(&mut self) -> Result<Job, Error> {
        let Bought::Purchase(purchase) = &mut self.bought else {
            return Err(Error::connection("the purchase was lost"));
        };
        let job = purchase.await;
        self.bought = Bought::Nothing;
        // Nothing but the end of the runtime ends it before its time.
        let job =
            job.map_err(|error| Error::connection(format!("the purchase was lost: {error}")))??;
        self.bought = Bought::Job(job.id.clone());
        Ok(job)
    }

    pub(crate) fn disarm(mut self) {
        self.bought = Bought::Nothing;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let bought = std::mem::replace(&mut self.bought, Bought::Nothing);
        if matches!(bought, Bought::Nothing) {
            return;
        }
        let core = Arc::clone(&self.core);
        let cancelling = async move {
            let id = match bought {
                Bought::Job(id) => Some(id),
                Bought::Purchase(purchase) => {
                    purchase.await.ok().and_then(Result::ok).map(|job| job.id)
                }
                Bought::Nothing => None,
            };
            if let Some(id) = id {
                // Nobody is there any more who could be told.
                let _ = cancel(&core, &id).await;
            }
        };
        self.core.background.spawn_on(cancelling, &self.runtime);
    }
}

/// The pause after an answer that was not held, or of a stream that broke: 1 s, and half as long again each time, up to 10 s.
pub(crate) fn growing(times: u32) -> Duration {
    let exponent = i32::try_from(times.min(6)).unwrap_or(6);
    Duration::from_secs_f64(1.5_f64.powi(exponent).min(10.0))
}

async fn ended(core: &Core, id: &str, timeout: Duration) -> Result<Job, Error> {
    let job = last_of(core, id, timeout).await?.named();
    match job.status {
        JobStatus::Failed => Err(failure(core, job).into()),
        JobStatus::Cancelled => Err(Error::JobCancelled { job: Box::new(job) }),
        _ => Ok(job),
    }
}

fn failure(core: &Core, job: Job) -> ApiError {
    let status = job.code.as_ref().and_then(Code::status);
    let message = job.error.clone().filter(|message| !message.is_empty());
    ApiError {
        status: status.unwrap_or(500),
        code: job.code.clone(),
        message: message.unwrap_or_else(|| format!("{} failed", job.id)),
        details: job.details.clone(),
        refund: job.refund.clone(),
        body: serde_json::to_value(&job).unwrap_or_default(),
        job_id: Some(job.id.clone()),
        job: Some(Box::new(job)),
        texts: Arc::clone(&core.settings.texts),
        ..ApiError::default()
    }
}

/// The job, when it has ended.
async fn last_of(core: &Core, id: &str, timeout: Duration) -> Result<Job, Error> {
    let clock = &core.settings.clock;
    let over = || Error::WaitTimeout {
        job_id: id.to_owned(),
        timeout,
    };
    let deadline = clock.monotonic().saturating_add(timeout);
    let (mut soon, mut errors) = (0, 0);
    loop {
        let began = clock.monotonic();
        let hold = whole_seconds(HOLD.min(deadline.saturating_sub(began)));
        let request = core.get(&["jobs", id])?.wait(Some(hold));
        let answer = core.once::<Job>(&request, errors).await;
        let now = clock.monotonic();
        let left = deadline.saturating_sub(now);
        let pause = match answer {
            Ok(job) if job.status.is_final() => return Ok(job),
            Ok(_) if now.saturating_sub(began) < SOON => {
                errors = 0;
                soon += 1;
                growing(soon - 1).min(left)
            }
            Ok(_) => {
                errors = 0;
                Duration::ZERO
            }
            Err(error) => {
                errors += 1;
                let Some(pause) = core.pause(&error, errors) else {
                    return Err(error.of_job(id));
                };
                if pause <= left {
                    core.tell_retry(&request, errors, pause, &error);
                }
                pause
            }
        };
        if now >= deadline || pause > left {
            return Err(over());
        }
        if !pause.is_zero() {
            clock.pause(pause).await;
        }
    }
}
