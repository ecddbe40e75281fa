//! Input schemas: JSON Schema, and the sentences that its refusals become (contract, sections 2 and 6).

use crate::asset::MediaKind;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde::Serialize;
use serde_json::{Map, Value};

/// Marks a property whose value is a media URL: `"x-media": "image"`.
const MEDIA: &str = "x-media";
const MAX_PROBLEMS: usize = 50;

/// A JSON Schema for an object, compiled once, with what we read out of it.
pub struct InputSchema {
    json: Value,
    validator: jsonschema::Validator,
    properties: Vec<Property>,
}

struct Property {
    name: String,
    /// The same name in the other usual spelling: `image_url` for `imageUrl`.
    alias: Option<String>,
    kind: String,
    default: Option<Value>,
    media: Option<MediaKind>,
}

/// A property that names media, or a list of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaField<'a> {
    pub name: &'a str,
    pub kind: MediaKind,
}

/// What a schema says of one property, as far as templates must know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SchemaField<'a> {
    /// The JSON type; `value` where the schema says none, or several.
    pub(super) kind: &'a str,
    pub(super) media: Option<MediaKind>,
    pub(super) default: Option<&'a Value>,
    pub(super) is_required: bool,
    pub(super) min_length: u64,
    /// Whether it is one of fixed values, none of them empty.
    pub(super) has_words: bool,
}

impl SchemaField<'_> {
    /// Whether there is always a value.
    pub(super) fn is_sure(&self) -> bool {
        self.is_required || self.default.is_some()
    }

    /// Whether it can be shown within a text.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.kind, "string" | "integer" | "number" | "boolean")
    }

    /// Whether each value of it is of the other's type.
    pub(super) fn fits(&self, other: &SchemaField<'_>) -> bool {
        self.kind == other.kind
            || other.kind == "value"
            || (self.kind == "integer" && other.kind == "number")
    }
}

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    pub field: String,
    pub problem: String,
    pub expected: String,
}

/// All that is wrong with an input; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations {
    pub sentence: String,
    pub fields: Vec<FieldProblem>,
}

impl std::fmt::Debug for InputSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InputSchema")
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}

impl InputSchema {
    pub fn compile(json: Value) -> Result<Self, String> {
        let validator = jsonschema::validator_for(&json).map_err(|error| error.to_string())?;
        let Some(described) = json.get("properties").and_then(Value::as_object) else {
            return Err("an input schema needs properties".to_owned());
        };
        let properties = described
            .iter()
            .map(|(name, schema)| {
                let media = match schema.get(MEDIA) {
                    None => None,
                    Some(word) => {
                        Some(word.as_str().and_then(MediaKind::parse).ok_or_else(|| {
                            format!("{name}: {MEDIA} must be image, video or audio")
                        })?)
                    }
                };
                Ok(Property {
                    alias: other_spelling(name),
                    kind: schema
                        .get("type")
                        .and_then(Value::as_str)
                        .unwrap_or("value")
                        .to_owned(),
                    default: schema.get("default").cloned(),
                    media,
                    name: name.clone(),
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            json,
            validator,
            properties,
        })
    }

    /// The very document that requests are checked against.
    pub fn json(&self) -> &Value {
        &self.json
    }

    pub fn has(&self, name: &str) -> bool {
        self.properties.iter().any(|property| property.name == name)
    }

    pub(super) fn field(&self, name: &str) -> Option<SchemaField<'_>> {
        let property = self
            .properties
            .iter()
            .find(|property| property.name == name)?;
        let described = &self.json["properties"][name];
        let words = described["enum"].as_array();
        Some(SchemaField {
            kind: &property.kind,
            media: property.media,
            default: property.default.as_ref(),
            is_required: self.required().any(|required| required == name),
            min_length: described["minLength"].as_u64().unwrap_or(0),
            has_words: words.is_some_and(|words| words.iter().all(|word| word != "")),
        })
    }

    pub(super) fn required(&self) -> impl Iterator<Item = &str> {
        let names = self.json["required"].as_array();
        names.into_iter().flatten().filter_map(Value::as_str)
    }

    pub fn media_fields(&self) -> impl Iterator<Item = MediaField<'_>> {
        self.properties.iter().filter_map(|property| {
            property.media.map(|kind| MediaField {
                name: &property.name,
                kind,
            })
        })
    }

    /// Checks an input and gives it back in our spelling: known fields only, either spelling taken, absent ones with
    /// their defaults. A null counts as absent, as many clients send one for a field that was left empty.
    pub fn accept(&self, mut given: Map<String, Value>) -> Result<Map<String, Value>, Violations> {
        let mut input = Map::new();
        for property in &self.properties {
            let value = [Some(&property.name), property.alias.as_ref()]
                .into_iter()
                .flatten()
                .find_map(|name| given.remove(name).filter(|value| !value.is_null()));
            if let Some(value) = value {
                input.insert(property.name.clone(), value);
            }
        }
        let input = Value::Object(input);
        let fields: Vec<FieldProblem> = self
            .validator
            .iter_errors(&input)
            .take(MAX_PROBLEMS)
            .map(|error| self.problem(&error))
            .collect();
        let Value::Object(mut input) = input else {
            return Ok(Map::new());
        };
        if let Some(first) = fields.first() {
            return Err(Violations {
                sentence: sentence(first),
                fields,
            });
        }
        for property in &self.properties {
            // JSON Schema takes 2.0 for an integer; whoever counts with it must see one.
            if property.kind == "integer"
                && let Some(value) = input.get_mut(&property.name)
                && let Some(whole) = whole_number(value)
            {
                *value = whole;
            }
            if let Some(default) = &property.default
                && !input.contains_key(&property.name)
            {
                input.insert(property.name.clone(), default.clone());
            }
        }
        Ok(input)
    }

    fn problem(&self, error: &jsonschema::ValidationError<'_>) -> FieldProblem {
        let place = error.instance_path().to_string();
        let field = place.trim_start_matches('/').replace('/', ".");
        let told = |problem: &str, expected: String| FieldProblem {
            field: field.clone(),
            problem: problem.to_owned(),
            expected,
        };
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                FieldProblem {
                    field: name.to_owned(),
                    problem: "missing".to_owned(),
                    expected: self.type_of(name),
                }
            }
            ValidationErrorKind::Type { kind } => told(
                "wrong type",
                match kind {
                    TypeKind::Single(single) => single.to_string(),
                    TypeKind::Multiple(several) => several
                        .iter()
                        .map(|one| one.to_string())
                        .collect::<Vec<_>>()
                        .join(" or "),
                },
            ),
            ValidationErrorKind::Enum { options } => told(
                "not one of the allowed values",
                match &**options {
                    Value::Array(options) => {
                        options.iter().map(plain).collect::<Vec<_>>().join(", ")
                    }
                    other => other.to_string(),
                },
            ),
            ValidationErrorKind::MaxLength { limit } => {
                told("too long", format!("at most {limit} characters"))
            }
            ValidationErrorKind::MinLength { limit: 1 } => {
                told("empty", "at least 1 character".to_owned())
            }
            ValidationErrorKind::MinLength { limit } => {
                told("too short", format!("at least {limit} characters"))
            }
            ValidationErrorKind::Maximum { limit } => told("too large", format!("at most {limit}")),
            ValidationErrorKind::Minimum { limit } => {
                told("too small", format!("at least {limit}"))
            }
            ValidationErrorKind::MaxItems { limit } => {
                told("too many items", format!("at most {limit} items"))
            }
            ValidationErrorKind::MinItems { limit } => {
                told("too few items", format!("at least {limit} items"))
            }
            ValidationErrorKind::Pattern { .. } => told(
                "wrong form",
                "the form that the schema describes".to_owned(),
            ),
            ValidationErrorKind::AnyOf { .. } if field.is_empty() => self.alternatives(),
            _ => told("not allowed", "what the schema describes".to_owned()),
        }
    }

    /// What is missing when one of several fields would do.
    fn alternatives(&self) -> FieldProblem {
        let names: Vec<&str> = self.json["anyOf"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["required"].as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let kind = names
            .first()
            .map_or_else(|| "value".to_owned(), |name| self.type_of(name));
        FieldProblem {
            field: names.join(" or "),
            problem: "missing".to_owned(),
            expected: kind,
        }
    }

    fn type_of(&self, name: &str) -> String {
        self.properties
            .iter()
            .find(|property| property.name == name)
            .map_or_else(|| "value".to_owned(), |property| property.kind.clone())
    }
}

fn whole_number(value: &Value) -> Option<Value> {
    if value.is_i64() || value.is_u64() {
        return None;
    }
    // The shortest text of a whole float has no point, and what does not fit an integer stays as it is.
    value
        .as_f64()
        .and_then(|number| format!("{number}").parse::<i64>().ok())
        .map(Value::from)
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn sentence(problem: &FieldProblem) -> String {
    if problem.problem == "missing" {
        format!(
            "Missing required field: {} ({})",
            problem.field, problem.expected
        )
    } else {
        format!(
            "Invalid field: {} is {}, expected {}",
            problem.field, problem.problem, problem.expected
        )
    }
}

impl Violations {
    /// None when there are none.
    pub fn of(fields: Vec<FieldProblem>) -> Option<Self> {
        let sentence = sentence(fields.first()?);
        Some(Self { sentence, fields })
    }

    pub fn one(field: &str, problem: &str, expected: &str) -> Self {
        let field = FieldProblem {
            field: field.to_owned(),
            problem: problem.to_owned(),
            expected: expected.to_owned(),
        };
        Self {
            sentence: sentence(&field),
            fields: vec![field],
        }
    }

    pub fn missing(field: &str, kind: &str) -> Self {
        Self::one(field, "missing", kind)
    }
}

/// `imageUrl` for `image_url` and the other way round; None for a name that has only one spelling.
pub fn other_spelling(name: &str) -> Option<String> {
    if name.contains('_') {
        let mut camel = String::with_capacity(name.len());
        for (place, word) in name.split('_').enumerate() {
            let mut letters = word.chars();
            match letters.next() {
                Some(first) if place > 0 => camel.push(first.to_ascii_uppercase()),
                Some(first) => camel.push(first),
                None => {}
            }
            camel.extend(letters);
        }
        return Some(camel);
    }
    if name.chars().any(|c| c.is_ascii_uppercase()) {
        let mut snake = String::with_capacity(name.len() + 2);
        for letter in name.chars() {
            if letter.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        return Some(snake);
    }
    None
}

/// The value of a field in whichever spelling it was given.
pub(super) fn either_spelling<'a>(input: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    input
        .get(name)
        .or_else(|| other_spelling(name).and_then(|other| input.get(&other)))
        .filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> InputSchema {
        InputSchema::compile(json!({
            "type": "object",
            "required": ["prompt", "imageUrl"],
            "properties": {
                "prompt": {"type": "string", "minLength": 1, "maxLength": 10},
                "imageUrl": {"type": "string", "x-media": "image"},
                "aspect_ratio": {"type": "string", "enum": ["1:1", "16:9"], "default": "1:1"},
                "numImages": {"type": "integer", "minimum": 1, "maximum": 4, "default": 1},
            }
        }))
        .unwrap()
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "literals read better without a borrow"
    )]
    fn accept(input: Value) -> Result<Map<String, Value>, Violations> {
        schema().accept(input.as_object().unwrap().clone())
    }

    #[test]
    fn says_the_sentence_of_the_seed() {
        let wrong = accept(json!({})).unwrap_err();
        assert_eq!(wrong.sentence, "Missing required field: prompt (string)");
        assert_eq!(wrong.fields.len(), 2);
        assert_eq!(wrong.fields[1].field, "imageUrl");
    }

    #[test]
    fn takes_both_spellings_and_fills_defaults() {
        let input = accept(json!({"prompt": "a", "image_url": "x", "aspectRatio": "16:9", "unknown": "http://x", "numImages": null})).unwrap();
        assert_eq!(
            Value::Object(input),
            json!({"prompt": "a", "imageUrl": "x", "aspect_ratio": "16:9", "numImages": 1})
        );
    }

    #[test]
    fn names_each_wrong_field_and_what_was_expected() {
        let wrong = accept(
            json!({"prompt": "12345678901", "imageUrl": 5, "aspect_ratio": "7:7", "numImages": 9}),
        )
        .unwrap_err();
        let told: Vec<String> = wrong
            .fields
            .iter()
            .map(|f| format!("{}|{}|{}", f.field, f.problem, f.expected))
            .collect();
        for expected in [
            "prompt|too long|at most 10 characters",
            "imageUrl|wrong type|string",
            "aspect_ratio|not one of the allowed values|1:1, 16:9",
            "numImages|too large|at most 4",
        ] {
            assert!(
                told.iter().any(|line| line == expected),
                "{expected} in {told:?}"
            );
        }
    }

    #[test]
    fn a_whole_float_is_an_integer_to_everybody() {
        let input = accept(json!({"prompt": "a", "imageUrl": "x", "numImages": 2.0})).unwrap();
        assert_eq!(input["numImages"].as_u64(), Some(2));
        assert!(accept(json!({"prompt": "a", "imageUrl": "x", "numImages": 2.5})).is_err());
        assert!(accept(json!({"prompt": "a", "imageUrl": "x", "numImages": 2e300})).is_err());
    }

    #[test]
    fn one_of_several_that_is_missing_is_named() {
        let schema = InputSchema::compile(json!({
            "type": "object",
            "anyOf": [{"required": ["videoUrl"]}, {"required": ["imageUrl"]}],
            "properties": {"videoUrl": {"type": "string"}, "imageUrl": {"type": "string"}},
        }))
        .unwrap();
        let wrong = schema.accept(Map::new()).unwrap_err();
        assert_eq!(
            wrong.sentence,
            "Missing required field: videoUrl or imageUrl (string)"
        );
    }

    #[test]
    fn spellings() {
        assert_eq!(other_spelling("imageUrl").as_deref(), Some("image_url"));
        assert_eq!(
            other_spelling("keep_original_sound").as_deref(),
            Some("keepOriginalSound")
        );
        assert_eq!(other_spelling("prompt"), None);
    }
}
