//! The organization and its credits.

use crate::fixture::{Api, CREDITS, is_time};
use serde_json::json;
use vydra_core::job::Mode;
use vydra_testkit::Reply;

#[tokio::test]
async fn the_organization_is_shown() {
    let api = Api::with("creator", |_| {}).await;
    let mut body = api.get("organization").send().await.ok(200);
    for name in ["createdAt", "updatedAt"] {
        assert!(is_time(&body[name]), "{body}");
        body.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(
        body,
        json!({"id": api.org.id, "name": "acme", "plan": "creator", "creditsRemaining": CREDITS})
    );
}

#[tokio::test]
async fn credits_are_added_up_from_what_happened() {
    let api = Api::new().await;
    let shown = |remaining: i64, used: i64, refunded: i64| json!({"creditsRemaining": remaining, "creditsUsed": used, "creditsRefunded": refunded});
    let credits = async || api.get("billing/credits").send().await.ok(200);
    assert_eq!(credits().await, shown(1_000, 0, 0));
    api.picture().await;
    assert_eq!(credits().await, shown(995, 5, 0));
    api.provider.next(Reply::Files(Vec::new()));
    let failed = api.post("models/gemini/generate", &json!({"prompt": "p"}));
    failed.send().await.error("GENERATION_FAILED");
    assert_eq!(credits().await, shown(995, 10, 5));
    let organization = api.get("organization").send().await.ok(200);
    assert_eq!(organization["creditsRemaining"], 995);
}

#[tokio::test]
async fn a_test_key_sees_the_sandboxs_balance() {
    let api = Api::new().await;
    let test = api.key(&api.org, &["*"], Mode::Test).await;
    let call = api.post("models/gemini/generate", &json!({"prompt": "p"}));
    let answer = call.key(&test).send().await;
    answer.ok(200);
    assert_eq!(answer.number("x-credits-remaining"), 9_995);
    for (key, remaining) in [(&test, 9_995), (&api.key, CREDITS)] {
        let credits = api.get("billing/credits").key(key).send().await.ok(200);
        assert_eq!(credits["creditsRemaining"], remaining);
        let org = api.get("organization").key(key).send().await.ok(200);
        assert_eq!(org["creditsRemaining"], remaining);
    }
}
