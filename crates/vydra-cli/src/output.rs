//! What a person or a program reads: data on stdout, complaints and hints on stderr, colours only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(200);

/// Whether stdout did not take something.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// One line of data, in which nothing moves the cursor.
pub fn line(text: &str) {
    print(&clean(text));
}

/// The same of what was paid for: where stdout does not take it, stderr has it.
pub fn result(text: &str) {
    let text = clean(text);
    if !print(&text) {
        note(&text);
    }
}

/// A text of several lines, of our own.
pub fn text(text: &str) {
    print(text);
}

pub fn json(value: &Value) {
    print(&value.to_string());
}

/// Whether it was taken. A reader that has gone away, as `head` does, is no failure; a full disk is, and is told once.
fn print(text: &str) -> bool {
    let mut out = std::io::stdout();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            if !IS_LOST.swap(true, Ordering::Relaxed) {
                complain_of(&format!("stdout does not take the output: {error}"));
            }
            false
        }
        _ => true,
    }
}

/// Whether a command that did what it was asked has failed to say so.
pub fn is_lost() -> bool {
    IS_LOST.load(Ordering::Relaxed)
}

/// One line beside the data: what happens, or what to do next.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What others have written, without what would move the cursor or change colours of a terminal.
pub fn clean(text: &str) -> String {
    let control = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(control).collect()
}

pub fn complain(error: &anyhow::Error) {
    complain_of(&sentence(error));
}

/// An error with its causes.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !sentence.contains(&cause) {
            sentence.push_str(": ");
            sentence.push_str(&cause);
        }
    }
    sentence
}

pub fn complain_of(sentence: &str) {
    let (red, plain) = if std::io::stderr().is_terminal() {
        ("\x1b[31;1m", "\x1b[0m")
    } else {
        ("", "")
    };
    note(&format!("{red}error:{plain} {sentence}"));
}

/// Rows under headings, each column as wide as its widest cell.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .chain([heading.len()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        line(padded.join("  ").trim_end());
    };
    print(&mut headings.iter().copied());
    for row in rows {
        print(&mut row.iter().map(String::as_str));
    }
}

/// Only for whoever looks at it: nobody knows beforehand how much there is.
pub fn spinner() -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, terminal());
    // Only a template that is wrong in this line could fail; then the plain spinner serves.
    if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg}  {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(TICK);
    spinner
}

/// The same where the number of bytes is known.
pub fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), terminal());
    if let Ok(style) = ProgressStyle::with_template("  {bar:30} {percent}%  {msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar
}

fn terminal() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}
