//! Images by generateContent: one call, one image.

use super::wire::{Generated, is_of_the_request};
use super::{Gemini, calls};
use crate::provider::{
    Accepted, Context, ErrorKind, Output, ProviderError, Receipt, Request, Submitted,
};
use crate::providers::google;
use crate::upstream::{Call, Content, LARGE, segment, word};
use serde_json::{Map, Value, json};

impl Gemini {
    pub(super) async fn generate(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<Submitted, ProviderError> {
        let calls = calls(&request);
        let model = request.model.trim_start_matches("models/");
        let path = format!("models/{}:generateContent", segment(model));
        let body = body(request);
        let mut made = Vec::new();
        let mut missing = None;
        for number in 0..calls {
            if number > 0 && context.stop.is_cancelled() {
                break;
            }
            match self.image(context, &path, numbered(&body, number)).await {
                Ok(outputs) => made.extend(outputs),
                Err(error) => {
                    // A picture that did not come may come the next time; what is refused at once stays refused.
                    let goes_on = match error.kind {
                        ErrorKind::NoOutput => true,
                        ErrorKind::ContentRefused => !made.is_empty(),
                        _ => false,
                    };
                    // The first tells whether something was bought.
                    missing.get_or_insert(error);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        match missing {
            Some(error) if made.is_empty() => Err(error),
            _ => Ok(Submitted::Done(made)),
        }
    }

    async fn image(
        &self,
        context: &Context,
        path: &str,
        body: Value,
    ) -> Result<Vec<Output>, ProviderError> {
        let call = Call::buy(path, Content::Json(body)).at_most(LARGE);
        let answer = self.upstream.call(call).await?;
        if !answer.is_success() {
            return Err(google::failed(&answer));
        }
        let generated =
            Generated::read(&answer.json()?).ok_or_else(|| answer.not_understood("no object"))?;
        context.note(Receipt {
            request_id: generated.id.clone(),
            cost: generated.cost.clone(),
        });
        outputs(&generated)
    }
}

fn body(mut request: Request) -> Map<String, Value> {
    let prompt = request
        .take_text("prompt")
        .map(|text| json!({"text": text}));
    let files = request
        .media
        .iter()
        .map(|media| json!({"inlineData": {"mimeType": media.media_type, "data": media.base64()}}));
    let parts: Vec<Value> = prompt.into_iter().chain(files).collect();
    let mut body = request.input;
    let mut config = google::take_object(&mut body, "generationConfig");
    config
        .entry("responseModalities")
        .or_insert_with(|| json!(["TEXT", "IMAGE"]));
    body.insert("generationConfig".to_owned(), Value::Object(config));
    body.insert(
        "contents".to_owned(),
        json!([{"role": "user", "parts": parts}]),
    );
    body
}

/// The same seed would make the same picture once more.
fn numbered(body: &Map<String, Value>, number: u32) -> Value {
    let mut body = Value::Object(body.clone());
    let seed = body.pointer_mut("/generationConfig/seed");
    if let Some((seed, place)) = seed.and_then(|place| Some((place.as_i64()?, place))) {
        *place = json!(seed.saturating_add(i64::from(number)));
    }
    body
}

fn outputs(generated: &Generated) -> Result<Vec<Output>, ProviderError> {
    let outputs: Vec<Output> = generated
        .files
        .iter()
        .filter_map(|file| Output::base64(file).ok())
        .collect();
    if !outputs.is_empty() {
        return Ok(outputs);
    }
    let (kind, told) = match (&generated.refusal, &generated.ending) {
        (Some(reason), _) => (ErrorKind::ContentRefused, reason.as_str()),
        (None, Some(ending)) if is_of_the_request(ending) => {
            (ErrorKind::InvalidRequest, ending.as_str())
        }
        (None, ending) => (
            ErrorKind::NoOutput,
            ending.as_deref().unwrap_or("no_candidates"),
        ),
    };
    Err(ProviderError::new(kind, Accepted::Yes, word(told)))
}
