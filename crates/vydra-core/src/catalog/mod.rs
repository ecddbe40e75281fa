//! The catalogue: models, workflows, prices and schemas. All of it is data; `catalog.default.toml` is the compiled-in one.

mod file;
mod model;
mod prices;
mod schema;
mod steps;
mod template;
mod workflow;

pub use file::CatalogError;
pub use model::{Answer, Model, Priced, Route, Variant};
pub use prices::{PriceLine, Pricing};
pub use schema::{FieldProblem, InputSchema, MediaField, Violations, other_spelling};
pub use steps::{PlannedStep, Steps};
pub use workflow::{Choice, Makeup, Resolved, Workflow};

use std::collections::HashMap;
use std::sync::OnceLock;

/// The catalogue that is compiled in.
pub const DEFAULT: &str = include_str!("../../catalog.default.toml");

/// Models by slug and by path, workflows by slug; each checked when it was loaded, so that nothing without a price or
/// with a broken schema can be called.
#[derive(Debug)]
pub struct Catalog {
    models: Vec<Model>,
    by_slug: HashMap<String, usize>,
    by_path: HashMap<String, usize>,
    workflows: Vec<Workflow>,
    price_version: OnceLock<String>,
}

impl Catalog {
    /// Later texts add rows and replace those with the same slug.
    pub fn load<'a>(
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, CatalogError> {
        file::load(texts)
    }

    /// The compiled-in catalogue alone.
    pub fn builtin() -> Result<Self, CatalogError> {
        Self::load([("catalog.default.toml", DEFAULT)])
    }

    pub fn models(&self) -> &[Model] {
        &self.models
    }

    pub fn workflows(&self) -> &[Workflow] {
        &self.workflows
    }

    pub fn model(&self, slug: &str) -> Option<&Model> {
        self.by_slug
            .get(slug)
            .and_then(|place| self.models.get(*place))
    }

    pub fn model_at(&self, path: &str) -> Option<&Model> {
        self.by_path
            .get(path)
            .and_then(|place| self.models.get(*place))
    }

    pub fn workflow(&self, slug: &str) -> Option<&Workflow> {
        self.workflows.iter().find(|workflow| workflow.slug == slug)
    }
}

#[cfg(test)]
mod tests;
