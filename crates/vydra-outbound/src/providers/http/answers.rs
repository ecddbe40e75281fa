//! What an answer tells, by its description.

use super::description::{Follow, Form, Place};
use crate::provider::{Accepted, ErrorKind, Output, ProviderError, Receipt};
use crate::providers::percent::percent;
use crate::upstream::{Answer, Upstream};
use serde_json::Value;
use std::sync::Arc;

/// A text, a number or a truth value, as text.
pub(super) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What an error says of a request that got no task and no file.
pub(super) fn accepted(kind: ErrorKind) -> Accepted {
    match kind {
        ErrorKind::ContentRefused
        | ErrorKind::InvalidRequest
        | ErrorKind::InputUnreadable
        | ErrorKind::Auth
        | ErrorKind::QuotaExhausted
        | ErrorKind::RateLimited
        | ErrorKind::Unavailable
        | ErrorKind::ModelGone => Accepted::No,
        ErrorKind::NoOutput | ErrorKind::Cancelled | ErrorKind::Expired | ErrorKind::TimedOut => {
            Accepted::Yes
        }
        ErrorKind::Unknown | ErrorKind::TaskGone | ErrorKind::Protocol => Accepted::Unknown,
    }
}

/// Of a task that has ended: what would be tried again elsewhere has failed for good.
fn ended(kind: ErrorKind) -> ErrorKind {
    match kind {
        ErrorKind::RateLimited
        | ErrorKind::Unavailable
        | ErrorKind::Unknown
        | ErrorKind::Protocol => ErrorKind::NoOutput,
        other => other,
    }
}

impl Follow {
    fn code(&self, told: &Value) -> Option<String> {
        told.pointer(self.errors.code.as_deref()?).and_then(plain)
    }

    /// An error whose meaning is described.
    pub(super) fn known_error(&self, told: &Value) -> Option<(ErrorKind, String)> {
        let code = self.code(told)?;
        let kind = self.errors.kinds.get(&code)?;
        Some((*kind, code))
    }

    /// By its code where that is described, and else by its status.
    pub(super) fn failed(&self, answer: &Answer) -> ProviderError {
        let told = answer.body();
        if let Some((kind, code)) = told.as_ref().and_then(|told| self.known_error(told)) {
            return answer.failure(kind, accepted(kind), &code);
        }
        let code = told.as_ref().and_then(|told| self.code(told));
        // Nobody has said what its codes mean, and so neither that nothing was made.
        answer.failure_by_status(false, code.as_deref().unwrap_or_default())
    }

    fn word(&self, told: &Value) -> Option<String> {
        told.pointer(&self.status.as_ref()?.at).and_then(plain)
    }

    /// An error if a word says that the task has ended without a result.
    pub(super) fn not_ended_badly(
        &self,
        answer: &Answer,
        told: &Value,
    ) -> Result<(), ProviderError> {
        let (Some(status), Some(word)) = (&self.status, self.word(told)) else {
            return Ok(());
        };
        if status.refused.contains(&word) {
            return Err(answer.failure(ErrorKind::ContentRefused, Accepted::Yes, &word));
        }
        if !status.failed.contains(&word) {
            return Ok(());
        }
        let (kind, code) = self
            .known_error(told)
            .unwrap_or((ErrorKind::NoOutput, word));
        Err(answer.failure(ended(kind), Accepted::Yes, &code))
    }

    pub(super) fn is_done(&self, answer: &Answer, told: &Value) -> Result<bool, ProviderError> {
        match (&self.status, self.word(told)) {
            (Some(status), Some(word)) => Ok(status.done.contains(&word)),
            _ => Err(match self.known_error(told) {
                Some((kind, code)) => answer.failure(kind, Accepted::Yes, &code),
                None => answer.not_understood("no status"),
            }),
        }
    }

    pub(super) fn progress(&self, told: &Value) -> Option<u8> {
        let place = self.task.as_ref()?.progress.as_ref()?;
        told.pointer(place)?.as_f64().map(percent)
    }

    pub(super) fn outputs(
        &self,
        upstream: &Arc<Upstream>,
        answer: &Answer,
        told: &Value,
    ) -> Result<Vec<Output>, ProviderError> {
        let listed = match told.pointer(&self.outputs.at) {
            Some(Value::Array(list)) => list.as_slice(),
            Some(single) => std::slice::from_ref(single),
            None => &[],
        };
        let outputs: Vec<Output> = listed
            .iter()
            .filter_map(|one| one.pointer(&self.outputs.each)?.as_str())
            .filter_map(|text| output(self.outputs.form, upstream, text))
            .collect();
        if !outputs.is_empty() {
            return Ok(outputs);
        }
        Err(match (self.known_error(told), &self.task) {
            // The whole answer is an error: by its description nothing was made.
            (Some((kind, code)), None) if accepted(kind) == Accepted::No => {
                let taken = match kind {
                    ErrorKind::ContentRefused => Accepted::Yes,
                    _ => Accepted::No,
                };
                answer.failure(kind, taken, &code)
            }
            (Some((kind, code)), _) => answer.failure(ended(kind), Accepted::Yes, &code),
            (None, _) => answer.failure(ErrorKind::NoOutput, Accepted::Yes, "no file"),
        })
    }

    pub(super) fn receipt(&self, answer: &Answer, told: &Value) -> Receipt {
        let at = |place: &Option<Place>| match place.as_ref()? {
            Place::Body(pointer) => told.pointer(pointer).and_then(plain),
            Place::Header(name) => answer.header(name.as_str()).map(ToOwned::to_owned),
        };
        let cost = at(&self.cost).map(|cost| match &self.cost_unit {
            Some(unit) => format!("{cost} {unit}"),
            None => cost,
        });
        Receipt {
            request_id: at(&self.request_id),
            cost,
        }
    }
}

fn output(form: Form, upstream: &Arc<Upstream>, text: &str) -> Option<Output> {
    match form {
        Form::Base64 => Output::base64(text).ok(),
        Form::Address => Output::reference(text).ok(),
        Form::Own => match upstream.own_path(text) {
            Some(path) if !text.trim().is_empty() => Some(Output::own(upstream, path)),
            _ => Output::reference(text).ok(),
        },
    }
}
