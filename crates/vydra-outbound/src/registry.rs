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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Context, Polled, ProviderError, Request, Submitted};
    use async_trait::async_trait;
    use vydra_core::catalog::{Catalog, DEFAULT};

    #[derive(Debug)]
    struct Named(&'static str);

    #[async_trait]
    impl Provider for Named {
        fn name(&self) -> &'static str {
            self.0
        }

        fn is_repeatable(&self) -> bool {
            true
        }

        async fn submit(&self, _: &Context, _: Request) -> Result<Submitted, ProviderError> {
            Ok(Submitted::Done(Vec::new()))
        }

        async fn poll(&self, _: &Context, _: &str) -> Result<Polled, ProviderError> {
            Ok(Polled::Done(Vec::new()))
        }

        async fn cancel(&self, _: &str) {}
    }

    /// Whatever the catalogue and the operator say.
    #[test]
    fn a_test_key_never_leads_to_a_provider_that_is_paid() {
        // The operator replaces every row by one with a route of their own.
        let own = DEFAULT.replace("provider = \"fal\", model", "provider = \"theirs\", model");
        for operator in ["", own.as_str()] {
            let catalog = Catalog::load([("shipped", DEFAULT), ("operator", operator)]).unwrap();
            let mut registry = Registry::default();
            for model in catalog.models() {
                assert!(registry.working(model, Mode::Test).is_empty());
            }
            for name in ["fal", "theirs"] {
                registry.add(Arc::new(Named(name)));
            }
            registry.set_fallback(Arc::new(Named("fallback")));
            for model in catalog.models() {
                assert!(
                    registry.working(model, Mode::Test).is_empty(),
                    "without a sandbox there is nothing for test keys: {}",
                    model.slug
                );
            }
            registry.set_sandbox(Arc::new(Named("sandbox")));
            for model in catalog.models().iter().filter(|model| model.active) {
                let names: Vec<&str> = registry
                    .working(model, Mode::Test)
                    .iter()
                    .map(|working| working.provider.name())
                    .collect();
                assert_eq!(names, ["sandbox"], "{}", model.slug);
                let live = registry.working(model, Mode::Live);
                assert!(!live.is_empty(), "{}", model.slug);
                assert!(
                    live.iter()
                        .all(|working| working.provider.name() != "sandbox")
                );
            }
        }
    }
}
