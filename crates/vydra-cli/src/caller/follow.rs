//! Waiting for jobs, before the eyes of whoever waits.

use super::failure::Failure;
use crate::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::pin::pin;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use vydra_client::{Client, Job, JobEvent, Wait};

const TICK: Duration = Duration::from_millis(120);
/// Of one job.
const WHOLE: u64 = 100;

/// How far jobs are, on stderr: a bar where somebody looks at it, a line for each change where it is read later, and nothing
/// where only the JSON counts.
#[derive(Debug)]
pub struct Progress {
    voice: Voice,
    jobs: RefCell<Vec<Seen>>,
}

/// What can be handed on, to be told something from elsewhere.
#[derive(Debug, Clone)]
pub struct Voice {
    bar: ProgressBar,
    speaks: bool,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    progress: u64,
    told: String,
}

impl Progress {
    pub fn new(jobs: usize, json: bool) -> Self {
        let is_seen = jobs > 0 && !json && std::io::stderr().is_terminal();
        let target = if is_seen {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let whole = u64::try_from(jobs).unwrap_or(1) * WHOLE;
        let bar = ProgressBar::with_draw_target(Some(whole), target);
        // Only a template that is wrong in this line could fail; then the plain bar serves.
        if let Ok(style) = ProgressStyle::with_template(
            "  {bar:30.cyan/blue} {percent:>3}%  {elapsed}  {wide_msg}",
        ) {
            bar.set_style(style);
        }
        if is_seen {
            bar.enable_steady_tick(TICK);
        }
        Self {
            voice: Voice { bar, speaks: !json },
            jobs: RefCell::new(vec![Seen::default(); jobs]),
        }
    }

    pub fn voice(&self) -> Voice {
        self.voice.clone()
    }

    /// How far a file is that comes or goes.
    pub fn bytes(&self, what: String) -> vydra_client::Progress {
        let bar = self.voice.bar.clone();
        self.message(&what);
        vydra_client::Progress::new(move |done, total| {
            let percent = total
                .filter(|total| *total > 0)
                .map(|total| done.saturating_mul(100) / total);
            if let Some(percent) = percent {
                bar.set_message(output::clean(&format!("{what}, {percent} %")));
            }
        })
    }

    /// What is being done, for whoever looks.
    pub fn message(&self, text: &str) {
        self.voice.bar.set_message(output::clean(text));
    }

    /// A line that stays.
    pub fn note(&self, text: &str) {
        self.voice.note(text);
    }

    /// Something else is printed, and the bar does not run into it.
    pub fn aside(&self, print: impl FnOnce()) {
        self.voice.bar.suspend(print);
    }

    fn event(&self, number: usize, id: &str, event: &JobEvent) {
        self.set(number, event.progress.into());
        // How it ended is told by whoever waits for it.
        if event.status.is_final() {
            return;
        }
        let told = match &event.status_message {
            Some(message) => format!("{}: {message}", event.status),
            None => event.status.to_string(),
        };
        let mut jobs = self.jobs.borrow_mut();
        if let Some(seen) = jobs.get_mut(number).filter(|seen| seen.told != told) {
            if self.voice.bar.is_hidden() {
                self.note(&format!("{id} {told}"));
            }
            self.message(&told);
            seen.told = told;
        }
    }

    fn ended(&self, number: usize, job: &Job) {
        self.set(number, WHOLE);
        let cost = super::cost(job);
        let told = format!("{} {}, cost {}", job.id, job.status, super::credits(cost));
        self.note(&told);
    }

    fn set(&self, number: usize, progress: u64) {
        let mut jobs = self.jobs.borrow_mut();
        if let Some(seen) = jobs.get_mut(number) {
            seen.progress = progress.min(WHOLE);
        }
        let all = jobs.iter().map(|seen| seen.progress).sum();
        self.voice.bar.set_position(all);
    }
}

impl Voice {
    pub fn note(&self, text: &str) {
        if self.speaks {
            self.bar.suspend(|| output::note(&output::clean(text)));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.voice.bar.finish_and_clear();
    }
}

/// Waits for one job; it is the `number`th of those that are shown.
pub async fn until_ended(
    client: &Client,
    id: &str,
    timeout: Duration,
    number: usize,
    progress: &Progress,
) -> Result<Job, Failure> {
    let wait = Wait {
        timeout,
        ..Wait::default()
    };
    // Only the wait decides: a proxy that holds the stream back delays what is shown, and nothing else.
    let mut ended = pin!(client.wait(id, &wait));
    let mut stream = client.stream(id, &wait);
    let mut is_told = progress.voice.speaks;
    loop {
        tokio::select! {
            job = &mut ended => {
                let job = job?;
                progress.ended(number, &job);
                return Ok(job);
            }
            event = stream.next(), if is_told => match event {
                Ok(Some(event)) => progress.event(number, id, &event),
                _ => is_told = false,
            },
        }
    }
}

/// Ctrl-C, or what else tells a program to stop, from now on.
#[derive(Debug)]
pub struct Interrupt {
    from_keys: Signal,
    terminate: Signal,
    /// Unless whoever started this wants that to be ignored.
    hangup: Option<Signal>,
}

impl Interrupt {
    pub fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::from(anyhow::Error::new(error).context("signals cannot be heard"))
            })
        };
        Ok(Self {
            from_keys: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: if ignores_hangup() {
                None
            } else {
                Some(listen(SignalKind::hangup())?)
            },
        })
    }

    pub async fn heard(&mut self) {
        tokio::select! {
            _ = self.from_keys.recv() => {}
            _ = self.terminate.recv() => {}
            () = hung_up(&mut self.hangup) => {}
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// As under `nohup`. Where the system does not tell, the terminal is taken to matter.
fn ignores_hangup() -> bool {
    let told = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = told.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Signal 1 is the lowest bit.
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1))
}

/// What becomes of jobs that nobody waits for any more.
pub async fn leave(
    client: &Client,
    jobs: Vec<String>,
    cancels: bool,
    interrupt: &mut Interrupt,
) -> Failure {
    let go_on = |failure: Failure, id: &String| {
        failure.advise(format!(
            "`vydra jobs watch {id}` waits for it again, `vydra jobs cancel {id}` ends it."
        ))
    };
    if !cancels {
        let sentence = match jobs.as_slice() {
            [] => "Interrupted.".to_owned(),
            [id] => format!("Interrupted. {id} goes on."),
            ids => format!("Interrupted. The {} jobs go on.", ids.len()),
        };
        let failure = Failure::interrupted(sentence, jobs.clone());
        return jobs.iter().fold(failure, go_on);
    }
    let mut failure = Failure::interrupted("Interrupted.", jobs.clone());
    let mut told = Vec::new();
    let bought = client.jobs();
    for id in &jobs {
        // Whoever asks twice does not want to wait for that either.
        tokio::select! {
            one = bought.cancel(id) => told.push(one),
            () = interrupt.heard() => break,
        }
    }
    for (index, id) in jobs.iter().enumerate() {
        failure = match told.get(index) {
            Some(Ok(job)) => failure.explain(cancelled(job)),
            Some(Err(error)) => go_on(
                failure.explain(format!("{id} was not cancelled: {}", error.friendly())),
                id,
            ),
            None => go_on(failure, id),
        };
    }
    failure
}

/// For people.
pub fn cancelled(job: &Job) -> String {
    format!(
        "{} is {}: {} came back.",
        job.id,
        job.status,
        super::credits(job.credits_refunded)
    )
}
