//! A file that is sent in: used, and deleted.

use super::{Prepared, buy, ended, keyed, purchase};
use crate::sim::{Ask, Sim, text};
use anyhow::{Context, ensure};
use serde_json::json;
use vydra_testkit::files;

/// Its URL, and the key under which it is known.
pub(super) async fn upload(sim: &mut Sim) -> anyhow::Result<(String, String)> {
    let asked = Ask::new("POST", "upload", &sim.live).file(&files::png(8, 6));
    let answer = sim.ask(asked).await?;
    ensure!(answer.status == 200, "no upload: {answer:?}");
    Ok((text(&answer, "url")?, text(&answer, "key")?))
}

pub(super) async fn upload_and_use(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let (url, key) = upload(sim).await?;
    let mut jobs = Vec::new();
    for (number, name) in [url, key].iter().enumerate() {
        let body = json!({"prompt": "p", "imageUrl": name});
        let asked = keyed(buy(sim, "models/gemini/edit", &body), &number.to_string());
        let (id, _) = purchase(sim, asked).await?;
        ended(sim, &id).await?;
        jobs.push(id);
    }
    Ok(jobs)
}

/// Used once, and then wanted by nobody.
pub(super) async fn delete_file(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let (url, _) = upload(sim).await?;
    let list = sim.ask(Ask::new("GET", "assets", &sim.live)).await?;
    let mut listed = list.body["data"].as_array().into_iter().flatten();
    let asset = listed.find(|asset| asset["url"] == *url);
    let asset = asset.and_then(|asset| asset["id"].as_str());
    let asset = asset.with_context(|| format!("not listed: {list:?}"))?;
    let path = format!("assets/{asset}");
    let body = json!({"prompt": "p", "imageUrl": format!("asset:{asset}")});
    let (id, _) = purchase(sim, keyed(buy(sim, "models/gemini/edit", &body), "k")).await?;
    ended(sim, &id).await?;
    let shown = sim.ask(Ask::new("GET", path.as_str(), &sim.live)).await?;
    ensure!(shown.status == 200, "not shown: {shown:?}");
    let deleted = sim.ask(Ask::new("DELETE", path, &sim.live)).await?;
    // A second try finds what the first one has done.
    ensure!(matches!(deleted.status, 200 | 404), "kept: {deleted:?}");
    let (_, key) = url.split_once("/media/").context("no url of ours")?;
    let file = sim.ask(Ask::new("GET", format!("/media/{key}"), &sim.live));
    let file = file.await?;
    ensure!(file.status == 404, "still there: {}", file.status);
    Ok(vec![id])
}
