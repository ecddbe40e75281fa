//! Models as callers see them.

use crate::{Engine, Error, Result};
use vydra_core::catalog::Model;
use vydra_core::job::Mode;

/// A model, and whether it can be called now.
#[derive(Debug, Clone, Copy)]
pub struct ListedModel<'a> {
    pub model: &'a Model,
    pub is_active: bool,
}

impl Engine {
    pub fn models(&self, mode: Mode) -> impl Iterator<Item = ListedModel<'_>> {
        self.catalog()
            .models()
            .iter()
            .map(move |model| self.listed(model, mode))
    }

    pub fn model(&self, slug: &str, mode: Mode) -> Result<ListedModel<'_>> {
        self.catalog()
            .model(slug)
            .map(|model| self.listed(model, mode))
            .ok_or_else(|| unknown(slug))
    }

    fn listed<'a>(&self, model: &'a Model, mode: Mode) -> ListedModel<'a> {
        ListedModel {
            model,
            is_active: !self.parts.providers.working(model, mode).is_empty(),
        }
    }

    /// The model that is called at this path, if it can be.
    pub(crate) fn callable_at(&self, path: &str, mode: Mode) -> Result<&Model> {
        let model = self.catalog().model_at(path).ok_or_else(|| unknown(path))?;
        self.check_active(model, mode)?;
        Ok(model)
    }

    /// The same, by path or by slug.
    pub(crate) fn callable_as(&self, word: &str, mode: Mode) -> Result<&Model> {
        let path = self
            .catalog()
            .model(word)
            .and_then(|model| model.path.as_deref());
        match path {
            Some(path) if self.catalog().model_at(word).is_none() => self.callable_at(path, mode),
            _ => self.callable_at(word, mode),
        }
    }

    pub(crate) fn check_active(&self, model: &Model, mode: Mode) -> Result<()> {
        if self.listed(model, mode).is_active {
            return Ok(());
        }
        Err(Error::ModelNotFound {
            model: model.slug.clone(),
            hint: "This model is known but not active on this server: its operator has set up no provider for it. GET /api/v1/models?isActive=true lists those that can be called.".to_owned(),
        })
    }
}

fn unknown(model: &str) -> Error {
    Error::ModelNotFound {
        model: model.to_owned(),
        hint: "GET /api/v1/models lists the models of this server.".to_owned(),
    }
}
