//! G9: the real program in a network where somebody listens at every address but the one public one, and every way in: URLs of all
//! spellings, names that change their mind, redirects. Nobody inside may be called, and nothing may be charged for what is refused.

mod internet;
mod spellings;

use super::{Outcome, Run, on_disk};
use crate::api::{self, Answer, Api, Purchase};
use crate::books;
use crate::report::Progress;
use crate::server::Data;
use anyhow::{Context, bail, ensure};
use internet::{Internet, MINDS, REBINDING, good_url};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use vydra_core::asset::MediaKind;
use vydra_core::catalog::{Catalog, InputSchema};

/// Of 1,500 spellings, 200.
const REBINDING_SHARE: (u64, u64) = (2, 15);
/// Callers at once, each of an organization of its own.
const CALLERS: usize = 4;
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];
/// Where a redirect must not lead; with five statuses, sixty ways.
const ASTRAY: [&str; 12] = [
    "http://127.0.0.1/",
    "http://127.0.0.1:80/picture.png",
    "http://[::ffff:127.0.0.1]/",
    "http://[::1]/",
    "http://2130706433/",
    "http://169.254.169.254/latest/meta-data/",
    "//127.0.0.1/",
    "///127.0.0.1/",
    "http://word@127.0.0.1/",
    "http://x.inside.example/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:80/_x",
];
/// Nor these, each once: as they are, and what they are redirected to.
const CROOKED: [&str; 4] = [
    "http://good.example/circle",
    "http://good.example/refresh",
    // More hops than are followed, and one inside at their end.
    "http://good.example/chain/50/0",
    "http://good.example/chain/1/0",
];
/// Stands for the number of the place that a URL is put in: a name changes its mind once.
const PLACE: &str = "PLACE";
const NEEDS: &str = "there is no network for this gate: it needs Linux, the programs `unshare` (util-linux) and `ip` (iproute2), and the right to make namespaces";
/// What an answer must never name.
const SECRETS: [&str; 6] = [
    "127.0.0.1",
    "::1",
    "169.254",
    "192.168",
    "refused",
    "connect",
];

pub(super) fn prove(run: &Run) -> Outcome {
    if !run.inside {
        return Ok(again_inside(run)?);
    }
    on_disk("ssrf", run, async |data| {
        let data = data
            .clone()
            .with("VYDRA__WEBHOOKS__RETRIES", "[\"100ms\", \"100ms\"]")
            .with("VYDRA__WEBHOOKS__TIMEOUT", "2s");
        attack(run, &data).await
    })
}

/// A namespace begins with a process: this one again, with a loopback device for all that it has.
fn again_inside(run: &Run) -> anyhow::Result<String> {
    let settings = tempfile::Builder::new()
        .prefix("ssrf-settings-")
        .tempdir_in(&run.disk)?;
    internet::write_settings(settings.path())?;
    let number = |number: u64| number.to_string();
    let output = Command::new("unshare")
        .args(rights()?)
        .arg("--")
        .args(["sh", "-ec", internet::PREPARATIONS])
        .arg(settings.path())
        .arg(std::env::current_exe()?)
        .args(["ssrf", "--json", "--inside"])
        .args(["--seed", &number(run.seed), "--count", &number(run.count)])
        .arg("--binary")
        .arg(&run.binary)
        .arg("--disk")
        .arg(&run.disk)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context(NEEDS)?;
    let told: Value = serde_json::from_slice(&output.stdout).context(NEEDS)?;
    match (told["figures"].as_str(), told["violation"].as_str()) {
        (Some(figures), None) => Ok(figures.to_owned()),
        (_, violation) => bail!("{}", violation.unwrap_or("nothing was told")),
    }
}

/// As root directly, as anybody else in a namespace of users.
fn rights() -> anyhow::Result<&'static [&'static str]> {
    let all: [&[&str]; 2] = [
        &["--net", "--mount"],
        &["--user", "--map-root-user", "--net", "--mount"],
    ];
    for rights in all {
        let mut unshare = Command::new("unshare");
        unshare.args(rights).arg("true").stderr(Stdio::null());
        if unshare.status().context(NEEDS)?.success() {
            return Ok(rights);
        }
    }
    bail!(NEEDS)
}

/// One place of a request that takes a URL.
#[derive(Debug, Clone)]
struct Entry {
    path: Cow<'static, str>,
    body: Value,
    /// From the body to the URL.
    pointer: String,
    /// How a refusal calls it.
    field: String,
    kind: MediaKind,
}

impl Entry {
    fn with(&self, url: &str) -> Purchase {
        let mut body = self.body.clone();
        if let Some(place) = body.pointer_mut(&self.pointer) {
            *place = json!(url);
        }
        Purchase {
            path: self.path.clone(),
            body,
            // What is accepted need not be made.
            outcome: "GENERATION_FAILED",
            respond_async: true,
            key: None,
        }
    }
}

/// Every field of every model and workflow that takes the URL of a file, in both spellings of its name.
fn entries(catalog: &Catalog) -> Vec<Entry> {
    let mut all = Vec::new();
    for model in catalog.models() {
        if let Some(path) = &model.path {
            let path = format!("models/{path}");
            all.extend(entries_of(
                &path,
                "",
                &model.schema,
                &model.example_input,
                Value::Object,
            ));
        }
    }
    for workflow in catalog.workflows() {
        let body = |input| json!({"workflow": workflow.slug, "input": input});
        let example = &workflow.example_input;
        all.extend(entries_of(
            "jobs",
            "/input",
            &workflow.schema,
            example,
            body,
        ));
    }
    all
}

fn entries_of(
    path: &str,
    inside: &str,
    schema: &InputSchema,
    example: &Map<String, Value>,
    body: impl Fn(Map<String, Value>) -> Value,
) -> Vec<Entry> {
    let is_list = |name: &str| schema.json()["properties"][name]["type"] == "array";
    let mut good = example.clone();
    for field in schema.media_fields() {
        if let Some(given) = good.get_mut(field.name) {
            let url = good_url(field.kind);
            *given = if is_list(field.name) {
                json!([url])
            } else {
                json!(url)
            };
        }
    }
    let mut all = Vec::new();
    for field in schema.media_fields() {
        let other = vydra_core::catalog::other_spelling(field.name);
        for name in [Some(field.name.to_owned()), other].into_iter().flatten() {
            let mut input = good.clone();
            input.remove(field.name);
            let url = json!(good_url(field.kind));
            let (value, last, place) = if is_list(field.name) {
                (json!([url, url]), "/1", "[1]")
            } else {
                (url, "", "")
            };
            input.insert(name.clone(), value);
            all.push(Entry {
                path: Cow::Owned(path.to_owned()),
                body: body(input),
                pointer: format!("{inside}/{name}{last}"),
                field: format!("{}{place}", field.name),
                kind: field.kind,
            });
        }
    }
    all
}

/// A URL that is put in everywhere.
struct Attempt {
    url: String,
    /// Whether nothing of it can be read.
    must_fail: bool,
}

#[derive(Debug, Default)]
struct Told {
    refused: u64,
    accepted: u64,
}

async fn attack(run: &Run, data: &Data) -> anyhow::Result<String> {
    let targets = ASTRAY.map(str::to_owned).to_vec();
    let internet = Internet::open(targets).await?;
    internet.everybody_would_be_noticed().await?;
    internet.nobody_was_called().await?;
    let mut keys = Vec::new();
    for number in 0..CALLERS {
        let name = format!("org-{number}");
        keys.push(data.customer(&name).await?);
        data.grant(&name, 100_000 * (run.count + 100), "plenty")
            .await?;
    }
    let server = data.serve().await?;
    let client = api::client()?;
    let callers: Vec<Api> = keys
        .iter()
        .map(|key| Api::new(&client, &server.url, key))
        .collect();
    let entries = Arc::new(entries(&Catalog::builtin()?));
    everything_can_be_accepted(&callers[0], &entries, &internet).await?;
    let hooked = webhooks(&callers[0], run).await?;
    internet.nobody_was_called().await?;
    let all = attempts(run);
    let count = all.len() as u64;
    let before = internet.web.requests.load(Ordering::SeqCst);
    let mut shares: Vec<Vec<Attempt>> = (0..CALLERS).map(|_| Vec::new()).collect();
    for (number, attempt) in all.into_iter().enumerate() {
        shares[number % CALLERS].push(attempt);
    }
    let mut hands = JoinSet::new();
    for (api, share) in callers.into_iter().zip(shares) {
        let entries = Arc::clone(&entries);
        hands.spawn(try_all(api, entries, share, run.progress.clone(), count));
    }
    let mut told = Told::default();
    while let Some(hand) = hands.join_next().await {
        let one = hand??;
        told.refused += one.refused;
        told.accepted += one.accepted;
    }
    internet.nobody_was_called().await?;
    let public = internet.web.requests.load(Ordering::SeqCst) - before;
    server.stop().await?;
    data.audit().await?;
    let books = books::check(&data.database())?;
    let charged = books.entries.iter().filter(|row| row.kind == "charge");
    let charged = charged.count() as u64;
    let expected = told.accepted + entries.len() as u64 + hooked;
    ensure!(
        charged == expected,
        "{expected} were accepted, {charged} charged"
    );
    Ok(format!(
        "{} refused through {} places, {} lead to a public file, {public} requests outside, {hooked} jobs with webhooks, none inside",
        told.refused,
        entries.len(),
        told.accepted,
    ))
}

/// Otherwise a refusal would say nothing.
async fn everything_can_be_accepted(
    api: &Api,
    entries: &[Entry],
    internet: &Internet,
) -> anyhow::Result<()> {
    let before = internet.web.requests.load(Ordering::SeqCst);
    for entry in entries {
        let answer = send(api, &entry.with(&good_url(entry.kind))).await?;
        ensure!(
            matches!(answer.status, 201 | 202),
            "{entry:?} does not take a good URL: {answer:?}"
        );
    }
    let asked = internet.web.requests.load(Ordering::SeqCst) - before;
    ensure!(
        asked >= entries.len() as u64,
        "{} places made {asked} requests",
        entries.len()
    );
    Ok(())
}

/// Of webhooks the URL is called later, and once more for each try: what is public when it is looked at may be private then.
/// Says how many jobs were taken.
async fn webhooks(api: &Api, run: &Run) -> anyhow::Result<u64> {
    let mut taken = 0;
    let some = Run {
        count: run.count / 3,
        ..run.clone()
    };
    for attempt in attempts(&some) {
        let url = attempt.url.replace(PLACE, "hook");
        // A redirect is an answer: it is not followed, and nothing is known of it before.
        let must_fail =
            attempt.must_fail && !url.starts_with(&format!("http://{}/", spellings::GOOD));
        let body = json!({"text": "Again.", "webhookUrl": url});
        let entry = Entry {
            path: "models/elevenlabs/tts".into(),
            pointer: "/webhookUrl".to_owned(),
            field: "webhookUrl".to_owned(),
            kind: MediaKind::Audio,
            body,
        };
        taken += u64::from(is_accepted(api, &entry, &url, must_fail).await?);
        let made = api.post("webhooks/endpoints", &json!({"url": url})).await?;
        let made = made.context("the server is gone")?;
        if made.status == 201 && !must_fail {
            // Told of the next job before it makes room for another one.
            taken += u64::from(is_accepted(api, &entry, &url, must_fail).await?);
            let id = made.body["id"].as_str().unwrap_or_default();
            api.delete(&format!("webhooks/endpoints/{id}")).await?;
        } else {
            ensure!(
                made.status == 400 && made.body["code"] == "INVALID_URL",
                "an endpoint at {url:?} was answered {made:?}"
            );
        }
    }
    loop {
        let left = api
            .get("webhooks/deliveries?status=pending&limit=1")
            .await?;
        let left = left.context("the server is gone")?;
        if left.body["pagination"]["count"] == 0 {
            return Ok(taken);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn attempts(run: &Run) -> Vec<Attempt> {
    let mut random = StdRng::seed_from_u64(run.seed);
    let mut all = Vec::new();
    let mut add = |url, must_fail| all.push(Attempt { url, must_fail });
    for _ in 0..run.count {
        let url = spellings::hostile(&mut random);
        // Read by the standard, not by us: the same text may be a public URL with something after it.
        let is_public =
            url::Url::parse(&url).is_ok_and(|url| url.host_str() == Some(spellings::GOOD));
        add(url, !is_public);
    }
    let (part, whole) = REBINDING_SHARE;
    for number in 0..run.count * part / whole {
        let mind = MINDS[usize::try_from(number).unwrap_or(0) % MINDS.len()];
        add(
            format!("http://r{number}-{PLACE}-{mind}.{REBINDING}/"),
            false,
        );
    }
    for status in STATUSES {
        for target in 0..ASTRAY.len() {
            add(
                format!("http://{}/to/{status}/{target}", spellings::GOOD),
                true,
            );
        }
    }
    for url in CROOKED {
        add(url.to_owned(), true);
    }
    all
}

async fn try_all(
    api: Api,
    entries: Arc<Vec<Entry>>,
    attempts: Vec<Attempt>,
    progress: Progress,
    count: u64,
) -> anyhow::Result<Told> {
    let mut told = Told::default();
    for attempt in attempts {
        for (place, entry) in entries.iter().enumerate() {
            let url = attempt.url.replace(PLACE, &place.to_string());
            if is_accepted(&api, entry, &url, attempt.must_fail).await? {
                told.accepted += 1;
            } else {
                told.refused += 1;
            }
        }
        progress.step(count);
    }
    Ok(told)
}

async fn is_accepted(api: &Api, entry: &Entry, url: &str, must_fail: bool) -> anyhow::Result<bool> {
    let answer = send(api, &entry.with(url)).await?;
    if matches!(answer.status, 201 | 202) && !must_fail {
        return Ok(true);
    }
    ensure!(
        answer.status == 400
            && answer.body["code"] == "INVALID_URL"
            && answer.body["details"]["field"] == entry.field.as_str(),
        "{url:?} in {} of {} was answered {answer:?}",
        entry.field,
        entry.path
    );
    let sentence = answer.body["error"].as_str().unwrap_or_default();
    ensure!(
        !SECRETS.iter().any(|secret| sentence.contains(secret)),
        "{url:?} was answered with what is behind it: {sentence}"
    );
    Ok(false)
}

async fn send(api: &Api, purchase: &Purchase) -> anyhow::Result<Answer> {
    api.buy(purchase)
        .await?
        .with_context(|| format!("the server hung up on {purchase:?}"))
}
