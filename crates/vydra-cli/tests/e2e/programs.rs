//! Programs that a test runs: each ends within a bounded time, and what it said is kept.

use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Nothing that a test waits for takes as long, even on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end.
pub(crate) async fn run(mut command: Command) -> Ran {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output())
        .await
        .unwrap_or_else(|_| panic!("{command:?} does not end"))
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Whether a program of the system is there. A test without it says so and passes.
pub(crate) async fn installed(program: &str) -> bool {
    let mut look = Command::new("sh");
    look.args(["-c", &format!("command -v {program}")]);
    let found = run(look).await.code == Some(0);
    if !found {
        println!("SKIPPED: {program} is not installed");
    }
    found
}

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks at another process until it is as it should be: nothing else tells from outside.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let mut next = interval(LOOK_EVERY);
    next.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looking = async {
        loop {
            next.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    let seen = timeout(PATIENCE, looking).await;
    seen.unwrap_or_else(|_| panic!("it never came to this: {what}"))
}
