//! Several servers on one Postgres: some only answer, others work. What is told between them comes at once; what would be
//! found only by looking now and then comes seconds later, and most tests here would take too long by that alone.

use crate::fixture::object;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use vydra_core::credits::Credits;
use vydra_core::job::{Job, JobStatus, Mode};
use vydra_core::organization::Organization;
use vydra_core::webhook::{Delivery, DeliveryStatus};
use vydra_engine::{
    Access, Asked, Caller, Credentials, DeliveryQuery, Error, EventKind, EventQuery, JobEvents,
    NewEndpoint, NewKey, NewOrganizationRequest, Preference, Watching,
};
use vydra_testkit::{Cluster, Gate, Node, Reply, Setup, WebhookSink};

/// Whoever works looks this often for what nobody tells of.
const WORKERS_LOOK_AFTER: Duration = Duration::from_secs(10);
/// The same for whoever waits for a job.
const CALLERS_LOOK_AFTER: Duration = Duration::from_secs(5);
const CREDITS: i64 = 1_000;

struct Nodes {
    cluster: Cluster,
    /// Answers, and runs nothing.
    api: Node,
    caller: Caller,
    key: String,
    org: Organization,
}

impl Nodes {
    async fn new() -> Option<Self> {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Setup)) -> Option<Self> {
        let cluster = Cluster::new(|setup| {
            setup.sync_wait = Duration::from_mins(1);
            change(setup);
        })?;
        let api = cluster.node().await;
        Some(Self::over(cluster, api).await)
    }

    async fn over(cluster: Cluster, api: Node) -> Self {
        let new = NewOrganizationRequest {
            name: "acme".to_owned(),
            plan: "enterprise".to_owned(),
            credits: Credits::new(CREDITS).unwrap(),
        };
        let org = api.engine.create_organization(new).await.unwrap();
        let key = api.engine.create_key(NewKey {
            organization: org.id.clone(),
            name: "test".to_owned(),
            scopes: vec!["*".to_owned()],
            expires_in_days: None,
            mode: Mode::Live,
        });
        let key = key.await.unwrap().secret.reveal().to_owned();
        Self {
            caller: calls(&api, &key).await.unwrap(),
            cluster,
            api,
            key,
            org,
        }
    }

    async fn worker(&self) -> Node {
        let worker = self.cluster.node().await;
        worker.work().await;
        worker
    }

    /// An image for 5 credits, waited for on the node that only answers.
    async fn image(&self) -> Job {
        let span = Duration::from_mins(1);
        self.start(Preference::Wait(span)).await.unwrap()
    }

    /// The same, not waited for.
    async fn begun(&self) -> Job {
        self.start(Preference::RespondAsync).await.unwrap()
    }

    async fn start(&self, preference: Preference) -> vydra_engine::Result<Job> {
        let asked = Asked {
            preference,
            ..Asked::default()
        };
        let input = object(json!({"prompt": "a lighthouse"}));
        let engine = &self.api.engine;
        let started = engine.generate(&self.caller, "gemini/generate", input, asked);
        Ok(started.await?.job)
    }

    /// Until the job stands so, however that is found out.
    async fn becomes(&self, job: &Job, status: JobStatus) -> Job {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let found = self.api.store.job(&job.org_id, &job.id).await.unwrap();
            let found = found.unwrap();
            if found.status == status {
                return found;
            }
            assert!(Instant::now() < end, "it stays so: {found:#?}");
        }
    }

    async fn events(&self, job: &Job) -> Box<JobEvents> {
        let engine = &self.api.engine;
        let watching = engine.job_events(&self.caller, job.id.as_str(), None).await;
        match watching.unwrap() {
            Watching::Events(events) => events,
            Watching::SeenToTheEnd => panic!("nothing was seen"),
        }
    }

    /// The only one there is, when it stands so.
    async fn delivery(&self, status: DeliveryStatus) -> Delivery {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let query = DeliveryQuery {
                limit: 10,
                ..DeliveryQuery::default()
            };
            let page = self.api.engine.deliveries(&self.caller, query).await;
            let found = page.unwrap().deliveries;
            if let [delivery] = found.as_slice()
                && delivery.status == status
                && delivery.last.is_some()
            {
                return delivery.clone();
            }
            assert!(Instant::now() < end, "they stay so: {found:#?}");
        }
    }

    /// The books agree, and so much is left.
    async fn check(self, left: i64) {
        let totals = self.api.engine.credit_totals(&self.org.id, Mode::Live);
        assert_eq!(totals.await.unwrap().remaining, left);
        let audit = self.api.store.audit().await.unwrap();
        assert_eq!(audit.imbalances, []);
    }
}

async fn calls(node: &Node, key: &str) -> vydra_engine::Result<Caller> {
    let header = format!("Bearer {key}");
    let credentials = Credentials {
        authorization: Some(&header),
        ..Credentials::default()
    };
    node.engine.authenticate(Access::Public, credentials).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_answered_when_another_node_has_carried_it_out() {
    let Some(nodes) = Nodes::new().await else {
        return;
    };
    let worker = nodes.worker().await;
    let begun = Instant::now();
    for _ in 0..8 {
        let job = nodes.image().await;
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
        assert_eq!(job.outputs.len(), 1);
    }
    let span = begun.elapsed();
    // To find the job takes a look, and to find its end another one.
    assert!(span < 4 * CALLERS_LOOK_AFTER, "{span:?}");
    worker.stop().await;
    nodes.check(CREDITS - 8 * 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_follows_a_job_that_another_node_runs() {
    let Some(nodes) = Nodes::new().await else {
        return;
    };
    let gates = [0, 20, 40, 60, 80].map(Gate::at_progress);
    let held = gates.iter().rev().fold(Reply::Made, |then, gate| {
        Reply::Held(gate.clone(), Box::new(then))
    });
    nodes.cluster.provider.next(held);
    let job = nodes.begun().await;
    let mut events = nodes.events(&job).await;
    let mut next = async || {
        let event = events.next().await.unwrap();
        (event.kind, event.job.status, event.job.progress)
    };
    assert_eq!(next().await, (EventKind::Status, JobStatus::Pending, 0));
    let worker = nodes.worker().await;
    let begun = Instant::now();
    for (gate, progress) in gates.iter().zip([0, 20, 40, 60, 80]) {
        gate.reached().await;
        let kind = match progress {
            0 => EventKind::Status,
            _ => EventKind::Progress,
        };
        assert_eq!(next().await, (kind, JobStatus::Running, progress));
        gate.open();
    }
    assert_eq!(next().await, (EventKind::End, JobStatus::Completed, 100));
    let span = begun.elapsed();
    assert!(span < 3 * CALLERS_LOOK_AFTER, "{span:?} for six looks");
    worker.stop().await;
    nodes.check(CREDITS - 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ends_of_jobs_are_fed_whoever_ends_them() {
    let Some(nodes) = Nodes::new().await else {
        return;
    };
    let worker = nodes.worker().await;
    let begun = Instant::now();
    let mut after = None;
    for _ in 0..4 {
        let gate = nodes.cluster.provider.hold_next();
        let job = nodes.begun().await;
        gate.reached().await;
        let query = EventQuery {
            after,
            limit: 10,
            wait: Duration::from_mins(1),
        };
        let (fed, ()) = tokio::join!(nodes.api.engine.events(&nodes.caller, query), async {
            gate.open();
        });
        let [event] = <[_; 1]>::try_from(fed.unwrap().events).unwrap();
        assert_eq!(event.job.id, job.id);
        after = Some(event.id.to_string());
    }
    let span = begun.elapsed();
    assert!(span < 2 * CALLERS_LOOK_AFTER, "{span:?} for four looks");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_the_run_on_another_node_and_its_provider_is_told() {
    let Some(nodes) = Nodes::new().await else {
        return;
    };
    let worker = nodes.worker().await;
    let provider = &nodes.cluster.provider;
    provider.next(Reply::Task("up-1"));
    let job = nodes.begun().await;
    while provider.polled().is_empty() {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    let engine = &nodes.api.engine;
    let cancelled = engine.cancel_job(&nodes.caller, job.id.as_str()).await;
    assert_eq!(cancelled.unwrap().status, JobStatus::Cancelled);
    while provider.cancelled().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(provider.cancelled(), ["up-1"]);
    // It looks at its lease three times in each.
    let span = begun.elapsed();
    assert!(span < Duration::from_secs(15), "{span:?}");
    worker.stop().await;
    nodes.check(CREDITS).await;
}

/// The one that only answers sends nothing, and is the only one that the owner speaks to.
#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_sent_by_whoever_sends() {
    let Some(nodes) = Nodes::with(|setup| setup.receivers = vec!["127.0.0.0/8"]).await else {
        return;
    };
    let worker = nodes.worker().await;
    let sink = WebhookSink::open().await;
    let engine = &nodes.api.engine;
    let endpoint = engine.create_endpoint(
        &nodes.caller,
        NewEndpoint {
            url: sink.url.clone(),
            events: Vec::new(),
            description: None,
        },
    );
    endpoint.await.unwrap();
    sink.will_answer(&["429 Too Many Requests\r\nretry-after: 3600"]);
    let gate = nodes.cluster.provider.hold_next();
    let job = nodes.begun().await;
    gate.reached().await;
    let begun = Instant::now();
    let cancelled = engine.cancel_job(&nodes.caller, job.id.as_str()).await;
    cancelled.unwrap();
    let refused = nodes.delivery(DeliveryStatus::Pending).await;
    // Time stands still, so that its patience would never end.
    let again = engine.resend_delivery(&nodes.caller, refused.id.as_str());
    again.await.unwrap();
    nodes.delivery(DeliveryStatus::Delivered).await;
    let span = begun.elapsed();
    assert!(span < WORKERS_LOOK_AFTER, "{span:?}");
    assert_eq!(sink.take().len(), 2, "one of them in vain");
    gate.open();
    worker.stop().await;
    nodes.check(CREDITS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_on_one_node_is_refused_by_all_at_the_next_request() {
    let Some(nodes) = Nodes::new().await else {
        return;
    };
    let other = nodes.cluster.node().await;
    let caller = calls(&other, &nodes.key).await.unwrap();
    let keys = other.engine.own_keys(&caller).await.unwrap();
    let revoked = nodes.api.engine.revoke_key(&keys[0].id).await;
    revoked.unwrap();
    for node in [&other, &nodes.api] {
        let refused = calls(node, &nodes.key).await;
        assert!(matches!(refused, Err(Error::KeyRevoked)), "{refused:?}");
    }
}

/// News that nobody tells, as when the one who had them dies before he has told them: all comes to its end, only later.
#[tokio::test(flavor = "multi_thread")]
async fn without_any_news_everything_goes_on() {
    let Some(nodes) = Nodes::new().await else {
        return;
    };
    let worker = nodes.cluster.deaf_node().await;
    worker.work().await;
    let begun = Instant::now();
    let job = nodes.image().await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    let (span, longest) = (begun.elapsed(), WORKERS_LOOK_AFTER + CALLERS_LOOK_AFTER);
    assert!(span < 2 * longest, "{span:?}");
    worker.stop().await;
    nodes.check(CREDITS - 5).await;
}

/// What was not told, because whoever had to tell it died, is found by the next gap at the latest.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_hears_again_looks_for_what_it_may_have_missed() {
    let Some(cluster) = Cluster::new(|_| {}) else {
        return;
    };
    let api = cluster.deaf_node().await;
    let nodes = Nodes::over(cluster, api).await;
    let worker = nodes.worker().await;
    let begun = Instant::now();
    for _ in 0..4 {
        let job = nodes.begun().await;
        nodes.cluster.deafen_all();
        nodes.becomes(&job, JobStatus::Completed).await;
    }
    let span = begun.elapsed();
    assert!(span < 2 * WORKERS_LOOK_AFTER, "{span:?} for four looks");
    worker.stop().await;
    nodes.check(CREDITS - 4 * 5).await;
}

/// The network breaks while a caller waits, and the job ends meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_cut_off_while_a_job_ended_learns_of_it_afterwards() {
    let Some(cluster) = Cluster::new(|_| {}) else {
        return;
    };
    let (api, wire) = cluster.node_behind_a_wire().await;
    let nodes = Nodes::over(cluster, api).await;
    let worker = nodes.worker().await;
    let gate = nodes.cluster.provider.hold_next();
    let (answered, ()) = tokio::join!(nodes.image(), async {
        gate.reached().await;
        wire.cut();
        gate.open();
        while !nodes.api.is_deaf() {
            tokio::task::yield_now().await;
        }
        wire.mend();
    });
    assert_eq!(answered.status, JobStatus::Completed, "{answered:#?}");
    worker.stop().await;
    nodes.check(CREDITS - 5).await;
}

/// Its lease would hold for a minute of the clock, which stands still.
#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_of_a_worker_that_is_cut_off_go_on_elsewhere_and_end_once() {
    let Some(nodes) = Nodes::new().await else {
        return;
    };
    let (lost, wire) = nodes.cluster.node_behind_a_wire().await;
    lost.work().await;
    let gate = nodes.cluster.provider.hold_next();
    let job = nodes.begun().await;
    gate.reached().await;
    let worker = nodes.worker().await;
    wire.cut();
    nodes.becomes(&job, JobStatus::Completed).await;
    // It comes back with what it has made, and nobody needs it any more.
    gate.open();
    wire.mend();
    lost.stop().await;
    let job = nodes.becomes(&job, JobStatus::Completed).await;
    assert_eq!(job.outputs.len(), 1);
    worker.stop().await;
    nodes.check(CREDITS - 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_hands_back_is_taken_by_another_at_once() {
    let Some(nodes) = Nodes::new().await else {
        return;
    };
    let leaving = nodes.worker().await;
    let gate = nodes.cluster.provider.hold_next();
    let job = nodes.begun().await;
    gate.reached().await;
    let staying = nodes.worker().await;
    let begun = Instant::now();
    // It takes leave later: that alone would make the others look.
    leaving.stop_working().await;
    nodes.becomes(&job, JobStatus::Completed).await;
    let span = begun.elapsed();
    assert!(span < WORKERS_LOOK_AFTER / 2, "{span:?}");
    gate.open();
    leaving.stop().await;
    staying.stop().await;
    nodes.check(CREDITS - 5).await;
}

/// Also one that ends in the last moment of the one that ran it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_tells_of_the_last_ends() {
    let Some(nodes) = Nodes::with(|setup| setup.worker.drain = Duration::from_secs(20)).await
    else {
        return;
    };
    let begun = Instant::now();
    for _ in 0..4 {
        let worker = nodes.worker().await;
        let gate = nodes.cluster.provider.hold_next();
        let (answered, ()) = tokio::join!(nodes.image(), async {
            gate.reached().await;
            gate.open();
            worker.stop().await;
        });
        assert_eq!(answered.status, JobStatus::Completed);
    }
    let span = begun.elapsed();
    assert!(span < 2 * CALLERS_LOOK_AFTER, "{span:?} for four looks");
    nodes.check(CREDITS - 4 * 5).await;
}
