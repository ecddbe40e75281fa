//! Every operation with every kind of caller: status, code, headers and body.

use crate::fixture::{Answer, Api, Call};
use crate::uploads;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use vydra_core::api_key::KeySecret;
use vydra_core::credits::Credits;
use vydra_core::ids::{AssetId, DeliveryId, EndpointId, JobId, KeyId};
use vydra_core::job::Mode;
use vydra_core::time::Clock;
use vydra_core::user::Role;
use vydra_engine::Access;
use vydra_http::routes::{self, Operation};
use vydra_testkit::{PASSWORD, SeededRandom};

/// A name of the Internet. Nobody is ever called there.
pub(crate) const RECEIVER: &str = "https://public.test/hook";

/// A request that its owner may send, and what answers it.
pub(crate) struct Row {
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
    /// A body that is no JSON, and its type.
    pub(crate) form: Option<(String, Vec<u8>)>,
    status: u16,
    /// The same for a thing of another organization, and for one that nobody has.
    elsewhere: Option<(String, String)>,
}

/// An organization with something of each kind, and a stranger with the same.
pub(crate) struct World {
    pub(crate) api: Api,
    stranger: String,
    session: String,
    revoked: String,
    expired: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        let api = Api::with("enterprise", |setup| setup.auth.bot_register = true).await;
        let session = api.person("ada@example.com", Role::Owner).await;
        let many = Credits::new(1_000_000).unwrap();
        let granted = api
            .engine
            .grant(&api.org.id, Mode::Live, many, "for all the calls");
        granted.await.unwrap();
        let other = api.org("stranger", 1_000).await;
        let stranger = api.key(&other, &["*"], Mode::Live).await;
        let (revoked, id) = api.timed_key(None).await;
        api.engine.revoke_key(&id).await.unwrap();
        let (expired, _) = api.timed_key(Some(0)).await;
        Self {
            api,
            stranger,
            session,
            revoked,
            expired,
        }
    }

    async fn job(&self, key: &str) -> String {
        let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
        let created = self.api.post("jobs", &body).key(key).send().await;
        created.ok(201)["id"].as_str().unwrap().to_owned()
    }

    async fn endpoint(&self, key: &str) -> String {
        let body = json!({"url": RECEIVER});
        let created = self.api.post("webhooks/endpoints", &body).key(key);
        let created = created.send().await.ok(201);
        created["id"].as_str().unwrap().to_owned()
    }

    async fn delivery(&self, key: &str) -> String {
        let body = json!({"endpointId": self.endpoint(key).await});
        let sent = self.api.post("webhooks/test", &body).key(key).send().await;
        let sent = sent.ok(202);
        sent["data"][0]["id"].as_str().unwrap().to_owned()
    }

    /// The id of a file that was sent in.
    async fn asset(&self, key: &str) -> String {
        let (media_type, form) = uploads::example();
        let sent = self.api.call("POST", "upload").body(form).key(key);
        sent.header("content-type", &media_type)
            .send()
            .await
            .ok(200);
        let list = self.api.get("assets").key(key).send().await.ok(200);
        list["data"][0]["id"].as_str().unwrap().to_owned()
    }

    /// One row for each operation; an operation without one fails the test.
    pub(crate) async fn row(&self, operation: &Operation) -> Row {
        let plain = |path: &str, status| Row {
            path: path.to_owned(),
            body: None,
            form: None,
            status,
            elsewhere: None,
        };
        let posted = |path: &str, body: Value, status| Row {
            body: Some(body),
            ..plain(path, status)
        };
        let (method, path) = (operation.method.as_str(), operation.path.as_ref());
        let about_job = |path: &str, own: &str, foreign: &str| {
            let nobody = JobId::new(self.api.clock.now(), &SeededRandom::new(7));
            let at = |id: &str| path.replace("{id}", id);
            Row {
                elsewhere: Some((at(foreign), at(nobody.as_str()))),
                ..plain(&at(own), 200)
            }
        };
        match (method, path) {
            (
                "GET",
                "/health"
                | "/organization"
                | "/account/rate-limits"
                | "/billing/credits"
                | "/billing/transactions"
                | "/usage"
                | "/models"
                | "/jobs"
                | "/assets"
                | "/api-keys"
                | "/events"
                | "/webhooks/endpoints"
                | "/webhooks/secret"
                | "/webhooks/deliveries"
                | "/auth/me",
            )
            | ("POST", "/auth/logout") => plain(path, 200),
            ("POST", "/auth/login") => posted(
                path,
                json!({"email": "ada@example.com", "password": PASSWORD}),
                200,
            ),
            ("POST", "/auth/bot-register") => posted(
                path,
                json!({"agent_name": "scout", "billing_email": "bills@example.com"}),
                201,
            ),
            ("POST", "/api-keys") => posted(path, json!({"name": "backend"}), 201),
            ("GET" | "DELETE", "/api-keys/{id}") | ("POST", "/api-keys/{id}/rotate") => {
                let (_, own) = self.api.timed_key(None).await;
                let foreign = self.api.get("api-keys").key(&self.stranger);
                let foreign = foreign.send().await.ok(200)["data"][0]["id"].clone();
                let nobody = KeyId::new(self.api.clock.now(), &SeededRandom::new(7));
                let at = |id: &str| path.replace("{id}", id);
                Row {
                    elsewhere: Some((at(foreign.as_str().unwrap()), at(nobody.as_str()))),
                    body: (method == "POST").then(|| json!({})),
                    ..plain(&at(own.as_str()), if method == "POST" { 201 } else { 200 })
                }
            }
            ("GET", "/models/{*path}") => plain("/models/veo3", 200),
            ("POST", "/models/{*path}") => posted("/models/veo3", json!({"prompt": "p"}), 202),
            ("POST", call) if call.starts_with("/models/") => self.call_of(call).await,
            ("POST", "/jobs") => posted(
                path,
                json!({"workflow": "generate_image", "input": {"prompt": "p"}}),
                201,
            ),
            ("POST", "/quotes") => posted(
                path,
                json!({"workflow": "generate_image", "input": {"prompt": "p"}}),
                200,
            ),
            ("GET" | "DELETE", "/jobs/{id}") | ("GET", "/jobs/{id}/charges") => {
                let own = self.job(&self.api.key).await;
                let foreign = self.job(&self.stranger).await;
                about_job(path, &own, &foreign)
            }
            ("GET", "/jobs/{id}/events") => {
                let own = self.job(&self.api.key).await;
                let foreign = self.job(&self.stranger).await;
                // The stream of a job that has ended ends at once.
                let ended = self.api.delete(&format!("jobs/{own}"));
                ended.send().await.ok(200);
                about_job(path, &own, &foreign)
            }
            ("GET" | "DELETE", "/assets/{id}") => {
                let own = self.asset(&self.api.key).await;
                let foreign = self.asset(&self.stranger).await;
                let nobody = AssetId::new(self.api.clock.now(), &SeededRandom::new(7));
                let at = |id: &str| path.replace("{id}", id);
                Row {
                    elsewhere: Some((at(&foreign), at(nobody.as_str()))),
                    ..plain(&at(&own), 200)
                }
            }
            ("POST", "/webhooks/endpoints") => posted(path, json!({"url": RECEIVER}), 201),
            ("GET" | "PATCH" | "DELETE", "/webhooks/endpoints/{id}") => {
                let own = self.endpoint(&self.api.key).await;
                let foreign = self.endpoint(&self.stranger).await;
                let nobody = EndpointId::new(self.api.clock.now(), &SeededRandom::new(7));
                let at = |id: &str| path.replace("{id}", id);
                Row {
                    body: (method == "PATCH").then(|| json!({"enabled": false})),
                    elsewhere: Some((at(&foreign), at(nobody.as_str()))),
                    ..plain(&at(&own), 200)
                }
            }
            ("POST", "/webhooks/secret/rotate") => posted(path, json!({}), 200),
            ("POST", "/webhooks/test") => {
                let own = self.endpoint(&self.api.key).await;
                posted(path, json!({"endpointId": own}), 202)
            }
            ("GET", "/webhooks/deliveries/{id}") | ("POST", "/webhooks/deliveries/{id}/resend") => {
                let own = self.delivery(&self.api.key).await;
                let foreign = self.delivery(&self.stranger).await;
                let nobody = DeliveryId::new(self.api.clock.now(), &SeededRandom::new(7));
                let at = |id: &str| path.replace("{id}", id);
                let status = if method == "POST" { 202 } else { 200 };
                Row {
                    elsewhere: Some((at(&foreign), at(nobody.as_str()))),
                    ..plain(&at(&own), status)
                }
            }
            ("POST", "/upload") => Row {
                form: Some(uploads::example()),
                ..plain(path, 200)
            },
            _ => panic!("{method} {path} has no row: say who may use it and what it answers"),
        }
    }

    /// With the model's own example, its media replaced by what is there.
    async fn call_of(&self, path: &str) -> Row {
        let catalog = self.api.engine.catalog();
        let model = catalog
            .model_at(path.trim_start_matches("/models/"))
            .unwrap();
        let mut body = model.example_input.clone();
        for field in model.schema.media_fields() {
            if body.contains_key(field.name) {
                let picture = self.media("image").await;
                body.insert(field.name.to_owned(), json!(picture));
            }
        }
        Row {
            path: path.to_owned(),
            body: Some(Value::Object(body)),
            form: None,
            status: 202,
            elsewhere: None,
        }
    }

    /// The URL of a file of this kind that the organization made.
    pub(crate) async fn media(&self, kind: &str) -> String {
        let (path, input) = match kind {
            "image" => ("models/gemini/generate", json!({"prompt": "p"})),
            "video" => ("models/veo3", json!({"prompt": "p"})),
            _ => ("models/elevenlabs/tts", json!({"text": "p"})),
        };
        let made = self
            .api
            .post(path, &input)
            .header("prefer", "respond-async");
        let id = made.send().await.ok(202)["jobId"].clone();
        while self.api.step().await > 0 {}
        let path = format!("jobs/{}", id.as_str().unwrap());
        let job = self.api.get(&path).send().await.ok(200);
        let url = job["resultUrls"][0].as_str();
        url.unwrap_or_else(|| panic!("{job}")).to_owned()
    }

    /// What nobody, a key without the scope, and whoever asks for what is not there, are told.
    pub(crate) async fn refusals(&self, operation: &Operation, row: &Row) -> Vec<Answer> {
        let request = || self.request(operation, row, &row.path);
        let narrow = self
            .api
            .key(&self.api.org, &["billing:write"], Mode::Live)
            .await;
        let mut refusals = vec![
            request()
                .without("authorization")
                .without("cookie")
                .send()
                .await,
            request().key(&narrow).send().await,
        ];
        if let Some((foreign, _)) = &row.elsewhere {
            refusals.push(self.request(operation, row, foreign).send().await);
        }
        if row.body.is_some() {
            refusals.push(request().body("{").send().await);
        }
        refusals
    }

    pub(crate) fn request(&self, operation: &Operation, row: &Row, path: &str) -> Call {
        let path = format!("{}{path}", routes::PREFIX);
        // A sync model must not be waited for: nobody works here.
        let call = self
            .api
            .call(operation.method.as_str(), &path)
            .header("prefer", "respond-async");
        let call = if operation.access == Access::Person {
            call.session(&self.session)
        } else {
            call
        };
        match (&row.body, &row.form) {
            (Some(body), _) => call
                .header("content-type", "application/json")
                .body(body.to_string()),
            (None, Some((media_type, form))) => {
                call.header("content-type", media_type).body(form.clone())
            }
            (None, None) => call,
        }
    }
}

/// The body without what differs from one request to the next.
fn same(answer: &Answer) -> (u16, Value) {
    let mut body = answer.json();
    body.as_object_mut().unwrap().remove("requestId");
    (answer.status.as_u16(), body)
}

#[tokio::test]
async fn every_operation_with_every_caller() {
    let world = World::new().await;
    let (api, all) = (&world.api, routes::operations(world.api.engine.catalog()));
    assert!(all.len() >= 15, "{all:?}");
    let bad_checksum = {
        let mut key = api.key.clone();
        let last = if key.ends_with('A') { "B" } else { "A" };
        key.replace_range(key.len() - 1.., last);
        key
    };
    let unknown = KeySecret::generate(Mode::Live, "nobody", &SeededRandom::new(99));
    let narrow_for_keys = api.key(&api.org, &["billing:write"], Mode::Live).await;
    for operation in &all {
        let told = format!("{} {}", operation.method, operation.path);
        let row = world.row(operation).await;
        let request = || world.request(operation, &row, &row.path);
        let refused = |answer: Answer, code: &str| {
            if operation.access == Access::Public {
                assert_eq!(
                    answer.status, row.status,
                    "{told}: who asks does not matter"
                );
                return;
            }
            assert_eq!(answer.status, 401, "{told}: {code}");
            answer.error(code);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{told}");
            assert_eq!(answer.header("x-ratelimit-limit"), None, "{told}");
        };
        let with = |value: &str| request().header("authorization", value).send();

        let nobody = request().without("authorization").without("cookie");
        refused(nobody.send().await, "MISSING_AUTH");
        for malformed in [
            format!("Basic {}", api.key),
            "Bearer".to_owned(),
            "Bearer sk-123".to_owned(),
            format!("Bearer {bad_checksum}"),
        ] {
            refused(with(&malformed).await, "INVALID_FORMAT");
        }
        for (key, code) in [
            (unknown.reveal(), "KEY_NOT_FOUND"),
            (&world.revoked, "KEY_REVOKED"),
            (&world.expired, "KEY_EXPIRED"),
        ] {
            refused(with(&format!("Bearer {key}")).await, code);
        }
        if operation.access != Access::Public {
            let answer = request().key(&narrow_for_keys).send().await;
            assert_eq!(answer.status, 403, "{told}");
            let body = answer.error("INSUFFICIENT_SCOPE");
            assert_eq!(
                body["details"]["granted"],
                json!(["billing:write"]),
                "{told}"
            );
            assert_eq!(
                body["details"]["required"].as_array().unwrap().len(),
                1,
                "{told}"
            );
            assert!(answer.header("x-ratelimit-limit").is_some(), "{told}");
        }
        if let Some((foreign, nobodys)) = &row.elsewhere {
            let foreign = world.request(operation, &row, foreign).send().await;
            let nobodys = world.request(operation, &row, nobodys).send().await;
            assert_eq!(foreign.status, 404, "{told}");
            assert_eq!(same(&foreign), same(&nobodys), "{told}");
            let names = |answer: &Answer| -> BTreeSet<String> {
                answer.headers.keys().map(ToString::to_string).collect()
            };
            assert_eq!(names(&foreign), names(&nobodys), "{told}");
        }
        let own = request().send().await;
        assert_eq!(
            own.status,
            row.status,
            "{told}: {}",
            String::from_utf8_lossy(&own.bytes)
        );
    }
}
