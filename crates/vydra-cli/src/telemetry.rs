//! The log: on the error stream, so that data on the other one stays clean.

use crate::config::{Log, LogFormat};
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// A line is kept back for so long at most, so that many are written with one system call.
const KEPT_BACK: Duration = Duration::from_millis(50);
/// So many bytes of lines are written at once, however young they are.
const MANY: usize = 64 * 1_024;
/// So many are written by whoever adds to them: the stream takes less than is said.
const TOO_MANY: usize = 4 * 1_024 * 1_024;

/// When it is dropped, nothing is kept back any more: the process comes to its end.
#[must_use]
pub struct Telemetry(Arc<Lines<io::Stderr>>);

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.0.kept().keeps_back = false;
        self.0.write_out();
    }
}

pub fn start(log: &Log) -> anyhow::Result<Telemetry> {
    let is_terminal = io::stderr().is_terminal();
    let lines = Arc::new(Lines::new(io::stderr(), !is_terminal));
    if !is_terminal {
        let lines = Arc::clone(&lines);
        let writer = thread::Builder::new().name("log".into());
        writer.spawn(move || lines.write_out_for_ever())?;
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(log.filter()?)
        .with_writer(Shared(Arc::clone(&lines)))
        .with_ansi(is_terminal);
    match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("the log could not be started: {error}"))?;
    Ok(Telemetry(lines))
}

/// Lines on their way out. Every request has one, and while one thread writes its own, no other may write: that took
/// more of a request than to put the line into words.
struct Lines<W> {
    kept: Mutex<Kept>,
    /// Rung for the first line, and when there are many.
    rung: Condvar,
    /// Taken before lines are, so that none overtakes another.
    out: Mutex<W>,
}

struct Kept {
    keeps_back: bool,
    text: Vec<u8>,
}

impl<W: Write> Lines<W> {
    fn new(out: W, keeps_back: bool) -> Self {
        Self {
            kept: Mutex::new(Kept {
                keeps_back,
                text: Vec::new(),
            }),
            rung: Condvar::new(),
            out: Mutex::new(out),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, line: &[u8], is_urgent: bool) {
        let mut kept = self.kept();
        let before = kept.text.len();
        kept.text.extend_from_slice(line);
        let after = kept.text.len();
        let is_urgent = is_urgent || !kept.keeps_back || after >= TOO_MANY;
        drop(kept);
        if is_urgent {
            self.write_out();
        } else if before == 0 || (before < MANY && after >= MANY) {
            self.rung.notify_one();
        }
    }

    /// What the stream does not take now goes first the next time: a line that has begun is ended.
    fn write_out(&self) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = std::mem::take(&mut self.kept().text);
        let written = write_some(&mut *out, &text);
        if written < text.len() {
            text.drain(..written);
            let mut kept = self.kept();
            text.append(&mut kept.text);
            forget_some(&mut text);
            kept.text = text;
        }
    }

    fn write_out_for_ever(&self) {
        loop {
            let mut kept = self.kept();
            kept = self
                .rung
                .wait_while(kept, |kept| kept.text.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            let waited = self
                .rung
                .wait_timeout_while(kept, KEPT_BACK, |kept| kept.text.len() < MANY);
            drop(waited);
            self.write_out();
        }
    }
}

/// How much of it the stream took. There is nobody to tell why it takes no more.
fn write_some(out: &mut impl Write, text: &[u8]) -> usize {
    let mut written = 0;
    while written < text.len() {
        match out.write(&text[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    written
}

/// Of a stream that has taken nothing for long, the oldest lines are lost; but for the first one, which may have begun.
fn forget_some(text: &mut Vec<u8>) {
    if text.len() <= TOO_MANY {
        return;
    }
    let end_of_line = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n');
        length.map_or(text.len(), |length| from + length + 1)
    };
    let (first, last) = (end_of_line(0), end_of_line(text.len() - TOO_MANY / 2));
    text.drain(first..last.max(first));
}

struct Shared<W>(Arc<Lines<W>>);

impl<'a, W: Write + 'a> MakeWriter<'a> for Shared<W> {
    type Writer = Line<'a, W>;

    fn make_writer(&'a self) -> Line<'a, W> {
        Line {
            lines: &self.0,
            is_urgent: true,
        }
    }

    /// What may be a process's last word is written before the process goes on.
    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a, W> {
        Line {
            lines: &self.0,
            is_urgent: *metadata.level() <= Level::WARN,
        }
    }
}

struct Line<'a, W> {
    lines: &'a Lines<W>,
    is_urgent: bool,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.put(line, self.is_urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.write_out();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Sends on what is written, write by write.
    struct Sent(mpsc::Sender<String>);

    impl Write for Sent {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0
                .send(String::from_utf8(text.to_vec()).unwrap())
                .unwrap();
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(keeps_back: bool) -> (Arc<Lines<Sent>>, mpsc::Receiver<String>) {
        let (sender, written) = mpsc::channel();
        (Arc::new(Lines::new(Sent(sender), keeps_back)), written)
    }

    #[test]
    fn lines_are_kept_back_until_one_is_urgent_and_none_overtakes_another() {
        let (lines, written) = lines(true);
        lines.put(b"one\n", false);
        lines.put(b"two\n", false);
        assert_eq!(written.try_recv(), Err(mpsc::TryRecvError::Empty));
        lines.put(b"three\n", true);
        assert_eq!(written.try_recv().unwrap(), "one\ntwo\nthree\n");
    }

    #[test]
    fn what_is_kept_back_is_written_without_another_line() {
        let (lines, written) = lines(true);
        let writer = Arc::clone(&lines);
        thread::spawn(move || writer.write_out_for_ever());
        lines.put(b"one\n", false);
        assert_eq!(written.recv().unwrap(), "one\n");
        lines.put(b"two\n", false);
        assert_eq!(written.recv().unwrap(), "two\n");
    }

    /// Takes so many bytes, and then no more until it is told to.
    struct Reluctant {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Reluctant {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let some = text.len().min(self.room).min(3);
            if some == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= some;
            self.taken.extend(&text[..some]);
            Ok(some)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_torn_is_ended_first() {
        let out = Reluctant {
            taken: Vec::new(),
            room: 7,
        };
        let lines = Lines::new(out, true);
        lines.put(b"one\n", false);
        lines.put(b"two hundred\n", true);
        assert_eq!(lines.out.lock().unwrap().taken, b"one\ntwo");
        lines.put(b"three\n", true);
        lines.out.lock().unwrap().room = 1_000;
        lines.put(b"four\n", true);
        let taken = lines.out.lock().unwrap().taken.clone();
        assert_eq!(taken, b"one\ntwo hundred\nthree\nfour\n");
    }

    #[test]
    fn of_what_is_never_taken_whole_lines_are_lost() {
        let out = Reluctant {
            taken: Vec::new(),
            room: 2,
        };
        let lines = Lines::new(out, true);
        for number in 0..TOO_MANY / 50 {
            lines.put(format!("{number:0>99}\n").as_bytes(), false);
        }
        assert!(lines.kept().text.len() <= TOO_MANY);
        lines.out.lock().unwrap().room = usize::MAX;
        lines.put(b"last\n", true);
        let taken = String::from_utf8(lines.out.lock().unwrap().taken.clone()).unwrap();
        let all: Vec<&str> = taken.lines().collect();
        assert_eq!(
            (all.first().unwrap().len(), all.last()),
            (99, Some(&"last"))
        );
        assert!(all[..all.len() - 1].iter().all(|line| line.len() == 99));
        assert!(all.len() < TOO_MANY / 50);
    }

    #[test]
    fn on_a_terminal_nothing_is_kept_back() {
        let (lines, written) = lines(false);
        lines.put(b"one\n", false);
        assert_eq!(written.try_recv().unwrap(), "one\n");
    }

    #[test]
    fn a_stream_that_takes_nothing_bounds_what_is_kept() {
        let (lines, written) = lines(true);
        let line = vec![b'x'; MANY];
        for _ in 1..TOO_MANY / MANY {
            lines.put(&line, false);
        }
        assert_eq!(written.try_recv(), Err(mpsc::TryRecvError::Empty));
        lines.put(&line, false);
        assert_eq!(written.try_recv().unwrap().len(), TOO_MANY);
    }
}
