//! The clock, randomness and waiting, for this program.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use vydra_core::random::Random;
use vydra_core::time::Timestamp;

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock of this program"
)]
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Numbers that differ and guard nothing: the keys made with them live as long as a measurement.
#[derive(Debug)]
pub struct Numbers(AtomicU64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Random for Numbers {
    fn fill(&self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            // SplitMix64.
            let mut word = self
                .0
                .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
                .wrapping_add(0x9e37_79b9_7f4a_7c15);
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^= word >> 31;
            let length = part.len();
            part.copy_from_slice(&word.to_le_bytes()[..length]);
        }
    }
}

/// A runtime of one thread, for what talks from this thread.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Asks again every `pause` until the answer is there or `patience` is over.
pub fn wait_for<T>(
    patience: Duration,
    pause: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let runtime = runtime()?;
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        runtime.block_on(async { tokio::time::sleep(pause).await });
    }
}

/// Whole numbers that are counts: far below what a float tells apart.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a measurement are far below 2^52"
)]
pub fn float(count: u64) -> f64 {
    count as f64
}
