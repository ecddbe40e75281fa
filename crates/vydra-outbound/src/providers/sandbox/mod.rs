//! The sandbox's provider: does what a test key's `X-Vydra-Simulate` says, and otherwise lets another provider make real
//! files (contract, section 12). It costs nothing and asks nobody.

use crate::provider::{
    Accepted, Context, ErrorKind, Output, Polled, Provider, ProviderError, Request, Submitted,
};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use vydra_core::job::ScriptedFailure;

/// How often a slow script tells its progress.
const STEPS: u32 = 20;

#[derive(Debug)]
pub struct Sandbox {
    artist: Arc<dyn Provider>,
}

impl Sandbox {
    pub fn new(artist: Arc<dyn Provider>) -> Self {
        Self { artist }
    }
}

#[async_trait]
impl Provider for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    async fn submit(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<Submitted, ProviderError> {
        let script = request.script.clone();
        slowly(context, Duration::from_millis(script.slow_ms)).await?;
        if context.attempt <= script.flaky {
            return Err(ProviderError {
                retry_after: Some(Duration::from_millis(100)),
                ..ProviderError::new(
                    ErrorKind::Unavailable,
                    Accepted::No,
                    "scripted to fail and recover",
                )
            });
        }
        match script.fail {
            None => {}
            Some(ScriptedFailure::GenerationFailed) => {
                return Err(ProviderError::new(
                    ErrorKind::NoOutput,
                    Accepted::Yes,
                    "scripted to fail",
                ));
            }
            Some(ScriptedFailure::ContentPolicy) => {
                return Err(ProviderError::new(
                    ErrorKind::ContentRefused,
                    Accepted::No,
                    "scripted to refuse",
                ));
            }
            Some(ScriptedFailure::ProcessingTimeout) => {
                return Err(ProviderError::new(
                    ErrorKind::TimedOut,
                    Accepted::Yes,
                    "scripted to time out",
                ));
            }
            Some(ScriptedFailure::Lost) => {
                return Ok(Submitted::Accepted(format!("lost-{}", request.job)));
            }
        }
        let deliver = script.deliver;
        let made = self.artist.submit(context, request).await?;
        Ok(match (made, deliver) {
            (Submitted::Done(outputs), Some(count)) => Submitted::Done(first(outputs, count)),
            (made, _) => made,
        })
    }

    async fn poll(&self, _context: &Context, _task: &str) -> Result<Polled, ProviderError> {
        // Only a lost task is ever polled, and nothing is ever heard of it.
        Ok(Polled::Pending { progress: None })
    }

    async fn cancel(&self, _task: &str) {}
}

fn first(mut outputs: Vec<Output>, count: u32) -> Vec<Output> {
    outputs.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    outputs
}

async fn slowly(context: &Context, span: Duration) -> Result<(), ProviderError> {
    if span.is_zero() {
        return Ok(());
    }
    for step in 1..=STEPS {
        tokio::select! {
            biased;
            () = tokio::time::sleep(span / STEPS) => {}
            () = context.stop.cancelled() => {
                return Err(ProviderError::new(ErrorKind::Cancelled, Accepted::No, "no longer wanted"));
            }
        }
        (context.progress)(u8::try_from(step * 90 / STEPS).unwrap_or(90));
    }
    Ok(())
}
