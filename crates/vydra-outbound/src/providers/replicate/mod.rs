//! Replicate: predictions of anybody's models. README.md beside this file says what of it is used.

mod wire;

use crate::provider::{
    Accepted, Checkup, Context, ErrorKind, MediaInput, Polled, Provider, ProviderError, Receipt,
    Request, Submitted,
};
use crate::providers::{several, task_id};
use crate::upstream::{Answer, Call, Content, Field, LARGE, Purpose, Upstream};
use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use wire::{Place, Prediction};

pub const BASE_URL: &str = "https://api.replicate.com/v1";
/// Parts several tasks of one request.
const NEXT: char = ',';
/// Larger files are uploaded before.
const INLINE: usize = 256 * 1024;
/// The least that `Cancel-After` takes.
const SHORTEST: u64 = 5;

/// Pieces of the text, in small letters, with which a model says that it will not make this.
const REFUSALS: [&str; 10] = [
    "(e005)",
    "nsfw",
    "flagged as sensitive",
    "flagged by",
    "sensitive content",
    "sensitive words",
    "content polic",
    "moderation",
    "safety checker",
    "safety filter",
];

#[derive(Debug)]
pub struct Replicate {
    name: String,
    upstream: Arc<Upstream>,
}

impl Replicate {
    pub fn new(name: impl Into<String>, upstream: Arc<Upstream>) -> Self {
        Self {
            name: name.into(),
            upstream,
        }
    }

    async fn predict(
        &self,
        context: &Context,
        place: &Place<'_>,
        input: Map<String, Value>,
    ) -> Result<String, ProviderError> {
        let body = match place.version {
            Some(version) => json!({"version": version, "input": input}),
            None => json!({"input": input}),
        };
        let call = Call::buy(&place.path, Content::Json(body))
            .header("cancel-after", cancel_after(context.time_left))
            .at_most(LARGE);
        let answer = self.upstream.call(call).await?;
        if !answer.is_success() {
            return Err(of_purchase(&answer, failed(&answer)));
        }
        let id = wire::id(&answer.json()?).ok_or_else(|| answer.not_understood("no id"))?;
        context.note(Receipt {
            request_id: Some(id.clone()),
            cost: None,
        });
        Ok(id)
    }

    /// Where a model finds a file of ours.
    async fn placed(&self, number: usize, media: &MediaInput) -> Result<String, ProviderError> {
        if media.bytes.len() <= INLINE {
            return Ok(media.data_uri());
        }
        let file = Field::File {
            name: media.file_name(number),
            media_type: media.media_type.clone(),
            bytes: media.bytes.clone(),
        };
        let form = Content::Form(vec![("content".to_owned(), file)]);
        // It has the time of a purchase, and is none.
        let answer = self.upstream.call(Call::buy("files", form)).await;
        let answer = answer.map_err(nothing_bought)?;
        if !answer.is_success() {
            return Err(nothing_bought(failed(&answer)));
        }
        let address = answer.body().as_ref().and_then(wire::file_address);
        address.ok_or_else(|| nothing_bought(answer.not_understood("no address of a file")))
    }

    /// Its files when it is done.
    async fn look(&self, context: &Context, id: &str) -> Result<Polled, ProviderError> {
        let call = Call::get(format!("predictions/{id}")).at_most(LARGE);
        let answer = self.upstream.call(call).await?;
        match answer.status {
            404 | 410 => return Err(answer.failure(ErrorKind::TaskGone, Accepted::Yes, "")),
            _ if !answer.is_success() => return Err(failed(&answer).of_a_task()),
            _ => {}
        }
        let body = answer.json()?;
        let prediction =
            Prediction::read(&body).ok_or_else(|| answer.not_understood("no status"))?;
        if let Some(cost) = prediction.cost {
            context.note(Receipt {
                request_id: None,
                cost: Some(cost),
            });
        }
        let (kind, accepted) = match prediction.status {
            "succeeded" if prediction.files.is_empty() => (ErrorKind::NoOutput, Accepted::Yes),
            "succeeded" => return Ok(Polled::Done(prediction.files)),
            "failed" => (failure(prediction.error), Accepted::Yes),
            "canceled" => (ErrorKind::Cancelled, Accepted::Yes),
            // Its time ended before it began, and it is not billed.
            "aborted" => (ErrorKind::Expired, Accepted::No),
            _ => return Ok(Polled::Pending { progress: None }),
        };
        let told = wire::code(prediction.error).unwrap_or(prediction.status);
        Err(answer.failure(kind, accepted, told))
    }
}

#[async_trait]
impl Provider for Replicate {
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
        let place = Place::of(&request.model).ok_or_else(|| {
            let detail = "the route's model is none: owner/name, owner/name:version or a version";
            ProviderError::new(ErrorKind::InvalidRequest, Accepted::No, detail)
        })?;
        let mut addresses = Vec::with_capacity(request.media.len());
        for (number, media) in request.media.iter().enumerate() {
            addresses.push(self.placed(number, media).await?);
        }
        let mut input = input(&request, addresses);
        let setting = |name: &str| request.settings.get(name).and_then(Value::as_str);
        // A model that makes one file a call is called once for each.
        let is_one_each = setting("calls") == Some("one_each");
        if let Some(field) = setting("count_field").filter(|_| !is_one_each) {
            input.insert(field.to_owned(), json!(request.outputs));
        }
        let calls = if is_one_each {
            request.outputs.max(1)
        } else {
            1
        };
        let buy = || self.predict(context, &place, input.clone());
        let tasks = several::buy(context, calls, buy).await?;
        Ok(Submitted::Accepted(tasks.join(&NEXT.to_string())))
    }

    async fn poll(&self, context: &Context, task: &str) -> Result<Polled, ProviderError> {
        let ids = task_id::pieces(task, NEXT)?;
        several::poll(&ids, |id| self.look(context, id)).await
    }

    async fn cancel(&self, task: &str) {
        for id in task_id::pieces(task, NEXT).unwrap_or_default() {
            let path = format!("predictions/{id}/cancel");
            let _too_late = self
                .upstream
                .call(Call::new(Method::POST, path, Purpose::Ask))
                .await;
        }
    }

    async fn check(&self) -> Result<Checkup, ProviderError> {
        let answer = self.upstream.call(Call::get("account")).await?;
        if answer.is_success() {
            Ok(Checkup::default())
        } else {
            Err(failed(&answer))
        }
    }
}

/// The input with the addresses in the places of the files.
fn input(request: &Request, addresses: Vec<String>) -> Map<String, Value> {
    let addresses = RefCell::new(addresses.into_iter());
    request.body(|_| json!(addresses.borrow_mut().next()))
}

fn cancel_after(time_left: Duration) -> String {
    format!("{}s", time_left.as_secs().max(SHORTEST))
}

/// The text of a prediction that failed. A breakdown is no trouble of the question: nothing more will come of this task.
fn failure(text: &str) -> ErrorKind {
    let text = text.to_ascii_lowercase();
    if REFUSALS.iter().any(|part| text.contains(part)) {
        ErrorKind::ContentRefused
    } else {
        ErrorKind::NoOutput
    }
}

fn failed(answer: &Answer) -> ProviderError {
    let body = answer.body();
    let Some(title) = body.as_ref().and_then(wire::title) else {
        return answer.failure_by_status(false, "");
    };
    if answer.status == 422 && title.to_ascii_lowercase().contains("invalid version") {
        return answer.failure(ErrorKind::ModelGone, Accepted::No, "version");
    }
    answer.failure_by_status(true, title)
}

/// The vendor's own client asks again for a prediction after 429 alone: whatever a server says that broke down, it may have
/// begun one.
fn of_purchase(answer: &Answer, error: ProviderError) -> ProviderError {
    let accepted = if answer.status >= 500 {
        Accepted::Unknown
    } else {
        error.accepted
    };
    ProviderError { accepted, ..error }
}

/// Of a call before the purchase, which may be made again.
fn nothing_bought(error: ProviderError) -> ProviderError {
    let kind = match error.kind {
        ErrorKind::Unknown => ErrorKind::Unavailable,
        known => known,
    };
    ProviderError {
        kind,
        accepted: Accepted::No,
        ..error
    }
}
