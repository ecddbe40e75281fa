//! Models: what there is, what it costs, and calling it.

use crate::client::Client;
use crate::error::Error;
use crate::jobs;
use crate::options::{Buy, ModelFilter, Quoted};
use crate::types::{Job, Model, ModelList, Quote};
use reqwest::Method;
use serde::Serialize;

/// What [`Client::models`] gives: what can be called, and calling it.
#[derive(Debug, Clone, Copy)]
pub struct Models<'a>(&'a Client);

impl Models<'_> {
    /// All models.
    pub async fn list(&self, filter: &ModelFilter) -> Result<ModelList, Error> {
        let core = &self.0.core;
        let request = core
            .get(&["models"])?
            .query("provider", filter.provider.as_ref())
            .query("isActive", filter.is_active);
        core.json(&request).await
    }

    /// One model, with the schema of its input.
    pub async fn get(&self, slug: &str) -> Result<Model, Error> {
        let core = &self.0.core;
        core.json(&core.get(&["models", slug])?).await
    }

    /// Calls a model at its path, such as `gemini/edit`. What takes longer gives a pending job: wait for it.
    pub async fn run(&self, path: &str, input: &impl Serialize, buy: &Buy) -> Result<Job, Error> {
        let core = &self.0.core;
        jobs::run(core, &jobs::of_model(core, path, input, buy)?).await
    }
}

#[derive(Serialize)]
struct Question<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<&'a str>,
    input: &'a T,
}

impl Client {
    /// What can be called, and calling it.
    pub fn models(&self) -> Models<'_> {
        Models(self)
    }

    /// What a call would cost; it costs nothing to ask.
    pub async fn quote(&self, what: Quoted<'_>, input: &impl Serialize) -> Result<Quote, Error> {
        let (model, workflow) = match what {
            Quoted::Model(model) => (Some(model), None),
            Quoted::Workflow(workflow) => (None, Some(workflow)),
        };
        let question = Question {
            model,
            workflow,
            input,
        };
        let core = &self.core;
        let request = core.request(Method::POST, &["quotes"])?.json(&question)?;
        core.json(&request).await
    }
}
