//! Where values come from, and how a later source covers an earlier one.

use super::{ConfigError, read};
use std::path::PathBuf;
use toml::{Table, Value};

const PREFIX: &str = "VYDRA__";

/// What was given besides the defaults; some of it is secret.
#[derive(Clone, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    pub data_dir: PathBuf,
    /// The process's environment.
    pub environment: Vec<(String, String)>,
    /// Flags, as dotted keys.
    pub flags: Vec<(&'static str, String)>,
    /// What a command presumes unless somebody says otherwise.
    pub presets: Vec<(&'static str, Value)>,
}

pub(super) fn merge(defaults: &str, sources: &Sources) -> Result<Table, ConfigError> {
    let mut merged = parse("config.default.toml".into(), defaults)?;
    for (key, value) in &sources.presets {
        put(
            &mut merged,
            &key.split('.').collect::<Vec<_>>(),
            value.clone(),
        )?;
    }
    if let Some(path) = &sources.file {
        cover(&mut merged, parse(path.clone(), &read(path)?)?);
    }
    let mut environment: Vec<_> = sources
        .environment
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    environment.sort();
    for (name, text) in environment {
        let key = name[PREFIX.len()..].to_ascii_lowercase();
        put(
            &mut merged,
            &key.split("__").collect::<Vec<_>>(),
            value_of(&key, text),
        )?;
    }
    for (key, text) in &sources.flags {
        put(
            &mut merged,
            &key.split('.').collect::<Vec<_>>(),
            Value::String(text.clone()),
        )?;
    }
    Ok(merged)
}

fn parse(path: PathBuf, text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| {
        // Only where and why: the line itself may hold a secret.
        let line = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |before| before.matches('\n').count() + 1);
        let problem = format!("line {line}: {}", error.message());
        ConfigError::Syntax { path, problem }
    })
}

fn cover(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => cover(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

fn put(table: &mut Table, path: &[&str], value: Value) -> Result<(), ConfigError> {
    match path {
        [] => Ok(()),
        [last] => {
            table.insert((*last).to_owned(), value);
            Ok(())
        }
        [first, rest @ ..] => {
            match table
                .entry((*first).to_owned())
                .or_insert_with(|| Value::Table(Table::new()))
            {
                Value::Table(inner) => put(inner, rest, value),
                _ => Err(ConfigError::key(*first, "is a value, not a section")),
            }
        }
    }
}

/// An environment variable holds text; `true`, `5` and `["a"]` mean what they mean in the file.
fn value_of(key: &str, text: &str) -> Value {
    // A key of digits is still a text.
    if ["api_key", "access_key_id", "secret_access_key"]
        .iter()
        .any(|name| key.ends_with(name))
    {
        return Value::String(text.to_owned());
    }
    match format!("value = {text}").parse::<Table>() {
        Ok(mut table) if table.len() == 1 => table
            .remove("value")
            .unwrap_or_else(|| Value::String(text.to_owned())),
        _ => Value::String(text.to_owned()),
    }
}
