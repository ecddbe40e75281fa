//! The ledger as its owner reads it: pages, files, and why a job cost what it cost.

use crate::fixture::{Answer, Api, is_time};
use serde_json::{Value, json};
use vydra_core::credits::Credits;
use vydra_core::job::Mode;
use vydra_testkit::{Accepted, ErrorKind, PUBLIC_URL, Reply, files, refused};

async fn grant(api: &Api, mode: Mode, amount: i64, reason: &str) {
    let amount = Credits::new(amount).unwrap();
    let granted = api.engine.grant(&api.org.id, mode, amount, reason).await;
    granted.unwrap();
}

async fn list(api: &Api, query: &str) -> Value {
    let call = api.get(&format!("billing/transactions{query}"));
    call.send().await.ok(200)
}

async fn csv(api: &Api, query: &str) -> Answer {
    let call = api.get(&format!("billing/transactions{query}"));
    call.header("accept", "text/csv").send().await
}

fn amounts(body: &Value) -> Vec<i64> {
    let rows = body["data"].as_array().unwrap();
    rows.iter()
        .map(|row| row["amount"].as_i64().unwrap())
        .collect()
}

async fn cancelled(api: &Api) -> String {
    let id = api.pending().await;
    api.delete(&format!("jobs/{id}")).send().await.ok(200);
    id
}

#[tokio::test]
async fn every_movement_is_shown_newest_first() {
    let api = Api::idle().await;
    let id = cancelled(&api).await;
    grant(&api, Mode::Test, 7, "not seen with a live key").await;
    let body = list(&api, "").await;
    assert_eq!(amounts(&body), [5, -5, 1_000]);
    let pagination = json!({"limit": 20, "offset": 0, "count": 3, "nextCursor": null});
    assert_eq!(body["pagination"], pagination);
    let mut charge = body["data"][1].clone();
    assert!(is_time(&charge["createdAt"]));
    assert!(charge["id"].as_str().unwrap().starts_with("txn_"));
    for name in ["id", "createdAt"] {
        charge.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(
        charge,
        json!({"type": "charge", "amount": -5, "balanceAfter": 995, "jobId": id, "reason": "generate_image"})
    );
    assert_eq!(body["data"][2]["jobId"], Value::Null);
    assert_eq!(body["data"][2]["type"], "grant");

    for (query, expected) in [
        ("?type=refund", vec![5]),
        ("?type=purchase", vec![]),
        (&format!("?jobId={id}"), vec![5, -5]),
        (&format!("?jobId={id}&type=charge"), vec![-5]),
        ("?jobId=job_00000000000000000000000000", vec![]),
        ("?jobId=nonsense", vec![]),
        ("?offset=2", vec![1_000]),
        ("?limit=1", vec![5]),
    ] {
        assert_eq!(amounts(&list(&api, query).await), expected, "{query}");
    }
}

#[tokio::test]
async fn pages_lead_to_the_end() {
    let api = Api::idle().await;
    for _ in 0..3 {
        cancelled(&api).await;
    }
    let whole = amounts(&list(&api, "").await);
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = list(&api, &query).await;
        assert_eq!(page["pagination"]["count"], 7);
        seen.extend(amounts(&page));
        // What is added in front moves nothing behind it.
        grant(&api, Mode::Test, 1, "x").await;
        let Some(cursor) = page["pagination"]["nextCursor"].as_str() else {
            break;
        };
        query = format!("?limit=2&after={cursor}");
    }
    assert_eq!(seen, whole);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let api = Api::idle().await;
    let stranger = api.org("stranger", 100).await;
    let key = api.key(&stranger, &["*"], Mode::Live).await;
    let own = api.get("billing/transactions").send().await.ok(200);
    let foreign = own["data"][0]["id"].as_str().unwrap();
    let ask = async |query: String| {
        let call = api.get(&format!("billing/transactions?{query}")).key(&key);
        let answer = call.header("x-request-id", "same").send().await;
        answer.error("INVALID_INPUT");
        answer.bytes
    };
    assert_eq!(
        ask(format!("after={foreign}")).await,
        ask("after=txn_00000000000000000000000000".to_owned()).await
    );
    for query in [
        "after=nonsense",
        "after=",
        "type=gift",
        "type=",
        "limit=0",
        "limit=101",
        "offset=-1",
    ] {
        ask(query.to_owned()).await;
    }
    let reader = api.key(&api.org, &["account:read"], Mode::Live).await;
    let told = api.get("billing/transactions").key(&reader).send().await;
    told.error("INSUFFICIENT_SCOPE");
}

#[tokio::test]
async fn the_same_rows_are_a_file() {
    let api = Api::idle().await;
    let id = cancelled(&api).await;
    grant(&api, Mode::Live, 1, "=HYPERLINK(\"x\"), or so").await;
    let answer = csv(&api, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/csv; charset=utf-8")
    );
    let disposition = answer.header("content-disposition").unwrap();
    assert!(disposition.starts_with("attachment"), "{disposition}");
    assert_eq!(answer.header("link"), None);
    let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(
        lines[0],
        "id,type,amount,balanceAfter,jobId,reason,createdAt"
    );
    assert!(lines[1].contains(",grant,1,1001,,\"'=HYPERLINK(\"\"x\"\"), or so\","));
    assert!(lines[2].contains(&format!(",refund,5,1000,{id},cancelled by the user,")));
    assert!(lines[3].contains(&format!(",charge,-5,995,{id},generate_image,")));
    assert_eq!((lines.len(), lines[5]), (6, ""));

    let mut query = format!("?limit=1&type=charge&jobId={id}");
    assert_eq!(csv(&api, &query).await.header("link"), None);
    query = "?limit=1".to_owned();
    let mut rows = Vec::new();
    loop {
        let answer = csv(&api, &query).await;
        let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
        rows.extend(text.lines().skip(1).map(str::to_owned));
        let Some(link) = answer.header("link") else {
            break;
        };
        let url = link
            .strip_prefix('<')
            .unwrap()
            .strip_suffix(">; rel=\"next\"");
        let url = url.unwrap().strip_prefix(PUBLIC_URL).unwrap();
        query = url
            .strip_prefix("/api/v1/billing/transactions")
            .unwrap()
            .to_owned();
    }
    assert_eq!(rows, &lines[1..5]);
    assert_eq!(csv(&api, "?limit=10000").await.status, 200);
    csv(&api, "?limit=10001").await.error("INVALID_INPUT");
}

#[tokio::test]
async fn a_job_tells_why_it_cost_what_it_cost() {
    let api = Api::new().await;
    let url = api.picture().await;
    let images = json!({"prompt": "p", "imageUrl": url, "numImages": 4});
    let charges = async |body: &Value| {
        let id = body["jobId"].as_str().unwrap();
        let charges = api.get(&format!("jobs/{id}/charges")).send().await.ok(200);
        assert_eq!(charges["jobId"], id);
        let sum: i64 = amounts(&charges).iter().sum();
        assert_eq!(charges["creditsNet"], -sum);
        assert!(charges["refundRule"]["explanation"].is_string());
        charges
    };
    let told = |charges: &Value| {
        let net = charges["creditsNet"].as_i64().unwrap();
        (
            charges["refundRule"]["rule"].as_str().unwrap().to_owned(),
            net,
        )
    };
    let edit = api.post("models/flux-edit/edit", &images);
    let whole = charges(&edit.clone().send().await.ok(200)).await;
    assert_eq!(told(&whole), ("delivered".to_owned(), 60));
    assert_eq!(
        whole["breakdown"],
        json!([{
            "item": "FLUX Edit", "model": "flux-edit", "pricingUnit": "image",
            "creditsPerUnit": 15, "units": 4, "credits": 60,
        }])
    );
    let quoted = json!({"model": "flux-edit", "input": images});
    let quoted = api.post("quotes", &quoted).send().await.ok(200);
    assert_eq!(whole["priceVersion"], quoted["priceVersion"]);

    api.provider.next(Reply::Files(vec![files::png(1, 1)]));
    let part = charges(&edit.clone().send().await.ok(200)).await;
    assert_eq!(told(&part), ("partial".to_owned(), 15));
    assert_eq!(part["creditsRefunded"], 45);

    for (kind, rule) in [
        (ErrorKind::ContentRefused, "failed"),
        (ErrorKind::TimedOut, "timed_out"),
    ] {
        api.provider
            .next(Reply::Error(refused(kind, Accepted::Yes)));
        let failed = edit.clone().send().await;
        assert_eq!(failed.status, 500);
        let failed = charges(&failed.json()["details"]).await;
        assert_eq!(told(&failed), (rule.to_owned(), 0));
        assert_eq!(amounts(&failed), [60, -60]);
    }

    let gate = api.provider.hold_next();
    let open = edit.header("prefer", "respond-async").send().await.ok(202);
    gate.reached().await;
    assert_eq!(told(&charges(&open).await), ("not_ended".to_owned(), 60));
    let id = open["jobId"].as_str().unwrap();
    api.delete(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!(told(&charges(&open).await), ("cancelled".to_owned(), 0));
}

#[tokio::test]
async fn charges_are_for_whoever_may_see_the_job() {
    let api = Api::idle().await;
    let id = api.pending().await;
    let stranger = api.org("stranger", 100).await;
    let ask = async |key: &str, id: &str| {
        let call = api.get(&format!("jobs/{id}/charges")).key(key);
        call.header("x-request-id", "same").send().await
    };
    let foreign = api.key(&stranger, &["*"], Mode::Live).await;
    let test = api.key(&api.org, &["*"], Mode::Test).await;
    let own_only = api.key(&api.org, &["models:write"], Mode::Live).await;
    for key in [&foreign, &test, &own_only] {
        let (found, unknown) = (ask(key, &id).await, ask(key, "nonsense").await);
        found.error("JOB_NOT_FOUND");
        assert_eq!(found.bytes, unknown.bytes);
    }
    let nothing = api.key(&api.org, &["billing:read"], Mode::Live).await;
    ask(&nothing, &id).await.error("INSUFFICIENT_SCOPE");
    let call = api
        .post("models/veo3", &json!({"prompt": "p"}))
        .key(&own_only);
    let own = call.send().await.ok(202);
    ask(&own_only, own["jobId"].as_str().unwrap()).await.ok(200);
}
