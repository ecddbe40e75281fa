//! Reading settings so that what is wrong is said with the name of the setting.

use super::template;
use reqwest::Method;
use serde_json::{Map, Value};

/// A table of settings and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Table<'a> {
    name: String,
    map: &'a Map<String, Value>,
}

impl<'a> Table<'a> {
    /// With no other keys than these.
    pub(super) fn new(
        name: impl Into<String>,
        map: &'a Map<String, Value>,
        known: &[&str],
    ) -> Result<Self, String> {
        let table = Self {
            name: name.into(),
            map,
        };
        match map.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(table),
            Some(key) => Err(format!(
                "{} is not known; {} takes {}",
                table.place(key),
                table.name,
                known.join(", ")
            )),
        }
    }

    pub(super) fn place(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    pub(super) fn wrong<T>(&self, key: &str, must: &str) -> Result<T, String> {
        Err(format!("{} must be {must}", self.place(key)))
    }

    pub(super) fn need<T>(&self, key: &str, value: Option<T>) -> Result<T, String> {
        value.ok_or_else(|| format!("{} is missing", self.place(key)))
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key)
    }

    pub(super) fn map(&self, key: &str) -> Result<Option<&'a Map<String, Value>>, String> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => self.wrong(key, "a table"),
        }
    }

    pub(super) fn table(&self, key: &str, known: &[&str]) -> Result<Option<Table<'a>>, String> {
        self.map(key)?
            .map(|map| Table::new(self.place(key), map, known))
            .transpose()
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => self.wrong(key, "a text"),
        }
    }

    pub(super) fn words(&self, key: &str) -> Result<Vec<String>, String> {
        let must = "a list of texts";
        let Some(value) = self.map.get(key) else {
            return Ok(Vec::new());
        };
        let words = value.as_array().map(|list| {
            let words = list.iter().map(|word| word.as_str().map(ToOwned::to_owned));
            words.collect::<Option<Vec<String>>>()
        });
        match words.flatten() {
            Some(words) => Ok(words),
            None => self.wrong(key, must),
        }
    }

    /// RFC 6901: empty for the whole answer.
    pub(super) fn pointer(&self, key: &str) -> Result<Option<String>, String> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if is_pointer(text) => Ok(Some(text.clone())),
            Some(_) => self.wrong(key, "a JSON pointer, such as /data/0/url"),
        }
    }

    pub(super) fn method(&self, known: &[&str]) -> Result<Method, String> {
        let Some(word) = self.text("method")? else {
            return Ok(Method::POST);
        };
        match (known.contains(&word), Method::from_bytes(word.as_bytes())) {
            (true, Ok(method)) => Ok(method),
            _ => self.wrong("method", &format!("one of {}", known.join(", "))),
        }
    }

    /// A path below the server's address, with the names of its fields.
    pub(super) fn path(&self, key: &str) -> Result<(String, Vec<&'a str>), String> {
        let path = self.need(key, self.text(key)?)?;
        let must = "a path that begins with one slash and has no spaces, backslashes, fragment or dots alone, with fields such as {{id}}";
        match template::fields(path) {
            Some(fields) if is_path(path) => Ok((path.to_owned(), fields)),
            _ => self.wrong(key, must),
        }
    }
}

fn is_pointer(text: &str) -> bool {
    let is_escaped = |piece: &str| piece.starts_with(['0', '1']);
    (text.is_empty() || text.starts_with('/')) && text.split('~').skip(1).all(is_escaped)
}

fn is_path(path: &str) -> bool {
    let lower = path.to_ascii_lowercase().replace("%2e", ".");
    let place = lower.split('?').next().unwrap_or_default();
    path.starts_with('/')
        && !path.starts_with("//")
        && path
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '\\' | '#'))
        && !place.split('/').any(|piece| matches!(piece, "." | ".."))
}
