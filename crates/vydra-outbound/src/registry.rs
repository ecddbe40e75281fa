//! Which providers there are, and who serves which model.

use crate::provider::Provider;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use vydra_core::catalog::{Model, Route};
use vydra_core::job::Mode;

#[derive(Debug, Default)]
pub struct Registry {
    providers: HashMap<&'static str, Arc<dyn Provider>>,
    sandbox: Option<Arc<dyn Provider>>,
    fallback: Option<&'static str>,
}

/// A route whose provider is here.
#[derive(Debug, Clone)]
pub struct Working {
    pub route: Route,
    pub provider: Arc<dyn Provider>,
}

impl Registry {
    pub fn add(&mut self, provider: Arc<dyn Provider>) {
        self.providers.insert(provider.name(), provider);
    }

    /// Serves everything that is asked for with a test key.
    pub fn set_sandbox(&mut self, provider: Arc<dyn Provider>) {
        self.sandbox = Some(provider);
    }

    /// Serves every model that has no other working route.
    pub fn set_fallback(&mut self, provider: Arc<dyn Provider>) {
        self.fallback = Some(provider.name());
        self.add(provider);
    }

    /// The ways to run a model, best first; none means that it cannot be called.
    pub fn working(&self, model: &Model, mode: Mode) -> Vec<Working> {
        if !model.active {
            return Vec::new();
        }
        let unmapped = |provider: &Arc<dyn Provider>| Working {
            route: Route {
                provider: provider.name().to_owned(),
                model: model.slug.clone(),
                fields: BTreeMap::new(),
            },
            provider: Arc::clone(provider),
        };
        match mode {
            Mode::Test => self.sandbox.iter().map(unmapped).collect(),
            Mode::Live => {
                let routed: Vec<Working> = model
                    .routes
                    .iter()
                    .filter_map(|route| {
                        let provider = self.providers.get(route.provider.as_str())?;
                        Some(Working {
                            route: route.clone(),
                            provider: Arc::clone(provider),
                        })
                    })
                    .collect();
                if routed.is_empty() {
                    self.fallback
                        .and_then(|name| self.providers.get(name))
                        .map(unmapped)
                        .into_iter()
                        .collect()
                } else {
                    routed
                }
            }
        }
    }
}
