//! The main job, once: an image, a video, and a job that fails and is paid back, over HTTP as any client would.

use super::identity::Identity;
use crate::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::time::Duration;
use vydra_client::{Buy, Client, Code, Error, Job, JobStatus};

/// How often a job is looked at, so that its bar moves.
const LOOK_EVERY: Duration = Duration::from_millis(200);

struct Act {
    title: &'static str,
    path: &'static str,
    input: Value,
    simulate: Option<&'static str>,
    /// With the test key: its credits are not real.
    sandbox: bool,
}

pub(super) async fn run(url: &str, identity: &Identity) {
    let acts = [
        Act {
            title: "an image",
            path: "gemini/generate",
            input: json!({"prompt": "a lighthouse on a cliff at sunset, calm sea", "aspectRatio": "16:9"}),
            simulate: None,
            sandbox: false,
        },
        Act {
            title: "a video",
            path: "veo3",
            input: json!({"prompt": "waves roll onto a beach under a full moon", "duration": 4}),
            simulate: None,
            sandbox: false,
        },
        Act {
            title: "a failure",
            path: "gemini/generate",
            input: json!({"prompt": "this one is told to fail"}),
            simulate: Some("GENERATION_FAILED"),
            sandbox: true,
        },
    ];
    output::line("What it does:");
    for act in acts {
        let key = if act.sandbox {
            &identity.test_key
        } else {
            &identity.live_key
        };
        let told = match client(url, key) {
            Ok(client) => perform(&client, &act).await,
            Err(error) => Err(error),
        };
        match told {
            Ok(lines) => lines.iter().for_each(|line| output::line(line)),
            Err(error) => output::line(&format!("  {:<10} {}", act.title, sentence(&error))),
        }
    }
    if let Ok(client) = client(url, &identity.live_key)
        && let Ok(credits) = client.credits().await
    {
        output::line(&format!(
            "  {:<10} {} credits are left",
            "balance", credits.credits_remaining
        ));
    }
}

fn client(url: &str, key: &str) -> Result<Client, Error> {
    Client::builder().base_url(url).api_key(key).build()
}

async fn perform(client: &Client, act: &Act) -> Result<Vec<String>, Error> {
    let bar = bar(act.title);
    let buy = Buy {
        respond_async: true,
        simulate: act.simulate.map(str::to_owned),
        ..Buy::default()
    };
    let accepted = client.models().run(act.path, &act.input, &buy).await?;
    let job = loop {
        let job = client.jobs().get(&accepted.id, None).await?;
        bar.set_position(job.progress.into());
        if job.status.is_final() {
            break job;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    bar.finish_and_clear();
    Ok(tell(act, &job))
}

fn tell(act: &Act, job: &Job) -> Vec<String> {
    let credits = if act.sandbox {
        "test credits"
    } else {
        "credits"
    };
    let (charged, refunded) = (job.credits_charged, job.credits_refunded);
    let mut lines = vec![format!(
        "  {:<10} {}: cost {charged} {credits}, refunded {refunded}",
        act.title, job.status
    )];
    if job.status == JobStatus::Failed {
        let why = if act.simulate.is_some() {
            ", as it was told to by X-Vydra-Simulate"
        } else {
            ""
        };
        lines.push(format!(
            "  {:<10} {} ({}){why}",
            "",
            job.error.as_deref().unwrap_or_default(),
            job.code.as_ref().map_or("", Code::as_str)
        ));
    }
    for url in job.urls() {
        lines.push(format!("  {:<10} {url}", ""));
    }
    lines
}

fn sentence(error: &Error) -> String {
    match error.code() {
        Some(Code::InsufficientCredits) => {
            "not enough credits any more: vydra credits grant --org dev --amount 10000 --reason more".to_owned()
        }
        _ => error.to_string(),
    }
}

fn bar(title: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(100), target);
    // Only a template that is wrong in this line could fail; then the plain bar serves.
    if let Ok(style) =
        ProgressStyle::with_template("  {msg:<10} {bar:40.cyan/blue} {pos:>3} %  {elapsed}")
    {
        bar.set_style(style);
    }
    bar.set_message(title.to_owned());
    bar.enable_steady_tick(LOOK_EVERY);
    bar
}
