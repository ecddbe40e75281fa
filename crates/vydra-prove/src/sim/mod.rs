//! The whole application in one thread, on time that only passes when nothing else is to be done: its worker, its HTTP, its store
//! in a real file, and a provider that does what it is told. A second of it takes no time, and the same seed is the same course
//! of events.

mod actor;

pub(crate) use actor::{Act, Actor};

use crate::api::Answer;
use crate::books::{self, Books};
use anyhow::{Context, bail, ensure};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::timeout;
use tower::ServiceExt;
use vydra_core::credits::Credits;
use vydra_core::job::Mode;
use vydra_core::organization::Organization;
use vydra_core::plan::LimitOverrides;
use vydra_core::webhook::DeliveryStatus;
use vydra_engine::Engine;
use vydra_http::{ApiState, router};
use vydra_outbound::fetch::{FetchLimits, InputFetcher};
use vydra_outbound::url_guard::UrlGuard;
use vydra_store::store::DeliveryFilter;
use vydra_testkit::{Faults, Mailbox, Setup, TestApp};

/// Nobody is there: the mailbox takes what is sent.
pub(crate) const RECEIVER: &str = "https://public.test/hook";
/// The worker looks at the store at least this often.
pub(crate) const SWEEP: Duration = Duration::from_secs(11);
/// Longer than any job may wait, or run.
pub(crate) const OVERDUE: Duration = Duration::from_mins(61);
/// Whatever was interrupted has ended after so many sweeps.
const SWEEPS: u32 = 40;
/// How often a start is tried that faults do not let be.
const STARTS: u32 = 8;
/// How often a client or an operator tries.
const TRIES: u32 = 12;
const MANY: u32 = 1_000_000;

/// Runs on paused time.
pub(crate) fn on_paused_time<T>(run: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?
        .block_on(run)
}

pub(crate) struct Sim {
    pub(crate) app: TestApp,
    pub(crate) faults: Arc<Faults>,
    pub(crate) actor: Arc<Actor>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) org: Organization,
    /// With every scope, for real credits and for the sandbox.
    pub(crate) live: String,
    pub(crate) test: String,
    router: Router,
    working: bool,
    /// How often the process was started again.
    pub(crate) restarts: u32,
}

/// No simulation fetches anything, so one will do for all.
fn fetcher() -> Option<InputFetcher> {
    static ONE: OnceLock<Option<InputFetcher>> = OnceLock::new();
    let make = || InputFetcher::new(UrlGuard::new(Vec::new()), FetchLimits::default()).ok();
    ONE.get_or_init(make).clone()
}

/// A request as a client writes it.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    /// Behind `/api/v1/`, unless it begins with a slash.
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Ask {
    pub(crate) fn new(method: &'static str, path: impl Into<String>, key: &str) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
        .with("authorization", format!("Bearer {key}"))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        let mut asked = self.with("content-type", "application/json");
        asked.body = body.to_string().into_bytes();
        asked
    }

    pub(crate) fn file(self, content: &[u8]) -> Self {
        let mut asked = self.with("content-type", "multipart/form-data; boundary=frontier");
        let head = "--frontier\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n";
        asked.body = [head.as_bytes(), content, b"\r\n--frontier--\r\n"].concat();
        asked
    }
}

/// Sends a request through the router alone.
pub(crate) async fn send(router: Router, asked: Ask) -> anyhow::Result<Answer> {
    let mut request = Request::builder()
        .method(asked.method)
        .uri(if asked.path.starts_with('/') {
            asked.path
        } else {
            format!("/api/v1/{}", asked.path)
        });
    for (name, value) in &asked.headers {
        request = request.header(*name, value);
    }
    let Ok(response) = router.oneshot(request.body(Body::from(asked.body))?).await;
    let status = response.status().as_u16();
    let replayed = response.headers().contains_key("idempotent-replayed");
    let cookie = response.headers().get("set-cookie");
    let session = cookie
        .and_then(|cookie| cookie.to_str().ok()?.strip_prefix("__session="))
        .and_then(|cookie| cookie.split(';').next())
        .map(str::to_owned);
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(Answer {
        status,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        replayed,
        session,
    })
}

impl Sim {
    /// On a copy of the template: one organization with credits and keys; the worker works.
    pub(crate) async fn new(
        template: &Path,
        seed: u64,
        actor: Arc<Actor>,
        change: impl FnOnce(&mut Setup),
    ) -> anyhow::Result<Self> {
        let faults = Arc::new(Faults::default());
        let mailbox = Arc::new(Mailbox::default());
        let app = TestApp::with(|setup| {
            setup.place = template.parent().map(Path::to_owned);
            setup.template = Some(template.to_owned());
            setup.seed = seed;
            setup.provider = Some(Arc::clone(&actor) as _);
            setup.faults = Some(Arc::clone(&faults));
            setup.fetcher = fetcher();
            setup.worker.drain = Duration::from_secs(1);
            setup.mailbox = Some(Arc::clone(&mailbox));
            setup.deliverer = false;
            setup.show_job = vydra_http::show_job;
            change(setup);
        });
        app.clock.follow_the_runtime();
        let org = app.org("acme", 100_000).await;
        let limits = LimitOverrides {
            rpm: Some(MANY),
            rph: Some(MANY),
            rpd: Some(MANY),
            concurrent: Some(MANY),
        };
        app.store
            .set_plan(&org.id, "enterprise", limits, app.engine.now())
            .await?;
        let live = app.key(&org, &["*"], Mode::Live).await;
        let test = app.key(&org, &["*"], Mode::Test).await;
        let mut sim = Self {
            router: router_of(&app),
            app,
            faults,
            actor,
            mailbox,
            org,
            live,
            test,
            working: false,
            restarts: 0,
        };
        sim.work();
        Ok(sim)
    }

    /// A worker, in each process from now on.
    pub(crate) fn work(&mut self) {
        self.working = true;
        self.app.work();
    }

    /// From now on webhooks are sent, and an endpoint is told of every end.
    pub(crate) async fn listen(&mut self) -> anyhow::Result<()> {
        let endpoint = json!({"url": RECEIVER});
        let asked = Ask::new("POST", "webhooks/endpoints", &self.live).json(&endpoint);
        let made = self.ask(asked).await?;
        ensure!(made.status == 201, "no endpoint was made: {made:?}");
        self.app.setup.deliverer = true;
        self.restart().await
    }

    /// Whatever was to be told has arrived, with the id of its event.
    async fn all_is_told(&mut self) -> anyhow::Result<()> {
        if !self.app.setup.deliverer {
            return Ok(());
        }
        // More than all retries take.
        for _ in 0..SWEEPS {
            if self.app.store.next_delivery().await?.is_none() {
                break;
            }
            self.rest(SWEEP * 3).await?;
        }
        let received = self.mailbox.received();
        let told: HashSet<&str> = received.iter().map(|one| one.id.as_str()).collect();
        for mode in Mode::ALL {
            let list = DeliveryFilter {
                limit: MANY,
                ..DeliveryFilter::default()
            };
            let page = self.app.store.deliveries(&self.org.id, mode, list).await?;
            for delivery in page.context("a list without a page")?.deliveries {
                ensure!(
                    told.contains(delivery.event.as_str()),
                    "nobody was told of {delivery:?}"
                );
                ensure!(
                    delivery.status == DeliveryStatus::Delivered,
                    "it has arrived, and is not known to: {delivery:?}"
                );
            }
        }
        Ok(())
    }

    /// The worker stops, and so do those of later processes.
    pub(crate) async fn idle(&mut self) -> anyhow::Result<()> {
        self.working = false;
        self.restart().await
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// The process is gone, and another one starts on what it left. As with a supervisor, a start that fails is tried again.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        let faults = Arc::clone(&self.faults);
        for _ in 0..STARTS {
            self.restarts += 1;
            let started = tokio::select! {
                biased;
                started = self.app.try_crash() => started.is_ok(),
                () = faults.crashed() => false,
            };
            if started {
                self.router = router_of(&self.app);
                if self.working {
                    self.app.work();
                }
                return Ok(());
            }
        }
        bail!("the application does not start again")
    }

    /// Credits for as many jobs as anybody will ask for.
    pub(crate) async fn grant_plenty(&self) -> anyhow::Result<()> {
        let plenty = Credits::new(1_000_000_000).unwrap_or_default();
        let engine = &self.app.engine;
        engine
            .grant(&self.org.id, Mode::Live, plenty, "plenty")
            .await?;
        Ok(())
    }

    /// Stopped as an operator does it, and started again.
    pub(crate) async fn stop_in_order(&mut self) -> anyhow::Result<()> {
        let faults = Arc::clone(&self.faults);
        tokio::select! {
            biased;
            () = faults.crashed() => {}
            () = self.app.stop_working() => {}
        }
        self.restart().await
    }

    /// What an operator does, tried again where it was interrupted. What it says besides is for the operator.
    pub(crate) async fn chore(
        &mut self,
        mut work: impl AsyncFnMut(Arc<Engine>) -> vydra_engine::Result<()>,
    ) -> anyhow::Result<()> {
        for _ in 0..TRIES {
            let faults = Arc::clone(&self.faults);
            let engine = Arc::clone(&self.app.engine);
            let done = tokio::select! {
                biased;
                () = faults.crashed() => None,
                done = work(engine) => Some(done),
            };
            match done {
                Some(Ok(())) => return Ok(()),
                // Such as a name that a try before it has taken.
                Some(Err(error)) if !matches!(error, vydra_engine::Error::Unavailable(_)) => {
                    return Ok(());
                }
                Some(Err(_unavailable)) => {}
                None => self.restart().await?,
            }
        }
        bail!("an operator's chore is never done")
    }

    /// None when the process died before it answered; it has been started again then.
    pub(crate) async fn try_ask(&mut self, asked: Ask) -> anyhow::Result<Option<Answer>> {
        let faults = Arc::clone(&self.faults);
        tokio::select! {
            biased;
            () = faults.crashed() => {}
            answer = send(self.router(), asked) => return answer.map(Some),
        }
        self.restart().await?;
        Ok(None)
    }

    /// As a client with patience: what was not answered, or answered that it may be tried again, is tried again.
    pub(crate) async fn ask(&mut self, asked: Ask) -> anyhow::Result<Answer> {
        let mut last = None;
        for _ in 0..TRIES {
            match self.try_ask(asked.clone()).await? {
                Some(answer) if !is_passing(&answer) => return Ok(answer),
                other => last = other,
            }
            self.rest(Duration::from_secs(6)).await?;
        }
        bail!(
            "{} {} is never answered but {last:?}",
            asked.method,
            asked.path
        )
    }

    /// Time passes.
    pub(crate) async fn rest(&mut self, span: Duration) -> anyhow::Result<()> {
        let faults = Arc::clone(&self.faults);
        if timeout(span, faults.crashed()).await.is_ok() {
            self.restart().await?;
        }
        Ok(())
    }

    /// How many jobs have not ended.
    pub(crate) async fn open_jobs(&self) -> anyhow::Result<u32> {
        let mut open = 0;
        for org in self.app.store.organizations().await? {
            for mode in Mode::ALL {
                open += self.app.store.open_jobs(&org.id, mode).await?;
            }
        }
        Ok(open)
    }

    /// Nothing goes wrong any more: everything that was begun comes to its end, and all is as it should be.
    pub(crate) async fn settle(&mut self) -> anyhow::Result<Books> {
        self.faults.clear();
        if !self.working {
            self.work();
        }
        for sweep in 1..=SWEEPS {
            self.rest(SWEEP).await?;
            if self.open_jobs().await? == 0 {
                break;
            }
            // What still runs then is lost, or nobody knows of it.
            if sweep % 4 == 0 {
                self.app.clock.advance(OVERDUE);
            }
        }
        self.all_is_told().await?;
        let audit = self.app.store.audit().await?;
        ensure!(
            audit.imbalances.is_empty(),
            "the audit says: {:?}",
            audit.imbalances
        );
        let books = Books::read(self.app.database())?;
        let mut sizes = HashMap::new();
        for asset in &books.assets {
            let size = self.app.size_in_memory(&asset.storage_key).await;
            sizes.extend(size.map(|size| (asset.storage_key.clone(), size)));
        }
        let books = books::check_with_files(self.app.database(), |key| sizes.get(key).copied())?;
        books::ended(&books)?;
        self.actor.check(&books)?;
        Ok(books)
    }
}

/// Whether the same request may fare better later.
fn is_passing(answer: &Answer) -> bool {
    match answer.status {
        503 | 409 => answer.body["code"] != "JOB_NOT_CANCELLABLE",
        500 => answer.body["code"] == "INTERNAL_ERROR",
        _ => false,
    }
}

fn router_of(app: &TestApp) -> Router {
    router(ApiState {
        engine: Arc::clone(&app.engine),
        random: Arc::clone(&app.random) as _,
    })
}

/// The text at a name of an answer.
pub(crate) fn text(answer: &Answer, name: &str) -> anyhow::Result<String> {
    let value = answer.body[name].as_str();
    Ok(value
        .with_context(|| format!("no {name}: {answer:?}"))?
        .to_owned())
}
