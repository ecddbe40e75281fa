//! What the Rust client takes from the document: its types, and the codes of errors.
//!
//! Written here and not by a general generator such as typify. What that makes fails on an answer that lacks a field, so that a
//! client would break on each server that is a little older; it needs an engine of regular expressions to check what the
//! server has checked, and makes a type of its own of every nameless part.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::{Map, Value};

const NOTE: &str = "// Written by `cargo xtask openapi`; do not change it here.\n\n";

/// What callers send, other than `input`.
const SENT: [(&str, &str); 2] = [
    ("NewEndpointBody", "NewEndpoint"),
    ("EndpointChangesBody", "EndpointChanges"),
];

/// From where all others are reached. Of what is paged the client has a page of its own, and whatever buys gives a job.
const ANSWERS: [&str; 20] = [
    "JobView",
    "ChargesView",
    "ModelList",
    "QuoteView",
    "CreditsView",
    "UsageView",
    "TransactionView",
    "OrganizationView",
    "RateLimitsView",
    "EventList",
    "KeyList",
    "StoredAssetView",
    "DeletedAssetView",
    "EndpointList",
    "DeletedEndpoint",
    "DeliveryView",
    "SecretView",
    "SentTests",
    "UploadView",
    "Pagination",
];

/// Errors have this of the wire; their other parts are read one by one.
const OF_ERRORS: &str = "ExceededLimit";

/// Fields that stand for one another, of which one is enough.
const DOUBLE: [&str; 1] = ["audio_url"];

/// Fields with a type that the client has: words that it knows, and what is handed on as it came.
const OWN: [(&str, &str, &str); 3] = [
    ("JobView", "status", "JobStatus"),
    ("JobView", "code", "Code"),
    ("EventView", "data", "Map<String, Value>"),
];

/// Types that show their text to nobody who prints them.
const SECRETS: [&str; 1] = ["SecretView"];

/// The module of types.
pub(super) fn types(document: &str) -> anyhow::Result<String> {
    let document: Value = serde_json::from_str(document)?;
    let schemas = document["components"]["schemas"].as_object();
    let schemas = schemas.context("the document has no schemas")?;
    let mut wanted: Vec<&str> = ANSWERS.to_vec();
    wanted.push(OF_ERRORS);
    wanted.extend(SENT.map(|(schema, _)| schema));
    let mut seen = BTreeSet::new();
    let mut written = Vec::new();
    while let Some(name) = wanted.pop() {
        if !seen.insert(name) {
            continue;
        }
        let schema = schemas
            .get(name)
            .with_context(|| format!("there is no schema {name}"))?;
        let fields = fields(schemas, schema)?;
        for (_, field) in &fields {
            references(field, &mut wanted);
        }
        if schema["type"] == "string" {
            continue;
        }
        written.push((rust_name(name), structure(schemas, name, schema, &fields)?));
    }
    written.sort();
    let mut text = format!(
        "//! What the server sends and takes, as `openapi.json` describes it.\n\n{NOTE}\
         #![expect(missing_docs, reason = \"where it says nothing of a field, the name says all\")]\n\n\
         use crate::code::Code;\nuse crate::jobs::JobStatus;\nuse serde::{{Deserialize, Serialize}};\nuse serde_json::{{Map, Value}};\n"
    );
    for (_, structure) in written {
        text.push('\n');
        text.push_str(&structure);
    }
    formatted(&text)
}

/// The module of the codes.
pub(super) fn codes(errors: &str) -> anyhow::Result<String> {
    let errors: Vec<Value> = serde_json::from_str(errors)?;
    let mut variants = String::new();
    let mut all = String::new();
    let mut entries = String::new();
    for error in &errors {
        let (code, friendly) = (error["code"].as_str(), error["friendly"].as_str());
        let (code, friendly) = (
            code.context("a code has no name")?,
            friendly.context("a code has no text")?,
        );
        let (status, retryable) = (&error["status"], &error["retryable"]);
        let variant = variant(code);
        writeln!(variants, "/// `{code}`, {status}.\n{variant},")?;
        writeln!(all, "Self::{variant},")?;
        writeln!(
            entries,
            "Self::{variant} => Entry {{ name: {code:?}, status: {status}, retryable: {retryable}, friendly: {friendly:?} }},"
        )?;
    }
    let count = errors.len();
    formatted(&format!(
        "//! The codes of the server's errors: their status, whether a repetition can help, and what to tell people.\n\n{NOTE}\
         /// The stable word for programs in an error.\n\
         #[derive(Debug, Clone, PartialEq, Eq, Hash)]\n#[non_exhaustive]\npub enum Code {{\n{variants}\
         /// A word that this version does not know.\nUnknown(String),\n}}\n\n\
         /// What is known of a code.\n#[derive(Debug, Clone, Copy)]\n\
         pub(crate) struct Entry {{\npub(crate) name: &'static str,\npub(crate) status: u16,\n\
         pub(crate) retryable: bool,\npub(crate) friendly: &'static str,\n}}\n\n\
         impl Code {{\n/// Every code that this version knows.\npub const ALL: [Self; {count}] = [\n{all}];\n\n\
         pub(crate) const fn entry(&self) -> Option<Entry> {{\nSome(match self {{\n{entries}Self::Unknown(_) => return None,\n}})\n}}\n}}\n"
    ))
}

/// The fields of a schema, those of its parts among them, and which of them are always there.
fn fields<'a>(
    schemas: &'a Map<String, Value>,
    schema: &'a Value,
) -> anyhow::Result<Vec<(&'a str, &'a Value)>> {
    let mut all = Vec::new();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let part = match part["$ref"].as_str() {
            Some(reference) => referred(schemas, reference)?,
            None => part,
        };
        all.extend(fields(schemas, part)?);
    }
    let own = schema["properties"].as_object().into_iter().flatten();
    all.extend(own.map(|(name, field)| (name.as_str(), field)));
    all.retain(|(name, _)| !DOUBLE.contains(name));
    Ok(all)
}

fn required<'a>(
    schemas: &'a Map<String, Value>,
    schema: &'a Value,
) -> anyhow::Result<BTreeSet<&'a str>> {
    let own = schema["required"].as_array().into_iter().flatten();
    let mut all: BTreeSet<_> = own.filter_map(Value::as_str).collect();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let part = match part["$ref"].as_str() {
            Some(reference) => referred(schemas, reference)?,
            None => part,
        };
        all.extend(required(schemas, part)?);
    }
    Ok(all)
}

fn referred<'a>(schemas: &'a Map<String, Value>, reference: &str) -> anyhow::Result<&'a Value> {
    let found = schemas.get(last(reference));
    found.with_context(|| format!("{reference} leads nowhere"))
}

fn last(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or(reference)
}

/// Adds the schemas that one refers to.
fn references<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
    match schema {
        Value::Object(parts) => {
            if let Some(reference) = parts.get("$ref").and_then(Value::as_str) {
                found.push(last(reference));
            }
            parts.values().for_each(|part| references(part, found));
        }
        Value::Array(parts) => parts.iter().for_each(|part| references(part, found)),
        _ => {}
    }
}

fn structure(
    schemas: &Map<String, Value>,
    name: &str,
    schema: &Value,
    fields: &[(&str, &Value)],
) -> anyhow::Result<String> {
    let is_sent = SENT.iter().any(|(sent, _)| *sent == name);
    let required = required(schemas, schema)?;
    let described = schema["description"].as_str();
    let mut text = doc(described.unwrap_or("As the reference has it."));
    let debug = if SECRETS.contains(&name) {
        ""
    } else {
        "Debug, "
    };
    writeln!(
        text,
        "#[derive({debug}Clone, Default, PartialEq, Serialize, Deserialize)]"
    )?;
    text.push_str("#[serde(rename_all = \"camelCase\", default)]\n");
    if !is_sent {
        text.push_str("#[non_exhaustive]\n");
    }
    writeln!(text, "pub struct {} {{", rust_name(name))?;
    for (field, schema) in fields {
        let described = schema["description"].as_str().or_else(|| {
            let parts = schema["oneOf"].as_array()?;
            parts.iter().find_map(|part| part["description"].as_str())
        });
        text.extend(described.map(doc));
        let own = OWN
            .iter()
            .find(|(of, named, _)| *of == name && named == field);
        let (kind, is_nullable) = kind(schemas, schema)?;
        let kind = own.map_or(kind, |(_, _, own)| (*own).to_owned());
        let snake = snake(field);
        if is_nullable || !required.contains(field) {
            writeln!(
                text,
                "#[serde(skip_serializing_if = \"Option::is_none\")]\npub {snake}: Option<{kind}>,"
            )?;
        } else {
            writeln!(text, "pub {snake}: {kind},")?;
        }
    }
    if !is_sent {
        text.push_str("/// What this version does not know.\n#[serde(flatten)]\npub rest: Map<String, Value>,\n");
    }
    text.push_str("}\n");
    Ok(text)
}

/// The type of a field, and whether it can be null.
fn kind(schemas: &Map<String, Value>, schema: &Value) -> anyhow::Result<(String, bool)> {
    if let Some(reference) = schema["$ref"].as_str() {
        // A text of which the words are listed.
        let is_text = referred(schemas, reference)?["type"] == "string";
        let name = if is_text {
            "String".to_owned()
        } else {
            rust_name(last(reference))
        };
        return Ok((name, false));
    }
    if let Some([first, second]) = schema["oneOf"].as_array().map(Vec::as_slice)
        && second["type"] == "null"
    {
        return Ok((kind(schemas, first)?.0, true));
    }
    let (named, is_nullable) = match &schema["type"] {
        Value::String(named) => (named.as_str(), false),
        Value::Array(both) => match both.as_slice() {
            [Value::String(named), Value::String(null)] if null == "null" => (named.as_str(), true),
            _ => bail!("a type is not understood: {schema}"),
        },
        _ => bail!("a schema is not understood: {schema}"),
    };
    let is_unsigned = schema["minimum"] == 0;
    let is_short = schema["format"] == "int32";
    let kind = match named {
        "string" => "String".to_owned(),
        "boolean" => "bool".to_owned(),
        "number" => "f64".to_owned(),
        "integer" => match (is_unsigned, is_short) {
            (true, true) => "u32",
            (true, false) => "u64",
            (false, true) => "i32",
            (false, false) => "i64",
        }
        .to_owned(),
        "object" => "Map<String, Value>".to_owned(),
        "array" => format!("Vec<{}>", kind(schemas, &schema["items"])?.0),
        _ => bail!("a type is not understood: {schema}"),
    };
    Ok((kind, is_nullable))
}

fn rust_name(schema: &str) -> String {
    let sent = SENT.iter().find(|(sent, _)| *sent == schema);
    let short = schema.strip_suffix("View").unwrap_or(schema);
    sent.map_or(short, |(_, name)| name).to_owned()
}

/// `creditsCharged` as `credits_charged`.
fn snake(field: &str) -> String {
    let mut name = String::new();
    for letter in field.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    if name == "type" {
        "r#type".to_owned()
    } else {
        name
    }
}

/// `INVALID_INPUT` as `InvalidInput`.
fn variant(code: &str) -> String {
    let words = code.split('_').filter(|word| !word.is_empty());
    words
        .map(|word| word[..1].to_owned() + &word[1..].to_lowercase())
        .collect()
}

/// A comment, with names of the wire set as code.
fn doc(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        let inner = word.trim_matches(|letter: char| !letter.is_alphanumeric());
        let is_name =
            inner.chars().skip(1).any(char::is_uppercase) && inner.chars().any(char::is_lowercase);
        if is_name && !word.contains('`') {
            word.replacen(inner, &format!("`{inner}`"), 1)
        } else {
            word.to_owned()
        }
    });
    format!("/// {}\n", words.collect::<Vec<_>>().join(" "))
}

fn formatted(text: &str) -> anyhow::Result<String> {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("rustfmt cannot be started")?;
    // It reads all before it writes anything.
    rustfmt
        .stdin
        .take()
        .context("rustfmt takes nothing")?
        .write_all(text.as_bytes())?;
    let output = rustfmt.wait_with_output()?;
    if !output.status.success() {
        bail!("rustfmt failed ({})", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_rust() {
        assert_eq!(snake("creditsCharged"), "credits_charged");
        assert_eq!(snake("type"), "r#type");
        assert_eq!(variant("KEY_NOT_FOUND"), "KeyNotFound");
        assert_eq!(rust_name("JobView"), "Job");
        assert_eq!(rust_name("NewEndpointBody"), "NewEndpoint");
    }

    #[test]
    fn a_field_that_may_be_absent_or_null_is_an_option() {
        let document = serde_json::json!({"components": {"schemas": {
            "A": {"type": "object", "required": ["b", "c"], "properties": {
                "b": {"type": "integer", "format": "int64", "minimum": 0}, "c": {"type": ["string", "null"]}, "d": {"type": "boolean"},
                "e": {"oneOf": [{"$ref": "#/components/schemas/A"}, {"type": "null"}]}}},
        }}});
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let schema = &schemas["A"];
        let text = structure(schemas, "A", schema, &fields(schemas, schema).unwrap()).unwrap();
        for line in [
            "pub b: u64,",
            "pub c: Option<String>,",
            "pub d: Option<bool>,",
            "pub e: Option<A>,",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn a_schema_that_is_not_understood_is_no_guess() {
        let schema = serde_json::json!({"anyOf": []});
        assert!(kind(&Map::new(), &schema).is_err());
    }
}
