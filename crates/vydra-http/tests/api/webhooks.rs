use crate::fixture::{Answer, Api, CREDITS, is_time};
use crate::matrix::RECEIVER;
use serde_json::{Value, json};
use std::time::Duration;
use vydra_core::ids::OrgId;
use vydra_core::job::Mode;
use vydra_core::time::Clock as _;
use vydra_core::webhook::WebhookSecret;
use vydra_engine::MAX_ENDPOINTS;
use vydra_testkit::{Received, WebhookSink};

impl Api {
    pub(crate) async fn endpoint(&self, body: Value) -> Value {
        let created = self.post("webhooks/endpoints", &body).send().await;
        created.ok(201)
    }

    async fn secret(&self) -> WebhookSecret {
        let shown = self.get("webhooks/secret").send().await.ok(200);
        WebhookSecret::parse(shown["secret"].as_str().unwrap()).unwrap()
    }

    async fn deliveries(&self, query: &str) -> Vec<Value> {
        let path = format!("webhooks/deliveries?{query}");
        let list = self.get(&path).send().await.ok(200);
        list["data"].as_array().unwrap().clone()
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        let call = self.call("PATCH", path).body(body.to_string());
        call.header("content-type", "application/json").send().await
    }
}

/// Whether one of the signatures is that of `secret`.
fn is_signed(received: &Received, secret: &WebhookSecret) -> bool {
    let at = received.timestamp.parse::<i64>().unwrap();
    let at = vydra_core::time::Timestamp::from_micros(at * 1_000_000);
    let expected = secret.sign(&received.id, at, &received.body);
    received.signature.split(' ').any(|one| one == expected)
}

#[tokio::test]
async fn the_end_of_a_job_is_told_as_the_job_is_shown() {
    let api = Api::idle().await;
    let (own, endpoint) = (WebhookSink::open().await, WebhookSink::open().await);
    api.endpoint(json!({"url": endpoint.url})).await;
    let body =
        json!({"workflow": "generate_image", "input": {"prompt": "p"}, "webhookUrl": own.url});
    let id = api.post("jobs", &body).send().await.ok(201)["id"].clone();
    let id = id.as_str().unwrap();
    assert_eq!(api.deliver().await, 0, "it has not ended");
    api.step().await;
    assert_eq!(api.deliver().await, 2);
    assert_eq!(api.deliver().await, 0, "each is sent once");
    let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
    let secret = api.secret().await;
    for sink in [own, endpoint] {
        let [received] = sink.take().try_into().unwrap();
        assert_eq!(received.id, id.replace("job_", "evt_"));
        assert!(is_signed(&received, &secret));
        let told = received.json();
        let names: Vec<&String> = told.as_object().unwrap().keys().collect();
        assert_eq!(names, ["type", "timestamp", "data"]);
        assert_eq!(told["type"], "job.completed");
        assert_eq!(told["timestamp"], job["completedAt"]);
        assert_eq!(told["data"], job);
        assert_eq!(received.timestamp, api.clock.now().as_seconds().to_string());
    }
    let list = api.deliveries("").await;
    assert_eq!(list.len(), 2);
    for delivery in list {
        assert_eq!(delivery["status"], "delivered");
        assert_eq!(delivery["jobId"], id);
        assert_eq!(delivery["responseStatus"], 204);
        assert_eq!(delivery["attempts"], 1);
        assert_eq!(delivery["nextAttemptAt"], Value::Null);
    }
}

/// A call of a model makes a job too.
#[tokio::test]
async fn a_model_takes_a_webhook_url_as_a_job_does() {
    let api = Api::idle().await;
    let sink = WebhookSink::open().await;
    let body = json!({"prompt": "p", "webhook_url": sink.url});
    let taken = api.post("models/veo3", &body).send().await.ok(202);
    assert_eq!(taken["input"].get("webhook_url"), None);
    api.step().await;
    api.deliver().await;
    let [received] = sink.take().try_into().unwrap();
    assert_eq!(received.json()["data"]["id"], taken["jobId"]);
}

#[tokio::test]
async fn an_address_that_leads_nowhere_good_is_an_invalid_url() {
    let api = Api::idle().await;
    let endpoint = api.endpoint(json!({"url": RECEIVER})).await;
    let endpoint = format!("webhooks/endpoints/{}", endpoint["id"].as_str().unwrap());
    for url in [
        "",
        "nonsense",
        "ftp://example.com/hook",
        "https://user:word@public.test/hook",
        "https://public.test:8080/hook",
        "http://[::1]/hook",
        "http://169.254.169.254/hook",
        "http://10.0.0.7/hook",
        "http://localhost/hook",
        "http://private.test/hook",
        "http://metadata.test/hook",
        "http://unknown.test/hook",
    ] {
        let refused = |answer: Answer, field: &str| {
            let told = answer.error("INVALID_URL");
            assert_eq!(told["details"]["field"], field, "{url:?}");
            let sentence = told["error"].as_str().unwrap();
            let begin = format!("Invalid URL in {field}: ");
            assert!(sentence.starts_with(&begin), "{sentence}");
        };
        for name in ["webhookUrl", "webhook_url"] {
            let job = json!({"workflow": "generate_image", "input": {"prompt": "p"}, name: url});
            refused(api.post("jobs", &job).send().await, "webhookUrl");
            let call = json!({"prompt": "p", name: url});
            refused(api.post("models/veo3", &call).send().await, "webhookUrl");
        }
        let body = json!({"url": url});
        let created = api.post("webhooks/endpoints", &body).send().await;
        refused(created, "url");
        refused(api.patch(&endpoint, body).await, "url");
    }
    let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}, "webhookUrl": 7});
    let told = api.post("jobs", &body).send().await.error("INVALID_INPUT");
    assert_eq!(told["details"]["fields"][0]["field"], "webhookUrl");
    assert_eq!(api.credits().await, CREDITS);
    let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}, "webhookUrl": null});
    api.post("jobs", &body).send().await.ok(201);
}

#[tokio::test]
async fn what_fails_is_tried_again_on_schedule() {
    let api = Api::idle().await;
    let sink = WebhookSink::open().await;
    api.endpoint(json!({"url": sink.url, "events": ["job.completed"]}))
        .await;
    let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
    api.post("jobs", &body).send().await.ok(201);
    api.step().await;
    sink.will_answer(&[
        "500 Internal Server Error",
        "302 Found\r\nlocation: http://127.0.0.1:1/",
        "429 Too Many Requests\r\nretry-after: 1200",
        "503 Service Unavailable",
    ]);
    let mut ids = Vec::new();
    let mut seen = |count| {
        let received = sink.take();
        assert_eq!(received.len(), count);
        ids.extend(received.into_iter().map(|received| received.id));
    };
    // What each attempt was answered, and how long the next one waits: up to a tenth more.
    let mut last = Value::Null;
    for (status, error, wait) in [
        (500, "it answered 500", 5),
        (302, "it answered 302, and redirects are not followed", 30),
        (429, "it answered 429", 1_200),
    ] {
        assert_eq!(api.deliver().await, 1);
        seen(1);
        [last] = api.deliveries("status=pending").await.try_into().unwrap();
        assert_eq!(last["responseStatus"], status);
        assert_eq!(last["error"], error);
        assert!(is_time(&last["nextAttemptAt"]));
        api.clock.advance(Duration::from_secs(wait - 1));
        assert_eq!(api.deliver().await, 0, "after {status}");
        api.clock.advance(Duration::from_secs(wait / 10 + 2));
    }
    assert_eq!(last["attempts"], 3);
    assert_eq!(api.deliver().await, 1);
    seen(1);
    // There are three spans, so that was the last attempt.
    let [failed] = api.deliveries("status=failed").await.try_into().unwrap();
    assert_eq!(failed["attempts"], 4);
    assert_eq!(failed["nextAttemptAt"], Value::Null);
    api.clock.advance(Duration::from_hours(100));
    assert_eq!(api.deliver().await, 0);

    let path = format!(
        "webhooks/deliveries/{}/resend",
        failed["id"].as_str().unwrap()
    );
    let again = api.post(&path, &json!({})).send().await.ok(202);
    assert_eq!(again["status"], "pending");
    assert_eq!(api.deliver().await, 1);
    seen(1);
    ids.dedup();
    assert_eq!(ids.len(), 1, "every attempt has the same id: {ids:?}");
    let path = format!("webhooks/deliveries/{}", failed["id"].as_str().unwrap());
    let delivered = api.get(&path).send().await.ok(200);
    assert_eq!(delivered["status"], "delivered");
    assert_eq!(delivered["error"], Value::Null);
}

/// One that asked for patience is left alone with everything, and others are not.
#[tokio::test]
async fn patience_holds_for_the_whole_receiver() {
    let api = Api::idle().await;
    let (tired, other) = (WebhookSink::open().await, WebhookSink::open().await);
    tired.will_answer(&["429 Too Many Requests\r\nretry-after: 60"]);
    api.endpoint(json!({"url": tired.url})).await;
    api.endpoint(json!({"url": other.url})).await;
    let end = async || {
        let job = api.pending().await;
        api.delete(&format!("jobs/{job}")).send().await.ok(200);
        api.deliver().await
    };
    assert_eq!(end().await, 2);
    assert_eq!(end().await, 1);
    assert_eq!((tired.take().len(), other.take().len()), (1, 2));
    api.clock.advance(Duration::from_secs(67));
    assert_eq!(api.deliver().await, 2);
    assert_eq!((tired.take().len(), other.take().len()), (2, 0));
    // Unless its owner wants it to be called.
    tired.will_answer(&["429 Too Many Requests\r\nretry-after: 86400"]);
    assert_eq!(end().await, 2);
    assert_eq!(end().await, 1);
    tired.take();
    api.post("webhooks/test", &json!({})).send().await.ok(202);
    assert_eq!(
        api.deliver().await,
        3,
        "a test is sent at once, and what waits for its turn"
    );
    assert_eq!(tired.take().len(), 2);
}

/// The addresses of jobs are as many receivers as they have hosts.
#[tokio::test]
async fn one_jobs_receiver_holds_up_no_other() {
    let api = Api::with("enterprise", |setup| setup.receivers = vec!["127.0.0.0/8"]).await;
    let (tired, other) = (WebhookSink::open().await, WebhookSink::open().await);
    tired.will_answer(&["503 Service Unavailable\r\nretry-after: 86400"]);
    let cancelled = async |url: &str| {
        let body =
            json!({"workflow": "generate_image", "input": {"prompt": "p"}, "webhookUrl": url});
        let id = api.post("jobs", &body).send().await.ok(201)["id"].clone();
        let path = format!("jobs/{}", id.as_str().unwrap());
        api.delete(&path).send().await.ok(200);
    };
    cancelled(&tired.url).await;
    assert_eq!(api.deliver().await, 1);
    cancelled(&other.url).await;
    cancelled(&tired.url).await;
    assert_eq!(api.deliver().await, 1);
    assert_eq!((tired.take().len(), other.take().len()), (1, 1));
}

#[tokio::test]
async fn whoever_is_gone_is_told_nothing_more() {
    let api = Api::idle().await;
    let (gone, other) = (WebhookSink::open().await, WebhookSink::open().await);
    gone.will_answer(&["410 Gone"]);
    let endpoint = api
        .endpoint(json!({"url": gone.url, "events": ["job.cancelled"]}))
        .await;
    api.endpoint(json!({"url": other.url, "events": ["webhook.endpoint_disabled"]}))
        .await;
    let id = endpoint["id"].as_str().unwrap();
    let path = format!("webhooks/endpoints/{id}");
    let cancel = async || {
        let job = api.pending().await;
        api.delete(&format!("jobs/{job}")).send().await.ok(200);
    };
    cancel().await;
    assert_eq!(api.deliver().await, 1);
    let off = api.get(&path).send().await.ok(200);
    assert_eq!(off["status"], "disabled");
    assert_eq!(off["disabledReason"], "gone");
    assert!(is_time(&off["disabledAt"]));
    cancel().await;
    assert_eq!(api.deliver().await, 1, "the notice");
    assert_eq!(gone.take().len(), 1);
    let [notice] = other.take().try_into().unwrap();
    let notice = notice.json();
    assert_eq!(notice["type"], "webhook.endpoint_disabled");
    assert_eq!(
        notice["data"],
        json!({"endpointId": id, "url": gone.url, "reason": "gone"})
    );
    let [failed] = api.deliveries("status=failed").await.try_into().unwrap();
    let resend = format!(
        "webhooks/deliveries/{}/resend",
        failed["id"].as_str().unwrap()
    );
    let refused = api.post(&resend, &json!({})).send().await;
    refused.error("INVALID_INPUT");

    let on = api.patch(&path, json!({"enabled": true})).await.ok(200);
    assert_eq!(
        (&on["status"], &on["disabledReason"]),
        (&json!("enabled"), &Value::Null)
    );
    api.post(&resend, &json!({})).send().await.ok(202);
    assert_eq!(api.deliver().await, 1);
    assert_eq!(gone.take().len(), 1);
}

#[tokio::test]
async fn during_a_rotation_both_secrets_sign() {
    let api = Api::idle().await;
    let sink = WebhookSink::open().await;
    api.endpoint(json!({"url": sink.url})).await;
    let old = api.secret().await;
    assert_eq!(api.secret().await, old);
    let body = json!({"overlapHours": 2});
    let rotated = api.post("webhooks/secret/rotate", &body).send().await;
    assert_eq!(rotated.header("cache-control"), Some("no-store"));
    let rotated = rotated.ok(200);
    assert!(is_time(&rotated["previousSecretUntil"]));
    let new = api.secret().await;
    assert_ne!(new, old);
    let send = async || -> Received {
        api.post("webhooks/test", &json!({})).send().await.ok(202);
        api.deliver().await;
        let [received] = sink.take().try_into().unwrap();
        received
    };
    let received = send().await;
    assert!(is_signed(&received, &new) && is_signed(&received, &old));
    assert_eq!(received.json()["type"], "webhook.test");
    api.clock.advance(Duration::from_hours(2));
    let received = send().await;
    assert!(is_signed(&received, &new) && !is_signed(&received, &old));
    let shown = api.get("webhooks/secret").send().await.ok(200);
    assert_eq!(shown["previousSecretUntil"], Value::Null);
    for wrong in [json!({"overlapHours": 169}), json!({"overlap": 1})] {
        let refused = api.post("webhooks/secret/rotate", &wrong).send().await;
        refused.error("INVALID_INPUT");
    }
    assert_eq!(api.secret().await, new);
}

#[tokio::test]
async fn an_endpoint_is_read_changed_and_removed() {
    let api = Api::idle().await;
    let made = api
        .endpoint(json!({"url": RECEIVER, "events": ["job.failed", "job.completed"], "description": " ours "}))
        .await;
    assert_eq!(made["events"], json!(["job.completed", "job.failed"]));
    assert_eq!(made["description"], "ours");
    assert_eq!(made["status"], "enabled");
    for name in ["disabledReason", "disabledAt", "failingSince"] {
        assert_eq!(made[name], Value::Null, "{name}");
    }
    let path = format!("webhooks/endpoints/{}", made["id"].as_str().unwrap());
    assert_eq!(api.get(&path).send().await.ok(200), made);
    let changed = api
        .patch(
            &path,
            json!({"events": ["*"], "description": "", "enabled": false}),
        )
        .await
        .ok(200);
    assert_eq!(changed["events"], json!(["*"]));
    assert_eq!(changed["description"], Value::Null);
    assert_eq!(changed["disabledReason"], "by_owner");
    let same = api.patch(&path, json!({})).await.ok(200);
    assert_eq!(same["events"], json!(["*"]));

    for wrong in [
        json!({}),
        json!({"url": 7}),
        json!({"url": RECEIVER, "events": []}),
        json!({"url": RECEIVER, "events": ["job.started"]}),
        json!({"url": RECEIVER, "description": "a\u{7}b"}),
        json!({"url": RECEIVER, "description": "d".repeat(201)}),
        json!({"url": RECEIVER, "secret": "whsec_"}),
    ] {
        let refused = api.post("webhooks/endpoints", &wrong).send().await;
        refused.error("INVALID_INPUT");
    }
    api.patch(&path, json!({"enabled": "yes"}))
        .await
        .error("INVALID_INPUT");
    let list = api.get("webhooks/endpoints").send().await.ok(200);
    assert_eq!(list["data"], json!([same]));
    let gone = api.delete(&path).send().await.ok(200);
    assert_eq!(gone, json!({"id": made["id"], "deleted": true}));
    api.delete(&path).send().await.error("NOT_FOUND");
    api.get(&path).send().await.error("NOT_FOUND");
    let list = api.get("webhooks/endpoints").send().await.ok(200);
    assert_eq!(list["data"], json!([]));
    let refused = api.post("webhooks/test", &json!({})).send().await;
    refused.error("INVALID_INPUT");
}

#[tokio::test]
async fn there_is_an_end_to_endpoints() {
    let api = Api::idle().await;
    let body = json!({"url": RECEIVER});
    for _ in 0..MAX_ENDPOINTS {
        api.endpoint(body.clone()).await;
    }
    let refused = api.post("webhooks/endpoints", &body).send().await;
    refused.error("INVALID_INPUT");
    let key = api.key(&api.org, &["*"], Mode::Test).await;
    let call = api.post("webhooks/endpoints", &body).key(&key);
    call.send().await.ok(201);
}

/// The sandbox and the real thing do not see each other.
#[tokio::test]
async fn the_sandbox_has_webhooks_of_its_own() {
    let api = Api::idle().await;
    let test = api.key(&api.org, &["*"], Mode::Test).await;
    let (live, sandbox) = (WebhookSink::open().await, WebhookSink::open().await);
    api.endpoint(json!({"url": live.url})).await;
    let body = json!({"url": sandbox.url});
    let made = api
        .post("webhooks/endpoints", &body)
        .key(&test)
        .send()
        .await;
    let id = made.ok(201)["id"].clone();
    let path = format!("webhooks/endpoints/{}", id.as_str().unwrap());
    api.get(&path).send().await.error("NOT_FOUND");
    let job = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
    let job = api.post("jobs", &job).key(&test).send().await.ok(201);
    api.step().await;
    assert_eq!(api.deliver().await, 1);
    assert_eq!(live.take(), []);
    let [received] = sandbox.take().try_into().unwrap();
    assert_eq!(received.json()["data"]["id"], job["id"]);
    // Whoever holds a test key cannot sign for real jobs.
    let shown = api.get("webhooks/secret").key(&test).send().await.ok(200);
    let secret = WebhookSecret::parse(shown["secret"].as_str().unwrap()).unwrap();
    assert!(is_signed(&received, &secret));
    assert!(!is_signed(&received, &api.secret().await));
    assert_eq!(api.deliveries("").await, [] as [Value; 0]);
    let events = api.get("events").send().await.ok(200);
    assert_eq!(events["data"], json!([]));
}

#[tokio::test]
async fn deliveries_are_listed_in_pages() {
    let api = Api::idle().await;
    let endpoint = api.endpoint(json!({"url": RECEIVER})).await;
    let id = endpoint["id"].as_str().unwrap();
    for _ in 0..3 {
        api.post("webhooks/test", &json!({"endpointId": id}))
            .send()
            .await
            .ok(202);
    }
    let all = api.deliveries("").await;
    assert_eq!(all.len(), 3);
    let page = api.get("webhooks/deliveries?limit=2").send().await.ok(200);
    assert_eq!(page["pagination"]["count"], 3);
    let cursor = page["pagination"]["nextCursor"].as_str().unwrap();
    assert_eq!(page["data"][1]["id"], cursor);
    let rest = api
        .get(&format!("webhooks/deliveries?after={cursor}"))
        .send()
        .await
        .ok(200);
    assert_eq!(rest["data"], json!([all[2]]));
    assert_eq!(rest["pagination"]["nextCursor"], Value::Null);
    let to = format!("endpointId={id}&status=pending&offset=2");
    assert_eq!(api.deliveries(&to).await, all[2..]);
    assert_eq!(api.deliveries("endpointId=nobody").await, [] as [Value; 0]);
    assert_eq!(api.deliveries("status=delivered").await, [] as [Value; 0]);
    for wrong in [
        "limit=0",
        "limit=101",
        "offset=-1",
        "status=lost",
        "after=nothing",
        "after=dlv_00000000000000000000000000",
    ] {
        let path = format!("webhooks/deliveries?{wrong}");
        api.get(&path).send().await.error("INVALID_INPUT");
    }
}

/// Nobody can sign in another one's name.
#[tokio::test]
async fn each_organization_has_a_secret_of_its_own() {
    let api = Api::idle().await;
    let other = api.org("other", 0).await;
    let of = async |org: &OrgId| {
        api.engine
            .webhook_secrets_of(org, Mode::Live)
            .await
            .unwrap()
            .current
    };
    let (own, others) = (of(&api.org.id).await, of(&other.id).await);
    assert_eq!(own, api.secret().await);
    assert_ne!(own, others);
    let nobody = OrgId::trusted("org_nobody".to_owned());
    assert!(
        api.engine
            .webhook_secrets_of(&nobody, Mode::Live)
            .await
            .is_err()
    );
    let reader = api.key(&api.org, &["webhooks:read"], Mode::Live).await;
    let refused = api.get("webhooks/secret").key(&reader).send().await;
    refused.error("INSUFFICIENT_SCOPE");
}
