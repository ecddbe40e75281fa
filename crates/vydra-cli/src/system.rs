//! The real clock and the real source of randomness: handed to everything else, and read nowhere else.

use rand::Rng;
use std::time::{SystemTime, UNIX_EPOCH};
use vydra_core::random::Random;
use vydra_core::time::{Clock, Timestamp};

#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that is handed to everybody else"
    )]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

#[derive(Debug)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// From a generator for secrets (`ChaCha`), one a thread, which the operating system seeds again and again: to ask the
    /// system each time would be a system call for each request's id.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the randomness that is handed to everybody else"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}
