//! Workflows of several steps: what each takes, from whom, and what all of them come to.

use super::model::{Answer, Model, Priced};
use super::prices::{PriceLine, Pricing};
use super::schema::{FieldProblem, InputSchema, SchemaField, Violations};
use super::template::{Field, Part, Reference, Template};
use super::workflow::{Resolved, Workflow};
use super::{Catalog, file};
use crate::asset::MediaKind;
use crate::credits::Credits;
use crate::job::{Call, STEP, Script, Step};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

const MAX_STEPS: usize = 32;
const MAX_NAME: usize = 40;
const PER_JOB: &str = "job";

/// A step as a catalogue writes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepRow {
    name: String,
    model: String,
    #[serde(default)]
    given: Option<String>,
    #[serde(default)]
    input: Map<String, Value>,
}

/// Several model calls that make one result: that of the last.
#[derive(Debug)]
pub struct Steps {
    steps: Vec<PlannedStep>,
    /// One price for all; without it, the sum of what each costs.
    credits: Option<Credits>,
}

/// One call of a model among several.
#[derive(Debug)]
pub struct PlannedStep {
    pub name: String,
    pub model: String,
    /// The field of the workflow's input whose file takes this step's place: then it is not run.
    pub given: Option<String>,
    input: Vec<(String, Template)>,
}

impl PlannedStep {
    /// The steps whose files it takes.
    fn needs(&self) -> impl Iterator<Item = &str> {
        self.input.iter().flat_map(|(_, template)| template.steps())
    }

    fn template(&self, field: &str) -> Option<&Template> {
        let mut fields = self.input.iter();
        fields
            .find(|(name, _)| name == field)
            .map(|(_, template)| template)
    }

    fn is_given(&self, input: &Map<String, Value>) -> bool {
        let given = self.given.as_ref();
        given.is_some_and(|field| input.contains_key(field))
    }

    /// The model's refusal, told of the fields that the caller knows.
    fn told(&self, violations: Violations) -> Violations {
        let fields = violations.fields.iter().map(|problem| {
            let field = problem.field.split(['.', '[']).next().unwrap_or_default();
            let template = self.template(field);
            let shown = template.map(Template::fields).unwrap_or_default();
            let is_whole = matches!(template, Some(Template::Whole(_)));
            match shown.first() {
                Some(source) if is_whole => FieldProblem {
                    field: source.name.clone(),
                    ..problem.clone()
                },
                Some(source) => FieldProblem {
                    field: source.name.clone(),
                    problem: problem.problem.clone(),
                    expected: format!(
                        "{} in {field} of the step {}, which shows it",
                        problem.expected, self.name
                    ),
                },
                None => FieldProblem {
                    field: "input".to_owned(),
                    problem: format!("not enough for the step {}", self.name),
                    expected: format!("{field}: {}", problem.expected),
                },
            }
        });
        Violations::of(fields.collect()).unwrap_or(violations)
    }
}

impl Steps {
    pub(super) fn read(rows: Vec<StepRow>, credits: Option<Credits>) -> Result<Self, String> {
        if rows.len() > MAX_STEPS {
            return Err(format!("it has more than {MAX_STEPS} steps"));
        }
        if credits == Some(Credits::ZERO) {
            return Err(
                "credits must be at least 1, or absent: then the steps' prices are summed"
                    .to_owned(),
            );
        }
        let mut steps: Vec<PlannedStep> = Vec::with_capacity(rows.len());
        for row in rows {
            let told = |problem: String| format!("step {}: {problem}", row.name);
            file::check_slug(&row.name).map_err(told)?;
            if row.name.len() > MAX_NAME || row.name.contains('.') {
                return Err(told(format!(
                    "a name has at most {MAX_NAME} characters and no dots"
                )));
            }
            if steps.iter().any(|step| step.name == row.name) {
                return Err(told("there are two of this name".to_owned()));
            }
            let input = row
                .input
                .iter()
                .map(|(field, value)| {
                    let template = Template::read(value);
                    let template =
                        template.map_err(|problem| told(format!("{field}: {problem}")))?;
                    Ok((field.clone(), template))
                })
                .collect::<Result<_, String>>()?;
            steps.push(PlannedStep {
                name: row.name,
                model: row.model,
                given: row.given,
                input,
            });
        }
        Ok(Self { steps, credits })
    }

    pub fn iter(&self) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter()
    }

    /// One price for all of it, if it has one.
    pub fn credits(&self) -> Option<Credits> {
        self.credits
    }

    fn step(&self, name: &str) -> Option<&PlannedStep> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// What the price depends on.
    pub(super) fn priced_by(&self, catalog: &Catalog) -> Value {
        if let Some(credits) = self.credits {
            return json!(credits);
        }
        let steps = self.steps.iter().map(|step| {
            let model = catalog.model(&step.model);
            let counted = model.map(Model::priced_by).unwrap_or_default();
            let fields: Vec<String> = counted
                .into_iter()
                .map(|field| format!("{field}: {:?}", step.template(field)))
                .collect();
            json!([step.model, step.given, fields])
        });
        steps.collect()
    }

    /// Those that must run for the last one, in their order: a file that is given spares its step, and whatever only
    /// that one needs.
    fn wanted(&self, input: &Map<String, Value>) -> Vec<&PlannedStep> {
        let mut wanted = HashSet::new();
        let mut open: Vec<&str> = self
            .steps
            .last()
            .map(|step| step.name.as_str())
            .into_iter()
            .collect();
        while let Some(name) = open.pop() {
            if let Some(step) = self.step(name)
                && !step.is_given(input)
                && wanted.insert(name)
            {
                open.extend(step.needs());
            }
        }
        let steps = self.steps.iter();
        steps
            .filter(|step| wanted.contains(step.name.as_str()))
            .collect()
    }

    /// Every step's call for this input of the workflow, as its schema accepted it.
    pub(super) fn resolve<'a>(
        &self,
        workflow: &Workflow,
        catalog: &'a Catalog,
        input: Map<String, Value>,
    ) -> Resolved<'a> {
        let wanted = self.wanted(&input);
        let mut steps = Vec::with_capacity(wanted.len());
        let mut lines = Vec::new();
        let mut price = Some(Credits::ZERO);
        let mut last = None;
        for step in wanted {
            let Some(model) = catalog.model(&step.model) else {
                return Resolved::UnknownModel(step.model.clone());
            };
            let file = |name: &str| match self.step(name) {
                Some(source) if source.is_given(&input) => source
                    .given
                    .as_ref()
                    .and_then(|field| input.get(field))
                    .cloned(),
                _ => Some(json!(format!("{STEP}{name}"))),
            };
            let made = step.input.iter().filter_map(|(field, template)| {
                Some((field.clone(), template.render(&input, &file)?))
            });
            let priced = match model.price(made.collect()) {
                Ok(priced) => priced,
                Err(violations) => return Resolved::Invalid(step.told(violations)),
            };
            let mut needs: Vec<String> = Vec::new();
            for name in step.needs() {
                let runs = self
                    .step(name)
                    .is_some_and(|source| !source.is_given(&input));
                if runs && !needs.iter().any(|known| known == name) {
                    needs.push(name.to_owned());
                }
            }
            price = price.and_then(|sum| sum.checked_add(priced.price));
            lines.extend(priced.call.pricing.lines);
            steps.push(Step {
                name: step.name.clone(),
                model: priced.call.model,
                kind: priced.call.kind,
                action: priced.call.action,
                outputs: priced.call.outputs,
                input: priced.call.input,
                needs,
            });
            last = Some(model);
        }
        let (Some(model), Some(result)) = (last, steps.last()) else {
            return Resolved::UnknownModel(workflow.slug.clone());
        };
        if let Some(credits) = self.credits {
            price = Some(credits);
            lines = vec![PriceLine {
                item: workflow.name.clone(),
                model: result.model.clone(),
                pricing_unit: PER_JOB.to_owned(),
                credits_per_unit: credits,
                units: 1,
                credits,
            }];
        }
        let Some(price) = price else {
            return Resolved::Invalid(Violations::one(
                "input",
                "too large",
                "a price that can be paid",
            ));
        };
        let call = Call {
            no_fallback: false,
            model: result.model.clone(),
            kind: result.kind,
            action: result.action,
            outputs: result.outputs,
            input,
            steps,
            script: Script::default(),
            pricing: Pricing {
                version: String::new(),
                lines,
            },
        };
        let priced = Priced {
            call,
            price,
            answer: Answer::Async,
        };
        Resolved::Call { model, priced }
    }

    /// Refuses what could not run, whatever a caller sends.
    pub(super) fn check(&self, workflow: &Workflow, catalog: &Catalog) -> Result<(), String> {
        for (place, step) in self.steps.iter().enumerate() {
            let is_last = place + 1 == self.steps.len();
            self.check_step(step, is_last, &workflow.schema, catalog)
                .map_err(|problem| format!("step {}: {problem}", step.name))?;
        }
        self.check_order()?;
        match workflow.resolve(catalog, workflow.example_input.clone()) {
            Resolved::Call { .. } => Ok(()),
            Resolved::UnknownModel(model) => Err(format!("there is no model {model}")),
            Resolved::Invalid(violations) => Err(format!(
                "it cannot be run with its example_input: {}",
                violations.sentence
            )),
        }
    }

    fn check_step(
        &self,
        step: &PlannedStep,
        is_last: bool,
        schema: &InputSchema,
        catalog: &Catalog,
    ) -> Result<(), String> {
        let model = model_of(step, catalog)?;
        if model.routes.is_empty() {
            return Err(format!("model {} has no route to a provider", model.slug));
        }
        for (name, template) in &step.input {
            let Some(target) = model.schema.field(name) else {
                return Err(format!("model {} has no field {name}", model.slug));
            };
            let checked = match target.media {
                Some(kind) => self.check_file(template, &target, kind, schema, catalog),
                None => check_value(template, &target, schema),
            };
            checked.map_err(|problem| format!("{name}: {problem}"))?;
        }
        let mut needed = model.schema.required();
        if let Some(missing) = needed.find(|name| step.template(name).is_none()) {
            return Err(format!("model {} needs {missing}", model.slug));
        }
        if !is_last && !makes_one(step, model) {
            return Err("it may make several files: only the last step may".to_owned());
        }
        let Some(given) = &step.given else {
            return Ok(());
        };
        if is_last {
            return Err(
                "what is given would leave nothing to run: the last step has no given".to_owned(),
            );
        }
        let made = kind_of(step, model)?;
        match schema.field(given) {
            Some(field) if field.media == Some(made) && field.kind == "string" => Ok(()),
            _ => Err(format!(
                "given names {given}, which is not one {} of the input",
                made.as_str()
            )),
        }
    }

    /// A field that takes one file, or a list of them.
    fn check_file(
        &self,
        template: &Template,
        target: &SchemaField<'_>,
        kind: MediaKind,
        schema: &InputSchema,
        catalog: &Catalog,
    ) -> Result<(), String> {
        let found = match template {
            Template::Whole(Reference::Step(_)) if target.kind == "array" => {
                return Err("it takes a list of files".to_owned());
            }
            Template::Whole(Reference::Step(name)) => {
                let source = self
                    .step(name)
                    .ok_or_else(|| format!("there is no step {name}"))?;
                kind_of(source, model_of(source, catalog)?)?
            }
            Template::Whole(Reference::Input(Field { name, otherwise })) => {
                let field = schema.field(name).ok_or_else(|| unknown_field(name))?;
                if otherwise.is_some() {
                    return Err(format!("words cannot stand for the file {name}"));
                }
                if field.kind != target.kind {
                    return Err(format!(
                        "it takes {}, and {name} is {}",
                        target.kind, field.kind
                    ));
                }
                if target.is_required && !field.is_sure() {
                    return Err(may_be_absent(name));
                }
                field
                    .media
                    .ok_or_else(|| format!("it takes a file, and {name} is none"))?
            }
            Template::List(items) if target.kind == "array" => {
                let one = SchemaField {
                    kind: "string",
                    is_required: false,
                    ..*target
                };
                return items
                    .iter()
                    .try_for_each(|item| self.check_file(item, &one, kind, schema, catalog));
            }
            Template::Fixed(_) | Template::Text(_) | Template::List(_) => {
                return Err("it takes a file: that of a step, or one of the input".to_owned());
            }
        };
        if found == kind {
            return Ok(());
        }
        Err(format!(
            "it takes {}, not {}",
            kind.as_str(),
            found.as_str()
        ))
    }

    /// Every step leads to the last, and none to itself.
    fn check_order(&self) -> Result<(), String> {
        let mut done: HashSet<&str> = HashSet::new();
        while done.len() < self.steps.len() {
            let mut open = self
                .steps
                .iter()
                .filter(|step| !done.contains(step.name.as_str()));
            let next = open
                .clone()
                .find(|step| step.needs().all(|name| done.contains(name)));
            let Some(next) = next else {
                let first = open.next().map_or("", |step| &step.name);
                return Err(format!(
                    "step {first}: it waits, by way of others or directly, for itself"
                ));
            };
            done.insert(&next.name);
        }
        let Some((_, before)) = self.steps.split_last() else {
            return Ok(());
        };
        for step in before {
            if !self
                .steps
                .iter()
                .any(|other| other.needs().any(|name| name == step.name))
            {
                return Err(format!(
                    "step {}: no other step takes what it makes",
                    step.name
                ));
            }
        }
        Ok(())
    }
}

fn model_of<'a>(step: &PlannedStep, catalog: &'a Catalog) -> Result<&'a Model, String> {
    let model = catalog.model(&step.model);
    model.ok_or_else(|| format!("there is no model {}", step.model))
}

fn unknown_field(name: &str) -> String {
    format!("the input schema has no field {name}")
}

fn may_be_absent(name: &str) -> String {
    format!(
        "{name} may be absent: give it a default, require it, or say what stands for it, as {{{{{name}|something}}}}"
    )
}

/// A field that takes no file.
fn check_value(
    template: &Template,
    target: &SchemaField<'_>,
    schema: &InputSchema,
) -> Result<(), String> {
    let mut sources = Vec::new();
    for field in template.fields() {
        let source = schema
            .field(&field.name)
            .ok_or_else(|| unknown_field(&field.name))?;
        if source.media.is_some() {
            return Err(format!("it takes no file, and {} is one", field.name));
        }
        if field.otherwise.is_some() && source.kind != "string" {
            return Err(format!(
                "only for a text can other words stand, and {} is {}",
                field.name, source.kind
            ));
        }
        sources.push((field, source));
    }
    if let Some(step) = template.steps().first() {
        return Err(format!("it takes no file, and step {step} makes one"));
    }
    match template {
        Template::Fixed(_) => Ok(()),
        Template::List(_) => match sources.iter().find(|(_, source)| !source.is_plain()) {
            Some((field, source)) => Err(format!(
                "{} is {}, which no list holds",
                field.name, source.kind
            )),
            None if target.kind == "array" => Ok(()),
            None => Err(format!("it takes {}, not a list", target.kind)),
        },
        Template::Whole(_) => sources.iter().try_for_each(|(field, source)| {
            if !source.fits(target) {
                return Err(format!(
                    "it takes {}, and {} is {}",
                    target.kind, field.name, source.kind
                ));
            }
            let is_sure = source.is_sure() || field.otherwise.is_some();
            if target.is_required && !is_sure {
                return Err(may_be_absent(&field.name));
            }
            if target.min_length > 0 && may_be_empty(field, source) && source.kind == "string" {
                return Err(format!(
                    "{} may be empty: give it a minLength of 1",
                    field.name
                ));
            }
            Ok(())
        }),
        Template::Text(parts) => {
            if !matches!(target.kind, "string" | "value") {
                return Err(format!("it takes {}, not a text", target.kind));
            }
            for (field, source) in &sources {
                if !source.is_plain() {
                    return Err(format!(
                        "{} is {}, which no text shows",
                        field.name, source.kind
                    ));
                }
                if !source.is_sure() && field.otherwise.is_none() {
                    return Err(may_be_absent(&field.name));
                }
            }
            let has_words = parts
                .iter()
                .any(|part| matches!(part, Part::Words(words) if !words.trim().is_empty()));
            let all_empty = sources
                .iter()
                .all(|(field, source)| may_be_empty(field, source));
            if target.min_length > 0 && !has_words && all_empty {
                return Err("it may come out empty: give a field of it a minLength of 1".to_owned());
            }
            Ok(())
        }
    }
}

fn may_be_empty(field: &Field, source: &SchemaField<'_>) -> bool {
    source.kind == "string"
        && source.min_length == 0
        && !source.has_words
        && field.otherwise.is_none()
}

/// What a step makes, which must not depend on the caller.
fn kind_of(step: &PlannedStep, model: &Model) -> Result<MediaKind, String> {
    let mut input = Map::new();
    for variant in &model.variants {
        for name in variant.when.keys() {
            match step.template(name) {
                None => {
                    let default = model.schema.field(name).and_then(|field| field.default);
                    input.extend(default.map(|value| (name.clone(), value.clone())));
                }
                Some(Template::Fixed(value)) => {
                    input.insert(name.clone(), value.clone());
                }
                Some(_) if variant.kind == model.kind => {}
                Some(_) => {
                    return Err(format!(
                        "{name}: it decides what is made, so that it must be fixed"
                    ));
                }
            }
        }
    }
    Ok(model.kind_for(&input))
}

fn makes_one(step: &PlannedStep, model: &Model) -> bool {
    let Some(field) = &model.units_from else {
        return true;
    };
    let counted = match step.template(field) {
        Some(Template::Fixed(value)) => Some(value),
        Some(_) => return false,
        None => model.schema.field(field).and_then(|field| field.default),
    };
    counted.is_none_or(|count| count.as_u64() == Some(1))
}

#[cfg(test)]
mod tests;
