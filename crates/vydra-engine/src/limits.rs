//! Limits of requests (contract, section 4): where they are counted, what a caller is told, and what is written down behind
//! the caller's back.
//!
//! Who counts, counts exactly: one process in its memory, and several in what they share, by its time and not by theirs.

mod usage;
mod windows;

use crate::organizations::STRICTEST;
use crate::{Caller, Engine, Error, Parts, Result};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use usage::{BETWEEN_WRITES, RETRY};
use vydra_core::organization::Organization;
use vydra_core::plan::Limits;
use vydra_core::time::Timestamp;
use vydra_core::window::{Full, Tally, Window, whole_seconds};
use vydra_outbound::windows::{RedisWindows, WindowsError};
use vydra_store::store::{Admission, RequestCounter};
use windows::Windows;

pub(crate) use usage::UnwrittenUsage;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitKind {
    Minute,
    Hour,
    Day,
    Concurrent,
}

impl From<Window> for LimitKind {
    fn from(window: Window) -> Self {
        match window {
            Window::Minute => Self::Minute,
            Window::Hour => Self::Hour,
            Window::Day => Self::Day,
        }
    }
}

/// A refusal. The refused request counts in `used`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    pub kind: LimitKind,
    pub limit: u32,
    pub used: u32,
    pub retry_after_s: u32,
    /// Of the windows as they stand; None for a caller whose windows were not looked at.
    pub standing: Option<Standing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowStanding {
    pub limit: u32,
    /// More than the limit after a change to a smaller plan.
    pub used: u32,
    /// Unix seconds, rounded up: when the oldest counted request leaves the window.
    pub reset_at: i64,
    /// The same in whole seconds from now.
    pub reset_in_s: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub minute: WindowStanding,
    pub hour: WindowStanding,
    pub day: WindowStanding,
}

/// What an organization has used of what it may use.
#[derive(Debug, Clone, Copy)]
pub struct RateLimits {
    pub limits: Limits,
    /// The request that asks is counted.
    pub standing: Standing,
    pub open_jobs: u32,
    pub now: Timestamp,
}

impl Standing {
    /// As the request is told that came behind `before` others.
    fn of(tally: &Tally, before: u32) -> Self {
        let one = |window: Window| {
            let leaves = tally.leaves(window);
            WindowStanding {
                limit: tally.found(window).limit,
                used: tally.used(window, before),
                reset_at: tally
                    .on_the_clock(leaves)
                    .plus(Duration::from_micros(999_999))
                    .as_seconds(),
                reset_in_s: whole_seconds(leaves.since(tally.now)),
            }
        };
        Self {
            minute: one(Window::Minute),
            hour: one(Window::Hour),
            day: one(Window::Day),
        }
    }
}

/// Who counts the requests of organizations.
#[derive(Debug)]
pub(crate) enum Counting {
    /// The only process that works on the database.
    Memory(Windows),
    /// The store, for all processes that work on it.
    Store(Arc<dyn RequestCounter>),
    /// For all processes that share it, without work for the store.
    Redis(Box<RedisWindows>),
}

impl Counting {
    pub(crate) fn of(parts: &mut Parts) -> Self {
        if let Some(windows) = parts.windows.take() {
            return Self::Redis(Box::new(windows));
        }
        let counter = (parts.store).request_counter(&parts.settings.plans, STRICTEST);
        counter.map_or_else(|| Self::Memory(Windows::default()), Self::Store)
    }
}

/// What became of a request that was counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    tally: Tally,
    /// Behind how many of those that were counted with it.
    before: u32,
}

impl From<&Admission> for Counted {
    fn from(admission: &Admission) -> Self {
        Self {
            tally: admission.tally,
            before: admission.before,
        }
    }
}

impl Counted {
    /// The windows as they stand, if the request was admitted.
    pub(crate) fn standing(&self) -> std::result::Result<Standing, Exceeded> {
        let standing = Standing::of(&self.tally, self.before);
        match self.tally.admit(self.before) {
            Ok(()) => Ok(standing),
            Err(Full {
                window,
                limit,
                wait_s,
            }) => Err(Exceeded {
                kind: window.into(),
                limit,
                used: limit.saturating_add(1),
                retry_after_s: wait_s,
                standing: Some(standing),
            }),
        }
    }
}

impl Engine {
    /// Counts one request in all windows of the organization, or in none.
    pub(crate) async fn count(&self, organization: &Organization) -> Result<Counted> {
        match &self.counting {
            Counting::Memory(windows) => {
                let limits = self.limits_of(organization);
                let tally = windows.count(&organization.id, limits, self.clock(), &self.usage);
                Ok(Counted { tally, before: 0 })
            }
            Counting::Store(counter) => {
                let admission = counter.admit(&organization.id).await?;
                // Whoever was just found in it is gone.
                let admission = admission.ok_or(Error::NotLoggedIn)?;
                Ok(Counted::from(&admission))
            }
            Counting::Redis(windows) => {
                let limits = self.limits_of(organization);
                let tally = windows.count(&organization.id, limits).await?;
                Ok(Counted { tally, before: 0 })
            }
        }
    }

    /// Ok when requests can be counted, as far as that is not the store's.
    pub(crate) async fn check_windows(&self) -> std::result::Result<(), WindowsError> {
        match &self.counting {
            Counting::Redis(windows) => windows.check_writable().await,
            Counting::Memory(_) | Counting::Store(_) => Ok(()),
        }
    }

    /// Takes up the windows where the last run left them: for the start, before the first request.
    pub async fn load_usage(&self) -> Result<()> {
        let Counting::Memory(windows) = &self.counting else {
            return Ok(());
        };
        let since = a_day_before(self.now());
        windows.load(self.store().admissions(since).await?, self.clock());
        Ok(())
    }

    /// Writes down what was admitted since the last time. What cannot be written is kept for the next.
    pub async fn flush_usage(&self) -> Result<()> {
        let now = match &self.counting {
            Counting::Memory(windows) => windows.now(self.clock()),
            Counting::Store(_) | Counting::Redis(_) => self.now(),
        };
        let forget = a_day_before(now);
        Ok(self.usage.write(self.store(), forget).await?)
    }

    /// Writes down whatever is admitted, as soon as what came before is written, until `stop`; and then the rest.
    pub async fn keep_usage(&self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.usage.added() => {}
            }
            match self.flush_usage().await {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("the usage of limits is written down again");
                    }
                    // A write for each request, where they come one by one, would cost more than the requests.
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(BETWEEN_WRITES) => {}
                    }
                }
                Err(error) => {
                    // Once: it will go on for as long as the disk is full.
                    if !failing {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the usage of limits cannot be written down; it is kept in memory"
                        );
                    }
                    failing = true;
                    self.usage.ring();
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(RETRY) => {}
                    }
                }
            }
        }
        if let Err(error) = self.flush_usage().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the last usage of limits could not be written down"
            );
        }
    }

    pub async fn rate_limits(&self, caller: &Caller) -> Result<RateLimits> {
        Ok(RateLimits {
            limits: caller.limits,
            standing: caller.standing,
            open_jobs: self
                .store()
                .open_jobs(&caller.organization.id, caller.mode())
                .await?,
            now: self.now(),
        })
    }
}

fn a_day_before(now: Timestamp) -> Timestamp {
    now.minus(Window::Day.span())
}
