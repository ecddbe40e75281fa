//! Texts and JSON with `{{field}}` in them.

use serde_json::{Map, Value};

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Field(&'a str),
}

/// None where a bracket is not closed or a name is none.
fn pieces(template: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once(OPEN) {
        let (name, behind) = after.split_once(CLOSE)?;
        let name = name.trim();
        if !is_name(name) {
            return None;
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        pieces.push(Piece::Field(name));
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Some(pieces)
}

fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    !name.is_empty() && name.chars().all(is_plain)
}

/// The names of its fields; None for a text that is no template.
pub(super) fn fields(template: &str) -> Option<Vec<&str>> {
    let pieces = pieces(template)?;
    let fields = pieces.into_iter().filter_map(|piece| match piece {
        Piece::Field(name) => Some(name),
        Piece::Text(_) => None,
    });
    Some(fields.collect())
}

/// Whether every text in it is a template.
pub(super) fn is_sound(template: &Value) -> bool {
    match template {
        Value::String(text) => pieces(text).is_some(),
        Value::Array(values) => values.iter().all(is_sound),
        Value::Object(fields) => fields.values().all(is_sound),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// A dot leads into an object.
fn find<'v>(values: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    values.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        find(values.get(outer)?.as_object()?, inner)
    })
}

fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The JSON with its fields filled. What is a field alone keeps that field's type, and goes away where there is no such field;
/// within a longer text it is empty then.
pub(super) fn filled(template: &Value, values: &Map<String, Value>) -> Option<Value> {
    Some(match template {
        Value::String(text) => match pieces(text)?.as_slice() {
            [Piece::Field(name)] => find(values, name)?.clone(),
            pieces => {
                let texts = pieces.iter().map(|piece| match piece {
                    Piece::Text(text) => (*text).to_owned(),
                    Piece::Field(name) => find(values, name).map(written).unwrap_or_default(),
                });
                Value::String(texts.collect())
            }
        },
        Value::Array(list) => {
            Value::Array(list.iter().filter_map(|one| filled(one, values)).collect())
        }
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields =
                fields.filter_map(|(name, one)| Some((name.clone(), filled(one, values)?)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    })
}

/// The text with its fields filled, each as `write` has it; None where one is missing, or has no place there.
pub(super) fn text(
    template: &str,
    values: &Map<String, Value>,
    write: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    pieces(template)?
        .into_iter()
        .map(|piece| match piece {
            Piece::Text(text) => Some(text.to_owned()),
            Piece::Field(name) => write(&written(find(values, name)?)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values() -> Map<String, Value> {
        json!({"prompt": "a {{n}} \"cat\"", "n": 2, "on": true, "list": ["a"], "voice": {"speed": 1.5}, "none": null})
            .as_object()
            .cloned()
            .unwrap()
    }

    #[test]
    fn a_field_alone_keeps_its_type_and_a_missing_one_goes_away() {
        let template = json!({
            "prompt": "{{prompt}}", "count": "{{ n }}", "on": "{{on}}", "images": "{{list}}", "speed": "{{voice.speed}}",
            "text": "n={{n}}, {{prompt}}, {{missing}}!", "missing": "{{missing}}", "none": "{{none}}",
            "list": [1, "{{missing}}", {"n": "{{n}}"}], "fixed": 7,
        });
        assert!(is_sound(&template));
        assert_eq!(
            filled(&template, &values()).unwrap(),
            json!({
                "prompt": "a {{n}} \"cat\"", "count": 2, "on": true, "images": ["a"], "speed": 1.5,
                "text": "n=2, a {{n}} \"cat\", !", "none": null, "list": [1, {"n": 2}], "fixed": 7,
            }),
            "what a caller wrote is no template"
        );
    }

    #[test]
    fn a_text_needs_all_of_its_fields() {
        let shout = |text: &str| Some(text.to_uppercase());
        assert_eq!(
            text("/a/{{list}}/{{n}}", &values(), shout).as_deref(),
            Some("/a/[\"A\"]/2")
        );
        assert_eq!(text("/a/{{missing}}", &values(), shout), None);
        assert_eq!(text("/a/{{n}}", &values(), |_| None), None);
    }

    #[test]
    fn what_is_not_closed_is_no_template() {
        for bad in ["{{", "{{a", "x {{}} y", "{{a b}}", "{{a}} {{"] {
            assert!(!is_sound(&json!([bad])), "{bad}");
            assert_eq!(fields(bad), None, "{bad}");
        }
        assert_eq!(fields("{a} }} {{b}}{{c}}"), Some(vec!["b", "c"]));
    }
}
