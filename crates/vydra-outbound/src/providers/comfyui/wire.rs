//! What a ComfyUI server answers.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Names under which a node lists its files.
const FILES: [&str; 4] = ["images", "gifs", "video", "audio"];
/// A folder whose files stay. Others hold what only shows how the work went.
const KEPT: &str = "output";

/// The answer to a submit.
#[derive(Debug, Deserialize)]
pub(super) struct Queued {
    pub(super) prompt_id: String,
}

/// Each element is a list: its number, its id, its graph, and more.
#[derive(Debug, Deserialize)]
pub(super) struct Queue {
    queue_running: Vec<Value>,
    queue_pending: Vec<Value>,
}

impl Queue {
    pub(super) fn runs(&self, id: &str) -> bool {
        holds(&self.queue_running, id)
    }

    pub(super) fn keeps(&self, id: &str) -> bool {
        holds(&self.queue_pending, id)
    }
}

fn holds(list: &[Value], id: &str) -> bool {
    let mut ids = list.iter().filter_map(|item| item.get(1));
    ids.any(|found| found.as_str() == Some(id))
}

/// A file that the server was sent.
#[derive(Debug, Deserialize)]
pub(super) struct Uploaded {
    name: String,
    #[serde(default)]
    subfolder: String,
}

impl Uploaded {
    /// As a node that loads files calls it.
    pub(super) fn value(&self) -> Value {
        Value::String(match self.subfolder.as_str() {
            "" => self.name.clone(),
            folder => format!("{folder}/{}", self.name),
        })
    }
}

/// What the history tells of a graph that has ended.
#[derive(Debug, Deserialize)]
pub(super) struct Ended {
    #[serde(default)]
    outputs: Value,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Debug, Deserialize)]
struct Status {
    status_str: String,
    #[serde(default)]
    messages: Vec<Value>,
}

/// How a graph ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End<'a> {
    Success,
    Interrupted,
    /// With the name of what a node raised.
    Error(&'a str),
    /// A word that is new to us.
    Unheard,
}

#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) filename: String,
    #[serde(default)]
    pub(super) subfolder: String,
    #[serde(rename = "type")]
    pub(super) folder: String,
}

impl Ended {
    pub(super) fn end(&self) -> End<'_> {
        let Some(status) = &self.status else {
            return End::Success;
        };
        match status.status_str.as_str() {
            "success" => End::Success,
            "error" if status.message("execution_interrupted").is_some() => End::Interrupted,
            "error" => {
                let raised = status
                    .message("execution_error")
                    .and_then(|data| data.get("exception_type"));
                End::Error(raised.and_then(Value::as_str).unwrap_or_default())
            }
            _ => End::Unheard,
        }
    }

    /// The files of these nodes, of all when none is named; those that are not kept only when there are no others.
    pub(super) fn files<'a>(&self, nodes: impl Iterator<Item = &'a str>) -> Vec<File> {
        let all = self.outputs.as_object();
        let named: Vec<&str> = nodes.collect();
        let of_nodes: Vec<&Value> = if named.is_empty() {
            all.into_iter().flat_map(Map::values).collect()
        } else {
            named.iter().filter_map(|id| all?.get(*id)).collect()
        };
        let lists = of_nodes
            .into_iter()
            .flat_map(|node| FILES.into_iter().filter_map(|name| node.get(name)));
        let files = lists
            .filter_map(Value::as_array)
            .flatten()
            .filter_map(|file| File::deserialize(file).ok())
            .filter(|file| !file.filename.is_empty());
        let (kept, others): (Vec<File>, Vec<File>) = files.partition(|file| file.folder == KEPT);
        if kept.is_empty() { others } else { kept }
    }
}

impl Status {
    fn message(&self, event: &str) -> Option<&Value> {
        let mut messages = self.messages.iter();
        messages
            .find(|message| message.get(0).and_then(Value::as_str) == Some(event))
            .and_then(|message| message.get(1))
    }
}

/// What is wrong with a graph that was not taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rejection {
    /// The server's word for it, with the node and the input where it names them.
    pub(super) code: String,
    /// The graph names a file or a choice that the server does not have.
    pub(super) is_lacking: bool,
}

const LACKING: &str = "value_not_in_list";

/// The first fault of a node, or else that of the whole graph; a choice that is not there goes first.
pub(super) fn rejection(body: &Value) -> Option<Rejection> {
    let error = body.get("error")?;
    let of_nodes = body.get("node_errors").and_then(Value::as_object);
    let faults = || {
        of_nodes.into_iter().flatten().flat_map(|(node, told)| {
            let errors = told.get("errors").and_then(Value::as_array);
            errors.into_iter().flatten().map(move |fault| (node, fault))
        })
    };
    let kind = |fault: &Value| fault.get("type").and_then(Value::as_str).map(str::to_owned);
    let lacking = faults().find(|(_, fault)| kind(fault).as_deref() == Some(LACKING));
    let is_lacking = lacking.is_some();
    let code = lacking
        .or_else(|| faults().next())
        .and_then(|(node, fault)| {
            let input = fault
                .get("extra_info")
                .and_then(|info| info.get("input_name"))
                .and_then(Value::as_str)
                .unwrap_or_default();
            Some(format!("{}:{node}.{input}", kind(fault)?))
        })
        .or_else(|| kind(error))
        .unwrap_or_default();
    Some(Rejection { code, is_lacking })
}

/// How far the node is that works on this graph, 0 to 100, if a message of the socket tells it.
pub(super) fn progress(message: &str, id: &str) -> Option<u8> {
    let message: Value = serde_json::from_str(message).ok()?;
    let data = message.get("data")?;
    if message.get("type")?.as_str()? != "progress" || data.get("prompt_id")?.as_str()? != id {
        return None;
    }
    let (value, max) = (data.get("value")?.as_u64()?, data.get("max")?.as_u64()?);
    u8::try_from(value.min(max).checked_mul(100)?.checked_div(max)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn progress_is_that_of_our_own_graph() {
        let told = |kind: &str, id: &str, value: u64, max: u64| {
            let data = json!({"prompt_id": id, "node": "3", "value": value, "max": max});
            progress(&json!({"type": kind, "data": data}).to_string(), "a")
        };
        assert_eq!(told("progress", "a", 5, 20), Some(25));
        assert_eq!(told("progress", "a", 30, 20), Some(100));
        assert_eq!(told("progress", "a", u64::MAX, u64::MAX), None);
        assert_eq!(told("progress", "a", 0, 0), None);
        assert_eq!(told("progress", "b", 5, 20), None);
        assert_eq!(told("executing", "a", 5, 20), None);
        for nonsense in ["", "5", "[]", "{\"type\": \"progress\"}"] {
            assert_eq!(progress(nonsense, "a"), None);
        }
    }
}
