use crate::caller::failure::{EXIT_CODES, Failure};
use crate::caller::follow::{self, Interrupt, Progress};
use crate::caller::keep::{self, Keep};
use crate::caller::purchase::{Product, Purchase};
use crate::caller::{Caller, cost, credits, value, words};
use crate::config::Span;
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;
use vydra_client::{Job, JobFilter};

/// The most that one page has.
const PAGE: u32 = 100;
/// What is shown of a prompt in a list.
const EXCERPT: usize = 40;

#[derive(Debug, Subcommand)]
pub enum Jobs {
    /// List jobs, the latest first
    #[command(
        after_help = "Examples:\n  vydra jobs list --status failed\n  vydra jobs list --workflow generate_video --limit 200 --json | jq -r '.data[].id'"
    )]
    List(List),
    /// Show a job: how it stands, what it cost, its results
    #[command(
        after_help = "Examples:\n  vydra jobs show job_01jd3x0v8kq6w5r4t3y2z1a0bc\n  vydra jobs show job_01jd3x0v8kq6w5r4t3y2z1a0bc --charges     why it cost what it cost"
    )]
    Show(Show),
    /// Wait for a job, and take its results
    #[command(after_help = format!("Examples:\n  vydra jobs watch job_01jd3x0v8kq6w5r4t3y2z1a0bc -o waves.mp4\n  vydra jobs watch job_01jd3x0v8kq6w5r4t3y2z1a0bc --timeout 90s\n\nOf a job that has ended it takes the results again, at no cost.\n\n{EXIT_CODES}"))]
    Watch(Watch),
    /// Cancel a job; its credits come back
    #[command(after_help = "Example:\n  vydra jobs cancel job_01jd3x0v8kq6w5r4t3y2z1a0bc")]
    Cancel(Cancel),
    /// Make a job of any workflow
    #[command(after_help = format!("Examples:
  vydra jobs create edit_image -i imageUrl=house.png -i prompt=\"make it winter\" -o winter.png
  vydra jobs create lipsync_video -i imageUrl=face.png -i audioUrl=voice.mp3 -o talk.mp4
  vydra jobs create house-timelapse -i theme=\"a wooden house\" --dry-run

A file that is given for a field whose name ends in `url` is sent in first. The server's reference,
at /docs, tells what each workflow takes.

{EXIT_CODES}"))]
    Create(Create),
}

#[derive(Debug, Args)]
pub struct List {
    /// Only those that stand so
    #[arg(long, value_parser = ["pending", "running", "completed", "failed", "cancelled"])]
    status: Option<String>,
    /// Only those of this workflow
    #[arg(long)]
    workflow: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Those behind this one: `nextCursor` of the JSON
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    #[command(flatten)]
    caller: Caller,
}

#[derive(Debug, Args)]
pub struct Show {
    /// The job
    #[arg(value_name = "JOB_ID")]
    id: String,
    /// Tell why it cost what it cost
    #[arg(long)]
    charges: bool,
    #[command(flatten)]
    caller: Caller,
}

#[derive(Debug, Args)]
pub struct Watch {
    /// The job
    #[arg(value_name = "JOB_ID")]
    id: String,
    /// How long to wait at most, such as 90s; the job goes on
    #[arg(long, value_name = "DURATION", default_value = "31m")]
    timeout: Span,
    /// Ctrl-C cancels the job, and its credits come back
    #[arg(long)]
    cancel_on_interrupt: bool,
    #[command(flatten)]
    keep: Keep,
    #[command(flatten)]
    caller: Caller,
}

#[derive(Debug, Args)]
pub struct Cancel {
    /// The job
    #[arg(value_name = "JOB_ID")]
    id: String,
    #[command(flatten)]
    caller: Caller,
}

#[derive(Debug, Args)]
pub struct Create {
    /// The workflow, such as `edit_image`
    workflow: String,
    #[command(flatten)]
    purchase: Purchase,
}

impl Jobs {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        Ok(match self {
            Self::List(command) => command.caller.end(command.run().await),
            Self::Show(command) => command.caller.end(command.run().await),
            Self::Watch(command) => command.caller.end(command.run().await),
            Self::Cancel(command) => command.caller.end(command.run().await),
            Self::Create(command) => command.purchase.caller.end(command.run().await),
        })
    }
}

impl List {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.caller.client()?;
        let mut filter = JobFilter {
            status: self.status.clone(),
            workflow: self.workflow.clone(),
            limit: Some(self.limit.min(PAGE)),
            after: self.after.clone(),
            ..JobFilter::default()
        };
        let mut jobs: Vec<Job> = Vec::new();
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let next = loop {
            let page = client.jobs().list(&filter).await?;
            let next = page.next_cursor().map(str::to_owned);
            // A server that leads in a circle has no more.
            let is_last = page.data.is_empty() || next == filter.after;
            jobs.extend(page.data);
            let left = limit.saturating_sub(jobs.len());
            if left == 0 || next.is_none() || is_last {
                break next;
            }
            filter.limit = Some(u32::try_from(left).unwrap_or(PAGE).min(PAGE));
            filter.after = next;
        };
        if self.caller.json {
            output::json(&json!({"count": jobs.len(), "data": value(&jobs)?, "nextCursor": next}));
        } else if jobs.is_empty() {
            output::note("There are none. `vydra generate image \"a fox in the snow\"` makes one.");
        } else {
            let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
            output::table(
                &["ID", "STATUS", "WHAT", "CREDITS", "CREATED", "INPUT"],
                &rows,
            );
        }
        Ok(())
    }
}

fn row(job: &Job) -> Vec<String> {
    vec![
        job.id.clone(),
        job.status.to_string(),
        output::clean(job.workflow.as_deref().unwrap_or(&job.model)),
        cost(job).to_string(),
        job.created_at.clone(),
        excerpt(job),
    ]
}

fn excerpt(job: &Job) -> String {
    let text = output::clean(words(job));
    if text.chars().count() <= EXCERPT {
        return text;
    }
    let short: String = text.chars().take(EXCERPT - 1).collect();
    format!("{}…", short.trim_end())
}

impl Show {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.caller.client()?;
        if self.charges {
            let charges = value(&client.jobs().charges(&self.id).await?)?;
            if self.caller.json {
                output::json(&charges);
            } else {
                self.show_charges(&charges);
            }
            return Ok(());
        }
        let job = client.jobs().get(&self.id, None).await?;
        if self.caller.json {
            output::json(&value(&job)?);
        } else {
            show(&job);
        }
        Ok(())
    }

    fn show_charges(&self, charges: &Value) {
        output::line(&format!(
            "{} cost {}: charged {}, refunded {}",
            self.id,
            credits(charges["creditsNet"].as_i64().unwrap_or_default()),
            charges["creditsCharged"],
            charges["creditsRefunded"]
        ));
        for line in charges["breakdown"].as_array().into_iter().flatten() {
            let item = line["item"].as_str().unwrap_or_default();
            output::line(&format!(
                "  {}: {} × {} = {}",
                output::clean(item),
                line["units"],
                line["creditsPerUnit"],
                line["credits"]
            ));
        }
        if let Some(why) = charges["refundRule"]["explanation"].as_str() {
            output::line(&format!("  {}", output::clean(why)));
        }
    }
}

fn show(job: &Job) {
    output::line(&format!("{}  {}", job.id, job.status));
    let what = match &job.workflow {
        Some(workflow) => format!("{workflow}, by {}", job.model),
        None => job.model.clone(),
    };
    let cost = if job.credits_refunded == 0 {
        credits(job.credits_charged)
    } else {
        format!(
            "{}, {} refunded",
            credits(job.credits_charged),
            job.credits_refunded
        )
    };
    let input = Value::Object(job.input.clone()).to_string();
    let error = job.error.as_ref().map(|error| {
        let code = job.code.as_ref().map(|code| format!(" ({code})"));
        format!("{error}{}", code.unwrap_or_default())
    });
    let progress = format!("{} %", job.progress);
    let lines = [
        ("what", Some(what)),
        ("input", Some(input)),
        ("progress", Some(progress)),
        ("message", job.status_message.clone()),
        ("cost", Some(cost)),
        ("created", Some(job.created_at.clone())),
        ("ended", job.completed_at.clone()),
        ("error", error),
    ];
    for (name, text) in lines {
        if let Some(text) = text {
            output::line(&format!("  {name:<9} {}", output::clean(&text)));
        }
    }
    for url in job.urls() {
        output::line(&format!("  result    {}", output::clean(url)));
    }
}

impl Watch {
    async fn run(&self) -> Result<(), Failure> {
        let mut interrupt = Interrupt::listen()?;
        let progress = Progress::new(1, self.caller.json);
        let client = self.caller.client_beside(&progress)?;
        let place = self.keep.prepare(1, self.caller.json)?;
        let work = async {
            // A wait outlasts a server that is away for a while; this one may never have been there.
            client.jobs().get(&self.id, None).await?;
            let ended = follow::until_ended(&client, &self.id, self.timeout.0, 0, &progress).await;
            let job = ended.map_err(|failure| failure.of_job(&self.id))?;
            let kept = place
                .keep(&client, &job, 1, &progress, self.caller.json)
                .await?;
            Ok::<_, Failure>((job, kept))
        };
        let done = tokio::select! {
            done = work => done?,
            () = interrupt.heard() => {
                progress.message("stopping");
                let jobs = vec![self.id.clone()];
                return Err(follow::leave(&client, jobs, self.cancel_on_interrupt, &mut interrupt).await);
            }
        };
        if self.caller.json {
            output::json(&keep::told(&done.0, &done.1)?);
        }
        Ok(())
    }
}

impl Cancel {
    async fn run(&self) -> Result<(), Failure> {
        let job = self.caller.client()?.jobs().cancel(&self.id).await?;
        if self.caller.json {
            output::json(&value(&job)?);
        } else {
            output::line(&follow::cancelled(&job));
        }
        Ok(())
    }
}

impl Create {
    async fn run(&self) -> Result<(), Failure> {
        let input = self.purchase.input()?;
        let product = Product::Workflow(self.workflow.clone());
        self.purchase.run(product, input).await
    }
}
