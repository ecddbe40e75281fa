//! Time and chance.

use ring::rand::{SecureRandom as _, SystemRandom};
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Time and chance, so that tests can have their own.
pub trait Clock: Send + Sync + 'static {
    /// What the clock on the wall shows.
    fn now(&self) -> SystemTime;
    /// The time since whenever; it never goes back.
    fn monotonic(&self) -> Duration;
    /// A share, from 0 to 1.
    fn random(&self) -> f64;
    /// Waits.
    fn pause(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Time and chance of the machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    begin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            begin: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        wall_clock()
    }

    fn monotonic(&self) -> Duration {
        self.begin.elapsed()
    }

    fn random(&self) -> f64 {
        let mut bytes = [0; 4];
        // Without chance the longest pause is the safe one.
        match SystemRandom::new().fill(&mut bytes) {
            Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
            Err(_) => 1.0,
        }
    }

    fn pause(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

pub(crate) fn wall_clock() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "the program that uses this client has no clock of ours; a test hands in its own"
    )]
    SystemTime::now()
}
