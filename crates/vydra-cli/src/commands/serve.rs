//! The server and the worker, in one process or apart.

use super::DataArguments;
use crate::config::{Config, Role, Sources};
use crate::output;
use crate::system::SystemRandom;
use crate::telemetry::{self, Telemetry};
use crate::wiring::{self, Purpose, ServerLock, concerns};
use anyhow::{Context, bail};
use clap::Args;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_engine::worker::Worker;
use vydra_engine::{Deliverer, Engine};
use vydra_http::{ApiState, ServeOptions};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vydra serve --data-dir /var/lib/vydra
  vydra serve --config /etc/vydra.toml --listen 0.0.0.0:8080
  vydra serve --config /etc/vydra.toml --role worker
  VYDRA__LOG__FORMAT=json vydra serve

SIGTERM or Ctrl-C stops it: what has begun is ended or handed back.")]
pub struct Serve {
    #[command(flatten)]
    data: DataArguments,
    /// Where to listen, such as 0.0.0.0:8080; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// What to do: both, api or worker; the latter two only on Postgres
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
}

impl Serve {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let mut sources = self.data.sources();
        sources
            .flags
            .extend(self.listen.map(|listen| ("server.listen", listen)));
        sources
            .flags
            .extend(self.role.map(|role| ("server.role", role)));
        let Some(server) = Server::start(&sources).await? else {
            return Ok(ExitCode::SUCCESS);
        };
        output::line(&format!("vydra is listening on {}", server.url));
        server.until_stopped().await
    }
}

/// A server that has begun to answer.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) config: Config,
    pub(super) engine: Arc<Engine>,
    tasks: TaskTracker,
    /// Stops taking requests and jobs; what has begun is ended, and then the record of usage.
    stop: CancellationToken,
    /// Set when one of the tasks has ended.
    ended: CancellationToken,
    pub(super) signal: StopSignal,
    _lock: Option<ServerLock>,
    /// The last to be dropped: the others may have something to say.
    _telemetry: Telemetry,
}

impl Server {
    /// None when it was told to stop while it waited for its database.
    pub(super) async fn start(sources: &Sources) -> anyhow::Result<Option<Self>> {
        let config = Config::load(sources)?;
        let telemetry = telemetry::start(&config.log)?;
        let mut signal = StopSignal::listen()?;
        warn_of_open_networks(&config);
        warn_of_what_is_shared(&config);
        let lock = ServerLock::of(&config)?;
        let listener = listen(config.server.listen).await?;
        let address = listener
            .local_addr()
            .context("the address of the server is not known")?;
        let engine = tokio::select! {
            engine = wiring::engine(&config, Purpose::Server(address)) => engine?,
            () = signal.heard() => return Ok(None),
        };
        // Before anything is taken over: other servers must see this one, and this one them.
        let news = engine
            .listen()
            .await
            .context("what other servers tell could not be listened to")?;
        let role = config.server.role;
        if role.answers() {
            engine
                .load_usage()
                .await
                .context("the usage of limits could not be read")?;
        }
        let workers = if role.works() {
            let worker = Worker::new(Arc::clone(&engine));
            worker
                .take_over()
                .await
                .context("interrupted jobs could not be taken over")?;
            let deliverer = Deliverer::new(Arc::clone(&engine));
            deliverer
                .take_over()
                .await
                .context("interrupted webhooks could not be taken over")?;
            Some((worker, deliverer))
        } else {
            None
        };
        let (stop, stop_usage, tasks, working) = (
            CancellationToken::new(),
            CancellationToken::new(),
            TaskTracker::new(),
            TaskTracker::new(),
        );
        let state = ApiState {
            engine: Arc::clone(&engine),
            random: Arc::new(SystemRandom),
        };
        let options = ServeOptions {
            max_connections: config.server.max_connections,
            body_timeout: config.server.body_timeout.0,
            only_health: !role.answers(),
            ..ServeOptions::default()
        };
        let answering = vydra_http::serve(listener, state, options, stop.clone());
        let patience = config.worker.drain.0;
        // Rings however a part ends, also by a panic: half a server must not go on charging.
        let ended = CancellationToken::new();
        working.spawn({
            let (stop, engine) = (stop.clone(), Arc::clone(&engine));
            let ended = ended.clone().drop_guard();
            async move {
                let _ended = ended;
                tokio::select! {
                    result = answering => if let Err(error) = result {
                        tracing::error!(error = &error as &dyn std::error::Error, "the server broke off");
                    },
                    // A caller who holds a connection open must not keep the process alive for ever.
                    () = out_of_patience(&engine, &stop, patience) => tracing::warn!("some requests were not answered in time"),
                }
            }
        });
        if let Some((worker, deliverer)) = workers {
            working.spawn({
                let (ended, stop) = (ended.clone().drop_guard(), stop.clone());
                async move {
                    let _ended = ended;
                    worker.run(stop).await;
                }
            });
            working.spawn({
                let (ended, stop) = (ended.clone().drop_guard(), stop.clone());
                async move {
                    let _ended = ended;
                    deliverer.run(stop).await;
                }
            });
        }
        working.close();
        // The last to end, so that it writes down whatever the others have counted.
        tasks.spawn({
            let ended = ended.clone().drop_guard();
            let engine = Arc::clone(&engine);
            async move {
                let _ended = ended;
                let all_counted = async {
                    working.wait().await;
                    engine.settle_files().await;
                    stop_usage.cancel();
                };
                tokio::join!(
                    engine.keep_usage(stop_usage.clone()),
                    engine.hear(news, stop_usage.clone()),
                    all_counted
                );
            }
        });
        tasks.close();
        let url = wiring::url_of(address);
        tracing::info!(http.address = %address, "vydra is listening");
        Ok(Some(Self {
            url,
            config,
            engine,
            tasks,
            stop,
            ended,
            signal,
            _lock: lock,
            _telemetry: telemetry,
        }))
    }

    pub(super) async fn until_stopped(mut self) -> anyhow::Result<ExitCode> {
        tokio::select! {
            () = self.signal.heard() => self.stop().await,
            () = self.ended.cancelled() => {
                self.stop.cancel();
                bail!("a part of the server broke off, as the log tells; all of it stops")
            }
        }
    }

    /// Ends what has begun; a second signal does not wait for it.
    pub(super) async fn stop(mut self) -> anyhow::Result<ExitCode> {
        output::line("vydra is stopping: it ends what has begun. Once more stops it at once.");
        self.engine.leave();
        // Nobody sends requests to a worker.
        let delay = if self.config.server.role.answers() {
            self.config.server.drain_delay.0
        } else {
            Duration::ZERO
        };
        let ending = async {
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.ended.cancelled() => {}
            }
            self.stop.cancel();
            self.tasks.wait().await;
        };
        tokio::select! {
            () = ending => Ok(ExitCode::SUCCESS),
            () = self.signal.heard() => Ok(ExitCode::FAILURE),
        }
    }
}

/// SIGTERM, Ctrl-C or the end of the terminal, listened for from the start on: one that comes early is not lost, and does not cut the process off.
pub(super) struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl StopSignal {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be heard");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    pub(super) async fn heard(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// What a stop leaves for the last answers, once the time for draining is over.
const LAST_WORDS: Duration = Duration::from_secs(2);

async fn out_of_patience(engine: &Engine, stop: &CancellationToken, patience: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(patience).await;
    engine.hurry();
    tokio::time::sleep(LAST_WORDS).await;
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => "Something else listens there; give another with --listen, or port 0 for a free one.",
            std::io::ErrorKind::PermissionDenied => "Ports below 1024 need special rights; take a higher one.",
            _ => "Check the address that --listen or server.listen gives.",
        };
        anyhow::Error::new(error).context(format!("cannot listen on {address}. {hint}"))
    })
}

fn warn_of_open_networks(config: &Config) {
    for (key, networks) in [
        (
            "outbound.input_allow_networks",
            &config.outbound.input_allow_networks,
        ),
        (
            "outbound.webhook_allow_networks",
            &config.outbound.webhook_allow_networks,
        ),
    ] {
        if !networks.is_empty() {
            tracing::warn!(networks = %networks.join(", "), "{key} lets callers reach private networks");
        }
    }
}

/// One server on a database may well have a folder and an address of its own.
fn warn_of_what_is_shared(config: &Config) {
    if config.server.role == Role::Both {
        return;
    }
    let concerns = [concerns::of_files(config), concerns::of_public_url(config)];
    for concern in concerns.into_iter().flatten() {
        tracing::warn!("{concern}");
    }
}
