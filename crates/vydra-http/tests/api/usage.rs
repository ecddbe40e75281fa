//! `GET /usage`: what was done and what it cost, in agreement with the balance.

use crate::fixture::Api;
use serde_json::{Value, json};
use std::time::Duration;
use vydra_core::job::Mode;
use vydra_testkit::Reply;

const HOUR: Duration = Duration::from_hours(1);

async fn usage(api: &Api, query: &str) -> Value {
    api.get(&format!("usage{query}")).send().await.ok(200)
}

async fn moved(api: &Api) -> (i64, i64) {
    let credits = api.get("billing/credits").send().await.ok(200);
    let figure = |name: &str| credits[name].as_i64().unwrap();
    (figure("creditsUsed"), figure("creditsRefunded"))
}

/// One delivered, one failed, one cancelled, one that is still open, over three days.
async fn busy_days(api: &Api) {
    api.pending().await;
    api.step().await;
    api.clock.advance(HOUR * 20);
    api.provider.next(Reply::Files(Vec::new()));
    api.pending().await;
    // Ends on the day after it was made.
    api.clock.advance(HOUR * 5);
    api.step().await;
    let id = api.pending().await;
    api.delete(&format!("jobs/{id}")).send().await.ok(200);
    let film = api.post("models/veo3", &json!({"prompt": "p"}));
    film.send().await.ok(202);
}

#[tokio::test]
async fn the_sums_are_those_of_the_balance() {
    let api = Api::idle().await;
    busy_days(&api).await;
    let (used, refunded) = moved(&api).await;
    assert_eq!((used, refunded), (3 * 5 + 175, 2 * 5));
    for by in ["", "?by=day", "?by=model", "?by=key"] {
        let body = usage(&api, by).await;
        let totals = json!({
            "jobs": 4, "completed": 1, "failed": 1, "cancelled": 1,
            "creditsCharged": used, "creditsRefunded": refunded, "creditsNet": used - refunded,
        });
        assert_eq!(body["totals"], totals, "{by}");
        for name in ["jobs", "creditsCharged", "creditsRefunded", "creditsNet"] {
            let rows = body["data"].as_array().unwrap();
            let sum: i64 = rows.iter().map(|row| row[name].as_i64().unwrap()).sum();
            assert_eq!(body["totals"][name], sum, "{by} {name}");
        }
    }
}

#[tokio::test]
async fn rows_are_days_models_or_keys() {
    let api = Api::idle().await;
    busy_days(&api).await;
    let days = usage(&api, "").await;
    assert_eq!(days["by"], "day");
    assert_eq!(
        days["data"],
        json!([
            {"day": "2026-03-01", "jobs": 1, "completed": 1, "failed": 0, "cancelled": 0, "creditsCharged": 5, "creditsRefunded": 0, "creditsNet": 5},
            {"day": "2026-03-02", "jobs": 3, "completed": 0, "failed": 1, "cancelled": 1, "creditsCharged": 185, "creditsRefunded": 10, "creditsNet": 175},
        ])
    );
    let models = usage(&api, "?by=model").await;
    let names: Vec<&Value> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["model"])
        .collect();
    assert_eq!(names, ["gemini-image", "veo3"]);
    let keys = usage(&api, "?by=key").await;
    let [row] = keys["data"].as_array().unwrap().as_slice() else {
        panic!("{keys}")
    };
    assert!(row["keyId"].as_str().unwrap().starts_with("key_"));
    assert_eq!(row["keyName"], "test");
    assert!(row.get("day").is_none() && row.get("model").is_none());
}

#[tokio::test]
async fn a_span_can_be_chosen() {
    let api = Api::idle().await;
    busy_days(&api).await;
    for (query, jobs, charged, refunded) in [
        ("?from=2026-03-01&to=2026-03-02", 1, 5, 0),
        ("?from=2026-03-02&to=2026-03-03", 3, 185, 10),
        ("?from=2026-03-02T00:00:00Z", 3, 185, 10),
        (
            "?from=2026-03-02T13:00:00%2B00:00&to=2026-03-03",
            2,
            180,
            10,
        ),
        ("?from=2026-03-02T13:00:00.000001Z&to=2026-03-03", 0, 0, 0),
        ("?to=2026-03-01", 0, 0, 0),
        ("?from=2025-03-02&to=2026-03-03", 4, 190, 10),
    ] {
        let totals = &usage(&api, query).await["totals"];
        let found = [
            &totals["jobs"],
            &totals["creditsCharged"],
            &totals["creditsRefunded"],
        ];
        assert_eq!(found, [jobs, charged, refunded], "{query}");
    }
    let body = usage(&api, "?from=2026-03-01&to=2026-03-02").await;
    assert_eq!(body["from"], "2026-03-01T00:00:00.000Z");
    assert_eq!(body["to"], "2026-03-02T00:00:00.000Z");
    for wrong in [
        "?from=yesterday",
        "?to=2026-02-30",
        "?from=",
        "?by=hour",
        "?by=",
        "?from=2026-03-02&to=2026-03-02",
        "?from=2026-03-02&to=2026-03-01",
        "?from=2025-03-01&to=2026-03-03",
        "?from=2030-01-01",
    ] {
        let told = api.get(&format!("usage{wrong}")).send().await;
        told.error("INVALID_INPUT");
    }
}

#[tokio::test]
async fn usage_is_of_ones_own_organization_and_kind() {
    let api = Api::idle().await;
    busy_days(&api).await;
    let stranger = api.org("stranger", 100).await;
    for key in [
        api.key(&stranger, &["*"], Mode::Live).await,
        api.key(&api.org, &["*"], Mode::Test).await,
    ] {
        for by in ["day", "model", "key"] {
            let call = api.get(&format!("usage?by={by}")).key(&key);
            let body = call.send().await.ok(200);
            assert_eq!(body["data"], json!([]));
            assert_eq!(body["totals"]["jobs"], 0);
        }
    }
    let billing = api.key(&api.org, &["billing:read"], Mode::Live).await;
    let told = api.get("usage").key(&billing).send().await;
    told.error("INSUFFICIENT_SCOPE");
}
