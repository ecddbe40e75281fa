//! Who waits for something to happen in this process, and what wakes them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A bell for each thing that somebody waits for, and none for any other.
#[derive(Debug)]
pub(crate) struct Bells<K> {
    hung: Mutex<HashMap<K, watch::Sender<()>>>,
}

impl<K> Default for Bells<K> {
    fn default() -> Self {
        Self {
            hung: Mutex::default(),
        }
    }
}

impl<K: Eq + Hash + Clone> Bells<K> {
    /// What happens from now on is heard.
    pub(crate) fn listen(self: &Arc<Self>, to: K) -> Listener<K> {
        let heard = self
            .lock()
            .entry(to.clone())
            .or_insert_with(|| watch::channel(()).0)
            .subscribe();
        Listener {
            bells: Arc::clone(self),
            to,
            heard: Some(heard),
        }
    }

    pub(crate) fn ring(&self, what: &K) {
        if let Some(bell) = self.lock().get(what) {
            bell.send_replace(());
        }
    }

    /// Anything may have happened.
    pub(crate) fn ring_all(&self) {
        for bell in self.lock().values() {
            bell.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, watch::Sender<()>>> {
        self.hung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves nothing behind when nobody else listens.
#[derive(Debug)]
pub(crate) struct Listener<K: Eq + Hash + Clone> {
    bells: Arc<Bells<K>>,
    to: K,
    /// None only while it is dropped.
    heard: Option<watch::Receiver<()>>,
}

impl<K: Eq + Hash + Clone> Listener<K> {
    /// Until it rings, or has rung since the last time.
    pub(crate) async fn rung(&mut self) {
        if let Some(heard) = &mut self.heard {
            // The bell hangs as long as somebody listens.
            let _hangs = heard.changed().await;
        }
    }
}

impl<K: Eq + Hash + Clone> Drop for Listener<K> {
    fn drop(&mut self) {
        // Before the look whether anybody still listens.
        self.heard = None;
        let mut hung = self.bells.lock();
        if hung
            .get(&self.to)
            .is_some_and(|bell| bell.receiver_count() == 0)
        {
            hung.remove(&self.to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn each_hears_its_own_bell_and_leaves_nothing_behind() {
        let bells = Arc::new(Bells::default());
        let (one, mut two) = (bells.listen(1), bells.listen(1));
        drop(one);
        bells.ring(&2);
        assert_eq!(two.rung().now_or_never(), None);
        bells.ring(&1);
        bells.ring(&1);
        assert_eq!(two.rung().now_or_never(), Some(()));
        assert_eq!(two.rung().now_or_never(), None);
        bells.ring_all();
        assert_eq!(two.rung().now_or_never(), Some(()));
        drop(two);
        assert!(bells.lock().is_empty());
    }
}
