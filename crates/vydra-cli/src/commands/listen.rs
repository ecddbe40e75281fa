//! Webhooks for a program that nobody can reach from outside: the feed of events is read and forwarded from here, signed as
//! the server would have signed it.

use super::serve::StopSignal;
use crate::output;
use crate::system::SystemClock;
use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;
use vydra_client::types::{Event, EventList};
use vydra_client::{Client, Credentials, Environment, Error, EventFilter};
use vydra_core::time::Clock as _;
use vydra_core::webhook::WebhookSecret;
use vydra_outbound::url_guard::{Network, UrlGuard};
use vydra_outbound::webhook::{Courier as _, Message, WebhookSender};

/// Where `vydra dev` listens.
const DEV: &str = "http://127.0.0.1:8787";
const HOLD: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
/// Before a server that cannot be reached is asked again.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vydra listen --forward-to http://localhost:3000/hook
  vydra listen --forward-to http://localhost:3000/hook --events job.failed
  VYDRA_API_KEY=vydra_test_… vydra listen --server https://api.example.com
  vydra listen                     only show what would be forwarded

Server and key are those of VYDRA_BASE_URL and VYDRA_API_KEY, then those of `vydra login`, then, for
a server on this machine, what `vydra dev` keeps in the data directory. The key needs the scopes
jobs:read and webhooks:write. A live key hears of live jobs, a test key of those of the sandbox.")]
pub struct Listen {
    /// Where each event is posted; without it, events are only shown
    #[arg(long, value_name = "URL")]
    forward_to: Option<String>,
    /// The server; else `VYDRA_BASE_URL`, else that of `vydra login`, else `http://127.0.0.1:8787`
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Only events of these types
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = ["job.completed", "job.failed", "job.cancelled"])]
    events: Vec<String>,
    /// Begin behind this event instead of now
    #[arg(long, value_name = "EVENT")]
    after: Option<String>,
    /// Folder in which `vydra dev` keeps its keys
    #[arg(long, value_name = "DIR", default_value = "vydra-data")]
    data_dir: PathBuf,
    /// Print one JSON object for each event
    #[arg(long)]
    json: bool,
}

/// Where events go, and how they are signed.
struct Forwarding<'a> {
    sender: &'a WebhookSender,
    to: &'a str,
    secret: WebhookSecret,
}

impl Listen {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let client = self.client()?;
        let sender = self.sender()?;
        // What is wrong is told before anything else is.
        let secret = match sender {
            Some(_) => Some(self.secret(&client).await?),
            None => None,
        };
        // Whatever happens from here on is told.
        let begin = self.after.clone().unwrap_or_else(|| "latest".to_owned());
        let first = EventFilter {
            after: Some(begin),
            ..EventFilter::default()
        };
        let first = client.events(&first).await;
        let first = first.map_err(|error| explain(error, client.base_url()))?;
        self.introduce(client.base_url(), secret.as_ref());
        let mut signal = StopSignal::listen()?;
        tokio::select! {
            () = signal.heard() => Ok(ExitCode::SUCCESS),
            result = self.follow(&client, first, sender.as_ref()) => result,
        }
    }

    async fn secret(&self, client: &Client) -> anyhow::Result<WebhookSecret> {
        let shown = client.webhooks().secret().get().await;
        let shown = shown.map_err(|error| explain(error, client.base_url()))?;
        let secret = WebhookSecret::parse(&shown.secret);
        secret.context("the server's webhook secret cannot be understood")
    }

    fn client(&self) -> anyhow::Result<Client> {
        let kept = Credentials::load()?.map(|kept| kept.base_url);
        let said = self.server.clone().or(Environment::of_process().base_url);
        let server = said.or(kept).unwrap_or_else(|| DEV.to_owned());
        // It goes on by itself, for as long as it is left to.
        let builder = Client::builder().base_url(&server).max_retries(0);
        match builder.clone().build() {
            Err(Error::Configuration(_)) => {
                Ok(builder.api_key(self.key_of_dev(&server)?).build()?)
            }
            built => Ok(built?),
        }
    }

    fn key_of_dev(&self, server: &str) -> anyhow::Result<String> {
        let file = self.data_dir.join("dev-keys.env");
        // The keys of this machine's own server go to no other one.
        let is_here = ["http://127.0.0.1", "http://localhost", "http://[::1]"]
            .iter()
            .filter_map(|here| server.strip_prefix(here))
            .any(|rest| rest.is_empty() || rest.starts_with([':', '/']));
        if !is_here {
            bail!(
                "there is no key for {server}: `vydra login {server}` keeps one, or set VYDRA_API_KEY"
            );
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let key = text
            .lines()
            .find_map(|line| line.strip_prefix("VYDRA_API_KEY="));
        key.map(str::to_owned).with_context(|| {
            format!(
                "there is no key: `vydra login {server}` keeps one; or set VYDRA_API_KEY, or point --data-dir to the folder of `vydra dev` ({} has none)",
                file.display()
            )
        })
    }

    fn sender(&self) -> anyhow::Result<Option<WebhookSender>> {
        let Some(to) = &self.forward_to else {
            return Ok(None);
        };
        // Whoever sits at this machine may call whatever it reaches.
        let everywhere = ["0.0.0.0/0", "::/0"].map(str::parse::<Network>);
        let everywhere = everywhere.into_iter().collect::<Result<Vec<_>, _>>()?;
        let sender = WebhookSender::new(UrlGuard::new(everywhere), TIMEOUT, None)?;
        if let Err(error) = sender.check_shape(to) {
            bail!("nothing can be forwarded to {to:?}: {error}");
        }
        Ok(Some(sender))
    }

    fn introduce(&self, server: &str, secret: Option<&WebhookSecret>) {
        if self.json {
            return;
        }
        let what = match &self.forward_to {
            Some(to) => format!("Forwarding events of {server} to {to}"),
            None => format!("Showing events of {server}"),
        };
        output::line(&format!("{what} until Ctrl-C."));
        if let Some(secret) = secret {
            output::line(&format!("They are signed with {}", secret.reveal()));
        }
    }

    async fn follow(
        &self,
        client: &Client,
        first: EventList,
        sender: Option<&WebhookSender>,
    ) -> anyhow::Result<ExitCode> {
        let mut page = first;
        let mut cursor: Option<String> = None;
        let mut is_lost = false;
        loop {
            let forwarding = match (sender, &self.forward_to, page.data.as_slice()) {
                (Some(sender), Some(to), [_, ..]) => Some(Forwarding {
                    sender,
                    to,
                    // It may have been replaced since the last time.
                    secret: self.secret(client).await?,
                }),
                _ => None,
            };
            for event in &page.data {
                self.tell(event, forwarding.as_ref()).await;
            }
            cursor = page.cursor.or(cursor);
            let behind = EventFilter {
                after: cursor.clone(),
                limit: Some(100),
                wait: Some(HOLD.as_secs()),
            };
            page = match client.events(&behind).await {
                Ok(page) => {
                    is_lost = false;
                    page
                }
                Err(Error::Api(error)) if error.status == 429 => {
                    tokio::time::sleep(error.retry_after.unwrap_or(PAUSE)).await;
                    EventList::default()
                }
                Err(Error::Api(error)) if error.status < 500 => {
                    bail!("{} refuses: {error}", client.base_url())
                }
                // It may come back, and nothing is missed: what happens meanwhile is read then.
                Err(error) => {
                    if !is_lost {
                        output::complain(&explain(error, client.base_url()));
                    }
                    is_lost = true;
                    tokio::time::sleep(PAUSE).await;
                    EventList::default()
                }
            };
        }
    }

    async fn tell(&self, event: &Event, forwarding: Option<&Forwarding<'_>>) {
        let kind = &event.r#type;
        if !self.events.is_empty() && !self.events.iter().any(|wanted| wanted == kind) {
            return;
        }
        let begun = Instant::now();
        let outcome = match forwarding {
            None => None,
            Some(forwarding) => Some(forwarding.forward(event).await),
        };
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (id, at) = (&event.id, &event.timestamp);
        let job = event.data.get("id").and_then(Value::as_str);
        if self.json {
            let (status, error) = match &outcome {
                Some(Ok(status)) => (json!(status), Value::Null),
                Some(Err(error)) => (Value::Null, json!(error)),
                None => (Value::Null, Value::Null),
            };
            output::json(
                &json!({"id": id, "type": kind, "timestamp": at, "jobId": job, "responseStatus": status, "error": error}),
            );
            return;
        }
        let told = match outcome {
            None => String::new(),
            Some(Ok(status)) => format!(" -> {status} in {took} ms"),
            Some(Err(error)) => format!(" -> not forwarded: {error}"),
        };
        let job = job.unwrap_or_default();
        output::line(&format!("{at}  {kind:<13}  {id}  {job}{told}"));
    }
}

impl Forwarding<'_> {
    /// The status that was answered, or why there is none.
    async fn forward(&self, event: &Event) -> Result<u16, String> {
        let id = &event.id;
        let body = json!({"type": event.r#type, "timestamp": event.timestamp, "data": event.data});
        let body = body.to_string().into_bytes();
        let at = SystemClock.now();
        let message = Message {
            id,
            at,
            signature: &self.secret.sign(id, at, &body),
            body: body.into(),
        };
        let answer = self.sender.send(self.to, message).await;
        answer
            .map(|answer| answer.status)
            .map_err(|error| error.to_string())
    }
}

fn explain(error: Error, server: &str) -> anyhow::Error {
    match error {
        Error::Connection { .. } | Error::Timeout(_) => anyhow::anyhow!(
            "{server} cannot be reached. Is `vydra dev` or `vydra serve` running? --server names another one."
        ),
        other => anyhow::Error::new(other).context(format!("{server} refuses")),
    }
}
