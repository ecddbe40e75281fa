//! Sliding windows of requests (contract, section 4): in no span as long as the window is more than the limit admitted.
//!
//! Requests are counted by the second. A second counts until every moment of it has left the window, so the count is
//! never too low, and at most one second too strict.

use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use vydra_core::ids::OrgId;
use vydra_core::plan::Limits;
use vydra_core::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitKind {
    Minute,
    Hour,
    Day,
    Concurrent,
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
    pub used: u32,
    /// Unix seconds: when the oldest counted request leaves the window.
    pub reset_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub minute: WindowStanding,
    pub hour: WindowStanding,
    pub day: WindowStanding,
}

#[derive(Debug, Default)]
pub(crate) struct RateLimiter {
    usage: Mutex<HashMap<OrgId, Usage>>,
}

#[derive(Debug)]
struct Usage {
    minute: Window,
    hour: Window,
    day: Window,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            minute: Window::of(60),
            hour: Window::of(3_600),
            day: Window::of(86_400),
        }
    }
}

#[derive(Debug)]
struct Window {
    span_s: i64,
    seconds: VecDeque<(i64, u32)>,
    total: u32,
}

impl RateLimiter {
    /// Counts one request in all windows, or in none.
    pub(crate) fn admit(
        &self,
        org: &OrgId,
        limits: Limits,
        now: Timestamp,
    ) -> Result<Standing, Exceeded> {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = usage.entry(org.clone()).or_default();
        let now_s = usage.forget_old(now.as_seconds());
        let full = [
            (LimitKind::Minute, &usage.minute, limits.rpm),
            (LimitKind::Hour, &usage.hour, limits.rph),
            (LimitKind::Day, &usage.day, limits.rpd),
        ]
        .into_iter()
        .find(|(_, window, limit)| window.total >= *limit);
        if let Some((kind, window, limit)) = full {
            return Err(Exceeded {
                kind,
                limit,
                used: limit.saturating_add(1),
                retry_after_s: window.seconds_until_below(limit, now_s),
                standing: Some(usage.standing(limits, now_s)),
            });
        }
        for window in [&mut usage.minute, &mut usage.hour, &mut usage.day] {
            window.count(now_s);
        }
        Ok(usage.standing(limits, now_s))
    }
}

impl Usage {
    /// The second to count in: a clock that goes back must not reorder the windows.
    fn forget_old(&mut self, now_s: i64) -> i64 {
        let now_s = self
            .day
            .seconds
            .back()
            .map_or(now_s, |(last, _)| now_s.max(*last));
        for window in [&mut self.minute, &mut self.hour, &mut self.day] {
            window.forget_old(now_s);
        }
        now_s
    }

    fn standing(&self, limits: Limits, now_s: i64) -> Standing {
        Standing {
            minute: self.minute.standing(limits.rpm, now_s),
            hour: self.hour.standing(limits.rph, now_s),
            day: self.day.standing(limits.rpd, now_s),
        }
    }
}

impl Window {
    fn of(span_s: i64) -> Self {
        Self {
            span_s,
            seconds: VecDeque::new(),
            total: 0,
        }
    }

    /// When the last moment of `second` has left the window.
    fn end_of(&self, second: i64) -> i64 {
        second + self.span_s + 1
    }

    fn forget_old(&mut self, now_s: i64) {
        while let Some((second, count)) = self.seconds.front().copied()
            && self.end_of(second) <= now_s
        {
            self.total -= count;
            self.seconds.pop_front();
        }
    }

    fn count(&mut self, now_s: i64) {
        self.total += 1;
        match self.seconds.back_mut() {
            Some((second, count)) if *second == now_s => *count += 1,
            _ => self.seconds.push_back((now_s, 1)),
        }
    }

    fn seconds_until_below(&self, limit: u32, now_s: i64) -> u32 {
        let mut left = self.total;
        for (second, count) in &self.seconds {
            left -= count;
            if left < limit {
                return u32::try_from(self.end_of(*second) - now_s)
                    .unwrap_or(1)
                    .max(1);
            }
        }
        // A limit of zero never opens by waiting.
        u32::try_from(self.span_s).unwrap_or(u32::MAX)
    }

    fn standing(&self, limit: u32, now_s: i64) -> WindowStanding {
        let reset_at = self
            .seconds
            .front()
            .map_or(now_s + self.span_s, |(second, _)| self.end_of(*second));
        WindowStanding {
            limit,
            used: self.total,
            reset_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        rpm: 3,
        rph: 5,
        rpd: 6,
        concurrent: 1,
    };

    fn org(name: &str) -> OrgId {
        OrgId::trusted(name.to_owned())
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1_000)
    }

    #[test]
    fn refuses_the_one_over_the_limit_and_says_when_to_return() {
        let limiter = RateLimiter::default();
        for moment in [0, 500, 30_000] {
            limiter.admit(&org("a"), LIMITS, at(moment)).unwrap();
        }
        let refused = limiter.admit(&org("a"), LIMITS, at(31_000)).unwrap_err();
        assert_eq!(
            (
                refused.kind,
                refused.limit,
                refused.used,
                refused.retry_after_s
            ),
            (LimitKind::Minute, 3, 4, 30)
        );
        limiter.admit(&org("b"), LIMITS, at(31_000)).unwrap();
        assert!(limiter.admit(&org("a"), LIMITS, at(60_999)).is_err());
        limiter.admit(&org("a"), LIMITS, at(61_000)).unwrap();
    }

    #[test]
    fn a_refusal_counts_in_no_window() {
        let limiter = RateLimiter::default();
        for _ in 0..3 {
            limiter.admit(&org("a"), LIMITS, at(0)).unwrap();
        }
        for _ in 0..100 {
            limiter.admit(&org("a"), LIMITS, at(1_000)).unwrap_err();
        }
        let standing = limiter.admit(&org("a"), LIMITS, at(61_000)).unwrap();
        assert_eq!(
            (standing.minute.used, standing.hour.used, standing.day.used),
            (1, 4, 4)
        );
    }

    #[test]
    fn longer_windows_hold_when_shorter_ones_are_empty() {
        let limiter = RateLimiter::default();
        for minute in 0..5 {
            limiter
                .admit(&org("a"), LIMITS, at(minute * 100_000))
                .unwrap();
        }
        assert_eq!(
            limiter
                .admit(&org("a"), LIMITS, at(600_000))
                .unwrap_err()
                .kind,
            LimitKind::Hour
        );
        limiter.admit(&org("a"), LIMITS, at(3_601_000)).unwrap();
        assert_eq!(
            limiter
                .admit(&org("a"), LIMITS, at(3_800_000))
                .unwrap_err()
                .kind,
            LimitKind::Day
        );
    }

    #[test]
    fn in_no_span_of_a_minute_are_more_admitted_than_the_limit() {
        let limiter = RateLimiter::default();
        let limits = Limits {
            rpm: 7,
            rph: u32::MAX,
            rpd: u32::MAX,
            concurrent: 1,
        };
        let mut admitted: VecDeque<i64> = VecDeque::new();
        let mut step = 12_345_i64;
        let mut now = 0;
        for _ in 0..5_000 {
            step = (step * 1_103_515_245 + 12_345) & 0x7fff_ffff;
            now += step % 9_000;
            if limiter.admit(&org("a"), limits, at(now)).is_ok() {
                admitted.push_back(now);
                while admitted.front().is_some_and(|first| *first <= now - 60_000) {
                    admitted.pop_front();
                }
                assert!(admitted.len() <= 7, "{admitted:?}");
            }
        }
    }
}
