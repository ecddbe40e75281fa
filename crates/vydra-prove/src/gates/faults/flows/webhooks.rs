//! Webhooks, from both sides.

use super::{Prepared, buy, ended, image, purchase};
use crate::sim::{Ask, RECEIVER, Sim, text};
use anyhow::ensure;
use serde_json::{Value, json};
use std::time::Duration;

/// A receiver that refuses at first.
pub(super) async fn sent(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let mut refusals = [500, 429].into_iter();
    sim.mailbox
        .answer(move |_url| Ok(refusals.next().unwrap_or(204)));
    let body = json!({"workflow": "generate_image", "input": image(), "webhookUrl": RECEIVER});
    let asked = buy(sim, "jobs", &body).with("idempotency-key", "k");
    let (id, _) = purchase(sim, asked).await?;
    ended(sim, &id).await?;
    // It comes at its second or third try.
    sim.rest(Duration::from_mins(1)).await?;
    Ok(vec![id])
}

/// What an owner does with webhooks.
pub(super) async fn kept(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let call = |sim: &Sim, method, path: &str, body: Value| {
        let asked = Ask::new(method, path, &sim.live);
        if method == "GET" || method == "DELETE" {
            asked
        } else {
            asked.json(&body)
        }
    };
    let asked = call(sim, "GET", "webhooks/endpoints", Value::Null);
    let endpoints = sim.ask(asked).await?;
    let endpoint = endpoints.body["data"][0]["id"].clone();
    let endpoint = endpoint.as_str().unwrap_or_default();
    let asked = call(
        sim,
        "POST",
        "webhooks/endpoints",
        json!({"url": format!("{RECEIVER}/2")}),
    );
    let second = text(&sim.ask(asked).await?, "id")?;
    let path = format!("webhooks/endpoints/{second}");
    let asked = call(sim, "PATCH", &path, json!({"description": "the second"}));
    let changed = sim.ask(asked).await?;
    ensure!(
        changed.body["description"] == "the second",
        "not changed: {changed:?}"
    );
    let asked = call(sim, "DELETE", &path, Value::Null);
    let deleted = sim.ask(asked).await?;
    // A try whose answer was lost has done it.
    ensure!(
        matches!(deleted.status, 200 | 404),
        "not deleted: {deleted:?}"
    );
    let asked = call(
        sim,
        "POST",
        "webhooks/test",
        json!({"endpointId": endpoint}),
    );
    let sent = sim.ask(asked).await?;
    let delivery = sent.body["data"][0]["id"].clone();
    let delivery = delivery.as_str().unwrap_or_default().to_owned();
    sim.rest(Duration::from_secs(30)).await?;
    let path = format!("webhooks/deliveries/{delivery}");
    for path in [
        "webhooks/deliveries",
        path.as_str(),
        "webhooks/secret",
        &format!("webhooks/endpoints/{endpoint}"),
    ] {
        let asked = call(sim, "GET", path, Value::Null);
        let shown = sim.ask(asked).await?;
        ensure!(shown.status == 200, "{path}: {shown:?}");
    }
    let asked = call(sim, "POST", &format!("{path}/resend"), json!({}));
    let again = sim.ask(asked).await?;
    ensure!(again.status == 202, "not sent again: {again:?}");
    let asked = call(sim, "POST", "webhooks/secret/rotate", json!({}));
    let rotated = sim.ask(asked).await?;
    ensure!(rotated.status == 200, "not rotated: {rotated:?}");

    let asked = buy(sim, "models/gemini/generate", &image()).with("idempotency-key", "k");
    let (id, _) = purchase(sim, asked).await?;
    ended(sim, &id).await?;
    let asked = call(sim, "GET", "events", Value::Null);
    let events = sim.ask(asked).await?;
    ensure!(
        events.body["data"][0]["data"]["id"] == id,
        "the end of {id} is not told: {events:?}"
    );
    let asked = call(sim, "GET", "events?after=latest&wait=1", Value::Null);
    let events = sim.ask(asked).await?;
    ensure!(events.body["data"] == json!([]), "told twice: {events:?}");
    Ok(vec![id])
}
