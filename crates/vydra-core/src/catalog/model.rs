//! A model: what it takes, what it costs, how it answers, and who runs it.

use super::prices::{PriceLine, Pricing};
use super::schema::{InputSchema, Violations, either_spelling};
use crate::asset::MediaKind;
use crate::credits::Credits;
use crate::job::{ASSET, Action, Call, STEP, Script};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Whether a call waits for its result by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Sync,
    Async,
}

/// One way to run a model: a provider, its name for the model, and how our input becomes theirs.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// As it is named in the configuration.
    pub provider: String,
    pub model: String,
    /// Only for calls whose fields have these values, where `*` is any and an empty one none; for all calls when empty.
    #[serde(default)]
    pub when: BTreeMap<String, String>,
    /// Only for calls with at most so many media files.
    pub max_media: Option<usize>,
    /// Routes that follow one another and have a weight take turns at being the first of them: so many times more often. Zero
    /// keeps its place.
    #[serde(default)]
    pub weight: u32,
    /// Our field's name to theirs: a field that is not named keeps ours, one with an empty name is not sent, and a name that
    /// ends with `[]` is that of a list, also where we have a single value.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// By our field's name: our value to theirs. What is not named stays as it is.
    #[serde(default)]
    pub values: BTreeMap<String, BTreeMap<String, Value>>,
    /// By our field's name: how its value is written, such as `{}s`; the value becomes text.
    #[serde(default)]
    pub formats: BTreeMap<String, String>,
    /// What is sent besides, under their names; the input wins.
    #[serde(default)]
    pub set: Map<String, Value>,
    /// What only this kind of provider understands; its page says what.
    #[serde(default)]
    pub settings: Map<String, Value>,
}

/// Whatever value a field has.
const ANY: &str = "*";

/// What depends on the value of a field: `grok-imagine` makes images or videos.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Applies when these fields have these values.
    pub when: BTreeMap<String, String>,
    pub kind: MediaKind,
    pub answer: Answer,
    pub credits_per_unit: Credits,
    pub pricing_unit: String,
}

#[derive(Debug)]
pub struct Model {
    pub slug: String,
    /// Where it is called, below `/models/`; None for a model that only workflows use.
    pub path: Option<String>,
    pub name: String,
    pub provider: String,
    pub model_id: String,
    pub description: String,
    pub deployed_on: String,
    pub kind: MediaKind,
    pub answer: Answer,
    pub credits_per_unit: Credits,
    pub pricing_unit: String,
    /// The input field that says how many outputs are asked.
    pub units_from: Option<String>,
    pub schema: InputSchema,
    pub example_input: Map<String, Value>,
    pub variants: Vec<Variant>,
    pub routes: Vec<Route>,
    /// The operator's switch. Whether it can be called also needs a route that works.
    pub active: bool,
}

/// A call with its price: what the job will do, decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Priced {
    pub call: Call,
    pub price: Credits,
    pub answer: Answer,
}

impl Route {
    /// Whether it is for a call with this input, as it was accepted.
    pub fn takes(&self, input: &Map<String, Value>) -> bool {
        let fits = |(field, wanted): (&String, &String)| match input.get(field) {
            Some(Value::Null) | None => wanted.is_empty(),
            Some(_) if wanted == ANY => true,
            Some(Value::String(text)) => text == wanted,
            Some(other) => {
                let text = other.to_string();
                text == *wanted
            }
        };
        let is_media = |value: &&Value| {
            let text = value.as_str().unwrap_or_default();
            text.starts_with(ASSET) || text.starts_with(STEP)
        };
        let values = input.values().flat_map(|value| match value {
            Value::Array(values) => values.as_slice(),
            single => std::slice::from_ref(single),
        });
        let media = values.filter(is_media).count();
        self.when.iter().all(fits) && self.max_media.is_none_or(|most| media <= most)
    }
}

impl Model {
    fn variant(&self, input: &Map<String, Value>) -> Option<&Variant> {
        self.variants.iter().find(|variant| {
            variant.when.iter().all(|(field, wanted)| {
                either_spelling(input, field).and_then(Value::as_str) == Some(wanted)
            })
        })
    }

    /// What a call with these values makes.
    pub(super) fn kind_for(&self, input: &Map<String, Value>) -> MediaKind {
        self.variant(input)
            .map_or(self.kind, |variant| variant.kind)
    }

    /// The fields that its price depends on.
    pub(super) fn priced_by(&self) -> Vec<&str> {
        let chosen = self.variants.iter().flat_map(|variant| variant.when.keys());
        let all = self.units_from.iter().chain(chosen);
        all.map(String::as_str).collect()
    }

    /// Whether a call with this input, as it was accepted, waits for its result.
    pub fn answer_to(&self, input: &Map<String, Value>) -> Answer {
        self.variant(input)
            .map_or(self.answer, |variant| variant.answer)
    }

    /// Checks an input and prices it. The price is known here, before anything runs.
    pub fn price(&self, given: Map<String, Value>) -> Result<Priced, Violations> {
        let input = self.schema.accept(given)?;
        let variant = self.variant(&input);
        let (kind, answer, per_unit, unit) = variant.map_or(
            (
                self.kind,
                self.answer,
                self.credits_per_unit,
                &self.pricing_unit,
            ),
            |variant| {
                (
                    variant.kind,
                    variant.answer,
                    variant.credits_per_unit,
                    &variant.pricing_unit,
                )
            },
        );
        let outputs = self
            .units_from
            .as_ref()
            .and_then(|field| input.get(field))
            .and_then(Value::as_u64)
            .and_then(|units| u32::try_from(units).ok())
            .unwrap_or(1)
            .max(1);
        let Some(price) = per_unit.checked_mul(outputs) else {
            return Err(Violations::one(
                self.units_from.as_deref().unwrap_or("input"),
                "too large",
                "a price that can be paid",
            ));
        };
        let starts_from_image = kind == MediaKind::Image
            && self
                .schema
                .media_fields()
                .any(|field| input.contains_key(field.name));
        let action = if starts_from_image {
            Action::Edit
        } else {
            Action::Generate
        };
        let call = Call {
            model: self.slug.clone(),
            kind,
            action,
            outputs,
            input,
            steps: Vec::new(),
            no_fallback: false,
            script: Script::default(),
            pricing: Pricing {
                version: String::new(),
                lines: vec![PriceLine {
                    item: self.name.clone(),
                    model: self.slug.clone(),
                    pricing_unit: unit.clone(),
                    credits_per_unit: per_unit,
                    units: outputs,
                    credits: price,
                }],
            },
        };
        Ok(Priced {
            call,
            price,
            answer,
        })
    }
}
