//! What is remembered of providers: each attempt, and what they were asked for on a day.

use crate::Result;
use async_trait::async_trait;
use vydra_core::credits::Credits;
use vydra_core::ids::JobId;
use vydra_core::time::Timestamp;

/// One attempt at a step by a provider that we call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderAttempt {
    pub job: JobId,
    pub step: u32,
    pub provider: String,
    /// The provider's name for the model.
    pub model: String,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    /// The kind of its failure; None when it delivered.
    pub failure: Option<String>,
    /// Whether the provider took the request: `yes`, `no` or `unknown`.
    pub accepted: String,
    /// By which the provider's support finds it.
    pub request_id: Option<String>,
    /// In the provider's own unit.
    pub cost: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct AttemptFilter {
    pub job: Option<JobId>,
    pub provider: Option<String>,
    /// Only those that failed.
    pub failed: bool,
    pub limit: u32,
}

#[async_trait]
pub trait AttemptStore: Send + Sync + std::fmt::Debug {
    /// Keeps what a provider did. Changes neither the job nor any credits.
    async fn record_attempt(&self, attempt: &ProviderAttempt) -> Result<()>;
    /// The newest first.
    async fn attempts(&self, filter: AttemptFilter) -> Result<Vec<ProviderAttempt>>;
    /// Counts credits for a provider on the day of `now`, in UTC, if the day's sum stays within `cap`. False, and nothing
    /// counted, when it would not. Together all that is counted of a day never goes beyond its cap.
    async fn count_provider_day(
        &self,
        provider: &str,
        credits: Credits,
        cap: u64,
        now: Timestamp,
    ) -> Result<bool>;
    /// Takes back what was counted then and not bought.
    async fn uncount_provider_day(
        &self,
        provider: &str,
        credits: Credits,
        counted_at: Timestamp,
    ) -> Result<()>;
}
