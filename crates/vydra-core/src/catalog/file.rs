//! Reading a catalogue from TOML, and refusing one that could not be kept.

use super::Catalog;
use super::model::{Answer, Model, Route, Variant};
use super::schema::InputSchema;
use super::steps::{StepRow, Steps};
use super::workflow::{Choice, Makeup, Workflow};
use crate::asset::MediaKind;
use crate::credits::Credits;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::OnceLock;

/// Why a catalogue cannot be used: the file, the row and the reason.
#[derive(Debug, thiserror::Error)]
#[error("catalogue {file}: {problem}")]
pub struct CatalogError {
    pub file: String,
    pub problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogFile {
    #[serde(default)]
    models: Vec<ModelRow>,
    #[serde(default)]
    workflows: Vec<WorkflowRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelRow {
    slug: String,
    path: Option<String>,
    name: String,
    provider: String,
    model_id: String,
    description: String,
    #[serde(default = "cloud")]
    deployed_on: String,
    kind: MediaKind,
    answer: Answer,
    credits_per_unit: Credits,
    pricing_unit: String,
    units_from: Option<String>,
    input_schema: Value,
    #[serde(default)]
    example_input: Map<String, Value>,
    #[serde(default)]
    variants: Vec<Variant>,
    #[serde(default)]
    routes: Vec<Route>,
    #[serde(default = "yes")]
    active: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkflowRow {
    slug: String,
    name: String,
    description: String,
    input_schema: Value,
    #[serde(default)]
    example_input: Map<String, Value>,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    steps: Vec<StepRow>,
    credits: Option<Credits>,
}

fn cloud() -> String {
    "cloud".to_owned()
}

fn yes() -> bool {
    true
}

pub(super) fn load<'a>(
    texts: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Catalog, CatalogError> {
    let mut catalog = Catalog {
        models: Vec::new(),
        by_slug: HashMap::new(),
        by_path: HashMap::new(),
        workflows: Vec::new(),
        price_version: OnceLock::new(),
    };
    let mut last_file = String::new();
    let mut files: HashMap<String, &str> = HashMap::new();
    for (file, text) in texts {
        let refused = |problem: String| CatalogError {
            file: file.to_owned(),
            problem,
        };
        let rows: CatalogFile = toml::from_str(text).map_err(|error| refused(error.to_string()))?;
        for row in rows.models {
            let slug = row.slug.clone();
            let model =
                model(row).map_err(|problem| refused(format!("model {slug}: {problem}")))?;
            put(&mut catalog.models, model, |model| &model.slug);
        }
        for row in rows.workflows {
            let slug = row.slug.clone();
            let workflow =
                workflow(row).map_err(|problem| refused(format!("workflow {slug}: {problem}")))?;
            files.insert(slug, file);
            put(&mut catalog.workflows, workflow, |workflow| &workflow.slug);
        }
        file.clone_into(&mut last_file);
    }
    let refused = |problem: String| CatalogError {
        file: last_file.clone(),
        problem,
    };
    for (place, model) in catalog.models.iter().enumerate() {
        catalog.by_slug.insert(model.slug.clone(), place);
        if let Some(path) = &model.path
            && let Some(other) = catalog.by_path.insert(path.clone(), place)
        {
            let other = &catalog.models[other].slug;
            return Err(refused(format!(
                "models {other} and {} have the same path {path}",
                model.slug
            )));
        }
    }
    for workflow in &catalog.workflows {
        check_models(workflow, &catalog).map_err(|problem| CatalogError {
            file: files
                .get(&workflow.slug)
                .map_or_else(String::new, |file| (*file).to_owned()),
            problem: format!("workflow {}: {problem}", workflow.slug),
        })?;
    }
    Ok(catalog)
}

/// What can only be seen when all models are known.
fn check_models(workflow: &Workflow, catalog: &Catalog) -> Result<(), String> {
    match &workflow.makeup {
        Makeup::Choices(choices) => choices
            .iter()
            .find(|choice| catalog.model(&choice.model).is_none())
            .map_or(Ok(()), |choice| {
                Err(format!("there is no model {}", choice.model))
            }),
        Makeup::Steps(steps) => steps.check(workflow, catalog),
    }
}

fn put<T>(rows: &mut Vec<T>, row: T, slug: impl Fn(&T) -> &str) {
    match rows.iter().position(|known| slug(known) == slug(&row)) {
        Some(place) => rows[place] = row,
        None => rows.push(row),
    }
}

fn model(row: ModelRow) -> Result<Model, String> {
    let schema = InputSchema::compile(row.input_schema)?;
    check_slug(&row.slug)?;
    if let Some(path) = &row.path
        && !path.split('/').all(|part| check_slug(part).is_ok())
    {
        return Err(format!(
            "path {path} must be lower-case letters, digits and hyphens, parted by slashes"
        ));
    }
    if row.credits_per_unit == Credits::ZERO
        || row
            .variants
            .iter()
            .any(|variant| variant.credits_per_unit == Credits::ZERO)
    {
        return Err(
            "a model without a price cannot be called: credits_per_unit must be at least 1"
                .to_owned(),
        );
    }
    if let Some(field) = &row.units_from
        && !schema.has(field)
    {
        return Err(format!(
            "units_from names {field}, which the input schema does not have"
        ));
    }
    for variant in &row.variants {
        if let Some(field) = variant.when.keys().find(|field| !schema.has(field)) {
            return Err(format!(
                "a variant names {field}, which the input schema does not have"
            ));
        }
    }
    if let Some(route) = row
        .routes
        .iter()
        .find(|route| route.provider.is_empty() || route.model.is_empty())
    {
        return Err(format!(
            "route {}/{} needs a provider and a model",
            route.provider, route.model
        ));
    }
    Ok(Model {
        slug: row.slug,
        path: row.path,
        name: row.name,
        provider: row.provider,
        model_id: row.model_id,
        description: row.description,
        deployed_on: row.deployed_on,
        kind: row.kind,
        answer: row.answer,
        credits_per_unit: row.credits_per_unit,
        pricing_unit: row.pricing_unit,
        units_from: row.units_from,
        schema,
        example_input: row.example_input,
        variants: row.variants,
        routes: row.routes,
        active: row.active,
    })
}

fn workflow(row: WorkflowRow) -> Result<Workflow, String> {
    let makeup = match (row.choices.is_empty(), row.steps.is_empty()) {
        (false, true) if row.credits.is_some() => {
            return Err(
                "credits is for a workflow of steps: with choices, the model has the price"
                    .to_owned(),
            );
        }
        (false, true) => Makeup::Choices(row.choices),
        (true, false) => Makeup::Steps(Steps::read(row.steps, row.credits)?),
        (true, true) | (false, false) => {
            return Err("it needs either choices or steps".to_owned());
        }
    };
    if row.slug.is_empty() {
        return Err("it needs a slug".to_owned());
    }
    Ok(Workflow {
        slug: row.slug,
        name: row.name,
        description: row.description,
        schema: InputSchema::compile(row.input_schema)?,
        example_input: row.example_input,
        makeup,
    })
}

pub(super) fn check_slug(slug: &str) -> Result<(), String> {
    let fits = !slug.is_empty()
        && slug
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'));
    if fits {
        Ok(())
    } else {
        Err(format!(
            "{slug:?} must be lower-case letters, digits, hyphens and dots"
        ))
    }
}
