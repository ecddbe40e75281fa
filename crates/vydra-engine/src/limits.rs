//! Limits of requests (contract, section 4): counted in memory, exactly, and written down behind the caller's back.
//!
//! Everything that must agree stands behind one lock: the time, the windows, and what is not yet written. An admission is
//! a few steps there and never waits for the disk.

use crate::{Caller, Engine, Result};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use vydra_core::ids::{KeyId, OrgId};
use vydra_core::plan::Limits;
use vydra_core::time::{Clock, Timestamp};
use vydra_core::window::{AdmissionLog, Full, SteadyTime, Window, whole_seconds};
use vydra_store::store::{KeyUse, Usage};

/// How long a disk that took nothing is left alone.
const RETRY: Duration = Duration::from_secs(1);
/// What a crash may forget of the limits' use. With a thousand organizations at once each write has a thousand rows.
const BETWEEN_WRITES: Duration = Duration::from_secs(1);
/// How many organizations are known before those are looked for that have been quiet for a day.
const FIRST_SWEEP: usize = 1_024;

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

#[derive(Debug, Default)]
pub(crate) struct RateLimiter {
    counted: Mutex<Counted>,
    /// Rung when there is something to write.
    unwritten: Notify,
    /// Held while something is written, so that an older moment never comes behind a newer one.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Counted {
    time: SteadyTime,
    logs: HashMap<OrgId, AdmissionLog>,
    sweep_at: usize,
    unwritten: Unwritten,
}

#[derive(Debug, Default)]
struct Unwritten {
    admissions: HashMap<OrgId, Vec<Timestamp>>,
    keys: HashMap<KeyId, (u64, Timestamp)>,
}

impl RateLimiter {
    /// Counts one request in all windows, or in none. Looks at the clock itself, so that no request overtakes another
    /// between that and being counted.
    pub(crate) fn admit(
        &self,
        org: &OrgId,
        key: Option<&KeyId>,
        limits: Limits,
        clock: &dyn Clock,
    ) -> std::result::Result<Standing, Exceeded> {
        let mut counted = self.counted();
        let shown = clock.now();
        let Counted {
            time,
            logs,
            unwritten,
            ..
        } = &mut *counted;
        let now = time.at(shown);
        let log = logs.entry(org.clone()).or_default();
        let admitted = log.admit(limits, now);
        let standing = standing(log, limits, now, time);
        if let Err(Full {
            window,
            limit,
            wait_s,
        }) = admitted
        {
            return Err(Exceeded {
                kind: window.into(),
                limit,
                used: limit.saturating_add(1),
                retry_after_s: wait_s,
                standing: Some(standing),
            });
        }
        unwritten.add(org, now, key.map(|key| (key, shown)));
        counted.sweep(now);
        drop(counted);
        self.unwritten.notify_one();
        Ok(standing)
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Lets go of organizations of which nothing counts any more, whenever there are twice as many as the last time.
    fn sweep(&mut self, now: Timestamp) {
        if self.logs.len() < self.sweep_at.max(FIRST_SWEEP) {
            return;
        }
        self.logs.retain(|_, log| {
            log.forget(now);
            !log.is_empty()
        });
        self.sweep_at = self.logs.len().saturating_mul(2);
    }

    fn take_unwritten(&mut self, clock: &dyn Clock) -> Usage {
        let Unwritten { admissions, keys } = std::mem::take(&mut self.unwritten);
        Usage {
            admissions: admissions.into_iter().collect(),
            keys: keys
                .into_iter()
                .map(|(key, (requests, last_used_at))| KeyUse {
                    key,
                    requests,
                    last_used_at,
                })
                .collect(),
            forget: a_day_before(self.time.at(clock.now())),
        }
    }

    /// What could not be written is kept, as long as it counts.
    fn put_back(&mut self, usage: Usage) {
        for (org, mut moments) in usage.admissions {
            moments.retain(|moment| *moment > usage.forget);
            let later = self.unwritten.admissions.entry(org).or_default();
            moments.append(later);
            *later = moments;
        }
        self.unwritten
            .admissions
            .retain(|_, moments| !moments.is_empty());
        for used in usage.keys {
            let (requests, last_used_at) = self
                .unwritten
                .keys
                .entry(used.key)
                .or_insert((0, used.last_used_at));
            *requests = requests.saturating_add(used.requests);
            *last_used_at = used.last_used_at.max(*last_used_at);
        }
    }
}

impl Unwritten {
    fn add(&mut self, org: &OrgId, now: Timestamp, key: Option<(&KeyId, Timestamp)>) {
        match self.admissions.get_mut(org) {
            Some(moments) => moments.push(now),
            None => {
                self.admissions.insert(org.clone(), vec![now]);
            }
        }
        let Some((key, shown)) = key else { return };
        match self.keys.get_mut(key) {
            Some((requests, last_used_at)) => {
                *requests += 1;
                *last_used_at = shown.max(*last_used_at);
            }
            None => {
                self.keys.insert(key.clone(), (1, shown));
            }
        }
    }
}

fn a_day_before(now: Timestamp) -> Timestamp {
    let span = i64::try_from(Window::Day.span().as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(span))
}

fn standing(log: &AdmissionLog, limits: Limits, now: Timestamp, time: &SteadyTime) -> Standing {
    let one = |window: Window| {
        let reset = log
            .next_leaves(window)
            .unwrap_or_else(|| now.plus(window.span()));
        WindowStanding {
            limit: window.limit(limits),
            used: log.used(window),
            reset_at: time
                .on_the_clock(reset)
                .plus(Duration::from_micros(999_999))
                .as_seconds(),
            reset_in_s: whole_seconds(reset.since(now)),
        }
    };
    Standing {
        minute: one(Window::Minute),
        hour: one(Window::Hour),
        day: one(Window::Day),
    }
}

impl Engine {
    /// Takes up the windows where the last run left them: for the start, before the first request.
    pub async fn load_usage(&self) -> Result<()> {
        let clock = self.clock();
        let admissions = self.store().admissions(a_day_before(clock.now())).await?;
        let mut counted = self.limiter.counted();
        let latest = admissions.iter().filter_map(|(_, moments)| moments.last());
        if let Some(latest) = latest.max() {
            counted.time = SteadyTime::resume(*latest, clock.now());
        }
        let now = counted.time.at(clock.now());
        for (org, moments) in admissions {
            let log = counted.logs.entry(org).or_default();
            for moment in moments {
                log.restore(moment);
            }
        }
        counted.logs.retain(|_, log| {
            log.forget(now);
            !log.is_empty()
        });
        Ok(())
    }

    /// Writes down what was admitted since the last time. What cannot be written is kept for the next.
    pub async fn flush_usage(&self) -> Result<()> {
        let _alone = self.limiter.writing.lock().await;
        let usage = self.limiter.counted().take_unwritten(self.clock());
        if usage.admissions.is_empty() && usage.keys.is_empty() {
            return Ok(());
        }
        let written = self.store().record_usage(usage.clone()).await;
        if written.is_err() {
            self.limiter.counted().put_back(usage);
        }
        Ok(written?)
    }

    /// Writes down whatever is admitted, as soon as what came before is written, until `stop`; and then the rest.
    pub async fn keep_usage(&self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.limiter.unwritten.notified() => {}
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
                    self.limiter.unwritten.notify_one();
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    const LIMITS: Limits = Limits {
        rpm: 3,
        rph: 5,
        rpd: 6,
        concurrent: 1,
    };
    const SECOND: i64 = 1_000_000;

    #[derive(Debug, Default)]
    struct Hands(AtomicI64);

    impl Hands {
        fn show(&self, micros: i64) {
            self.0.store(micros, Ordering::SeqCst);
        }
    }

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::SeqCst))
        }
    }

    fn org(name: &str) -> OrgId {
        OrgId::trusted(name.to_owned())
    }

    #[test]
    fn refuses_the_one_over_the_limit_and_says_when_to_return() {
        let (limiter, clock) = (RateLimiter::default(), Hands::default());
        let ask = |name| limiter.admit(&org(name), None, LIMITS, &clock);
        for moment in [SECOND / 2, SECOND, 30 * SECOND] {
            clock.show(moment);
            ask("a").unwrap();
        }
        clock.show(31 * SECOND);
        let refused = ask("a").unwrap_err();
        assert_eq!((refused.kind, refused.limit), (LimitKind::Minute, 3));
        assert_eq!((refused.used, refused.retry_after_s), (4, 30));
        let minute = refused.standing.unwrap().minute;
        assert_eq!(
            (minute.used, minute.reset_at, minute.reset_in_s),
            (3, 61, 30)
        );
        ask("b").unwrap();
        clock.show(60 * SECOND + SECOND / 2);
        let minute = ask("a").unwrap().minute;
        assert_eq!(
            (minute.used, minute.reset_at, minute.reset_in_s),
            (3, 61, 1)
        );
    }

    #[test]
    fn a_clock_that_is_set_back_is_told_in_its_own_time() {
        let (limiter, clock) = (RateLimiter::default(), Hands::default());
        let ask = || limiter.admit(&org("a"), None, LIMITS, &clock);
        clock.show(1_000 * SECOND);
        ask().unwrap();
        clock.show(100 * SECOND);
        let minute = ask().unwrap().minute;
        assert_eq!(
            (minute.used, minute.reset_at, minute.reset_in_s),
            (2, 160, 60)
        );
        clock.show(160 * SECOND);
        assert_eq!(ask().unwrap().minute.used, 1);
    }

    #[test]
    fn what_is_taken_and_put_back_is_neither_lost_nor_doubled() {
        let (limiter, clock) = (RateLimiter::default(), Hands::default());
        let key = KeyId::trusted("k".to_owned());
        let ask = || limiter.admit(&org("a"), Some(&key), LIMITS, &clock);
        clock.show(1);
        ask().unwrap();
        let taken = limiter.counted().take_unwritten(&clock);
        clock.show(2);
        ask().unwrap();
        limiter.counted().put_back(taken);
        let again = limiter.counted().take_unwritten(&clock);
        let moments: Vec<i64> = again.admissions[0]
            .1
            .iter()
            .map(|at| at.as_micros())
            .collect();
        assert_eq!((again.admissions.len(), moments), (1, vec![1, 2]));
        assert_eq!(
            (again.keys[0].requests, again.keys[0].last_used_at),
            (2, clock.now())
        );
        // After a day it would count in no window.
        clock.show(2 * 86_400 * SECOND);
        let old = Usage {
            forget: a_day_before(clock.now()),
            ..again
        };
        limiter.counted().put_back(old);
        let kept = limiter.counted().take_unwritten(&clock);
        assert_eq!((kept.admissions.len(), kept.keys[0].requests), (0, 2));
    }

    #[test]
    fn the_quiet_are_forgotten() {
        let (limiter, clock) = (RateLimiter::default(), Hands::default());
        for number in 0..FIRST_SWEEP - 1 {
            limiter
                .admit(&org(&number.to_string()), None, LIMITS, &clock)
                .unwrap();
        }
        clock.show(86_400 * SECOND);
        limiter.admit(&org("a"), None, LIMITS, &clock).unwrap();
        assert_eq!(limiter.counted().logs.len(), 1);
    }
}
