//! A store that speaks S3: a real server over a folder, which checks every signature, on a port of 127.0.0.1.

use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError};
use s3s_fs::FileSystem;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub const BUCKET: &str = "vydra-test";
pub const ACCESS_KEY_ID: &str = "a-key-of-tests";
pub const SECRET_ACCESS_KEY: &str = "the/secret+of=tests";

const NO_SUCH_BUCKET: &str = "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>";

/// Serves one bucket until it is dropped.
#[derive(Debug)]
pub struct S3Server {
    pub url: String,
    folder: TempDir,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct Shared {
    calls: Mutex<Vec<String>>,
    /// Given in place of answers, in turn; None lets one pass.
    refusals: Mutex<VecDeque<Option<StatusCode>>>,
}

impl S3Server {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let service = builder.build();

        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, shared) = (CancellationToken::new(), Arc::new(Shared::default()));
        let (stopped, seen) = (stop.clone(), Arc::clone(&shared));
        let connections = TaskTracker::new();
        connections.clone().spawn(async move {
            loop {
                let connection = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    () = stopped.cancelled() => return,
                };
                let (service, seen) = (service.clone(), Arc::clone(&seen));
                let stopped = stopped.clone();
                connections.spawn(async move {
                    let answering = service_fn(move |request| {
                        answer(service.clone(), Arc::clone(&seen), request)
                    });
                    let server = Builder::new(TokioExecutor::new());
                    let serving = server.serve_connection(TokioIo::new(connection), answering);
                    tokio::select! {
                        // A client that hangs up is no failure of the test.
                        _ended = serving => {}
                        () = stopped.cancelled() => {}
                    }
                });
            }
        });
        Self {
            url,
            folder,
            shared,
            _stop: stop.drop_guard(),
        }
    }

    /// Method, path with query, and length of the body of every request since the last time.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.shared.calls))
    }

    /// The next requests get these answers, and nothing is done.
    pub fn refuse(&self, answers: impl IntoIterator<Item = u16>) {
        self.refuse_after(0, answers);
    }

    /// The same for those that come after so many.
    pub fn refuse_after(&self, passing: usize, answers: impl IntoIterator<Item = u16>) {
        let passing = std::iter::repeat_n(None, passing);
        let answers = answers
            .into_iter()
            .map(|status| Some(StatusCode::from_u16(status).unwrap()));
        lock(&self.shared.refusals).extend(passing.chain(answers));
    }

    /// Of a file, by its whole key.
    pub fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join(key)
    }

    /// What uploads have left that neither became a file nor were aborted: their names and their parts.
    pub fn unfinished(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(".upload"))
            .collect()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    service: S3Service,
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, HttpError> {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.map_or("0", |length| length.to_str().unwrap());
    let call = format!("{} {} {length}", request.method(), request.uri());
    lock(&shared.calls).push(call);
    let refusal = lock(&shared.refusals).pop_front().flatten();
    if let Some(status) = refusal {
        let mut refused = Response::new(Body::empty());
        *refused.status_mut() = status;
        return Ok(refused);
    }
    // The server behind makes a bucket of whatever name.
    let bucket = request.uri().path().split('/').nth(1);
    if bucket != Some(BUCKET) {
        let mut missing = Response::new(Body::from(NO_SUCH_BUCKET.to_owned()));
        *missing.status_mut() = StatusCode::NOT_FOUND;
        return Ok(missing);
    }
    service.call(request.map(Body::from)).await
}
