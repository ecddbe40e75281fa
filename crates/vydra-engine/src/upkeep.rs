//! Keeping the database small, for the operator, beside a server that works.

use crate::{Engine, Error, Result};
use std::time::Duration;
use vydra_store::store::{Old, PruneAt, PruneCounts, PruneStep};

/// An idempotency key holds for so long, and leads to its job.
pub const SHORTEST_KEPT: Duration = Duration::from_hours(24);
/// Few enough that nobody who waits for the store's writer notices.
const AT_ONCE: u32 = 200;
/// Others have their turn in between.
const PAUSE: Duration = Duration::from_millis(10);

impl Engine {
    /// Removes jobs that ended longer ago than that, with all that is known of them but their files, and carries forward what
    /// they come to. Tells how much that is so far.
    pub async fn prune_jobs(
        &self,
        kept: Duration,
        mut tell: impl FnMut(PruneCounts),
    ) -> Result<PruneCounts> {
        let (mut counts, mut at) = (PruneCounts::default(), Some(PruneAt::START));
        while let Some(place) = at {
            let step = self.prune_some_jobs(kept, place).await?;
            at = step.next;
            if step.counts != PruneCounts::default() {
                counts.add(step.counts);
                tell(counts);
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(counts)
    }

    pub(crate) async fn prune_some_jobs(&self, kept: Duration, at: PruneAt) -> Result<PruneStep> {
        Ok(self.store().prune(self.old(kept)?, at, AT_ONCE).await?)
    }

    /// What [`Self::prune_jobs`] would remove.
    pub async fn prunable_jobs(&self, kept: Duration) -> Result<PruneCounts> {
        Ok(self.store().prunable(self.old(kept)?).await?)
    }

    fn old(&self, kept: Duration) -> Result<Old> {
        if kept < SHORTEST_KEPT {
            return Err(Error::InvalidInput {
                sentence: "Jobs are kept for 24 hours at least: so long their idempotency keys lead to them".to_owned(),
                fields: Vec::new(),
                allowed: Vec::new(),
            });
        }
        let now = self.now();
        Ok(Old {
            before: now.minus(kept),
            now,
        })
    }
}
