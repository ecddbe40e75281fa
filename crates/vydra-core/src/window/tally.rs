//! What became of requests that were counted together.

use super::{Full, Window, whole_seconds};
use crate::time::Timestamp;

/// How the windows of an organization stood when requests came, how many were admitted, and what each of them is told. Whoever
/// counts makes it: the log of one process, or what several processes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// The moment at which all of them were counted, in time that only goes on.
    pub now: Timestamp,
    /// What the clock showed then: less than `now` where it was ever set back.
    pub clock: Timestamp,
    /// How many were admitted.
    pub taken: u32,
    /// In the order of [`Window::ALL`].
    pub windows: [Found; 3],
}

/// A window before any of the requests was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub limit: u32,
    /// More than the limit after a change to a smaller plan.
    pub used: u32,
    /// When the first of what counts was admitted. None while nothing counts.
    pub oldest: Option<Timestamp>,
    /// Where more counts than the limit: when the one was admitted that must have left before there is room for another.
    pub blocking: Option<Timestamp>,
}

impl Tally {
    /// How many of `waiting` requests there is room for in every window.
    pub fn room(windows: &[Found; 3], waiting: u32) -> u32 {
        let rooms = windows.iter().map(Found::room);
        rooms.fold(waiting, u32::min)
    }

    /// Whether the request that came behind `before` others was admitted; where it was not, why.
    pub fn admit(&self, before: u32) -> Result<(), Full> {
        if before < self.taken {
            return Ok(());
        }
        let mut full: Option<Full> = None;
        for (window, found) in Window::ALL.into_iter().zip(&self.windows) {
            if found.used.saturating_add(self.taken) < found.limit {
                continue;
            }
            let wait_s = whole_seconds(window.end_of(self.blocking(found)).since(self.now));
            let first = full.get_or_insert(Full {
                window,
                limit: found.limit,
                wait_s,
            });
            first.wait_s = first.wait_s.max(wait_s);
        }
        full.map_or(Ok(()), Err)
    }

    /// What counts once the request that came behind `before` others has been counted, or refused.
    pub fn used(&self, window: Window, before: u32) -> u32 {
        let counted = before.saturating_add(1).min(self.taken);
        self.found(window).used.saturating_add(counted)
    }

    /// When the oldest that counts leaves.
    pub fn leaves(&self, window: Window) -> Timestamp {
        window.end_of(self.found(window).oldest.unwrap_or(self.now))
    }

    /// What the clock will show at `moment`, if it is not set again.
    pub fn on_the_clock(&self, moment: Timestamp) -> Timestamp {
        self.clock.plus(moment.since(self.now))
    }

    pub fn found(&self, window: Window) -> &Found {
        let [minute, hour, day] = &self.windows;
        match window {
            Window::Minute => minute,
            Window::Hour => hour,
            Window::Day => day,
        }
    }

    fn blocking(&self, found: &Found) -> Timestamp {
        match found.used.checked_sub(found.limit) {
            // It never opens: as long as if it had just been filled.
            _ if found.limit == 0 => self.now,
            // These requests have filled it, or found it just full.
            None | Some(0) => found.oldest.unwrap_or(self.now),
            Some(_) => found.blocking.unwrap_or(self.now),
        }
    }
}

impl Found {
    pub fn room(&self) -> u32 {
        self.limit.saturating_sub(self.used)
    }
}
