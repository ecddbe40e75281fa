//! Videos, and images on demand, by interactions: a task that is asked for until it has ended.

use super::wire::{File, Interaction};
use super::{Gemini, calls};
use crate::provider::{
    Accepted, Context, ErrorKind, Output, Polled, ProviderError, Receipt, Request, Submitted,
};
use crate::providers::{google, several, task_id};
use crate::upstream::{Call, Content, LARGE, Purpose, word};
use reqwest::Method;
use serde_json::{Map, Value, json};

/// Before the ids in the name of a task.
const TASK: &str = "interaction:";
/// Parts several ids of one request.
const NEXT: char = ',';

impl Gemini {
    pub(super) async fn interact(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<Submitted, ProviderError> {
        let calls = calls(&request);
        let body = Value::Object(body(request));
        let buy = || self.begin(context, body.clone());
        let ids = several::buy(context, calls, buy).await?;
        let ids = ids.join(&NEXT.to_string());
        Ok(Submitted::Accepted(format!("{TASK}{ids}")))
    }

    async fn begin(&self, context: &Context, body: Value) -> Result<String, ProviderError> {
        let call = Call::buy("interactions", Content::Json(body)).at_most(LARGE);
        let answer = self.upstream.call(call).await?;
        if !answer.is_success() {
            return Err(google::failed(&answer));
        }
        let id = google::text(&answer.json()?, "id").unwrap_or_default();
        let piece = task_id::piece(&id).ok_or_else(|| answer.not_understood("no id"))?;
        context.note(Receipt {
            request_id: Some(id),
            cost: None,
        });
        Ok(piece)
    }

    pub(super) async fn look(
        &self,
        context: &Context,
        task: &str,
    ) -> Result<Polled, ProviderError> {
        several::poll(&ids(task)?, |id| self.look_at(context, id)).await
    }

    /// Its files when it is done.
    async fn look_at(&self, context: &Context, id: &str) -> Result<Polled, ProviderError> {
        let call = Call::get(format!("interactions/{id}")).at_most(LARGE);
        let answer = self.upstream.call(call).await?;
        if answer.status == 404 {
            return Err(answer.failure(ErrorKind::TaskGone, Accepted::Yes, ""));
        }
        if !answer.is_success() {
            let error = google::failed(&answer);
            // It has been seen to answer 400 for tasks that ran: such an answer says nothing of the task.
            let kind = match error.kind {
                ErrorKind::InvalidRequest => ErrorKind::Protocol,
                other => other,
            };
            return Err(ProviderError { kind, ..error }.of_a_task());
        }
        let interaction =
            Interaction::read(&answer.json()?).ok_or_else(|| answer.not_understood("no status"))?;
        let Some(ending) = interaction.ending() else {
            return Ok(Polled::Pending { progress: None });
        };
        context.note(Receipt {
            request_id: None,
            cost: interaction.cost.clone(),
        });
        let files = interaction.files.iter();
        let mut outputs = Vec::new();
        for file in files {
            outputs.extend(self.output(file).await?);
        }
        if outputs.is_empty() {
            let told = interaction.codes.first().unwrap_or(&interaction.status);
            return Err(ProviderError::new(ending, Accepted::Yes, word(told)));
        }
        Ok(Polled::Done(outputs))
    }

    /// A file of Google's own server is given to whoever has the key; any other is read without it.
    async fn output(&self, file: &File) -> Result<Option<Output>, ProviderError> {
        let address = match file {
            File::Base64(text) => return Ok(Output::base64(text).ok()),
            File::At(address) => address.trim(),
        };
        let is_whole = address.starts_with("https://") || address.starts_with("http://");
        let Some(path) = self.upstream.own_path(address).filter(|_| is_whole) else {
            return Ok(Output::reference(address).ok());
        };
        // It may hand the file over to a server of files.
        let Some(place) = self.upstream.moved(&path).await? else {
            return Ok(Some(Output::own(&self.upstream, path)));
        };
        Ok(match self.upstream.own_path(&place) {
            Some(path) => Some(Output::own(&self.upstream, path)),
            None => Output::reference(&place).ok(),
        })
    }

    pub(super) async fn stop(&self, task: &str) {
        let Ok(ids) = ids(task) else {
            return;
        };
        for id in ids {
            let path = format!("interactions/{id}/cancel");
            let _too_late = self
                .upstream
                .call(Call::new(Method::POST, path, Purpose::Ask))
                .await;
        }
    }
}

fn body(mut request: Request) -> Map<String, Value> {
    let prompt = request.take_text("prompt");
    let prompt = prompt.map(|text| json!({"type": "text", "text": text}));
    let files = request.media.iter().map(|media| {
        json!({"type": media.kind.as_str(), "data": media.base64(), "mime_type": media.media_type})
    });
    let input: Vec<Value> = prompt.into_iter().chain(files).collect();
    let mut body = request.input;
    let mut format = google::take_object(&mut body, "response_format");
    format
        .entry("type")
        .or_insert_with(|| json!(request.kind.as_str()));
    // What is sent inside of an answer is cut off near 4 MB.
    format.entry("delivery").or_insert_with(|| json!("uri"));
    body.insert("response_format".to_owned(), Value::Object(format));
    body.insert("model".to_owned(), json!(request.model));
    body.insert("input".to_owned(), json!(input));
    body.insert("background".to_owned(), json!(true));
    body
}

/// The ids in the name of a task, each fit for a path.
fn ids(task: &str) -> Result<Vec<&str>, ProviderError> {
    task_id::pieces(task.strip_prefix(TASK).unwrap_or_default(), NEXT)
}
