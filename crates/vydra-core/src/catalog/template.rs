//! Templates: how a step's input is made from the job's input and from what other steps make.
//!
//! They are read once, when the catalogue is loaded. What a caller sends is put in as it is and never read as a template.

use serde_json::{Map, Value};

const OPEN: &str = "{{";
const CLOSE: &str = "}}";
const STEPS: &str = "steps.";

/// The value of one field of a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Template {
    Fixed(Value),
    /// Exactly one reference: the value keeps its type.
    Whole(Reference),
    /// References among words.
    Text(Vec<Part>),
    List(Vec<Template>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reference {
    Input(Field),
    /// What this step makes.
    Step(String),
}

/// A field of the job's input.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    /// Stands for it when it is absent or blank.
    pub(super) otherwise: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Words(String),
    Field(Field),
}

impl Template {
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => read_text(text),
            Value::Array(items) => {
                let items = items
                    .iter()
                    .map(Self::read)
                    .collect::<Result<Vec<_>, _>>()?;
                if items.iter().all(|item| matches!(item, Self::Fixed(_))) {
                    return Ok(Self::Fixed(value.clone()));
                }
                if items.iter().any(|item| matches!(item, Self::List(_))) {
                    return Err(
                        "a template may stand in a list, and in no list within it".to_owned()
                    );
                }
                Ok(Self::List(items))
            }
            Value::Object(_) if value.to_string().contains(OPEN) => Err(
                "a template may stand in a text or in a list of texts, and nowhere else".to_owned(),
            ),
            fixed => Ok(Self::Fixed(fixed.clone())),
        }
    }

    /// The value for this input; None when it is only a field that is absent. `file` says what stands for a step.
    pub(super) fn render(
        &self,
        input: &Map<String, Value>,
        file: &dyn Fn(&str) -> Option<Value>,
    ) -> Option<Value> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Whole(Reference::Step(step)) => file(step),
            Self::Whole(Reference::Input(field)) => field.value(input),
            Self::Text(parts) => {
                let text: String = parts
                    .iter()
                    .filter_map(|part| match part {
                        Part::Words(words) => Some(words.clone()),
                        Part::Field(field) => field.value(input).map(|value| match value {
                            Value::String(text) => text,
                            other => other.to_string(),
                        }),
                    })
                    .collect();
                Some(Value::String(text))
            }
            Self::List(items) => Some(
                items
                    .iter()
                    .filter_map(|item| item.render(input, file))
                    .collect(),
            ),
        }
    }

    /// The fields of the job's input that it shows.
    pub(super) fn fields(&self) -> Vec<&Field> {
        match self {
            Self::Fixed(_) | Self::Whole(Reference::Step(_)) => Vec::new(),
            Self::Whole(Reference::Input(field)) => vec![field],
            Self::Text(parts) => parts
                .iter()
                .filter_map(|part| match part {
                    Part::Words(_) => None,
                    Part::Field(field) => Some(field),
                })
                .collect(),
            Self::List(items) => items.iter().flat_map(Self::fields).collect(),
        }
    }

    /// The steps that it takes from.
    pub(super) fn steps(&self) -> Vec<&str> {
        match self {
            Self::Whole(Reference::Step(step)) => vec![step],
            Self::List(items) => items.iter().flat_map(Self::steps).collect(),
            Self::Fixed(_) | Self::Whole(Reference::Input(_)) | Self::Text(_) => Vec::new(),
        }
    }
}

impl Field {
    fn value(&self, input: &Map<String, Value>) -> Option<Value> {
        let is_blank = |value: &Value| value.as_str().is_some_and(|text| text.trim().is_empty());
        match (input.get(&self.name), &self.otherwise) {
            (Some(value), Some(_)) if !is_blank(value) => Some(value.clone()),
            (_, Some(otherwise)) => Some(Value::String(otherwise.clone())),
            (value, None) => value.cloned(),
        }
    }
}

fn read_text(text: &str) -> Result<Template, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((words, after)) = rest.split_once(OPEN) {
        let Some((inside, behind)) = after.split_once(CLOSE) else {
            return Err(format!("{text:?} has {OPEN} without {CLOSE}"));
        };
        if !words.is_empty() {
            parts.push(Part::Words(words.to_owned()));
        }
        let whole = parts.is_empty() && behind.is_empty();
        match (reference(inside)?, whole) {
            (reference, true) => return Ok(Template::Whole(reference)),
            (Reference::Input(field), false) => parts.push(Part::Field(field)),
            (Reference::Step(step), false) => {
                return Err(format!(
                    "{OPEN}{STEPS}{step}{CLOSE} is a file: it cannot stand among words"
                ));
            }
        }
        rest = behind;
    }
    if parts.is_empty() {
        return Ok(Template::Fixed(Value::String(text.to_owned())));
    }
    if !rest.is_empty() {
        parts.push(Part::Words(rest.to_owned()));
    }
    Ok(Template::Text(parts))
}

fn reference(inside: &str) -> Result<Reference, String> {
    let (name, otherwise) = match inside.split_once('|') {
        None => (inside.trim(), None),
        Some((name, otherwise)) => (name.trim(), Some(otherwise.trim())),
    };
    if let Some(step) = name.strip_prefix(STEPS) {
        return match otherwise {
            None => Ok(Reference::Step(step.to_owned())),
            Some(_) => Err(format!(
                "nothing can stand for a step: {OPEN}{inside}{CLOSE}"
            )),
        };
    }
    if name.is_empty() || otherwise.is_some_and(str::is_empty) {
        return Err(format!(
            "{OPEN}{inside}{CLOSE} must name a field of the input, as {OPEN}field{CLOSE} or {OPEN}field|otherwise{CLOSE}"
        ));
    }
    Ok(Reference::Input(Field {
        name: name.to_owned(),
        otherwise: otherwise.map(str::to_owned),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn rendered(template: &str, input: &Value) -> Option<Value> {
        let file = |step: &str| Some(json!(format!("step:{step}")));
        Template::read(&json!(template))
            .unwrap()
            .render(input.as_object().unwrap(), &file)
    }

    #[test]
    fn a_reference_alone_keeps_its_type_and_among_words_is_text() {
        let input = json!({"theme": "red", "count": 3, "on": true, "files": ["a", "b"]});
        for (template, value) in [
            ("plain", json!("plain")),
            ("{{count}}", json!(3)),
            ("{{ on }}", json!(true)),
            ("{{files}}", json!(["a", "b"])),
            ("{{steps.plot}}", json!("step:plot")),
            ("a {{theme}} house", json!("a red house")),
            ("{{count}}{{theme}}", json!("3red")),
            ("{{theme|blue}}", json!("red")),
            ("{{gone|blue}}", json!("blue")),
            ("a {{gone| light blue }} house", json!("a light blue house")),
            ("} }} {", json!("} }} {")),
        ] {
            assert_eq!(rendered(template, &input), Some(value), "{template}");
        }
        assert_eq!(rendered("{{gone}}", &input), None);
    }

    #[test]
    fn what_is_blank_is_as_good_as_absent_where_something_stands_for_it() {
        for blank in ["", "  ", "\t\n"] {
            let input = json!({ "theme": blank });
            assert_eq!(rendered("{{theme|blue}}", &input), Some(json!("blue")));
            assert_eq!(rendered("{{theme}}", &input), Some(json!(blank)));
        }
    }

    #[test]
    fn a_list_leaves_out_what_is_absent() {
        let list = Template::read(&json!(["{{a}}", "{{b}}", "c"])).unwrap();
        let input = json!({"a": "x"});
        let value = list.render(input.as_object().unwrap(), &|_| None);
        assert_eq!(value, Some(json!(["x", "c"])));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (wrong, why) in [
            (json!("a {{theme"), "without }}"),
            (json!("{{}}"), "must name a field"),
            (json!("{{theme|}}"), "must name a field"),
            (json!("a {{steps.plot}}"), "among words"),
            (json!("{{steps.plot|x}}"), "stand for a step"),
            (json!({"deep": "{{theme}}"}), "nowhere else"),
            (json!([["{{theme}}"]]), "no list within"),
        ] {
            let told = Template::read(&wrong).unwrap_err();
            assert!(told.contains(why), "{wrong}: {told}");
        }
    }

    proptest! {
        /// Whatever a caller sends stands in the result as it is.
        #[test]
        fn words_of_a_caller_are_never_read_as_a_template(
            words in "(\\{\\{|\\}\\}|steps\\.|step:|theme|secret|\\||[a-z ]|\\PC){0,12}"
        ) {
            let input = json!({"theme": words, "secret": "hidden"});
            prop_assert_eq!(rendered("{{theme}}", &input), Some(json!(words)));
            let among = rendered("<{{theme}}>{{theme}}", &input);
            prop_assert_eq!(among, Some(json!(format!("<{words}>{words}"))));
        }

        #[test]
        fn reading_never_panics(text in "(\\{\\{|\\}\\}|steps\\.|\\||\\PC){0,20}") {
            let _ = Template::read(&json!(text));
        }
    }
}
