//! Keys, managed by people and by keys (contract, section 3).

use crate::fixture::{Answer, Api, Call, is_time};
use serde_json::{Value, json};
use std::time::Duration;
use vydra_core::job::Mode;
use vydra_core::user::Role;

const ADA: &str = "ada@example.com";
const UNKNOWN: &str = "key_00000000000000000000000000";

struct Made {
    id: String,
    key: String,
}

async fn make(api: &Api, session: &str, body: Value) -> Made {
    let made = api.post("api-keys", &body).session(session).send().await;
    let made = made.ok(201);
    Made {
        id: made["id"].as_str().unwrap().to_owned(),
        key: made["key"].as_str().unwrap().to_owned(),
    }
}

async fn listed(call: Call) -> Vec<Value> {
    let list = call.send().await.ok(200);
    assert_eq!(list.as_object().unwrap().len(), 1, "{list}");
    list["data"].as_array().unwrap().clone()
}

fn ids(list: &[Value]) -> Vec<&str> {
    list.iter().map(|key| key["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_person_makes_a_key_that_is_shown_once() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    let body = json!({"name": "backend", "scopes": ["account:read", "models:*", "account:read"], "expiresInDays": 30});
    let answer = api.post("api-keys", &body).session(&session).send().await;
    let made = answer.ok(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let key = made["key"].as_str().unwrap();
    let me = api.get("auth/me").session(&session).send().await.ok(200);
    let user = me["user"]["id"]
        .as_str()
        .unwrap()
        .strip_prefix("user_")
        .unwrap();
    assert!(
        key.starts_with(&format!("vydra_live_user_{user}_")),
        "{key}"
    );
    assert_eq!(made["keyPrefix"], "vydra_live_use...");
    assert_eq!(made["scopes"], json!(["account:read", "models:*"]));
    assert!(
        made["message"].is_string() && is_time(&made["expiresAt"]),
        "{made}"
    );
    api.get("organization").key(key).send().await.ok(200);

    let id = made["id"].as_str().unwrap();
    let one = api
        .get(&format!("api-keys/{id}"))
        .session(&session)
        .send()
        .await;
    let mut one = one.ok(200);
    assert!(!one.to_string().contains(&key[20..]));
    let list = listed(api.get("api-keys").session(&session)).await;
    assert!(list.contains(&one), "{list:?}");
    assert_eq!(list.len(), 2, "and the one that the operator made");
    for name in ["createdAt", "expiresAt"] {
        assert!(is_time(&one[name]), "{one}");
        one.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(
        one,
        json!({
            "id": id, "name": "backend", "keyPrefix": "vydra_live_use...", "mode": "live",
            "scopes": ["account:read", "models:*"], "isActive": true, "lastUsedAt": null,
            "requestCount": 0, "revokedAt": null,
        })
    );
    api.clock.advance(Duration::from_hours(30 * 24));
    api.get("organization")
        .key(key)
        .send()
        .await
        .error("KEY_EXPIRED");
}

#[tokio::test]
async fn what_is_left_out_of_a_new_key_has_its_default() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    for body in [
        json!({"name": "k"}),
        json!({"name": "k", "scopes": null, "expiresInDays": null, "mode": null}),
    ] {
        let made = api
            .post("api-keys", &body)
            .session(&session)
            .send()
            .await
            .ok(201);
        assert_eq!(
            (&made["scopes"], &made["expiresAt"], &made["mode"]),
            (&json!(["*"]), &Value::Null, &json!("live"))
        );
    }
    let test = make(&api, &session, json!({"name": "k", "mode": "test"})).await;
    assert!(test.key.starts_with("vydra_test_user_"));
    let shown = api
        .get("billing/credits")
        .key(&test.key)
        .send()
        .await
        .ok(200);
    assert_eq!(shown["creditsRemaining"], 10_000);
}

#[tokio::test]
async fn only_an_owner_who_has_logged_in_makes_keys() {
    let api = Api::idle().await;
    let body = json!({"name": "k"});
    let by_key = api.post("api-keys", &body).send().await;
    assert_eq!(by_key.status, 403);
    let refused = by_key.error("INSUFFICIENT_SCOPE");
    assert_eq!(
        refused["details"],
        json!({"required": ["session"], "granted": ["*"]})
    );

    let member = api.person("bob@example.com", Role::Member).await;
    let refused = api.post("api-keys", &body).session(&member).send().await;
    let refused = refused.error("INSUFFICIENT_SCOPE");
    assert_eq!(refused["details"]["required"], json!(["keys:write"]));
    let own = listed(api.get("api-keys").session(&member)).await;
    let id = own[0]["id"].as_str().unwrap();
    for call in [
        api.delete(&format!("api-keys/{id}")),
        api.call("POST", &format!("api-keys/{id}/rotate")),
    ] {
        call.session(&member)
            .send()
            .await
            .error("INSUFFICIENT_SCOPE");
    }
    let nobody = api.post("api-keys", &body).without("authorization");
    nobody.send().await.error("MISSING_AUTH");
    assert_eq!(own.len(), 1);
}

#[tokio::test]
async fn a_new_key_is_read_strictly() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    let refused = async |body: Value| {
        let answer = api.post("api-keys", &body).session(&session).send().await;
        answer.error("INVALID_INPUT")
    };
    let body = refused(json!({
        "name": 5, "scopes": ["models:read", "everything"], "expiresInDays": 0, "mode": "free", "colour": "red",
    }))
    .await;
    assert_eq!(
        body["error"],
        "Invalid field: name is wrong type, expected string"
    );
    let fields = body["details"]["fields"].as_array().unwrap();
    let told: Vec<_> = fields
        .iter()
        .map(|f| (f["field"].as_str().unwrap(), f["problem"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("name", "wrong type"),
            ("scopes", "not one of the allowed values"),
            ("expiresInDays", "out of range"),
            ("mode", "not one of the allowed values"),
            ("colour", "unknown"),
        ]
    );
    for (body, sentence) in [
        (json!({}), "Missing required field: name (string)"),
        (
            json!({"name": null}),
            "Missing required field: name (string)",
        ),
        (
            json!({"name": "  "}),
            "Invalid field: name is not usable, expected 1 to 100 printable characters",
        ),
        (
            json!({"name": "a\nb"}),
            "Invalid field: name is not usable, expected 1 to 100 printable characters",
        ),
        (
            json!({"name": "é".repeat(101)}),
            "Invalid field: name is not usable, expected 1 to 100 printable characters",
        ),
        (
            json!({"name": "k", "scopes": []}),
            "Invalid field: scopes is empty, expected at least 1 item",
        ),
        (
            json!({"name": "k", "scopes": "*"}),
            "Invalid field: scopes is wrong type, expected array of strings",
        ),
        (
            json!({"name": "k", "scopes": [1]}),
            "Invalid field: scopes is wrong type, expected array of strings",
        ),
        (
            json!({"name": "k", "expiresInDays": 3651}),
            "Invalid field: expiresInDays is out of range, expected a whole number from 1 to 3650",
        ),
        (
            json!({"name": "k", "expiresInDays": 1e300}),
            "Invalid field: expiresInDays is out of range, expected a whole number from 1 to 3650",
        ),
        (
            json!({"name": "k", "expiresInDays": 1.5}),
            "Invalid field: expiresInDays is wrong type, expected integer",
        ),
        (
            json!({"name": "k", "expiresInDays": "7"}),
            "Invalid field: expiresInDays is wrong type, expected integer",
        ),
        (
            json!({"name": "k", "expires_in_days": 7, "expiresInDays": 8}),
            "Invalid field: expires_in_days is unknown, expected name, scopes, expiresInDays, mode",
        ),
    ] {
        assert_eq!(refused(body.clone()).await["error"], sentence, "{body}");
    }
    let fine = json!({"name": "é".repeat(100), "expires_in_days": 3650.0});
    make(&api, &session, fine).await;
    assert_eq!(listed(api.get("api-keys").session(&session)).await.len(), 2);
}

#[tokio::test]
async fn a_revocation_over_http_holds_from_the_next_request_on() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    let made = make(&api, &session, json!({"name": "k"})).await;
    let path = format!("api-keys/{}", made.id);
    api.get("organization").key(&made.key).send().await.ok(200);
    let revoked = api.delete(&path).session(&session).send().await.ok(200);
    assert_eq!(
        (&revoked["id"], &revoked["isActive"]),
        (&json!(made.id), &json!(false))
    );
    assert!(is_time(&revoked["revokedAt"]), "{revoked}");
    api.get("organization")
        .key(&made.key)
        .send()
        .await
        .error("KEY_REVOKED");
    api.clock.advance(Duration::from_mins(1));
    let again = api.delete(&path).session(&session).send().await.ok(200);
    assert_eq!(again, revoked, "keeps its first time");
    assert_eq!(
        api.get(&path).session(&session).send().await.ok(200),
        revoked
    );
}

#[tokio::test]
async fn what_belongs_to_others_is_not_there() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    let other = api.org("other", 0).await;
    let foreign_key = api.key(&other, &["*"], Mode::Live).await;
    let list = listed(api.get("api-keys").key(&foreign_key)).await;
    let foreign = ids(&list)[0].to_owned();
    assert_eq!(list.len(), 1);
    let own = listed(api.get("api-keys").session(&session)).await;
    assert!(!ids(&own).contains(&foreign.as_str()));

    let at = |method: &str, id: &str, end: &str| api.call(method, &format!("api-keys/{id}{end}"));
    for (method, end) in [("GET", ""), ("DELETE", ""), ("POST", "/rotate")] {
        for with in [true, false] {
            let answers = async |id: &str| {
                let call = at(method, id, end);
                let call = if with { call.session(&session) } else { call };
                let answer: Answer = call.send().await;
                answer.error("NOT_FOUND");
                let (status, headers, body) = answer.without_id();
                // What is left in the window goes down with each request.
                let headers: Vec<_> = headers
                    .into_iter()
                    .filter(|(name, _)| !name.contains("ratelimit"))
                    .collect();
                (status, headers, body)
            };
            let unknown = answers(UNKNOWN).await;
            for id in [
                foreign.as_str(),
                "nonsense",
                "key_",
                "KEY_00000000000000000000000000",
                "org_00000000000000000000000000",
            ] {
                assert_eq!(answers(id).await, unknown, "{method} {id}{end}");
            }
        }
    }
    api.get("organization")
        .key(&foreign_key)
        .send()
        .await
        .ok(200);
}

#[tokio::test]
async fn a_key_sees_the_keys_of_its_own_mode() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    let live = make(&api, &session, json!({"name": "l"})).await;
    let test = make(&api, &session, json!({"name": "t", "mode": "test"})).await;
    assert_eq!(listed(api.get("api-keys").session(&session)).await.len(), 3);
    let list = listed(api.get("api-keys").key(&test.key)).await;
    assert_eq!(ids(&list), [test.id.as_str()]);
    let list = listed(api.get("api-keys").key(&live.key)).await;
    assert!(list.len() == 2 && !ids(&list).contains(&test.id.as_str()));
    for (key, other) in [(&test.key, &live.id), (&live.key, &test.id)] {
        for call in [
            api.get(&format!("api-keys/{other}")),
            api.delete(&format!("api-keys/{other}")),
            api.call("POST", &format!("api-keys/{other}/rotate")),
        ] {
            call.key(key).send().await.error("NOT_FOUND");
        }
    }
    api.get("organization").key(&live.key).send().await.ok(200);
    api.get("organization").key(&test.key).send().await.ok(200);
}

#[tokio::test]
async fn a_key_gets_at_no_more_than_it_may_do() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    let key =
        async |scopes: Value| make(&api, &session, json!({"name": "k", "scopes": scopes})).await;
    let manager = key(json!(["keys:*", "models:*"])).await;
    let within = key(json!(["models:read", "keys:read"])).await;
    let beyond = key(json!(["models:read", "jobs:read"])).await;
    let everything = key(json!(["*"])).await;
    for (target, lacking) in [(&beyond, json!(["jobs:read"])), (&everything, json!(["*"]))] {
        for call in [
            api.delete(&format!("api-keys/{}", target.id)),
            api.call("POST", &format!("api-keys/{}/rotate", target.id)),
        ] {
            let answer = call.key(&manager.key).send().await;
            assert_eq!(answer.status, 403);
            let body = answer.error("INSUFFICIENT_SCOPE");
            assert_eq!(
                body["details"],
                json!({"required": lacking, "granted": ["keys:*", "models:*"]})
            );
        }
        api.get("models").key(&target.key).send().await.ok(200);
    }
    let rotate = |id: &str| {
        api.call("POST", &format!("api-keys/{id}/rotate"))
            .key(&manager.key)
    };
    let next = rotate(&within.id).send().await.ok(201);
    assert_eq!(next["scopes"], json!(["models:read", "keys:read"]));
    api.get("models")
        .key(&within.key)
        .send()
        .await
        .error("KEY_REVOKED");
    let own = api
        .delete(&format!("api-keys/{}", manager.id))
        .key(&manager.key);
    own.send().await.ok(200);
    api.get("models")
        .key(&manager.key)
        .send()
        .await
        .error("KEY_REVOKED");
    // Reading keys is not ending them.
    let reader = key(json!(["keys:read"])).await;
    let own = api
        .delete(&format!("api-keys/{}", reader.id))
        .key(&reader.key);
    own.send().await.error("INSUFFICIENT_SCOPE");
}

#[tokio::test]
async fn a_rotated_key_lives_for_the_overlap() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    let old = make(
        &api,
        &session,
        json!({"name": "k", "scopes": ["account:read"], "mode": "test", "expiresInDays": 30}),
    )
    .await;
    let path = format!("api-keys/{}/rotate", old.id);
    let answer = api
        .post(&path, &json!({"overlapHours": 24}))
        .session(&session)
        .send()
        .await;
    let new = answer.ok(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(new["message"].is_string(), "{new}");
    assert_eq!(
        (&new["name"], &new["mode"], &new["scopes"]),
        (&json!("k"), &json!("test"), &json!(["account:read"]))
    );
    assert_eq!(
        (&new["replaces"]["id"], &new["replaces"]["isActive"]),
        (&json!(old.id), &json!(true))
    );
    let key = new["key"].as_str().unwrap();
    assert!(key.starts_with("vydra_test_user_") && key != old.key);
    api.clock.advance(Duration::from_secs(24 * 3_600 - 1));
    for key in [key, &old.key] {
        api.get("organization").key(key).send().await.ok(200);
    }
    api.clock.advance(Duration::from_secs(1));
    api.get("organization")
        .key(&old.key)
        .send()
        .await
        .error("KEY_EXPIRED");
    api.get("organization").key(key).send().await.ok(200);
    // No longer than the old one would have.
    api.clock.advance(Duration::from_hours(29 * 24));
    api.get("organization")
        .key(key)
        .send()
        .await
        .error("KEY_EXPIRED");
}

#[tokio::test]
async fn without_an_overlap_the_old_key_ends_at_once() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    for body in [
        None,
        Some("{}"),
        Some("{\"overlapHours\": 0}"),
        Some("{\"overlap_hours\": null}"),
    ] {
        let old = make(&api, &session, json!({"name": "k"})).await;
        let call = api
            .call("POST", &format!("api-keys/{}/rotate", old.id))
            .key(&old.key);
        let call = match body {
            None => call,
            Some(body) => call
                .header("content-type", "application/json")
                .body(body.to_owned()),
        };
        let new = call.send().await.ok(201);
        api.get("organization")
            .key(&old.key)
            .send()
            .await
            .error("KEY_REVOKED");
        api.get("organization")
            .key(new["key"].as_str().unwrap())
            .send()
            .await
            .ok(200);
        assert_eq!(new["replaces"]["isActive"], false);
    }
}

#[tokio::test]
async fn only_an_active_key_is_rotated_and_only_for_a_week() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    let old = make(&api, &session, json!({"name": "k"})).await;
    let path = format!("api-keys/{}/rotate", old.id);
    let rotate = |body: Value| api.post(&path, &body).session(&session);
    for wrong in [
        json!({"overlapHours": 169}),
        json!({"overlapHours": -1}),
        json!({"overlapHours": "1"}),
        json!({"hours": 1}),
    ] {
        rotate(wrong).send().await.error("INVALID_INPUT");
    }
    let before = listed(api.get("api-keys").session(&session)).await.len();
    rotate(json!({"overlapHours": 168})).send().await.ok(201);
    api.delete(&format!("api-keys/{}", old.id))
        .session(&session)
        .send()
        .await
        .ok(200);
    let refused = rotate(json!({})).send().await.error("INVALID_INPUT");
    assert!(
        refused["error"].as_str().unwrap().contains("revoked"),
        "{refused}"
    );
    let after = listed(api.get("api-keys").session(&session)).await.len();
    assert_eq!(after, before + 1);
}

#[tokio::test]
async fn a_clock_that_is_set_back_brings_no_key_back() {
    let api = Api::idle().await;
    let path = format!("api-keys/{}", own_id(&api).await);
    api.delete(&path).send().await.ok(200);
    api.clock.set_back(Duration::from_hours(1));
    let answer = api.get("organization").send().await;
    answer.error("KEY_REVOKED");
}

#[tokio::test]
async fn a_rotated_key_keeps_the_jobs_of_its_forerunner_and_is_rotated_once() {
    let api = Api::idle().await;
    let narrow = api
        .key(
            &api.org,
            &["models:write", "keys:write", "keys:read"],
            Mode::Live,
        )
        .await;
    let made = api
        .post("models/veo3", &json!({"prompt": "p"}))
        .key(&narrow);
    let job = made.send().await.ok(202)["jobId"].clone();
    let path = format!("jobs/{}", job.as_str().unwrap());
    let keys = api.get("api-keys").key(&narrow).send().await.ok(200);
    let narrow_id = keys["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["scopes"].as_array().unwrap().len() == 3)
        .unwrap()["id"]
        .clone();
    let rotate = format!("api-keys/{}/rotate", narrow_id.as_str().unwrap());
    let body = json!({"overlapHours": 1});
    let next = api.post(&rotate, &body).key(&narrow).send().await.ok(201);
    let next = next["key"].as_str().unwrap();
    for key in [narrow.as_str(), next] {
        api.get(&path).key(key).send().await.ok(200);
    }
    // Whoever lost the first answer must not get a key that ends with the overlap.
    let again = api.post(&rotate, &body).key(&narrow).send().await;
    again.error("INVALID_INPUT");
    let stranger = api.key(&api.org, &["models:write"], Mode::Live).await;
    let unseen = api.get(&path).key(&stranger).send().await;
    unseen.error("JOB_NOT_FOUND");
}

/// Of the fixture's key.
async fn own_id(api: &Api) -> String {
    let keys = api.get("api-keys").send().await.ok(200);
    keys["data"][0]["id"].as_str().unwrap().to_owned()
}
