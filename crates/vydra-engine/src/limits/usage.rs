//! What is not yet written down of the use of limits and keys.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use vydra_core::ids::{KeyId, OrgId};
use vydra_core::time::Timestamp;
use vydra_store::Store;
use vydra_store::store::{KeyUse, Usage};

/// How long a disk that took nothing is left alone.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// What a crash may forget. With a thousand organizations at once each write has a thousand rows.
pub(super) const BETWEEN_WRITES: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct UnwrittenUsage {
    unwritten: Mutex<Unwritten>,
    /// Rung when there is something to write.
    added: Notify,
    /// Held while something is written, so that an older moment never comes behind a newer one.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Unwritten {
    admissions: HashMap<OrgId, Vec<Timestamp>>,
    keys: HashMap<KeyId, (u64, Timestamp)>,
}

impl UnwrittenUsage {
    /// The moments of an organization must not go back.
    pub(super) fn add_admission(&self, org: &OrgId, at: Timestamp) {
        let mut unwritten = self.unwritten();
        match unwritten.admissions.get_mut(org) {
            Some(moments) => moments.push(at),
            None => {
                unwritten.admissions.insert(org.clone(), vec![at]);
            }
        }
        drop(unwritten);
        self.ring();
    }

    pub(crate) fn add_use(&self, key: &KeyId, at: Timestamp) {
        let mut unwritten = self.unwritten();
        match unwritten.keys.get_mut(key) {
            Some((requests, last_used_at)) => {
                *requests += 1;
                *last_used_at = at.max(*last_used_at);
            }
            None => {
                unwritten.keys.insert(key.clone(), (1, at));
            }
        }
        drop(unwritten);
        self.ring();
    }

    /// Until there is something to write.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }

    pub(super) fn ring(&self) {
        self.added.notify_one();
    }

    /// What cannot be written is kept for the next time. What was admitted up to `forget` is in no window any more.
    pub(super) async fn write(
        &self,
        store: &dyn Store,
        forget: Timestamp,
    ) -> vydra_store::Result<()> {
        let _alone = self.writing.lock().await;
        let usage = self.unwritten().take(forget);
        if usage.admissions.is_empty() && usage.keys.is_empty() {
            return Ok(());
        }
        let written = store.record_usage(usage.clone()).await;
        if written.is_err() {
            self.unwritten().put_back(usage);
        }
        written
    }

    fn unwritten(&self) -> MutexGuard<'_, Unwritten> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unwritten {
    fn take(&mut self, forget: Timestamp) -> Usage {
        let Self { admissions, keys } = std::mem::take(self);
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
            forget,
        }
    }

    /// What could not be written is kept, as long as it counts.
    fn put_back(&mut self, usage: Usage) {
        for (org, mut moments) in usage.admissions {
            moments.retain(|moment| *moment > usage.forget);
            let later = self.admissions.entry(org).or_default();
            moments.append(later);
            *later = moments;
        }
        self.admissions.retain(|_, moments| !moments.is_empty());
        for used in usage.keys {
            let (requests, last_used_at) =
                self.keys.entry(used.key).or_insert((0, used.last_used_at));
            *requests = requests.saturating_add(used.requests);
            *last_used_at = used.last_used_at.max(*last_used_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_and_put_back_is_neither_lost_nor_doubled() {
        let usage = UnwrittenUsage::default();
        let (org, key) = (
            OrgId::trusted("a".to_owned()),
            KeyId::trusted("k".to_owned()),
        );
        let (early, late) = (Timestamp::from_micros(1), Timestamp::from_micros(2));
        usage.add_admission(&org, early);
        usage.add_use(&key, early);
        let never = Timestamp::from_micros(0);
        let taken = usage.unwritten().take(never);
        usage.add_admission(&org, late);
        usage.add_use(&key, late);
        usage.unwritten().put_back(taken);
        let again = usage.unwritten().take(never);
        assert_eq!(again.admissions, [(org, vec![early, late])]);
        assert_eq!(
            (again.keys[0].requests, again.keys[0].last_used_at),
            (2, late)
        );
        // After a day it would count in no window.
        let old = Usage {
            forget: late,
            ..again
        };
        usage.unwritten().put_back(old);
        let kept = usage.unwritten().take(late);
        assert_eq!((kept.admissions.len(), kept.keys[0].requests), (0, 2));
    }
}
