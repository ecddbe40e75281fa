//! JSON Schemas as lists of properties, for people.

use super::html::{code, escape, prose};
use serde_json::{Map, Value};

/// References and nested objects are followed this far; a schema that holds itself would have no end.
const MAX_DEPTH: usize = 6;

/// Whose schema it is: limits matter to those who send, not to those who read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

struct Property<'a> {
    name: &'a str,
    schema: &'a Value,
    required: bool,
}

/// The document that references point into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schemas<'a>(pub(super) &'a Value);

impl<'a> Schemas<'a> {
    /// What a reference points to; anything else is itself.
    pub(super) fn resolve(self, schema: &'a Value) -> &'a Value {
        let mut found = schema;
        for _ in 0..MAX_DEPTH {
            let target = found
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| reference.strip_prefix('#'))
                .and_then(|pointer| self.0.pointer(pointer));
            match target {
                Some(target) => found = target,
                None => break,
            }
        }
        found
    }

    /// The properties as a list, and what the schema asks of them together. Empty for a schema without properties.
    pub(super) fn list(self, schema: &'a Value, side: Side) -> String {
        self.list_at(schema, side, 0)
    }

    pub(super) fn property_names(self, schema: &'a Value) -> Vec<(&'a str, bool)> {
        self.properties(schema, 0)
            .iter()
            .map(|property| (property.name, property.required))
            .collect()
    }

    fn list_at(self, schema: &'a Value, side: Side, depth: usize) -> String {
        let schema = self.items_of(schema);
        let properties = self.properties(schema, 0);
        if properties.is_empty() || depth > MAX_DEPTH {
            return String::new();
        }
        let rows: String = properties
            .iter()
            .map(|property| self.row(property, side, depth))
            .collect();
        format!(
            "{}<dl class=\"props\">{rows}</dl>",
            together(self.resolve(schema))
        )
    }

    /// One property, or one parameter.
    pub(super) fn entry(self, name: &str, schema: &'a Value, required: bool, text: &str) -> String {
        self.entry_at(name, schema, required, text, Side::Request, 0)
    }

    fn row(self, property: &Property<'a>, side: Side, depth: usize) -> String {
        let own = without_null(property.schema);
        let text = [property.schema, own, self.resolve(own)]
            .into_iter()
            .find_map(|schema| schema.get("description").and_then(Value::as_str))
            .unwrap_or_default();
        self.entry_at(
            property.name,
            property.schema,
            property.required,
            text,
            side,
            depth,
        )
    }

    fn entry_at(
        self,
        name: &str,
        schema: &'a Value,
        required: bool,
        text: &str,
        side: Side,
        depth: usize,
    ) -> String {
        let mark = match (side, required) {
            (Side::Request, true) => " <span class=\"required\">required</span>",
            (Side::Request, false) | (Side::Response, true) => "",
            (Side::Response, false) => " <span class=\"optional\">null or absent</span>",
        };
        let kind = self.type_of(schema, 0);
        let kind = match mark {
            "" => kind.as_str(),
            _ => kind.trim_end_matches(" or null"),
        };
        let mut body = String::new();
        if !text.is_empty() {
            body.push_str(&format!("<p>{}</p>", prose(text)));
        }
        body.push_str(&facts(self.resolve(without_null(schema)), side));
        let nested = self.list_at(schema, side, depth + 1);
        if !nested.is_empty() {
            body.push_str(&format!(
                "<details class=\"nested\"><summary>Properties of {}</summary>{nested}</details>",
                code(name)
            ));
        }
        format!(
            "<div><dt>{} <span class=\"type\">{}</span>{mark}</dt><dd>{body}</dd></div>",
            code(name),
            escape(kind),
        )
    }

    fn properties(self, schema: &'a Value, depth: usize) -> Vec<Property<'a>> {
        let schema = self.resolve(without_null(schema));
        let required: Vec<&str> = strings(schema.get("required")).collect();
        let mut found: Vec<Property<'a>> = schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::iter)
            .map(|(name, schema)| Property {
                name,
                schema,
                required: required.contains(&name.as_str()),
            })
            .collect();
        if depth < MAX_DEPTH {
            let parts = schema
                .get("allOf")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            for part in parts {
                found.extend(self.properties(part, depth + 1));
            }
        }
        // What every answer has comes before what only some have; otherwise the schema's order is kept.
        found.sort_by_key(|property| !property.required);
        found
    }

    /// The schema of a list's items, or the schema itself.
    fn items_of(self, schema: &'a Value) -> &'a Value {
        let schema = self.resolve(without_null(schema));
        schema
            .get("items")
            .map_or(schema, |items| self.resolve(items))
    }

    fn type_of(self, schema: &'a Value, depth: usize) -> String {
        if depth > MAX_DEPTH {
            return "value".to_owned();
        }
        let or_null = if alternatives(schema).any(is_null) {
            " or null"
        } else {
            ""
        };
        let schema = self.resolve(without_null(schema));
        let media = schema.get("x-media").and_then(Value::as_str);
        let one = |word: &str| match (word, media) {
            ("string", Some(media)) => format!("{media} URL"),
            ("array", Some(media)) => format!("array of {media} URLs"),
            ("array", None) => match schema.get("items") {
                Some(items) => format!("array of {}", plural(&self.type_of(items, depth + 1))),
                None => "array".to_owned(),
            },
            (word, _) => word.to_owned(),
        };
        let words = match schema.get("type") {
            Some(Value::String(word)) => one(word),
            Some(Value::Array(words)) => words
                .iter()
                .filter_map(Value::as_str)
                .map(one)
                .collect::<Vec<_>>()
                .join(" or "),
            _ if schema.get("properties").is_some() || schema.get("allOf").is_some() => {
                "object".to_owned()
            }
            _ if schema.get("enum").is_some() => "string".to_owned(),
            _ => "value".to_owned(),
        };
        words + or_null
    }
}

fn plural(word: &str) -> String {
    match word {
        "string" | "integer" | "number" | "boolean" | "object" | "value" => format!("{word}s"),
        other => other.to_owned(),
    }
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf"]
        .into_iter()
        .filter_map(|word| schema.get(word).and_then(Value::as_array))
        .flatten()
}

/// Of `something or null`, the something.
fn without_null(schema: &Value) -> &Value {
    let mut others = alternatives(schema).filter(|one| !is_null(one));
    match (others.next(), others.next()) {
        (Some(only), None) => only,
        _ => schema,
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

fn strings(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// `anyOf: [{required: [a]}, {required: [b]}]` in words.
fn together(schema: &Value) -> String {
    let mut out = String::new();
    for (word, lead) in [
        ("anyOf", "Give at least one of"),
        ("oneOf", "Give exactly one of"),
    ] {
        let groups: Vec<String> = schema
            .get(word)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|one| {
                strings(one.get("required"))
                    .map(code)
                    .collect::<Vec<_>>()
                    .join(" with ")
            })
            .collect();
        if !groups.is_empty() && groups.iter().all(|group| !group.is_empty()) {
            out.push_str(&format!(
                "<p class=\"note\">{lead} {}.</p>",
                groups.join(", ")
            ));
        }
    }
    out
}

fn facts(schema: &Value, side: Side) -> String {
    let mut facts = Vec::new();
    let shown = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| code(&value.to_string()), code)
    };
    if side == Side::Request {
        facts.extend(
            schema
                .get("default")
                .map(|value| format!("Default {}", shown(value))),
        );
    }
    let options = schema
        .get("enum")
        .or_else(|| schema.get("items")?.get("enum"));
    if let Some(options) = options.and_then(Value::as_array) {
        let options: Vec<String> = options.iter().map(shown).collect();
        facts.push(format!("One of {}", options.join(" ")));
    }
    if side == Side::Request {
        facts.extend(span(schema, "minimum", "maximum", ""));
        facts.extend(span(schema, "minLength", "maxLength", " characters"));
        facts.extend(span(schema, "minItems", "maxItems", " items"));
        facts.extend(
            schema
                .get("pattern")
                .map(|value| format!("Form {}", shown(value))),
        );
    }
    if facts.is_empty() {
        String::new()
    } else {
        let facts: String = facts
            .iter()
            .map(|fact| format!("<li>{fact}</li>"))
            .collect();
        format!("<ul class=\"facts\">{facts}</ul>")
    }
}

fn span(schema: &Value, least: &str, most: &str, unit: &str) -> Option<String> {
    let bound = |name| {
        schema
            .get(name)
            .filter(|value| value.is_number())
            .map(number)
    };
    Some(match (bound(least), bound(most)) {
        (Some(least), Some(most)) => format!("{least} to {most}{unit}"),
        // That a text may not be empty is said by being required.
        (Some(least), None) if least == "1" && !unit.is_empty() => return None,
        (Some(least), None) => format!("At least {least}{unit}"),
        (None, Some(most)) => format!("At most {most}{unit}"),
        (None, None) => return None,
    })
}

/// With commas between the thousands.
pub(super) fn number(value: &Value) -> String {
    let text = value.to_string();
    let digits = text.strip_prefix('-').unwrap_or(&text);
    if digits.len() < 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + text.len() / 3);
    if digits.len() < text.len() {
        out.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_nulls_and_parts_are_followed() {
        let document = json!({"components": {"schemas": {
            "Inner": {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}},
            "Whole": {"allOf": [
                {"$ref": "#/components/schemas/Inner"},
                {"type": "object", "required": ["next", "when"], "properties": {
                    "next": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Whole"}]},
                    "many": {"type": "array", "items": {"$ref": "#/components/schemas/Inner"}},
                    "when": {"type": ["string", "null"]},
                }},
            ]},
        }}});
        let schema = json!({"$ref": "#/components/schemas/Whole"});
        let list = Schemas(&document).list(&schema, Side::Response);
        for expected in [
            "<code>url</code>",
            "object or null",
            "array of objects",
            "string or null",
            "Properties of <code>many</code>",
        ] {
            assert!(list.contains(expected), "{expected}: {list}");
        }
    }

    #[test]
    fn limits_are_told_in_words() {
        let schema = json!({
            "required": ["a"],
            "anyOf": [{"required": ["a"]}, {"required": ["b", "c"]}],
            "properties": {
                "a": {"type": "string", "minLength": 1, "maxLength": 10_000, "x-media": "image"},
                "b": {"type": "integer", "minimum": 1, "maximum": 4, "default": 1},
                "c": {"enum": ["<x>", 2]},
            },
        });
        let nothing = json!({});
        let list = Schemas(&nothing).list(&schema, Side::Request);
        for expected in [
            "1 to 10,000 characters",
            "image URL",
            "1 to 4",
            "Default <code>1</code>",
            "One of <code>&lt;x&gt;</code> <code>2</code>",
            "Give at least one of <code>a</code>, <code>b</code> with <code>c</code>.",
            "required</span>",
        ] {
            assert!(list.contains(expected), "{expected}: {list}");
        }
    }
}
