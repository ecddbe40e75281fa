//! What was admitted when, and whether it had to be.

use super::Sum;
use super::cases::Case;
use super::clock::SECOND;
use super::counter::Log;
use anyhow::{Context, bail, ensure};
use vydra_core::window::Window;

/// The moments of everything that was admitted, in their order.
#[derive(Debug, Clone, Default)]
struct Admitted(Vec<i64>);

/// One for each that was admitted, in their order.
fn moments(log: &Log) -> anyhow::Result<Vec<i64>> {
    let ends = log.rows.iter().skip(1).map(|(_, before)| *before);
    let mut moments = Vec::new();
    for ((at, before), end) in log.rows.iter().zip(ends.chain([log.all])) {
        ensure!(*before < end, "nothing was admitted at {at}");
        ensure!(
            moments.last().is_none_or(|last| last <= at),
            "time goes back at {at}"
        );
        moments.extend((*before..end).map(|_| *at));
    }
    Ok(moments)
}

impl Admitted {
    /// How many are in the window that ends with this moment.
    fn within(&self, window: Window, end: i64) -> usize {
        self.left(window, end, end)
    }

    /// How many of those that were admitted up to a moment are in the window that ends with another.
    fn left(&self, window: Window, until: i64, end: i64) -> usize {
        let span = i64::try_from(window.span().as_micros()).unwrap_or(i64::MAX);
        let up_to = |moment: i64| self.0.partition_point(|at| *at <= moment);
        up_to(until).saturating_sub(up_to(end.saturating_sub(span)))
    }

    /// The most that were in the window at any moment from one to another.
    fn most(&self, window: Window, from: i64, to: i64) -> usize {
        // It becomes more only where something is admitted.
        let first = self.0.partition_point(|at| *at <= from);
        let last = self.0.partition_point(|at| *at <= to);
        let moments = self.0[first..last].iter().copied();
        let counts = std::iter::once(from)
            .chain(moments)
            .map(|at| self.within(window, at));
        counts.max().unwrap_or(0)
    }
}

/// Of one organization.
#[derive(Debug)]
pub(super) struct History {
    admitted: Admitted,
    /// How many of them before anybody asked.
    before: usize,
    /// Between which moments callers asked and were told that they are admitted.
    told: Vec<(i64, i64)>,
    refused: Vec<Refused>,
}

/// Somewhen between two moments, because this window was full.
#[derive(Debug, Clone, Copy)]
struct Refused {
    from: i64,
    to: i64,
    window: Window,
    /// How long it was told to wait.
    wait: i64,
}

impl History {
    /// `before` are those that were admitted before anybody asked. Of what has left every window the log may have forgotten some.
    pub(super) fn of(before: Vec<i64>, log: &Log) -> anyhow::Result<Self> {
        let mut logged = moments(log)?;
        let asked = usize::try_from(log.all)?
            .checked_sub(before.len())
            .context("the log has lost count")?;
        let forgotten =
            (logged.len().checked_sub(asked)).context("the log has forgotten too much")?;
        let (count, mut moments) = (before.len(), before);
        moments.extend(logged.drain(forgotten..));
        ensure!(moments.is_sorted(), "time goes back behind {count}");
        Ok(Self {
            admitted: Admitted(moments),
            before: count,
            told: Vec::new(),
            refused: Vec::new(),
        })
    }

    /// What a process was told.
    pub(super) fn read(&mut self, lines: &str) -> anyhow::Result<()> {
        for line in lines.lines() {
            let mut words = line.split(' ');
            let mut word = || words.next().context("a line that ends early");
            let (from, to) = (word()?.parse()?, word()?.parse::<i64>()?);
            let window = match word()? {
                "admitted" => {
                    self.told.push((from, to));
                    continue;
                }
                "minute" => Window::Minute,
                "hour" => Window::Hour,
                "day" => Window::Day,
                other => bail!("told {other}"),
            };
            let wait = word()?.parse::<i64>()? * SECOND;
            self.refused.push(Refused {
                from,
                to,
                window,
                wait,
            });
        }
        Ok(())
    }

    pub(super) fn check(&self, case: &Case) -> anyhow::Result<Sum> {
        self.was_logged()?;
        for (window, (least, most)) in Window::ALL.into_iter().zip(case.limits) {
            let mut fullest = 0;
            for at in &self.admitted.0[self.before..] {
                let count = self.admitted.within(window, *at);
                ensure!(
                    count <= most as usize,
                    "{count} in the {window:?} up to {at}, of {most}"
                );
                fullest = fullest.max(count);
            }
            ensure!(
                fullest >= least as usize || !case.full.contains(&window),
                "never more than {fullest} in the {window:?}, of {least}: nothing was shown"
            );
        }
        for refused in &self.refused {
            self.was_full(case, refused)?;
            self.is_told_the_truth(case, refused)?;
        }
        Ok(Sum {
            admitted: self.told.len(),
            refused: self.refused.len(),
        })
    }

    /// Each that was told so is in the log, at a moment between its question and its answer, and nobody else is.
    fn was_logged(&self) -> anyhow::Result<()> {
        let (logged, told) = (&self.admitted.0[self.before..], self.told.len());
        ensure!(
            logged.len() == told,
            "{told} were told that they are admitted, and {} are in the log",
            logged.len(),
        );
        let (mut from, mut to): (Vec<i64>, Vec<i64>) = self.told.iter().copied().unzip();
        from.sort_unstable();
        to.sort_unstable();
        // Where each has a moment of its own, the earliest has one, and so on.
        for ((at, from), to) in logged.iter().zip(from).zip(to) {
            ensure!(
                (from..=to).contains(at),
                "admitted at {at}, when nobody was asking but from {from} to {to}"
            );
        }
        Ok(())
    }

    /// The window had no room for whoever was refused.
    fn was_full(&self, case: &Case, refused: &Refused) -> anyhow::Result<()> {
        let Refused {
            from, to, window, ..
        } = *refused;
        let place = Window::ALL.iter().position(|one| *one == window);
        let (least, _) = case.limits[place.unwrap_or(0)];
        let most = self.admitted.most(window, from, to);
        ensure!(
            most >= least as usize,
            "refused between {from} and {to} for the {window:?}, in which were {most} of {least}"
        );
        Ok(())
    }

    /// Whoever waits so long finds room, if nobody took it meanwhile, and would find none a second earlier.
    fn is_told_the_truth(&self, case: &Case, refused: &Refused) -> anyhow::Result<()> {
        let Refused { from, to, wait, .. } = *refused;
        let windows = || Window::ALL.into_iter().zip(case.limits);
        // What is never admitted is not by waiting.
        if windows().any(|(_, (least, _))| least == 0) {
            return Ok(());
        }
        for (window, (_, most)) in windows() {
            let left = self.admitted.left(window, from, to + wait);
            ensure!(
                left < most as usize,
                "refused between {from} and {to}, told to wait for {wait}, and then there are {left} of {most} in the {window:?}"
            );
        }
        let is_full = |(window, (least, _)): (Window, (u32, u32))| {
            let left = self.admitted.left(window, to, from + wait - SECOND);
            left >= least as usize
        };
        ensure!(
            wait == SECOND || windows().any(is_full),
            "refused between {from} and {to}, told to wait for {wait}, and there is room a second earlier"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: Case = Case::of_limits([2, 3, 9]);

    fn log(rows: &[(i64, i64)], all: i64) -> Log {
        Log {
            rows: rows.to_vec(),
            all,
        }
    }

    fn history(rows: &[(i64, i64)], all: i64, told: &str) -> anyhow::Result<Sum> {
        let mut history = History::of(Vec::new(), &log(rows, all))?;
        history.read(told)?;
        history.check(&CASE)
    }

    #[test]
    fn what_is_right_is_told() {
        let (second, minute) = (SECOND, 60 * SECOND);
        let told = format!(
            "0 5 admitted\n0 5 admitted\n{second} {0} admitted\n{second} {second} minute 60\n{0} {0} hour 3540",
            minute + second
        );
        let sum = history(&[(3, 0), (minute + 3, 2)], 3, &told).unwrap();
        assert_eq!((sum.admitted, sum.refused), (3, 2));
    }

    #[test]
    fn one_too_many_is_seen_to_the_microsecond() {
        let told = "0 5 admitted\n0 5 admitted\n0 60000005 admitted";
        history(&[(3, 0), (60_000_003, 2)], 3, told).unwrap();
        let error = history(&[(3, 0), (60_000_002, 2)], 3, told).unwrap_err();
        assert!(error.to_string().contains("3 in the Minute"), "{error}");
    }

    #[test]
    fn a_refusal_without_a_reason_is_seen() {
        let told = "0 5 admitted\n0 5 admitted\n60000003 60000009 minute 1";
        let error = history(&[(3, 0)], 2, told).unwrap_err();
        assert!(error.to_string().contains("refused between"), "{error}");
        // As long as the two were in the minute there was one.
        let told = "0 5 admitted\n0 5 admitted\n60000002 60000009 minute 1";
        history(&[(3, 0)], 2, told).unwrap();
    }

    #[test]
    fn a_wait_that_is_too_long_or_too_short_is_seen() {
        let told = |wait: u32| format!("0 5 admitted\n0 5 admitted\n1000000 1000000 minute {wait}");
        history(&[(3, 0)], 2, &told(60)).unwrap();
        let error = history(&[(3, 0)], 2, &told(59)).unwrap_err();
        assert!(error.to_string().contains("then there are 2"), "{error}");
        let error = history(&[(3, 0)], 2, &told(61)).unwrap_err();
        assert!(error.to_string().contains("a second earlier"), "{error}");
    }

    #[test]
    fn a_window_that_was_never_full_shows_nothing() {
        let error = history(&[(3, 0)], 1, "0 5 admitted").unwrap_err();
        assert!(error.to_string().contains("nothing was shown"), "{error}");
    }

    #[test]
    fn whoever_is_not_in_the_log_was_not_counted() {
        for told in ["0 5 admitted", "0 5 admitted\n0 5 admitted\n0 5 admitted"] {
            let error = history(&[(3, 0)], 2, told).unwrap_err();
            assert!(error.to_string().contains("are in the log"), "{error}");
        }
    }

    #[test]
    fn whoever_is_in_the_log_at_another_time_was_counted_by_another_clock() {
        let told = "10 20 admitted\n0 5 admitted";
        history(&[(3, 0), (12, 1)], 2, told).unwrap();
        for moments in [[3, 9], [3, 21], [6, 12]] {
            let error = history(&[(moments[0], 0), (moments[1], 1)], 2, told).unwrap_err();
            assert!(error.to_string().contains("nobody was asking"), "{error}");
        }
    }

    #[test]
    fn a_log_that_cannot_be_is_refused() {
        let twice = [(3, 0), (3, 0)];
        let back = [(3, 0), (2, 1)];
        for (rows, all) in [(&[(3, 0)][..], 0), (&twice, 2), (&back, 2)] {
            assert!(moments(&log(rows, all)).is_err(), "{rows:?}");
        }
        let of = |before: &[i64], rows: &[(i64, i64)], all| {
            History::of(before.to_vec(), &log(rows, all)).is_ok()
        };
        assert!(of(&[1, 2], &[(1, 0), (2, 1), (3, 2)], 3));
        // One that has left every window may be forgotten, and none that came since.
        assert!(of(&[1, 2], &[(2, 1), (3, 2)], 3));
        assert!(of(&[1, 2], &[(3, 2)], 3));
        assert!(!of(&[1, 2], &[(3, 3)], 4));
        assert!(!of(&[1, 2], &[(1, 0)], 1));
        assert!(!of(&[1, 5], &[(3, 2)], 3));
    }
}
