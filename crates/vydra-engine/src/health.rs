//! Whether this process can do its work, and whether it will go on doing it.

use crate::Engine;
use vydra_outbound::media::MediaError;
use vydra_store::StoreError;

/// Which part is ill.
pub(crate) type Health = std::result::Result<(), &'static str>;

impl Engine {
    /// Ok when a job could be taken now: the store and the media storage can be written, and requests be counted. Anybody may ask, so the disk is
    /// touched at most once a second, and a bucket, which charges for it, more rarely.
    pub async fn check_health(&self) -> Health {
        let holds = self.parts.media.check_holds();
        let mut last = self.health.lock().await;
        if let Some((at, health)) = *last
            && self.now().since(at) < holds
        {
            return health;
        }
        let health = self.examine_health().await;
        *last = Some((self.now(), health));
        health
    }

    async fn examine_health(&self) -> Health {
        if let Err(error) = self.check_store().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the store cannot be written"
            );
            return Err("store");
        }
        if let Err(error) = self.check_media().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the media storage cannot be written"
            );
            return Err("media");
        }
        if let Err(error) = self.check_windows().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "requests cannot be counted"
            );
            return Err("limits");
        }
        Ok(())
    }

    pub async fn check_store(&self) -> std::result::Result<(), StoreError> {
        self.store().check_writable().await
    }

    pub async fn check_media(&self) -> std::result::Result<(), MediaError> {
        self.parts.media.check_writable().await
    }

    /// Ok when more requests may be sent here: it is healthy, and not about to stop.
    pub async fn check_readiness(&self) -> Health {
        if self.is_leaving() {
            return Err("stopping");
        }
        self.check_health().await
    }

    /// Before a stop: whoever spreads requests over servers is told to send none here. Those that come are answered still.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }
}
