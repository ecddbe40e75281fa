//! Cases on every core.

use crate::gates::panicked;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Carries out the cases 0 up to `count`, and gives what they gave in no order. After a failure no further case begins; that of the
/// lowest number is told.
pub(crate) fn each<T: Send>(
    count: u64,
    case: impl Fn(u64) -> anyhow::Result<T> + Sync,
) -> Result<Vec<T>, (u64, anyhow::Error)> {
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let results = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || failed.load(Ordering::Relaxed) {
                        return;
                    }
                    let result = catch_unwind(AssertUnwindSafe(|| case(number)))
                        .unwrap_or_else(|panic| Err(panicked(&*panic)));
                    if result.is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results
        .into_iter()
        .map(|(number, result)| result.map_err(|error| (number, error)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_carried_out_once() {
        let mut done = each(100, Ok).unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_failure_and_a_panic_are_told_with_their_number() {
        let failed = each(9, |number| {
            anyhow::ensure!(number != 4, "four");
            Ok(())
        });
        let (number, error) = failed.unwrap_err();
        assert_eq!((number, error.to_string().as_str()), (4, "four"));
        let (number, error) = each(1, |_| -> anyhow::Result<()> { panic!("at once") }).unwrap_err();
        assert_eq!(
            (number, error.to_string().as_str()),
            (0, "panicked: at once")
        );
    }
}
