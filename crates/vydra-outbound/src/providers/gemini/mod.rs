//! The Gemini API: images by generateContent, videos by interactions. README.md beside this file says what of it is used.

mod images;
mod interactions;
mod wire;

use super::google;
use crate::provider::{
    Accepted, Checkup, Context, ErrorKind, Polled, Provider, ProviderError, Request, Submitted,
};
use crate::upstream::{Call, Upstream};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;
use vydra_core::asset::MediaKind;

pub const BASE_URL: &str = "https://generativelanguage.googleapis.com/v1beta";
/// The header that the key goes in: in a query it would end in logs.
pub const KEY_HEADER: &str = "x-goog-api-key";

#[derive(Debug)]
pub struct Gemini {
    name: String,
    upstream: Arc<Upstream>,
}

impl Gemini {
    pub fn new(name: impl Into<String>, upstream: Arc<Upstream>) -> Self {
        Self {
            name: name.into(),
            upstream,
        }
    }
}

/// Whether a call makes one file and is asked for several: then each is a call of its own.
fn calls(request: &Request) -> u32 {
    match setting(request, "calls") {
        Some("one_each") => request.outputs.max(1),
        _ => 1,
    }
}

fn setting<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.settings.get(name).and_then(Value::as_str)
}

#[async_trait]
impl Provider for Gemini {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_repeatable(&self) -> bool {
        false
    }

    async fn submit(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<Submitted, ProviderError> {
        match (request.kind, setting(&request, "api")) {
            (MediaKind::Audio, _) => Err(ProviderError::new(
                ErrorKind::InvalidRequest,
                Accepted::No,
                "makes no audio",
            )),
            (MediaKind::Video, _) | (MediaKind::Image, Some("interactions")) => {
                self.interact(context, request).await
            }
            (MediaKind::Image, _) => self.generate(context, request).await,
        }
    }

    async fn poll(&self, context: &Context, task: &str) -> Result<Polled, ProviderError> {
        self.look(context, task).await
    }

    async fn cancel(&self, task: &str) {
        self.stop(task).await;
    }

    async fn check(&self) -> Result<Checkup, ProviderError> {
        let answer = self
            .upstream
            .call(Call::get("models?pageSize=1000"))
            .await?;
        if !answer.is_success() {
            return Err(google::failed(&answer));
        }
        Ok(Checkup {
            note: None,
            models: Some(wire::models(&answer.json()?)),
        })
    }
}
