//! A receiver as they are: often well, sometimes ill, sometimes silent.

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use standardwebhooks::Webhook;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// One address of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Door {
    /// Of the organization.
    Endpoint,
    /// Of some of its jobs.
    Own,
    /// Of the organization too, until it is gone.
    Gone,
}

impl Door {
    pub(super) const ALL: [Self; 3] = [Self::Endpoint, Self::Own, Self::Gone];

    fn word(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Own => "own",
            Self::Gone => "gone",
        }
    }
}

/// Closed when it is dropped.
pub(super) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

struct Shared {
    /// Longer than anybody waits.
    silence: Duration,
    state: Mutex<Notes>,
}

/// What it was sent.
struct Notes {
    random: StdRng,
    secret: Option<Webhook>,
    /// By its door and id: the body of the first attempt, and how often it was taken.
    sent: HashMap<(Door, String), (Bytes, u32)>,
    attempts: u64,
    gone: Option<u64>,
    /// Whether it has heard that its other door is told no more.
    noticed: bool,
    wrong: Option<String>,
}

impl Receiver {
    pub(super) async fn open(seed: u64, silence: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            silence,
            state: Mutex::new(Notes {
                random: StdRng::seed_from_u64(seed ^ 0x686f_6f6b),
                secret: None,
                sent: HashMap::new(),
                attempts: 0,
                gone: None,
                noticed: false,
                wrong: None,
            }),
        });
        let router = Router::new()
            .route("/{door}", post(take))
            .with_state(Arc::clone(&shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // It ends with the gate.
            let _ended = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            shared,
            _serving: serving,
        })
    }

    pub(super) fn knows(&self, secret: &str) -> anyhow::Result<()> {
        self.lock().secret = Some(Webhook::new(secret)?);
        Ok(())
    }

    pub(super) fn url(&self, door: Door) -> String {
        format!("http://{}/{}", self.address, door.word())
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.shared.lock()
    }

    /// Whether everything was as it should be until now.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let notes = self.lock();
        ensure!(notes.wrong.is_none(), "{:?}", notes.wrong);
        Ok(())
    }

    pub(super) fn attempts(&self) -> u64 {
        self.lock().attempts
    }

    /// How many of those that it had taken came again.
    pub(super) fn repeated(&self) -> usize {
        let notes = self.lock();
        notes.sent.values().filter(|(_, times)| *times > 1).count()
    }

    /// The ids that it has taken at this door.
    pub(super) fn arrived(&self, door: Door) -> BTreeSet<String> {
        let notes = self.lock();
        let taken = notes.sent.iter().filter(|(_, (_, times))| *times > 0);
        taken
            .filter(|((at, _), _)| *at == door)
            .map(|((_, id), _)| id.clone())
            .collect()
    }

    pub(super) fn has_noticed(&self) -> bool {
        self.lock().noticed
    }

    /// How many were sent to the door that had said that it is gone.
    pub(super) fn after_it_was_gone(&self) -> usize {
        usize::try_from(self.lock().gone.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Mood {
    Well,
    Silent,
    Says(StatusCode, Option<&'static str>),
}

async fn take(
    State(shared): State<Arc<Shared>>,
    Path(word): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mood = {
        let mut notes = shared.lock();
        let noted = note(&mut notes, &word, &headers, &body);
        match noted {
            Ok(mood) => mood,
            Err(error) => {
                notes.wrong.get_or_insert(format!("{error:#}"));
                Mood::Well
            }
        }
    };
    match mood {
        Mood::Well => StatusCode::NO_CONTENT.into_response(),
        Mood::Silent => {
            tokio::time::sleep(shared.silence).await;
            StatusCode::NO_CONTENT.into_response()
        }
        Mood::Says(status, None) => status.into_response(),
        Mood::Says(status, Some(seconds)) => {
            (status, [(header::RETRY_AFTER, seconds)]).into_response()
        }
    }
}

fn note(notes: &mut Notes, word: &str, headers: &HeaderMap, body: &Bytes) -> anyhow::Result<Mood> {
    let door = Door::ALL.into_iter().find(|door| door.word() == word);
    let door = door.context("a door that is not there")?;
    notes.attempts += 1;
    let secret = notes.secret.as_ref().context("nobody knows the secret")?;
    secret
        .verify(body, headers)
        .with_context(|| format!("{headers:?} of {body:?}"))?;
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok());
    let id = id.context("no id")?.to_owned();
    let event: serde_json::Value = serde_json::from_slice(body)?;
    if event["type"] == "webhook.endpoint_disabled" {
        notes.noticed = true;
        return Ok(Mood::Well);
    }
    let job = event["data"]["id"].as_str().unwrap_or_default();
    let status = event["data"]["status"].as_str().unwrap_or_default();
    ensure!(
        id == job.replacen("job_", "evt_", 1) && event["type"] == format!("job.{status}"),
        "{id} tells of something else: {event}"
    );
    let (first, times) = notes
        .sent
        .entry((door, id))
        .or_insert_with(|| (body.clone(), 0));
    ensure!(first == body, "{event} was {first:?} before");
    if door == Door::Gone {
        let earlier = notes.gone.map_or(0, |earlier| earlier + 1);
        notes.gone = Some(earlier);
        return Ok(Mood::Says(StatusCode::GONE, None));
    }
    Ok(match notes.random.random_range(0..200) {
        0..60 => Mood::Says(StatusCode::INTERNAL_SERVER_ERROR, None),
        60..70 => Mood::Silent,
        70..79 => Mood::Says(StatusCode::TOO_MANY_REQUESTS, Some("0")),
        79 => Mood::Says(StatusCode::TOO_MANY_REQUESTS, Some("1")),
        80..82 => Mood::Says(StatusCode::FOUND, None),
        _ => {
            *times += 1;
            Mood::Well
        }
    })
}
