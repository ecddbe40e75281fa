//! What an operator says of a server: how it is asked, and where its answers tell what.

use super::settings::Table;
use super::template;
use crate::provider::ErrorKind;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const ROOT: &str = "settings";
const ASKING: [&str; 5] = ["method", "path", "headers", "body", "media"];
/// What is still needed when the request has been sent.
const FOLLOWING: [&str; 5] = ["outputs", "status", "errors", "receipt", "task"];
/// How a request may be sent.
const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "GET"];
const CANCEL_METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];
/// The one field that a path of a task has.
const ID: &str = "id";
/// Keys go with the provider's configuration, and the rest belongs to the connection.
const NOT_HEADERS: [&str; 18] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-goog-api-key",
    "xi-api-key",
    "x-key",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
];
const KINDS: [(&str, ErrorKind); 12] = [
    ("content_refused", ErrorKind::ContentRefused),
    ("invalid_request", ErrorKind::InvalidRequest),
    ("input_unreadable", ErrorKind::InputUnreadable),
    ("auth", ErrorKind::Auth),
    ("quota_exhausted", ErrorKind::QuotaExhausted),
    ("rate_limited", ErrorKind::RateLimited),
    ("unavailable", ErrorKind::Unavailable),
    ("no_output", ErrorKind::NoOutput),
    ("model_gone", ErrorKind::ModelGone),
    ("cancelled", ErrorKind::Cancelled),
    ("expired", ErrorKind::Expired),
    ("timed_out", ErrorKind::TimedOut),
];

/// A server, described.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: Vec<(HeaderName, String)>,
    /// None: the input as it is.
    pub(super) body: Option<Value>,
    pub(super) media: Writing,
    pub(super) follow: Follow,
    /// The settings of `follow`, as they were given.
    pub(super) following: Map<String, Value>,
}

/// How the bytes of a media file are written into JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    DataUri,
    Base64,
}

/// Where an answer tells what.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Follow {
    pub(super) outputs: Outputs,
    pub(super) status: Option<Status>,
    pub(super) errors: Errors,
    pub(super) request_id: Option<Place>,
    pub(super) cost: Option<Place>,
    pub(super) cost_unit: Option<String>,
    pub(super) task: Option<Task>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outputs {
    pub(super) at: String,
    /// Within each of them.
    pub(super) each: String,
    pub(super) form: Form,
}

/// What stands for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Address,
    /// An address that, on the same server, is read with the key.
    Own,
    Base64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) at: String,
    pub(super) done: Vec<String>,
    pub(super) failed: Vec<String>,
    pub(super) refused: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Errors {
    pub(super) code: Option<String>,
    pub(super) kinds: BTreeMap<String, ErrorKind>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Body(String),
    Header(HeaderName),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) poll: String,
    pub(super) progress: Option<String>,
    pub(super) cancel: Option<(Method, String)>,
}

impl Description {
    /// The settings of a route, or a sentence that names the one that is wrong.
    pub fn read(settings: &Map<String, Value>) -> Result<Self, String> {
        let known = [ASKING, FOLLOWING].concat();
        let table = Table::new(ROOT, settings, &known)?;
        let media = match table.text("media")? {
            None | Some("data_uri") => Writing::DataUri,
            Some("base64") => Writing::Base64,
            Some(_) => return table.wrong("media", "data_uri or base64"),
        };
        let body = table.get("body").cloned();
        if body.as_ref().is_some_and(|body| !template::is_sound(body)) {
            return table.wrong("body", "JSON with fields such as {{prompt}}");
        }
        let method = table.method(&METHODS)?;
        if method == Method::GET && body.is_some() {
            return table.wrong("body", "left out where method is GET");
        }
        let following: Map<String, Value> = settings
            .iter()
            .filter(|(name, _)| FOLLOWING.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Ok(Self {
            method,
            path: table.path("path")?.0,
            headers: headers(&table)?,
            body,
            media,
            follow: Follow::read(&following)?,
            following,
        })
    }
}

fn headers(table: &Table<'_>) -> Result<Vec<(HeaderName, String)>, String> {
    let Some(map) = table.map("headers")? else {
        return Ok(Vec::new());
    };
    let place = table.place("headers");
    map.iter()
        .map(|(name, value)| {
            let wrong = |why: &str| Err(format!("{place}.{name} {why}"));
            let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
                return wrong("is not the name of a header");
            };
            if NOT_HEADERS.contains(&header.as_str()) {
                return wrong("cannot be set here: the key goes with the provider's configuration");
            }
            match value.as_str() {
                Some(text)
                    if template::fields(text).is_some() && HeaderValue::from_str(text).is_ok() =>
                {
                    Ok((header, text.to_owned()))
                }
                _ => wrong("must be a text that a header can carry"),
            }
        })
        .collect()
}

impl Follow {
    pub(super) fn read(settings: &Map<String, Value>) -> Result<Self, String> {
        let table = Table::new(ROOT, settings, &FOLLOWING)?;
        let task = table
            .table("task", &["id", "poll", "progress", "cancel"])?
            .map(|table| Task::read(&table))
            .transpose()?;
        let status = table
            .table("status", &["at", "done", "failed", "refused"])?
            .map(|table| Status::read(&table))
            .transpose()?;
        if task.is_some() && status.is_none() {
            return Err(format!(
                "{} is missing: a task is asked for until it stands there",
                table.place("status")
            ));
        }
        let outputs = table.table("outputs", &["at", "each", "as"])?;
        let receipt = table.table("receipt", &["request_id", "cost", "unit"])?;
        let place = |key: &str| match &receipt {
            Some(receipt) => Place::read(receipt, key),
            None => Ok(None),
        };
        let unit = receipt.as_ref().map(|receipt| receipt.text("unit"));
        Ok(Self {
            outputs: Outputs::read(&table.need("outputs", outputs)?)?,
            status,
            errors: Errors::read(&table)?,
            request_id: place("request_id")?,
            cost: place("cost")?,
            cost_unit: unit.transpose()?.flatten().map(ToOwned::to_owned),
            task,
        })
    }
}

impl Outputs {
    fn read(table: &Table<'_>) -> Result<Self, String> {
        let form = match table.text("as")? {
            None | Some("address") => Form::Address,
            Some("own") => Form::Own,
            Some("base64") => Form::Base64,
            Some(_) => return table.wrong("as", "address, own or base64"),
        };
        Ok(Self {
            at: table.need("at", table.pointer("at")?)?,
            each: table.pointer("each")?.unwrap_or_default(),
            form,
        })
    }
}

impl Status {
    fn read(table: &Table<'_>) -> Result<Self, String> {
        let status = Self {
            at: table.need("at", table.pointer("at")?)?,
            done: table.words("done")?,
            failed: table.words("failed")?,
            refused: table.words("refused")?,
        };
        if status.done.is_empty() {
            return table.wrong("done", "a list of at least one word");
        }
        Ok(status)
    }
}

impl Errors {
    fn read(table: &Table<'_>) -> Result<Self, String> {
        let Some(table) = table.table("errors", &["code", "kinds"])? else {
            return Ok(Self::default());
        };
        let place = table.place("kinds");
        let kinds = table.map("kinds")?.into_iter().flatten();
        let kinds = kinds.map(|(code, kind)| {
            let known = KINDS.iter().find(|(name, _)| kind.as_str() == Some(name));
            let names = KINDS.map(|(name, _)| name).join(", ");
            let (_, kind) =
                known.ok_or_else(|| format!("{place}.{code} must be one of {names}"))?;
            Ok((code.clone(), *kind))
        });
        Ok(Self {
            code: Some(table.need("code", table.pointer("code")?)?),
            kinds: kinds.collect::<Result<_, String>>()?,
        })
    }
}

impl Place {
    fn read(table: &Table<'_>, key: &str) -> Result<Option<Self>, String> {
        let Some(text) = table.text(key)? else {
            return Ok(None);
        };
        if text.starts_with('/') {
            return Ok(table.pointer(key)?.map(Self::Body));
        }
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(name) => Ok(Some(Self::Header(name))),
            Err(_) => table.wrong(key, "a JSON pointer or the name of a header"),
        }
    }
}

impl Task {
    fn read(table: &Table<'_>) -> Result<Self, String> {
        let cancel = table
            .table("cancel", &["method", "path"])?
            .map(|cancel| {
                Ok::<_, String>((cancel.method(&CANCEL_METHODS)?, of_task(&cancel, "path")?))
            })
            .transpose()?;
        Ok(Self {
            id: table.need("id", table.pointer("id")?)?,
            poll: of_task(table, "poll")?,
            progress: table.pointer("progress")?,
            cancel,
        })
    }
}

/// A path that names a task, and nothing else that changes.
fn of_task(table: &Table<'_>, key: &str) -> Result<String, String> {
    let (path, fields) = table.path(key)?;
    if fields.is_empty() || fields.iter().any(|field| *field != ID) {
        return table.wrong(key, "a path with {{id}}, and without other fields");
    }
    Ok(path)
}

#[cfg(test)]
mod tests;
