//! A graph of the catalogue, and how a request is written into it.

use crate::provider::{Accepted, ErrorKind, MediaInput, ProviderError, Request};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

/// Parts a task's id from the nodes whose files are wanted.
pub(super) const PARTED: char = '#';
/// Parts the nodes.
pub(super) const NEXT: char = ',';

/// One place or several, each as `node.input`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Places {
    One(String),
    Many(Vec<String>),
}

impl Places {
    fn list(&self) -> &[String] {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::Many(places) => places,
        }
    }
}

/// What a route says of its graph.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    graph: Value,
    #[serde(default)]
    inputs: BTreeMap<String, Places>,
    #[serde(default)]
    outputs: Vec<String>,
    #[serde(default)]
    seed: Option<Places>,
}

impl Settings {
    fn of(route: &Map<String, Value>) -> Result<Self, ProviderError> {
        Self::deserialize(Value::Object(route.clone()))
            .map_err(|_| unusable("the settings are not graph, inputs, outputs and seed"))
    }
}

#[derive(Debug)]
pub(super) struct Graph {
    pub(super) nodes: Map<String, Value>,
    pub(super) outputs: Vec<String>,
    inputs: BTreeMap<String, Places>,
    /// By field, how many of its files have their place.
    placed: HashMap<String, usize>,
}

impl Graph {
    /// The graph of the request's route, with everything in it but files.
    pub(super) fn of(request: &Request) -> Result<Self, ProviderError> {
        let settings = Settings::of(&request.settings)?;
        if settings.outputs.iter().any(|id| !is_node_id(id)) {
            return Err(unusable("settings.outputs are no ids of nodes"));
        }
        let mut graph = Self {
            nodes: nodes(&settings.graph)?,
            outputs: settings.outputs,
            inputs: settings.inputs,
            placed: HashMap::new(),
        };
        if graph.outputs.iter().any(|id| !graph.nodes.contains_key(id)) {
            return Err(unusable("settings.outputs name a node that is not there"));
        }
        if let Some(seed) = &settings.seed {
            graph.put(seed.list(), &json!(seed_of(&request.job)))?;
        }
        for (field, value) in &request.input {
            if let Some(places) = graph.inputs.get(field).cloned()
                && !value.is_null()
            {
                graph.put(places.list(), value)?;
            }
        }
        let has_place = |media: &MediaInput| graph.inputs.contains_key(&media.field);
        if !request.media.iter().all(has_place) {
            return Err(unusable("settings.inputs have no place for a file"));
        }
        Ok(graph)
    }

    /// Files of a list go to one place after the other; a single one goes to all.
    pub(super) fn put_file(
        &mut self,
        media: &MediaInput,
        name: &Value,
    ) -> Result<(), ProviderError> {
        let places = self.inputs.get(&media.field).cloned();
        let places = places.as_ref().map_or(&[][..], Places::list);
        if !media.listed {
            return self.put(places, name);
        }
        let number = self.placed.entry(media.field.clone()).or_default();
        let place = places
            .get(*number)
            .ok_or_else(|| unusable("settings.inputs have fewer places than there are files"))?;
        *number += 1;
        self.put(std::slice::from_ref(place), name)
    }

    fn put(&mut self, places: &[String], value: &Value) -> Result<(), ProviderError> {
        for place in places {
            let inputs = place.split_once('.').and_then(|(node, input)| {
                let inputs = self.nodes.get_mut(node)?.get_mut("inputs")?;
                Some((inputs.as_object_mut()?, input))
            });
            let Some((inputs, input)) = inputs else {
                return Err(unusable("settings name an input of no node of the graph"));
            };
            inputs.insert(input.to_owned(), value.clone());
        }
        Ok(())
    }
}

/// The nodes of a graph in the API format, which is written as a table or as a JSON text.
pub(super) fn nodes(graph: &Value) -> Result<Map<String, Value>, ProviderError> {
    let read = match graph {
        Value::String(text) => serde_json::from_str(text).ok(),
        other => Some(other.clone()),
    };
    let is_node = |node: &Value| {
        node.get("class_type").is_some_and(Value::is_string)
            && node.get("inputs").is_some_and(Value::is_object)
    };
    match read {
        Some(Value::Object(nodes)) if !nodes.is_empty() && nodes.values().all(is_node) => Ok(nodes),
        _ => Err(unusable("settings.graph is no graph in the API format")),
    }
}

fn is_node_id(id: &str) -> bool {
    !id.is_empty() && !id.contains([PARTED, NEXT])
}

fn unusable(why: &str) -> ProviderError {
    ProviderError::new(ErrorKind::InvalidRequest, Accepted::No, why)
}

/// The same for every attempt of a job, so that a graph which is already there is found: a UUID of version 8 (RFC 9562).
pub(super) fn prompt_id(job: &str) -> String {
    let digest = Sha256::digest(job.as_bytes());
    let mut number = digest
        .iter()
        .take(16)
        .fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    number = number & !(0xf << 76) | 0x8 << 76;
    number = number & !(0x3 << 62) | 0x2 << 62;
    let digits = format!("{number:032x}");
    let mut id = String::with_capacity(36);
    for (place, digit) in digits.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit);
    }
    id
}

/// Below 2^32, which every node takes.
fn seed_of(job: &str) -> u64 {
    let digest = Sha256::digest(job.as_bytes());
    let rest = digest.iter().skip(16).take(4);
    rest.fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

/// What the graph of a route names and a server, by its own description of its nodes, does not have. What a request writes
/// over is only a stand-in. None where there is no graph.
pub(super) fn missing(
    route: &Map<String, Value>,
    known: &Map<String, Value>,
) -> Option<Vec<String>> {
    let settings = Settings::of(route).ok()?;
    let is_written = |place: &String| {
        let mut inputs = settings.inputs.values();
        inputs.any(|places| places.list().contains(place))
    };
    let mut missing = Vec::new();
    for (id, node) in &nodes(&settings.graph).ok()? {
        let class = node
            .get("class_type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(info) = known.get(class) else {
            missing.push(format!("{id}: {class}"));
            continue;
        };
        let inputs = node.get("inputs").and_then(Value::as_object);
        for (input, value) in inputs.into_iter().flatten() {
            let Some(value) = value.as_str() else {
                continue;
            };
            let place = format!("{id}.{input}");
            if choices(info, input).is_some_and(|list| !list.contains(&value))
                && !is_written(&place)
            {
                missing.push(format!("{place}: {value}"));
            }
        }
    }
    Some(missing)
}

/// What an input can be, where that is a list. Older servers put the list in the place of the type, newer ones among the options.
fn choices<'a>(info: &'a Value, input: &str) -> Option<Vec<&'a str>> {
    let inputs = info.get("input")?;
    let described = ["required", "optional"]
        .into_iter()
        .find_map(|group| inputs.get(group)?.get(input))?;
    let options = described.get(1);
    // A file that is sent with each request.
    let is_upload = options
        .and_then(Value::as_object)
        .is_some_and(|options| options.keys().any(|name| name.ends_with("_upload")));
    if is_upload {
        return None;
    }
    let list = described
        .get(0)
        .filter(|kind| kind.is_array())
        .or_else(|| options?.get("options"))?;
    Some(list.as_array()?.iter().filter_map(Value::as_str).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By what `sha256sum` says of `job_1`, with the version and the variant set.
    #[test]
    fn a_job_has_one_id_and_one_seed() {
        assert_eq!(prompt_id("job_1"), "bb2632af-3674-88f0-abe2-e6951cf8aaff");
        assert_ne!(prompt_id("job_1"), prompt_id("job_1-0"));
        assert_eq!(seed_of("job_1"), 4_013_512_326);
    }
}
