//! Which providers there are, and who serves which model.

use crate::provider::Provider;
use std::collections::HashMap;
use std::sync::Arc;
use vydra_core::catalog::{Model, Route};
use vydra_core::job::Mode;

/// What the operator allows one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Calls and tasks at once.
    pub concurrency: Option<u32>,
    /// The credits for which it may be asked on one day.
    pub daily_credits: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    provider: Arc<dyn Provider>,
    bounds: Bounds,
    /// Whether it is somebody whom we call.
    is_hosted: bool,
}

#[derive(Debug, Default)]
pub struct Registry {
    providers: HashMap<String, Entry>,
    sandbox: Option<Arc<dyn Provider>>,
    fallback: Option<String>,
}

/// A route whose provider is here.
#[derive(Debug, Clone)]
pub struct Working {
    pub route: Route,
    /// Its place among the routes of its model.
    pub number: u32,
    pub provider: Arc<dyn Provider>,
    pub bounds: Bounds,
    pub is_hosted: bool,
}

impl Registry {
    /// One that lives in this process, or costs nothing.
    pub fn add(&mut self, provider: Arc<dyn Provider>) {
        self.put(provider, Bounds::default(), false);
    }

    /// One that we call, within bounds.
    pub fn add_hosted(&mut self, provider: Arc<dyn Provider>, bounds: Bounds) {
        self.put(provider, bounds, true);
    }

    fn put(&mut self, provider: Arc<dyn Provider>, bounds: Bounds, is_hosted: bool) {
        let entry = Entry {
            provider,
            bounds,
            is_hosted,
        };
        let name = entry.provider.name().to_owned();
        self.providers.insert(name, entry);
    }

    /// Serves everything that is asked for with a test key.
    pub fn set_sandbox(&mut self, provider: Arc<dyn Provider>) {
        self.sandbox = Some(provider);
    }

    /// Serves every model that has no other working route.
    pub fn set_fallback(&mut self, provider: Arc<dyn Provider>) {
        self.fallback = Some(provider.name().to_owned());
        self.add(provider);
    }

    /// What each one that we call is allowed.
    pub fn bounds(&self) -> impl Iterator<Item = (&str, Bounds)> {
        let hosted = self.providers.iter().filter(|(_, entry)| entry.is_hosted);
        hosted.map(|(name, entry)| (name.as_str(), entry.bounds))
    }

    /// Those that we call, by their names.
    pub fn hosted(&self) -> Vec<Arc<dyn Provider>> {
        let hosted = self.providers.values().filter(|entry| entry.is_hosted);
        let mut hosted: Vec<_> = hosted.map(|entry| Arc::clone(&entry.provider)).collect();
        hosted.sort_by(|one, other| one.name().cmp(other.name()));
        hosted
    }

    /// The one of this name, for a task that it has taken, whatever the catalogue says by now.
    pub fn named(&self, name: &str, model: &str, mode: Mode) -> Option<Working> {
        match mode {
            Mode::Test => {
                let sandbox = self.sandbox.iter().find(|sandbox| sandbox.name() == name);
                sandbox.map(|sandbox| unmapped(sandbox, model, Bounds::default(), false))
            }
            Mode::Live => {
                let entry = self.providers.get(name)?;
                Some(unmapped(
                    &entry.provider,
                    model,
                    entry.bounds,
                    entry.is_hosted,
                ))
            }
        }
    }

    /// The ways to run a model, best first; none means that it cannot be called.
    pub fn working(&self, model: &Model, mode: Mode) -> Vec<Working> {
        if !model.active {
            return Vec::new();
        }
        match mode {
            Mode::Test => {
                let sandbox = self.sandbox.iter();
                let free = |sandbox| unmapped(sandbox, &model.slug, Bounds::default(), false);
                sandbox.map(free).collect()
            }
            Mode::Live => {
                let routed: Vec<Working> = (0..)
                    .zip(&model.routes)
                    .filter_map(|(number, route)| {
                        let entry = self.providers.get(route.provider.as_str())?;
                        Some(Working {
                            route: route.clone(),
                            number,
                            provider: Arc::clone(&entry.provider),
                            bounds: entry.bounds,
                            is_hosted: entry.is_hosted,
                        })
                    })
                    .collect();
                if routed.is_empty() {
                    self.fallback
                        .as_ref()
                        .and_then(|name| self.providers.get(name))
                        .map(|entry| {
                            unmapped(&entry.provider, &model.slug, entry.bounds, entry.is_hosted)
                        })
                        .into_iter()
                        .collect()
                } else {
                    routed
                }
            }
        }
    }
}

/// Input and names as they are.
fn unmapped(provider: &Arc<dyn Provider>, model: &str, bounds: Bounds, is_hosted: bool) -> Working {
    Working {
        route: Route {
            provider: provider.name().to_owned(),
            model: model.to_owned(),
            ..Route::default()
        },
        number: 0,
        provider: Arc::clone(provider),
        bounds,
        is_hosted,
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
                let test = registry.working(model, Mode::Test);
                let names: Vec<&str> = test.iter().map(|working| working.provider.name()).collect();
                assert_eq!(names, ["sandbox"], "{}", model.slug);
                for name in ["fal", "theirs", "fallback"] {
                    assert!(registry.named(name, &model.slug, Mode::Test).is_none());
                }
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
