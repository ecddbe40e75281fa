//! Tries that are counted before anybody knows who makes them: logins, registrations, and requests of nobody.
//!
//! In memory and bounded. Each try counts for exactly one span; a refused one does not count.

use crate::{Exceeded, LimitKind};
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vydra_core::time::{Clock, Timestamp};
use vydra_core::window::{SteadyTime, whole_seconds};

/// What a provider hands out as one address of version 6 is a whole network.
const NETWORK_BITS: u32 = 64;

/// The one to whom the tries of an address are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Origin(IpAddr);

impl Origin {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << NETWORK_BITS);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            plain @ IpAddr::V4(_) => plain,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Throttle<K> {
    kind: LimitKind,
    limit: u32,
    span: Duration,
    /// How many tries are remembered in all: beyond it the oldest is forgotten.
    room: usize,
    log: Mutex<Log<K>>,
}

#[derive(Debug)]
struct Log<K> {
    time: SteadyTime,
    by_subject: HashMap<K, VecDeque<Timestamp>>,
    /// Every try in order. One that was given back is only missing above.
    in_order: VecDeque<(Timestamp, K)>,
}

impl<K: Clone + Eq + Hash> Throttle<K> {
    pub(crate) fn new(kind: LimitKind, limit: u32, span: Duration, room: usize) -> Self {
        Self {
            kind,
            limit,
            span,
            room,
            log: Mutex::new(Log {
                time: SteadyTime::default(),
                by_subject: HashMap::new(),
                in_order: VecDeque::new(),
            }),
        }
    }

    /// Counts a try, or refuses it. Gives the moment under which it can be given back.
    pub(crate) fn count(&self, subject: &K, clock: &dyn Clock) -> Result<Timestamp, Exceeded> {
        let mut log = self.lock();
        // Looked at under the lock: of two who come at once, the later must not seem to be a clock that was set back.
        let now = log.time.at(clock.now());
        while let Some((at, _)) = log.in_order.front()
            && at.plus(self.span) <= now
        {
            log.forget_oldest();
        }
        let counted = log.by_subject.get(subject);
        if let Some(tries) = counted
            && tries.len() >= self.limit as usize
        {
            let free_at = tries.front().map_or(now, |oldest| oldest.plus(self.span));
            return Err(Exceeded {
                kind: self.kind,
                limit: self.limit,
                used: self.limit.saturating_add(1),
                retry_after_s: whole_seconds(free_at.since(now)),
                standing: None,
            });
        }
        if log.in_order.len() >= self.room {
            log.forget_oldest();
        }
        log.in_order.push_back((now, subject.clone()));
        log.by_subject
            .entry(subject.clone())
            .or_default()
            .push_back(now);
        Ok(now)
    }

    /// As if the try of that moment had not been made.
    pub(crate) fn give_back(&self, subject: &K, at: Timestamp) {
        let mut log = self.lock();
        if let Some(tries) = log.by_subject.get_mut(subject) {
            if let Some(place) = tries.iter().rposition(|known| *known == at) {
                tries.remove(place);
            }
            if tries.is_empty() {
                log.by_subject.remove(subject);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log<K>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Log<K> {
    fn forget_oldest(&mut self) {
        let Some((at, subject)) = self.in_order.pop_front() else {
            return;
        };
        if let Some(tries) = self.by_subject.get_mut(&subject) {
            if tries.front() == Some(&at) {
                tries.pop_front();
            }
            if tries.is_empty() {
                self.by_subject.remove(&subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_mins(15);

    fn throttle(limit: u32, room: usize) -> Throttle<&'static str> {
        Throttle::new(LimitKind::Minute, limit, SPAN, room)
    }

    /// A clock that shows so many seconds.
    #[derive(Debug)]
    struct Shows(i64);

    impl Clock for Shows {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0 * 1_000_000)
        }
    }

    fn at(seconds: i64) -> Shows {
        Shows(seconds)
    }

    #[test]
    fn refuses_the_one_over_the_limit_until_the_oldest_has_left() {
        let tries = throttle(3, 100);
        for second in [0, 100, 200] {
            tries.count(&"ada", &at(second)).unwrap();
        }
        let refused = tries.count(&"ada", &at(300)).unwrap_err();
        assert_eq!(
            (refused.kind, refused.limit, refused.used),
            (LimitKind::Minute, 3, 4)
        );
        assert_eq!(refused.retry_after_s, 600);
        tries.count(&"bob", &at(300)).unwrap();
        tries.count(&"ada", &at(899)).unwrap_err();
        tries.count(&"ada", &at(900)).unwrap();
        assert_eq!(
            tries.count(&"ada", &at(900)).unwrap_err().retry_after_s,
            100
        );
    }

    #[test]
    fn a_try_that_was_given_back_did_not_happen() {
        let tries = throttle(2, 100);
        for second in 0..50 {
            let moment = tries.count(&"ada", &at(second)).unwrap();
            tries.give_back(&"ada", moment);
        }
        tries.count(&"ada", &at(60)).unwrap();
        let moment = tries.count(&"ada", &at(60)).unwrap();
        tries.give_back(&"ada", moment);
        tries.count(&"ada", &at(61)).unwrap();
        tries.count(&"ada", &at(62)).unwrap_err();
        // The places of those given back must not take the later ones with them when they go.
        tries.count(&"ada", &at(950)).unwrap_err();
    }

    #[test]
    fn a_clock_that_goes_back_frees_nobody() {
        let tries = throttle(1, 100);
        tries.count(&"ada", &at(1_000)).unwrap();
        tries.count(&"ada", &at(0)).unwrap_err();
        tries.count(&"bob", &at(0)).unwrap();
        // And keeps nobody longer: time goes on from where it was.
        tries.count(&"bob", &at(899)).unwrap_err();
        tries.count(&"bob", &at(900)).unwrap();
        tries.count(&"ada", &at(900)).unwrap();
    }

    #[test]
    fn remembers_no_more_than_there_is_room_for() {
        let tries: Throttle<u32> = Throttle::new(LimitKind::Minute, 1, SPAN, 10);
        for subject in 0..1_000 {
            tries.count(&subject, &at(0)).unwrap();
        }
        {
            let log = tries.lock();
            assert_eq!((log.by_subject.len(), log.in_order.len()), (10, 10));
        }
        tries.count(&999, &at(1)).unwrap_err();
        tries.count(&1, &at(1)).unwrap();
    }

    #[test]
    fn an_address_of_version_6_counts_with_its_network() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
