//! ElevenLabs: a text in, speech out, in one call. README.md beside this file says what of it is used.

mod wire;

use crate::provider::{
    Accepted, Checkup, Context, ErrorKind, Listed, Output, Polled, Provider, ProviderError,
    Receipt, Request, Submitted,
};
use crate::upstream::{Answer, Call, Content, LARGE, Upstream, segment};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::{Model, Shape, Subscription, code, wav};

pub const BASE_URL: &str = "https://api.elevenlabs.io";
/// The vendor's own default; it needs no paid plan.
const FORMAT: &str = "mp3_44100_128";
/// A key that is taken, and restricted to something else.
const RESTRICTED: &str = "missing_permissions";

#[derive(Debug)]
pub struct ElevenLabs {
    name: String,
    upstream: Arc<Upstream>,
}

impl ElevenLabs {
    pub fn new(name: impl Into<String>, upstream: Arc<Upstream>) -> Self {
        Self {
            name: name.into(),
            upstream,
        }
    }

    /// What can speak; None where the key may not read it.
    async fn models(&self) -> Option<BTreeMap<String, Listed>> {
        let answer = self.upstream.call(Call::get("v1/models")).await.ok()?;
        let models: Vec<Model> = Vec::deserialize(answer.body()?).ok()?;
        let speaking = models.into_iter().filter(|one| one.can_do_text_to_speech);
        Some(
            speaking
                .map(|model| (model.model_id, Listed::default()))
                .collect(),
        )
    }
}

#[async_trait]
impl Provider for ElevenLabs {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_repeatable(&self) -> bool {
        false
    }

    async fn submit(
        &self,
        context: &Context,
        mut request: Request,
    ) -> Result<Submitted, ProviderError> {
        let voice = request.take_text("voice_id");
        let voice = voice
            .filter(|voice| !matches!(voice.as_str(), "" | "." | ".."))
            .ok_or_else(|| refused("no voice_id"))?;
        let format = request
            .take_text("output_format")
            .unwrap_or_else(|| FORMAT.to_owned());
        let shape = Shape::of(&format)
            .ok_or_else(|| refused("an output_format that does not become a file"))?;
        let mut path = format!(
            "v1/text-to-speech/{}?output_format={}",
            segment(&voice),
            segment(&format)
        );
        if let Some(is_logged) = request.take_text("enable_logging") {
            path.push_str("&enable_logging=");
            path.push_str(&segment(&is_logged));
        }
        let mut body = request.input;
        body.insert("model_id".to_owned(), json!(request.model));
        let call = Call::buy(path, Content::Json(Value::Object(body))).at_most(LARGE);
        let answer = self.upstream.call(call).await?;
        if !answer.is_success() {
            return Err(failed(&answer));
        }
        context.note(Receipt {
            request_id: answer.header("request-id").map(ToOwned::to_owned),
            cost: answer
                .header("character-cost")
                .map(|cost| format!("{cost} characters")),
        });
        Ok(Submitted::Done(vec![speech(&answer, shape)?]))
    }

    async fn poll(&self, _context: &Context, _task: &str) -> Result<Polled, ProviderError> {
        let detail = "ElevenLabs has no tasks";
        Err(ProviderError::new(
            ErrorKind::TaskGone,
            Accepted::Yes,
            detail,
        ))
    }

    /// A call that is answered with its result leaves nothing to cancel.
    async fn cancel(&self, _task: &str) {}

    async fn check(&self) -> Result<Checkup, ProviderError> {
        let answer = self
            .upstream
            .call(Call::get("v1/user/subscription"))
            .await?;
        let note = if answer.is_success() {
            left(&answer.json()?)
        } else if answer.body().as_ref().and_then(code) == Some(RESTRICTED) {
            Some("the key may not read how many characters are left".to_owned())
        } else {
            return Err(failed(&answer));
        };
        let models = self.models().await;
        Ok(Checkup { note, models })
    }
}

fn refused(detail: &str) -> ProviderError {
    ProviderError::new(ErrorKind::InvalidRequest, Accepted::No, detail)
}

fn left(account: &Value) -> Option<String> {
    let account = Subscription::deserialize(account).ok()?;
    let (used, limit) = (account.character_count, account.character_limit);
    Some(format!(
        "{} of {limit} characters left",
        limit.saturating_sub(used)
    ))
}

fn speech(answer: &Answer, shape: Shape) -> Result<Output, ProviderError> {
    let media_type = answer.header("content-type").unwrap_or_default();
    if answer.bytes.is_empty() {
        return Err(answer.failure(ErrorKind::NoOutput, Accepted::Yes, "empty"));
    }
    if media_type.starts_with("application/json") || media_type.starts_with("text/") {
        return Err(answer.not_understood("no sound"));
    }
    match shape {
        Shape::File => Ok(Output::bytes(answer.bytes.clone(), None)),
        Shape::Raw(rate) => wav(&answer.bytes, rate)
            .map(|(file, duration_ms)| Output::bytes(file, Some(duration_ms)))
            .ok_or_else(|| answer.not_understood("too long for a file")),
    }
}

/// By their code first, which tells more than the status: a dry account is a 401.
fn failed(answer: &Answer) -> ProviderError {
    let body = answer.body();
    let Some(code) = body.as_ref().and_then(code) else {
        return answer.failure_by_status(false, "");
    };
    match (kind(code), answer.status) {
        (Some(kind), _) => answer.failure(kind, Accepted::No, code),
        // The path names a voice, and the model stands in the body.
        (None, 404) => answer.failure(ErrorKind::InvalidRequest, Accepted::No, code),
        (None, _) => answer.failure_by_status(true, code),
    }
}

fn kind(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "invalid_api_key" | RESTRICTED => ErrorKind::Auth,
        "quota_exceeded" | "subscription_required" => ErrorKind::QuotaExhausted,
        "max_character_limit_exceeded" | "invalid_uid" | "voice_not_found" => {
            ErrorKind::InvalidRequest
        }
        "content_against_policy" => ErrorKind::ContentRefused,
        "too_many_concurrent_requests" => ErrorKind::RateLimited,
        "system_busy" => ErrorKind::Unavailable,
        other if other.starts_with("model_") => ErrorKind::InvalidRequest,
        // What a larger plan has.
        other if other.starts_with("only_for_") => ErrorKind::QuotaExhausted,
        other if other.ends_with("_moderation") => ErrorKind::ContentRefused,
        _ => return None,
    })
}
