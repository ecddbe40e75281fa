//! Requests of nobody whom we know, limited by where they come from (contract, section 6).

use crate::limits::{Exceeded, LimitKind};
use crate::{Engine, Error, Result};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use vydra_core::time::{Clock, Timestamp};
use vydra_core::window::{SteadyTime, Window, whole_seconds};

/// How much is remembered at most; beyond it the oldest is forgotten, to the stranger's advantage. Some 100 bytes an
/// address and 50 a request: less than 70 MB, whoever calls.
const ADDRESSES: usize = 100_000;
const REQUESTS: usize = 1_000_000;

#[derive(Debug)]
pub(crate) struct Strangers {
    per_minute: u32,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    time: SteadyTime,
    by_address: HashMap<IpAddr, VecDeque<Timestamp>>,
    /// Every moment of `by_address`, oldest first.
    order: VecDeque<IpAddr>,
}

impl Strangers {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            seen: Mutex::default(),
        }
    }

    /// Counts one request, or says that it is one too many; that one is not counted.
    fn count(&self, address: IpAddr, clock: &dyn Clock) -> std::result::Result<(), Exceeded> {
        let address = place_of(address);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = seen.time.at(clock.now());
        seen.forget(now);
        let moments = seen.by_address.get(&address);
        let used = moments.map_or(0, VecDeque::len);
        if let Some(oldest) = moments.and_then(VecDeque::front)
            && used >= self.per_minute as usize
        {
            let opens = oldest.plus(Window::Minute.span());
            return Err(Exceeded {
                kind: LimitKind::Minute,
                limit: self.per_minute,
                used: self.per_minute.saturating_add(1),
                retry_after_s: whole_seconds(opens.since(now)),
                standing: None,
            });
        }
        while seen.order.len() >= REQUESTS
            || (used == 0 && seen.by_address.len() >= ADDRESSES && !seen.order.is_empty())
        {
            seen.forget_oldest();
        }
        seen.by_address.entry(address).or_default().push_back(now);
        seen.order.push_back(address);
        Ok(())
    }
}

impl Seen {
    fn forget(&mut self, now: Timestamp) {
        while let Some(address) = self.order.front()
            && let Some(moment) = self.by_address.get(address).and_then(VecDeque::front)
            && moment.plus(Window::Minute.span()) <= now
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(address) = self.order.pop_front() else {
            return;
        };
        if let Some(moments) = self.by_address.get_mut(&address) {
            moments.pop_front();
            if moments.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }
}

/// Whoever has one address of IPv6 has the other 2^64 of its network too.
fn place_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

impl Engine {
    /// For a request whose sender is not known, and which is of no use to anybody who is. Where no address is known,
    /// nothing is limited.
    pub(crate) fn count_stranger(&self, address: Option<IpAddr>) -> Result<()> {
        let Some(address) = address else {
            return Ok(());
        };
        self.strangers
            .count(address, self.parts.clock.as_ref())
            .map_err(Error::RateLimited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[derive(Debug, Default)]
    struct Hands(AtomicI64);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn an_address_of_ipv6_stands_for_its_network() {
        for (one, other, same) in [
            ("203.0.113.7", "::ffff:203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("2001:db8::1", "2001:db8::ffff:0:1:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let place = |text: &str| place_of(text.parse().unwrap());
            assert_eq!(place(one) == place(other), same, "{one} {other}");
        }
    }

    #[test]
    fn a_minute_slides_and_a_refusal_costs_nothing() {
        let (strangers, clock) = (Strangers::new(2), Hands::default());
        let ask = |micros| {
            clock.0.store(micros, Ordering::SeqCst);
            strangers.count(IpAddr::from([203, 0, 113, 7]), &clock)
        };
        ask(0).unwrap();
        ask(30_000_000).unwrap();
        for _ in 0..10 {
            let refused = ask(59_999_999).unwrap_err();
            assert_eq!(
                (refused.limit, refused.used, refused.retry_after_s),
                (2, 3, 1)
            );
        }
        ask(60_000_000).unwrap();
        assert_eq!(ask(60_000_000).unwrap_err().retry_after_s, 30);
        strangers
            .count(IpAddr::from([203, 0, 113, 8]), &clock)
            .unwrap();
        ask(300_000_000).unwrap();
        let seen = strangers.seen.lock().unwrap();
        assert_eq!(
            (seen.by_address.len(), seen.order.len()),
            (1, 1),
            "the quiet are forgotten"
        );
    }

    #[test]
    fn it_never_grows_beyond_its_bounds() {
        let (strangers, clock) = (Strangers::new(20), Hands::default());
        let sizes = || {
            let seen = strangers.seen.lock().unwrap();
            let moments: usize = seen.by_address.values().map(VecDeque::len).sum();
            assert_eq!(moments, seen.order.len());
            (seen.by_address.len(), seen.order.len())
        };
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..150_000 {
            strangers.count(address(number), &clock).unwrap();
        }
        assert_eq!(sizes(), (ADDRESSES, ADDRESSES));
        for number in 0..1_500_000 {
            strangers
                .count(address(50_000 + number % 100_000), &clock)
                .unwrap();
        }
        assert_eq!(sizes(), (ADDRESSES, REQUESTS));
    }
}
