//! A workflow: a named job with its own input, made of model calls.

use super::model::Priced;
use super::schema::{InputSchema, Violations, either_spelling};
use super::steps::Steps;
use super::{Catalog, Model};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Which model a workflow calls for which input, and what it hands over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    pub model: String,
    /// Taken when the input's `model` is this word; without it, for any.
    #[serde(default)]
    pub named: Option<String>,
    /// Taken only when the input has this field.
    #[serde(default)]
    pub with: Option<String>,
    /// Fields of the model that this choice fixes.
    #[serde(default)]
    pub set: Map<String, Value>,
}

#[derive(Debug)]
pub struct Workflow {
    pub slug: String,
    pub name: String,
    pub description: String,
    pub schema: InputSchema,
    pub example_input: Map<String, Value>,
    pub makeup: Makeup,
}

/// What a workflow is made of.
#[derive(Debug)]
pub enum Makeup {
    /// One call of a model. In order: the first choice that fits is taken.
    Choices(Vec<Choice>),
    /// Several calls.
    Steps(Steps),
}

/// What a workflow's input comes to.
#[derive(Debug)]
pub enum Resolved<'a> {
    Call {
        /// Whose result the caller gets.
        model: &'a Model,
        priced: Priced,
    },
    UnknownModel(String),
    Invalid(Violations),
}

impl Workflow {
    /// The choices of a workflow of one call; none of a workflow of steps.
    pub fn choices(&self) -> &[Choice] {
        match &self.makeup {
            Makeup::Choices(choices) => choices,
            Makeup::Steps(_) => &[],
        }
    }

    pub fn resolve<'a>(&self, catalog: &'a Catalog, given: Map<String, Value>) -> Resolved<'a> {
        match &self.makeup {
            Makeup::Choices(choices) => self.choose(choices, catalog, given),
            Makeup::Steps(steps) => match self.schema.accept(given) {
                Ok(input) => steps.resolve(self, catalog, input),
                Err(violations) => Resolved::Invalid(violations),
            },
        }
    }

    fn choose<'a>(
        &self,
        choices: &[Choice],
        catalog: &'a Catalog,
        given: Map<String, Value>,
    ) -> Resolved<'a> {
        // Asked for before the schema, because an unknown model has an error of its own (contract, section 7).
        if let Some(word) = either_spelling(&given, "model").and_then(Value::as_str)
            && choices.iter().any(|choice| choice.named.is_some())
            && !choices
                .iter()
                .any(|choice| choice.named.as_deref() == Some(word))
        {
            return Resolved::UnknownModel(word.to_owned());
        }
        let mut input = match self.schema.accept(given) {
            Ok(input) => input,
            Err(violations) => return Resolved::Invalid(violations),
        };
        let asked = input.get("model").and_then(Value::as_str);
        let choice = choices.iter().find(|choice| {
            choice
                .named
                .as_deref()
                .is_none_or(|name| asked == Some(name))
                && choice
                    .with
                    .as_ref()
                    .is_none_or(|field| input.contains_key(field))
        });
        let Some(choice) = choice else {
            return Resolved::UnknownModel(asked.unwrap_or_default().to_owned());
        };
        let Some(model) = catalog.model(&choice.model) else {
            return Resolved::UnknownModel(choice.model.clone());
        };
        input.remove("model");
        input.extend(choice.set.clone());
        match model.price(input) {
            Ok(priced) => Resolved::Call { model, priced },
            Err(violations) => Resolved::Invalid(violations),
        }
    }
}
