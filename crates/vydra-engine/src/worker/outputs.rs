//! What a provider made, taken into our storage: bytes as they are, and what stands behind a URL as a stream.

use super::attempt::{Broken, backoff};
use super::step::Step;
use crate::intake::{Intake, IntakeError, Origin, Stored};
use std::sync::Arc;
use vydra_core::asset::{Asset, AssetRole};
use vydra_core::ids::AssetId;
use vydra_outbound::fetch::FetchError;
use vydra_outbound::provider::{Output, OutputSource};
use vydra_outbound::upstream::Upstream;

/// How often a file is asked for whose host is away. It was bought already, so that another try costs nothing.
const DOWNLOADS: u32 = 3;

/// Where a file is read, and by whom.
enum Place {
    /// As a stranger, without any key.
    Anywhere(String),
    Provider(Arc<Upstream>, String),
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

impl Step<'_> {
    /// Those that can be used, at most as many as were asked for. What is stored already goes when the step breaks off.
    pub(super) async fn take_in(&self, outputs: Vec<Output>) -> Result<Vec<Asset>, Broken> {
        let wanted = usize::try_from(self.call.outputs).unwrap_or(usize::MAX);
        let mut taken = Vec::new();
        for output in outputs {
            // Only what can be used counts: a caption before the image must not take its place.
            if taken.len() == wanted {
                break;
            }
            let stored = match output.source {
                OutputSource::Bytes(bytes) => {
                    let engine = self.attempt.engine;
                    let stored = engine.store_output(self.call.kind, bytes).await;
                    stored.map_err(Unusable::from)
                }
                OutputSource::Url(url) => self.download(&Place::Anywhere(url)).await,
                OutputSource::Own(upstream, path) => {
                    self.download(&Place::Provider(upstream, path)).await
                }
            };
            match stored {
                Ok(stored) => taken.push((stored, output.duration_ms)),
                Err(Unusable::Intake(IntakeError::Storage(error))) => {
                    return Err(Broken::Storage(error));
                }
                Err(error) => {
                    tracing::warn!(job.id = %self.attempt.job.id, error = %error, "an output cannot be used");
                }
            }
        }
        let assets = taken.into_iter();
        Ok(assets
            .map(|(stored, duration_ms)| self.asset(stored, duration_ms))
            .collect())
    }

    /// Tried again from the start while its host is away. How long all of it may take is bounded by the job's deadline.
    async fn download(&self, from: &Place) -> Result<Stored, Unusable> {
        let mut tries = 1;
        loop {
            match self.download_once(from).await {
                Err(Unusable::Fetch(error)) if error.is_temporary() && tries < DOWNLOADS => {
                    // The URL may be a secret: it stands in no log.
                    tracing::info!(job.id = %self.attempt.job.id, tries, error = %error, "an output could not be read yet");
                    tokio::time::sleep(backoff(tries)).await;
                    tries += 1;
                }
                settled => return settled,
            }
        }
    }

    async fn download_once(&self, from: &Place) -> Result<Stored, Unusable> {
        let engine = self.attempt.engine;
        let mut intake = Intake::new(self.call.kind, Origin::Provider);
        let most = intake.max_bytes();
        let mut body = match from {
            Place::Anywhere(url) => engine.parts.fetcher.open(url, most).await?,
            Place::Provider(upstream, path) => upstream.open(path, most).await?,
        };
        while let Some(piece) = body.piece().await? {
            intake.write(engine, &piece).await?;
        }
        Ok(intake.finish(engine).await?)
    }

    fn asset(&self, mut stored: Stored, duration_ms: Option<u64>) -> Asset {
        // Whoever ends the step names it, or removes it.
        stored.keep();
        let (engine, job) = (self.attempt.engine, self.attempt.job);
        Asset {
            id: AssetId::new(engine.now(), engine.random()),
            org_id: job.org_id.clone(),
            mode: job.mode,
            job_id: Some(job.id.clone()),
            role: if self.call.is_last {
                AssetRole::Output
            } else {
                AssetRole::Step
            },
            kind: stored.found.kind,
            media_type: stored.found.media_type.to_owned(),
            storage_key: stored.storage_key.clone(),
            bytes: stored.bytes,
            dimensions: stored.found.dimensions,
            duration_ms,
            filename: None,
            upload_key: None,
            has_thumbnail: true,
            created_at: engine.now(),
        }
    }
}
