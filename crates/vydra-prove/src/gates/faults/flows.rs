//! What customers and operators do, step by step, with the patience of a client that tries again.

mod providers;
mod uploads;
mod webhooks;

use crate::api::{Answer, bought, is_final};
use crate::sim::{Act, Ask, OVERDUE, Sim, text};
use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use std::pin::Pin;
use std::time::Duration;
use uploads::{delete_file, upload, upload_and_use};
use vydra_core::credits::Credits;
use vydra_core::ids::{EntryId, JobId};
use vydra_core::job::Mode;
use vydra_core::plan::LimitOverrides;
use vydra_core::user::{Password, Role};
use vydra_engine::{NewKey, NewOrganizationRequest, NewUserRequest};
use vydra_outbound::provider::{Accepted, ErrorKind};
use vydra_outbound::registry::Bounds;
use vydra_testkit::PASSWORD;

type Running<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Vec<String>>> + 'a>>;

pub(super) struct Flow {
    pub(super) name: &'static str,
    /// Whether the provider may be asked twice for one job.
    pub(super) repeatable: bool,
    needs: &'static [Need],
    /// Gives the jobs that it was told of.
    pub(super) run: for<'a> fn(&'a mut Sim, &'a Prepared) -> Running<'a>,
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Upload,
    Person,
    NoWorker,
    Receiver,
    /// A provider that has a place for one call, and may be asked for so much a day.
    Bounds,
}

impl Flow {
    pub(super) fn bounds(&self) -> Option<Bounds> {
        self.needs.contains(&Need::Bounds).then_some(Bounds {
            concurrency: Some(1),
            daily_credits: Some(1_000),
        })
    }
}

/// What was there before anything went wrong.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    upload: String,
    pub(super) jobs: Vec<String>,
}

pub(super) async fn prepare(sim: &mut Sim, flow: &Flow) -> anyhow::Result<Prepared> {
    let mut prepared = Prepared::default();
    for need in flow.needs {
        match need {
            Need::Upload => prepared.upload = upload(sim).await?.0,
            Need::Person => {
                sim.app.user(&sim.org, "ada@example.com", Role::Owner).await;
            }
            Need::NoWorker => sim.idle().await?,
            Need::Receiver => sim.listen().await?,
            Need::Bounds => {}
        }
    }
    Ok(prepared)
}

macro_rules! flow {
    ($name:literal, $run:path) => {
        flow!($name, $run, true, [])
    };
    ($name:literal, $run:path, $repeatable:literal, [$($need:ident),*]) => {
        Flow {
            name: $name,
            repeatable: $repeatable,
            needs: &[$(Need::$need),*],
            run: |sim, prepared| Box::pin($run(sim, prepared)),
        }
    };
}

pub(super) const FLOWS: &[Flow] = &[
    flow!("submit and wait", submit_sync, false, []),
    flow!("submit and look", submit_async),
    flow!("submit a workflow and wait for it", workflow, false, []),
    flow!("submit what may be asked twice", submit_sync),
    flow!("a job of several steps", steps, false, []),
    flow!("cancel a pending job", cancel_pending, true, [NoWorker]),
    flow!("cancel a running job", cancel_running, false, []),
    flow!("the provider fails", provider_fails, false, []),
    flow!(
        "the provider fails and recovers",
        providers::provider_recovers,
        false,
        []
    ),
    flow!(
        "a provider with bounds",
        providers::bounded,
        false,
        [Bounds]
    ),
    flow!("a task is polled", providers::task, false, []),
    flow!("a task fails", providers::failing_task),
    flow!("fewer outputs than paid for", partial, false, [Upload]),
    flow!("upload a file and use it", upload_and_use),
    flow!("delete a file", delete_file),
    flow!("the same key again", replay, false, []),
    flow!("processing takes too long", expire, false, []),
    flow!("nobody works in time", expire_pending, true, [NoWorker]),
    flow!("a result comes too late", late, true, []),
    flow!("stop in order and start again", handed_over, false, []),
    flow!("the sandbox", sandbox),
    flow!("log in and keep keys", person, true, [Person]),
    flow!("an agent registers itself", bot),
    flow!("the operator's chores", operator),
    flow!("look at everything", look, true, [Upload]),
    flow!("webhooks are sent", webhooks::sent, true, [Receiver]),
    flow!("webhooks are kept", webhooks::kept, true, [Receiver]),
];

/// Short, so that each fault at each call of it takes no time.
pub(super) const WORKFLOW: &str = r#"
[[workflows]]
slug = "redraw"
name = "Redraw"
description = "An image, and the same again."
credits = 10
example_input = {}
[workflows.input_schema]
type = "object"
[workflows.input_schema.properties]
theme = { type = "string", default = "a house", minLength = 1 }
[[workflows.steps]]
name = "first"
model = "gemini-image"
input = { prompt = "{{theme}}" }
[[workflows.steps]]
name = "second"
model = "gemini-edit"
input = { imageUrl = "{{steps.first}}", prompt = "again" }
"#;

fn image() -> Value {
    json!({"prompt": "a lighthouse"})
}

fn buy(sim: &Sim, path: &str, body: &Value) -> Ask {
    Ask::new("POST", path, &sim.live).json(body)
}

fn keyed(asked: Ask, key: &str) -> Ask {
    asked.with("idempotency-key", key)
}

fn later(asked: Ask) -> Ask {
    asked.with("prefer", "respond-async")
}

/// A purchase until it is answered: its job.
async fn purchase(sim: &mut Sim, asked: Ask) -> anyhow::Result<(String, Answer)> {
    let answer = sim.ask(asked).await?;
    let (job, _) = bought(&answer).with_context(|| format!("nothing was bought: {answer:?}"))?;
    Ok((job, answer))
}

async fn job(sim: &mut Sim, id: &str, key: &str) -> anyhow::Result<Answer> {
    let answer = sim
        .ask(Ask::new("GET", format!("jobs/{id}?wait=5"), key))
        .await?;
    ensure!(answer.status == 200, "{id} is lost: {answer:?}");
    Ok(answer)
}

/// The job at its end.
async fn ended(sim: &mut Sim, id: &str) -> anyhow::Result<Answer> {
    let key = sim.live.clone();
    ended_for(sim, id, &key).await
}

async fn ended_for(sim: &mut Sim, id: &str, key: &str) -> anyhow::Result<Answer> {
    const LOOKS: u32 = 60;
    for _ in 0..LOOKS {
        let answer = job(sim, id, key).await?;
        if is_final(&text(&answer, "status")?) {
            return Ok(answer);
        }
        sim.rest(Duration::from_secs(2)).await?;
    }
    bail!("{id} does not end")
}

/// Until it is at work; false when it has ended before anybody saw that.
async fn runs(sim: &mut Sim, id: &str) -> anyhow::Result<bool> {
    const LOOKS: u32 = 60;
    for _ in 0..LOOKS {
        let path = format!("jobs/{id}");
        let answer = sim.ask(Ask::new("GET", path, &sim.live)).await?;
        match text(&answer, "status")?.as_str() {
            "pending" => sim.rest(Duration::from_secs(1)).await?,
            status => return Ok(!is_final(status)),
        }
    }
    bail!("{id} does not begin")
}

/// What was charged and not paid back.
fn kept(answer: &Answer) -> i64 {
    let number = |name: &str| answer.body[name].as_i64().unwrap_or(-1);
    number("creditsCharged") - number("creditsRefunded")
}

async fn submit_sync(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let asked = keyed(buy(sim, "models/gemini/generate", &image()), "k");
    let (id, _) = purchase(sim, asked).await?;
    ended(sim, &id).await?;
    Ok(vec![id])
}

async fn submit_async(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let asked = later(keyed(buy(sim, "models/gemini/generate", &image()), "k"));
    let (id, _) = purchase(sim, asked).await?;
    ended(sim, &id).await?;
    Ok(vec![id])
}

async fn workflow(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let body = json!({"workflow": "generate_image", "input": image()});
    let asked = keyed(buy(sim, "jobs", &body), "k");
    let (id, _) = purchase(sim, asked).await?;
    ended(sim, &id).await?;
    Ok(vec![id])
}

async fn steps(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    sim.actor.play(|_| Act::Task(1));
    let asked = keyed(
        buy(sim, "jobs", &json!({"workflow": "redraw", "input": {}})),
        "k",
    );
    let (id, _) = purchase(sim, asked).await?;
    ended(sim, &id).await?;
    Ok(vec![id])
}

async fn cancel_pending(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let asked = later(keyed(buy(sim, "models/gemini/generate", &image()), "k"));
    let (id, _) = purchase(sim, asked).await?;
    cancelled(sim, &id).await?;
    Ok(vec![id])
}

/// Cancels, and once more: the second changes nothing.
async fn cancelled(sim: &mut Sim, id: &str) -> anyhow::Result<()> {
    for _ in 0..2 {
        let path = format!("jobs/{id}");
        let answer = sim.ask(Ask::new("DELETE", path, &sim.live)).await?;
        match answer.status {
            200 => ensure!(kept(&answer) == 0, "cancelled and not refunded: {answer:?}"),
            409 => ensure!(
                is_final(&text(&job(sim, id, &sim.live.clone()).await?, "status")?),
                "{answer:?}"
            ),
            _ => bail!("{answer:?}"),
        }
    }
    Ok(())
}

async fn cancel_running(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    sim.actor.play(|_| Act::LostTask);
    let asked = later(keyed(buy(sim, "models/gemini/generate", &image()), "k"));
    let (id, _) = purchase(sim, asked).await?;
    if runs(sim, &id).await? {
        // Taken by the provider, so that it is told to stop.
        sim.rest(Duration::from_secs(3)).await?;
        cancelled(sim, &id).await?;
    }
    sim.rest(Duration::from_secs(1)).await?;
    Ok(vec![id])
}

async fn provider_fails(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    sim.actor
        .play(|_| Act::Fail(ErrorKind::ContentRefused, Accepted::Yes));
    let asked = keyed(buy(sim, "models/gemini/generate", &image()), "k");
    let (id, _) = purchase(sim, asked).await?;
    let answer = ended(sim, &id).await?;
    ensure!(kept(&answer) == 0, "failed and not refunded: {answer:?}");
    Ok(vec![id])
}

async fn partial(sim: &mut Sim, prepared: &Prepared) -> anyhow::Result<Vec<String>> {
    sim.actor.play(|_| Act::MakeOnly(1));
    let body = json!({"prompt": "p", "imageUrl": prepared.upload, "numImages": 3});
    let asked = keyed(buy(sim, "models/flux-edit/edit", &body), "k");
    let (id, _) = purchase(sim, asked).await?;
    ended(sim, &id).await?;
    Ok(vec![id])
}

async fn replay(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let asked = keyed(buy(sim, "models/gemini/generate", &image()), "k");
    let (id, first) = purchase(sim, asked.clone()).await?;
    let (same, second) = purchase(sim, asked).await?;
    ensure!(same == id, "one key bought {id} and {same}");
    // An answer that was sent although it could not be kept is given anew.
    ensure!(
        !second.replayed || second.body == first.body || first.status == 202,
        "{first:?} was replayed as {second:?}"
    );
    ended(sim, &id).await?;
    Ok(vec![id])
}

async fn expire(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    sim.actor.play(|_| Act::Silence);
    let asked = later(keyed(buy(sim, "models/gemini/generate", &image()), "k"));
    let (id, _) = purchase(sim, asked).await?;
    if runs(sim, &id).await? {
        sim.app.clock.advance(OVERDUE);
        let answer = ended(sim, &id).await?;
        ensure!(kept(&answer) == 0, "timed out and not refunded: {answer:?}");
    }
    Ok(vec![id])
}

async fn expire_pending(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let asked = later(keyed(buy(sim, "models/gemini/generate", &image()), "k"));
    let (id, _) = purchase(sim, asked).await?;
    sim.app.clock.advance(OVERDUE);
    sim.work();
    let answer = ended(sim, &id).await?;
    ensure!(
        kept(&answer) == 0,
        "never begun and not refunded: {answer:?}"
    );
    Ok(vec![id])
}

/// Another process ends it, so that nobody tells the worker before it writes the result down.
async fn late(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    sim.actor.play(|_| Act::MakeIn(Duration::from_secs(2)));
    let asked = later(keyed(buy(sim, "models/gemini/generate", &image()), "k"));
    let (id, _) = purchase(sim, asked).await?;
    if runs(sim, &id).await? {
        let (app, job) = (&sim.app, JobId::trusted(id.clone()));
        let entry = EntryId::new(app.engine.now(), app.random.as_ref());
        app.store
            .cancel_job(&sim.org.id, &job, entry, app.engine.now())
            .await?;
    }
    sim.rest(Duration::from_secs(4)).await?;
    let answer = ended(sim, &id).await?;
    ensure!(
        kept(&answer) == 0 || answer.body["status"] == "completed",
        "{answer:?}"
    );
    Ok(vec![id])
}

async fn handed_over(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    sim.actor.play(|_| Act::MakeIn(Duration::from_secs(20)));
    let asked = later(keyed(buy(sim, "models/gemini/generate", &image()), "k"));
    let (id, _) = purchase(sim, asked).await?;
    if runs(sim, &id).await? {
        sim.stop_in_order().await?;
    }
    ended(sim, &id).await?;
    Ok(vec![id])
}

async fn sandbox(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let mut jobs = Vec::new();
    let key = sim.test.clone();
    for outcome in [
        "GENERATION_FAILED",
        "FLAKY=1",
        "PROCESSING_TIMEOUT",
        "SLOW=1s",
    ] {
        let asked = Ask::new("POST", "models/elevenlabs/tts", &key)
            .json(&json!({"text": "Again."}))
            .with("x-vydra-simulate", outcome);
        let (id, _) = purchase(sim, keyed(asked, outcome)).await?;
        ended_for(sim, &id, &key).await?;
        jobs.push(id);
    }
    Ok(jobs)
}

async fn person(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let login = json!({"email": "ada@example.com", "password": PASSWORD});
    let session = log_in(sim, &login).await?;
    let cookie = format!("__session={session}");
    let by_person = |method, path: String| Ask {
        method,
        path,
        headers: vec![
            ("cookie", cookie.clone()),
            ("origin", vydra_testkit::PUBLIC_URL.to_owned()),
        ],
        body: Vec::new(),
    };
    let asked = by_person("POST", "api-keys".to_owned()).json(&json!({"name": "k"}));
    let made = sim.ask(asked).await?;
    ensure!(made.status == 201, "no key: {made:?}");
    let id = text(&made, "id")?;
    let path = format!("api-keys/{id}");
    let shown = sim.ask(by_person("GET", path.clone())).await?;
    ensure!(shown.status == 200, "the key is lost: {shown:?}");
    let asked = by_person("POST", format!("{path}/rotate")).json(&json!({"overlapHours": 1}));
    let rotated = sim.ask(asked).await?;
    // A try whose answer was lost has done it.
    ensure!(
        matches!(rotated.status, 201 | 400 | 409),
        "not rotated: {rotated:?}"
    );
    let listed = sim.ask(by_person("GET", "api-keys".to_owned())).await?;
    ensure!(listed.status == 200, "no keys: {listed:?}");
    let revoked = sim.ask(by_person("DELETE", path)).await?;
    ensure!(
        revoked.body["isActive"] == false,
        "still active: {revoked:?}"
    );
    let gone = sim.ask(by_person("POST", "auth/logout".to_owned())).await?;
    ensure!(
        matches!(gone.status, 200 | 204 | 401),
        "not logged out: {gone:?}"
    );
    Ok(Vec::new())
}

async fn log_in(sim: &mut Sim, login: &Value) -> anyhow::Result<String> {
    let asked = Ask {
        method: "POST",
        path: "auth/login".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    let answer = sim.ask(asked.json(login)).await?;
    ensure!(answer.status == 200, "not logged in: {answer:?}");
    answer.session.context("no session")
}

async fn bot(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let body = json!({"agent_name": "scout", "billing_email": "ada@example.com"});
    let asked = Ask {
        method: "POST",
        path: "auth/bot-register".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    let answer = sim.ask(asked.json(&body)).await?;
    // A try whose answer was lost may have taken the name.
    ensure!(
        matches!(answer.status, 201 | 400 | 409),
        "not registered: {answer:?}"
    );
    Ok(Vec::new())
}

async fn operator(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let new = |name: &str| NewOrganizationRequest {
        name: name.to_owned(),
        plan: "free".to_owned(),
        credits: Credits::new(7).unwrap_or_default(),
    };
    sim.chore(async |engine| engine.create_organization(new("second")).await.map(drop))
        .await?;
    let org = sim.org.id.clone();
    let amount = Credits::new(3).unwrap_or_default();
    sim.chore(async |engine| {
        engine
            .grant(&org, Mode::Live, amount, "goodwill")
            .await
            .map(drop)
    })
    .await?;
    let org = sim.org.clone();
    sim.chore(async |engine| {
        let limits = LimitOverrides::default();
        engine
            .set_plan(&org.id, "enterprise", limits)
            .await
            .map(drop)
    })
    .await?;
    sim.chore(async |engine| {
        let term = Some(Duration::from_hours(720));
        engine.set_retention(&org.id, term).await.map(drop)
    })
    .await?;
    sim.chore(async |engine| {
        let kept = Duration::from_hours(720);
        engine.prunable_jobs(kept).await?;
        engine.prune_jobs(kept, |_| {}).await.map(drop)
    })
    .await?;
    sim.chore(async |engine| {
        let new = NewKey {
            organization: org.id.clone(),
            name: "k".to_owned(),
            scopes: vec!["*".to_owned()],
            expires_in_days: None,
            mode: Mode::Live,
        };
        let made = engine.create_key(new).await?;
        engine.keys(&org.id).await?;
        engine.revoke_key(&made.key.id).await.map(drop)
    })
    .await?;
    sim.chore(async |engine| {
        let new = NewUserRequest {
            email: "grace@example.com".to_owned(),
            password: Some(Password::new(PASSWORD.to_owned())),
            organization: org.id.clone(),
            role: Role::Member,
        };
        engine.create_user(new).await.map(drop)
    })
    .await?;
    sim.chore(async |engine| {
        engine.members(&org.id).await?;
        engine.find_organization("acme").await?;
        engine
            .add_member("grace@example.com", &org, Role::Owner)
            .await?;
        let password = Some(Password::new(PASSWORD.to_owned()));
        engine.set_password("grace@example.com", password).await?;
        engine.organizations().await.map(drop)
    })
    .await?;
    sim.chore(async |engine| engine.flush_usage().await.map(drop))
        .await?;
    Ok(Vec::new())
}

async fn look(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let asked = keyed(buy(sim, "models/gemini/generate", &image()), "k");
    let (id, _) = purchase(sim, asked).await?;
    let answer = ended(sim, &id).await?;
    let media = answer.body["imageUrl"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let paths = [
        "health",
        "models",
        "organization",
        "account/rate-limits",
        "billing/credits",
        "billing/transactions",
        "usage",
        "jobs",
        "api-keys",
    ];
    let more = [format!("jobs?after={id}"), format!("jobs/{id}/charges")];
    for path in paths.map(str::to_owned).into_iter().chain(more) {
        let answer = sim.ask(Ask::new("GET", path.as_str(), &sim.live)).await?;
        ensure!(
            answer.status == 200 || path == "health",
            "{path}: {answer:?}"
        );
    }
    if let Some((_, key)) = media.split_once("/media/") {
        let asked = Ask::new("GET", format!("/media/{key}"), &sim.live);
        let file = sim.ask(asked).await?;
        ensure!(matches!(file.status, 200), "{media}: {}", file.status);
    }
    Ok(vec![id])
}
