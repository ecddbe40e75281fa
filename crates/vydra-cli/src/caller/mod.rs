//! What the commands for callers share. They know the server through its API only, as any other client does.

pub mod failure;
pub mod follow;
pub mod input;
pub mod keep;
pub mod purchase;

use clap::Args;
use failure::Failure;
use follow::Progress;
use serde::Serialize;
use std::process::ExitCode;
use vydra_client::{Client, Credentials, Environment, Error, Job};

/// Which server, and how to answer.
#[derive(Debug, Clone, Args)]
pub struct Caller {
    /// The server; else `VYDRA_BASE_URL`, else that of `vydra login`
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// How often a request is tried again that may be
    #[arg(long, value_name = "N", default_value_t = 4)]
    retries: u32,
    /// Print one JSON object, on stderr if it is an error
    #[arg(long)]
    pub json: bool,
}

impl Caller {
    /// As whoever `VYDRA_API_KEY` or `vydra login` says.
    pub fn client(&self) -> Result<Client, Failure> {
        self.client_beside(&Progress::new(0, self.json))
    }

    /// The same, beside a bar: that a request is tried again is told, as it may take long.
    pub fn client_beside(&self, progress: &Progress) -> Result<Client, Failure> {
        let voice = progress.voice();
        let mut builder = Client::builder()
            .max_retries(self.retries)
            .on_retry(move |retry| {
                // The stream of a job only shows; the wait beside it fails of the same, and tells it.
                if retry.url.ends_with("/events") {
                    return;
                }
                let why = retry.error.friendly();
                voice.note(&format!(
                    "{why} (again in {} s)",
                    retry.wait.as_secs_f32().ceil()
                ));
            });
        if let Some(server) = &self.server {
            builder = builder.base_url(server);
        }
        let client = builder.build().map_err(|error| self.explain(error))?;
        if Environment::of_process().api_key.is_none() && Credentials::is_open()? {
            let path = Credentials::path()?;
            let path = path.display();
            progress.note(&format!(
                "Others of this machine can read the key in {path}: `chmod 600` keeps it from them."
            ));
        }
        Ok(client)
    }

    /// Why there is no client, in the words of a command line.
    fn explain(&self, error: Error) -> Failure {
        if !matches!(error, Error::Configuration(_)) {
            return error.into();
        }
        let said = Environment::of_process();
        let server = self.server.as_ref().or(said.base_url.as_ref());
        match (Credentials::load(), server, &said.api_key) {
            (Ok(None), None, _) | (Ok(None), _, None) => Failure::login("You are not logged in."),
            (Ok(Some(kept)), Some(server), None) => Failure::login(format!(
                "You are logged in to {}, and have no key for {server}.",
                kept.base_url
            )),
            _ => error.into(),
        }
    }

    /// What a command comes to.
    pub fn end(&self, result: Result<(), Failure>) -> ExitCode {
        end(self.json, result)
    }
}

pub fn end(json: bool, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(json),
    }
}

/// As the server wrote it.
pub fn value(thing: &impl Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(thing).map_err(|error| Failure::from(anyhow::Error::new(error)))
}

/// What a job has cost, less what came back.
pub fn cost(job: &Job) -> i64 {
    job.credits_charged.saturating_sub(job.credits_refunded)
}

/// The words that a job was made of.
pub fn words(job: &Job) -> &str {
    let fields = ["prompt", "text", "theme"];
    let words = fields
        .iter()
        .find_map(|name| job.input.get(*name)?.as_str());
    words.unwrap_or_default()
}

/// `1 credit`, `5 credits`.
pub fn credits(count: i64) -> String {
    let noun = if count == 1 { "credit" } else { "credits" };
    format!("{count} {noun}")
}
