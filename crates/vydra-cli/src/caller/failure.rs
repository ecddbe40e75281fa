//! How a command for callers fails: a code for scripts, a sentence for people, and what to do.

use super::input::Sent;
use crate::output;
use serde_json::{Map, Value, json};
use std::fmt;
use std::process::ExitCode;
use vydra_client::{ApiError, Code, Error, ErrorClass};

/// The table that `--help` shows; docs/command-line.md has it, too.
pub const EXIT_CODES: &str = "Exit codes:
  0  done                           8  too many requests
  1  something on this machine      9  the server failed, or is busy
  2  not right as it was asked     10  the job failed; its credits came back
  3  not logged in, or a bad key   11  the server cannot be reached
  4  not enough credits            12  the wait was too long; the job goes on
  5  the key may not do that       13  the job was cancelled
  6  there is no such thing       130  interrupted by Ctrl-C
  7  conflict";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Machine = 1,
    Request = 2,
    Login = 3,
    Payment = 4,
    Permission = 5,
    NotFound = 6,
    Conflict = 7,
    RateLimit = 8,
    Server = 9,
    Job = 10,
    Connection = 11,
    Wait = 12,
    Cancelled = 13,
    Interrupted = 130,
}

/// What is known of a purchase that was answered by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing was bought, or what came of it is told.
    Refused,
    /// The key was used for another input.
    OfAnother,
    /// An earlier try is still being answered.
    AtWork,
    /// The answer was lost, or is that of something between here and the server.
    Unknown,
}

impl Outcome {
    fn of(error: &Error) -> Self {
        let error = match error {
            Error::Connection { .. } | Error::Timeout(_) => return Self::Unknown,
            Error::Api(error) => error,
            _ => return Self::Refused,
        };
        let is_told = error.refund.is_some() || error.replayed || error.job.is_some();
        match (error.class(), &error.code) {
            _ if is_told => Self::Refused,
            (_, Some(Code::IdempotencyConflict)) if error.retry_after.is_some() => Self::AtWork,
            (_, Some(Code::IdempotencyConflict)) => Self::OfAnother,
            // A refusal of too many requests can be that of a repetition, after a try that was taken.
            (ErrorClass::Server | ErrorClass::Unavailable | ErrorClass::RateLimit, _) => {
                Self::Unknown
            }
            _ if error.status == REQUEST_TIMEOUT => Self::Unknown,
            _ => Self::Refused,
        }
    }
}

/// Of proxies: the request was slow.
const REQUEST_TIMEOUT: u16 = 408;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct Failure(Box<Told>);

#[derive(Debug)]
struct Told {
    exit: Exit,
    sentence: String,
    /// What is known besides, such as the server's own words.
    details: Vec<String>,
    /// What to do.
    advice: Vec<String>,
    code: Option<String>,
    request_id: Option<String>,
    jobs: Vec<String>,
    /// With which the same purchase is made once at most.
    idempotency_key: Option<String>,
    retryable: bool,
}

impl Failure {
    fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self(Box::new(Told {
            exit,
            sentence: sentence.into(),
            details: Vec::new(),
            advice: Vec::new(),
            code: None,
            request_id: None,
            jobs: Vec::new(),
            idempotency_key: None,
            retryable: false,
        }))
    }

    /// What was typed is not right.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Request, sentence)
    }

    /// There is no key to ask with.
    pub fn login(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Login, sentence).advise(LOG_IN)
    }

    /// What is asked for was there once.
    pub fn gone(sentence: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, sentence)
    }

    /// What answers is something else.
    pub fn no_server(server: &str) -> Self {
        let sentence = format!("{server} does not answer as a Vydra server does.");
        Self::new(Exit::Server, sentence)
    }

    /// It costs too much.
    pub fn payment(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Payment, sentence)
    }

    /// Ctrl-C, while these jobs were waited for.
    pub fn interrupted(sentence: impl Into<String>, jobs: Vec<String>) -> Self {
        let mut failure = Self::new(Exit::Interrupted, sentence);
        failure.0.jobs = jobs;
        failure
    }

    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.0.advice.push(advice.into());
        self
    }

    pub fn explain(mut self, detail: impl Into<String>) -> Self {
        self.0.details.push(detail.into());
        self
    }

    /// Of a job that is done and paid for: it is not lost.
    pub fn of_result(self, job: &str, url: &str) -> Self {
        let mut failure = self;
        failure
            .0
            .details
            .push(format!("The result is kept at {}", output::clean(url)));
        failure.0.advice = vec![format!(
            "`vydra jobs watch {job} -o FILE` fetches it again, at no cost."
        )];
        failure.0.jobs = vec![job.to_owned()];
        failure
    }

    /// Of a purchase of this key. Where it may have been made all the same, what buys it once at most; a file that was sent in
    /// would be another one, sent in again.
    pub fn of_purchase(error: Error, idempotency_key: &str, sent: &Sent) -> Self {
        let outcome = Outcome::of(&error);
        let mut failure = Self::from(error);
        match outcome {
            Outcome::Refused => return failure,
            Outcome::OfAnother if sent.is_empty() => return failure,
            Outcome::OfAnother => {
                let sentence = "A file is another input each time that it is sent in: give its address instead.";
                return failure.advise(sentence);
            }
            Outcome::AtWork => {
                "This purchase was sent before, and is still being made."
                    .clone_into(&mut failure.0.sentence);
            }
            Outcome::Unknown => {}
        }
        failure.0.idempotency_key = Some(idempotency_key.to_owned());
        let mut with: Vec<String> = sent
            .iter()
            .map(|(file, url)| format!("with {url} in place of {}", file.display()))
            .collect();
        with.push(format!("with --idempotency-key {idempotency_key}"));
        failure.advise(format!(
            "It may have been bought all the same. The same command {} buys it once at most.",
            with.join(" and ")
        ))
    }

    /// Of what came after a purchase: the job is there, whatever was answered since.
    pub fn of_job(mut self, job: &str) -> Self {
        if self.0.jobs.is_empty() {
            self.0.jobs.push(job.to_owned());
        }
        match self.0.exit {
            Exit::Job | Exit::Cancelled | Exit::Wait | Exit::NotFound => self,
            _ => self.advise(format!("`vydra jobs watch {job}` waits for it again.")),
        }
    }

    /// Prints it, and gives the exit code.
    pub fn tell(&self, json: bool) -> ExitCode {
        if json {
            output::note(&self.value().to_string());
        } else {
            output::complain_of(&output::clean(&self.0.sentence));
            for line in self.lines() {
                output::note(&format!("  {}", output::clean(&line)));
            }
        }
        ExitCode::from(self.0.exit as u8)
    }

    /// Below the sentence.
    fn lines(&self) -> Vec<String> {
        let mut lines = self.0.details.clone();
        let request = self.0.request_id.as_ref().map(|id| format!("request {id}"));
        let said = |id: &String| {
            let all = [&self.0.sentence].into_iter();
            let mut all = all.chain(&self.0.details).chain(&self.0.advice);
            all.any(|line| line.contains(id.as_str()))
        };
        let jobs = self.0.jobs.iter().filter(|id| !said(id)).cloned();
        let named = self.0.code.clone().into_iter().chain(request).chain(jobs);
        let named: Vec<String> = named.collect();
        if !named.is_empty() {
            lines.push(named.join(", "));
        }
        lines.extend(self.0.advice.iter().cloned());
        lines
    }

    /// For programs.
    pub fn value(&self) -> Value {
        json!({
            "error": self.0.sentence,
            "details": self.0.details,
            "advice": self.0.advice,
            "code": self.0.code,
            "requestId": self.0.request_id,
            "jobIds": self.0.jobs,
            "idempotencyKey": self.0.idempotency_key,
            "retryable": self.0.retryable,
            "exitCode": self.0.exit as u8,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.sentence)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Machine, output::sentence(&error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if let Error::Api(error) = &error {
            return of_api(error);
        }
        let exit = match &error {
            Error::Configuration(_) => Exit::Login,
            Error::Request(_) => Exit::Request,
            Error::Connection { .. } | Error::Timeout(_) | Error::Download(_) => Exit::Connection,
            Error::WaitTimeout { .. } => Exit::Wait,
            Error::JobCancelled { .. } => Exit::Cancelled,
            _ => Exit::Machine,
        };
        let mut failure = Self::new(exit, error.friendly());
        failure.0.retryable = error.retryable();
        let told = output::sentence(&anyhow::anyhow!(error.to_string()));
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let cause = cause.filter(|cause| !told.contains(cause));
        failure = failure.explain(match cause {
            Some(cause) => format!("{told}: {cause}"),
            None => told,
        });
        match &error {
            Error::Configuration(_) => failure.advise(LOG_IN),
            Error::Connection { .. } | Error::Timeout(_) => failure.advise(
                "Is the server running, and is its address right? --server names another one.",
            ),
            Error::WaitTimeout { job_id, .. } => {
                failure.0.jobs = vec![job_id.clone()];
                failure.advise(format!("`vydra jobs watch {job_id}` waits on."))
            }
            Error::JobCancelled { job } => {
                failure.0.jobs = vec![job.id.clone()];
                failure
            }
            _ => failure,
        }
    }
}

const NO_SERVER: &str = "Is this the address of a Vydra server? --server names another one.";
const LOG_IN: &str =
    "`vydra login SERVER` asks for a key and keeps it; or set VYDRA_BASE_URL and VYDRA_API_KEY.";

fn of_api(error: &ApiError) -> Failure {
    let (exit, advice) = match error.class() {
        _ if error.job.is_some() => (Exit::Job, of_job(error)),
        ErrorClass::BadRequest => (Exit::Request, None),
        ErrorClass::Authentication => (Exit::Login, Some(LOG_IN)),
        ErrorClass::PaymentRequired => (
            Exit::Payment,
            Some("`vydra credits` tells how many are left; --dry-run tells the price beforehand."),
        ),
        ErrorClass::PermissionDenied => (
            Exit::Permission,
            Some("Use a key that has the scope: `vydra login` takes another one."),
        ),
        ErrorClass::NotFound => (Exit::NotFound, of_name(error)),
        ErrorClass::Conflict => (Exit::Conflict, None),
        ErrorClass::RateLimit => (Exit::RateLimit, None),
        ErrorClass::Server | ErrorClass::Unavailable => (
            Exit::Server,
            Some(
                "Try again later. Whoever runs the server finds what happened by the request's id.",
            ),
        ),
        // Another kind of server, mostly.
        _ => (Exit::Server, Some(NO_SERVER)),
    };
    let friendly = error.friendly();
    let mut failure = Failure::new(exit, friendly.clone());
    failure.0.code = error.code.as_ref().map(Code::to_string);
    failure.0.request_id.clone_from(&error.request_id);
    failure.0.retryable = error.retryable();
    failure
        .0
        .jobs
        .extend(error.job.as_ref().map(|job| job.id.clone()));
    if !error.message.is_empty() && error.message != friendly {
        let reason = detail(error, "reason");
        let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        failure.0.details.push(format!("{}{reason}", error.message));
    }
    failure.0.details.extend(fields(error));
    failure.0.details.extend(detail(error, "hint"));
    failure.0.advice.extend(advice.map(str::to_owned));
    failure
}

/// What the server says about the fields that are not right, beyond the first, which its sentence has.
fn fields(error: &ApiError) -> Vec<String> {
    let text = |of: &Map<String, Value>, name: &str| of.get(name)?.as_str().map(str::to_owned);
    let details = error.details.as_ref();
    let mut lines = Vec::new();
    let fields = details.and_then(|details| details.get("fields")?.as_array());
    for field in fields.into_iter().flatten().skip(1) {
        if let Some(field) = field.as_object() {
            let parts = ["field", "problem", "expected"].map(|name| text(field, name));
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            lines.push(parts.join(", "));
        }
    }
    let words = |name: &str| {
        let list = details?.get(name)?.as_array()?;
        let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
        Some(words.join(", "))
    };
    lines.extend(words("allowed").map(|words| format!("Possible: {words}")));
    lines.extend(words("required").map(|words| format!("Needed: {words}")));
    lines.extend(words("granted").map(|words| format!("The key has: {words}")));
    lines
}

fn detail(error: &ApiError, name: &str) -> Option<String> {
    Some(error.details.as_ref()?.get(name)?.as_str()?.to_owned())
}

fn of_job(error: &ApiError) -> Option<&'static str> {
    (!error.retryable()).then_some("The same again would fail again: change the input.")
}

fn of_name(error: &ApiError) -> Option<&'static str> {
    match error.code {
        Some(Code::ModelNotFound) => Some(
            "`vydra models` lists all of them, `vydra models run` calls any that has an endpoint.",
        ),
        Some(Code::JobNotFound) => {
            Some("`vydra jobs list` has the jobs of this key's organization.")
        }
        _ => None,
    }
}
