//! One organization with 1,000 credits, and what its caller does.

use serde_json::{Map, Value, json};
use std::ops::{Deref, DerefMut};
use vydra_core::asset::Asset;
use vydra_core::ids::EntryId;
use vydra_core::job::{Job, JobStatus, Mode};
use vydra_core::organization::Organization;
use vydra_engine::{Asked, Caller, Error, Preference, Result};
use vydra_testkit::{Setup, TestApp};

pub(crate) const CREDITS: i64 = 1_000;

pub(crate) struct Flow {
    app: TestApp,
    pub(crate) org: Organization,
    pub(crate) caller: Caller,
    mode: Mode,
}

impl Deref for Flow {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.app
    }
}

impl DerefMut for Flow {
    fn deref_mut(&mut self) -> &mut TestApp {
        &mut self.app
    }
}

impl Flow {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let app = TestApp::with(change);
        let org = app.org("acme", CREDITS).await;
        let caller = app.caller_of(&org, Mode::Live).await;
        Self {
            app,
            org,
            caller,
            mode: Mode::Live,
        }
    }

    /// The same, with a test key.
    pub(crate) async fn in_the_sandbox() -> Self {
        let mut flow = Self::new().await;
        flow.enter_the_sandbox().await;
        flow
    }

    pub(crate) async fn enter_the_sandbox(&mut self) {
        self.caller = self.caller_of(&self.org, Mode::Test).await;
        self.mode = Mode::Test;
    }

    /// The call as it is accepted; nothing has run yet.
    pub(crate) async fn call(&self, path: &str, input: Value) -> Job {
        self.try_call(path, input).await.unwrap()
    }

    pub(crate) async fn try_call(&self, path: &str, input: Value) -> Result<Job> {
        self.try_simulating(None, path, input).await
    }

    /// With this in `X-Vydra-Simulate`.
    pub(crate) async fn simulating(&self, wish: &str, path: &str, input: Value) -> Job {
        let called = self.try_simulating(Some(wish), path, input).await;
        called.unwrap()
    }

    pub(crate) async fn try_simulating(
        &self,
        wish: Option<&str>,
        path: &str,
        input: Value,
    ) -> Result<Job> {
        let asked = Asked {
            preference: Preference::RespondAsync,
            simulate: wish,
            ..Asked::default()
        };
        let started = self
            .engine
            .generate(&self.caller, path, object(input), asked)
            .await?;
        Ok(started.job)
    }

    /// A job of this workflow, nothing of which has run yet.
    pub(crate) async fn start(&self, workflow: &str, input: Value) -> Job {
        self.start_simulating(None, workflow, input).await
    }

    pub(crate) async fn start_simulating(
        &self,
        wish: Option<&str>,
        workflow: &str,
        input: Value,
    ) -> Job {
        let asked = Asked {
            simulate: wish,
            ..Asked::default()
        };
        let engine = &self.engine;
        let started = engine.create_job(&self.caller, workflow, object(input), asked);
        started.await.unwrap().job
    }

    /// An image for 5 credits, not yet made.
    pub(crate) async fn image(&self) -> Job {
        self.call("gemini/generate", json!({"prompt": "a lighthouse"}))
            .await
    }

    /// `count` images for 15 credits each, not yet made.
    pub(crate) async fn images(&self, count: u32) -> Job {
        let start = self.picture().await;
        let input = json!({"prompt": "p", "imageUrl": reference(&start), "numImages": count});
        self.call("flux-edit/edit", input).await
    }

    /// A stored image that cost 5 credits.
    pub(crate) async fn picture(&self) -> Asset {
        let job = self.image().await;
        self.step().await;
        let job = self.now(&job).await;
        job.outputs.first().expect("an image").clone()
    }

    pub(crate) async fn cancel(&self, job: &Job) -> Result<Job> {
        self.engine.cancel_job(&self.caller, job.id.as_str()).await
    }

    /// In the store alone, as another process would: this one's worker is not told.
    pub(crate) async fn cancel_elsewhere(&self, job: &Job) {
        let entry = EntryId::new(job.created_at, self.random.as_ref());
        let cancelled = self
            .store
            .cancel_job(&self.org.id, &job.id, entry, job.created_at);
        cancelled.await.unwrap();
    }

    pub(crate) async fn now(&self, job: &Job) -> Job {
        self.job(job).await
    }

    pub(crate) async fn credits(&self) -> i64 {
        self.balance(&self.org, self.mode).await
    }

    /// The job has this status, and the balance is this.
    #[track_caller]
    pub(crate) fn expect(
        &self,
        job: &Job,
        status: JobStatus,
        credits: i64,
    ) -> impl Future<Output = Job> {
        let place = std::panic::Location::caller();
        async move {
            let job = self.now(job).await;
            let found = (job.status, self.credits().await);
            assert_eq!(found, (status, credits), "at {place}: {job:#?}");
            job
        }
    }
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

/// How a request names a stored file.
pub(crate) fn reference(asset: &Asset) -> String {
    format!("asset:{}", asset.id)
}

/// The stable word of the job's failure, and whether a retry may help.
pub(crate) fn reason(job: &Job) -> (&str, bool) {
    let failure = job.failure.as_ref().expect("a failure");
    (failure.reason.as_str(), failure.retryable)
}

#[track_caller]
pub(crate) fn invalid_url<T: std::fmt::Debug>(result: Result<T>) -> (String, String) {
    match result {
        Err(Error::InvalidUrl { field, sentence }) => (field, sentence),
        other => panic!("not refused as a URL: {other:?}"),
    }
}
