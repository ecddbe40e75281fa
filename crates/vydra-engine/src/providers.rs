//! Providers as their operator sees them: what they did, and how they are.

use crate::{Engine, Result};
use futures_util::future::join_all;
use serde_json::{Map, Value};
use vydra_core::catalog::Catalog;
use vydra_outbound::provider::{Checkup, Provider, ProviderError};
use vydra_store::store::{AttemptFilter, ProviderAttempt};

/// What a provider said when it was asked how it is.
#[derive(Debug)]
pub struct CheckedProvider {
    pub name: String,
    /// Its own words, or why there are none.
    pub answer: std::result::Result<Checkup, ProviderError>,
    pub routes: Vec<CheckedRoute>,
}

/// A route of the catalogue to that provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRoute {
    /// The model's slug.
    pub model: String,
    /// The provider's name for it.
    pub upstream: String,
    pub standing: Standing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Listed,
    /// It will be switched off on that day, in the provider's words.
    Retires(String),
    /// The provider lists its models, and this is none of them.
    Unknown,
    /// What the route names besides the model and the provider lacks, such as the file of a model.
    Lacks(Vec<String>),
    /// The provider does not tell.
    NotTold,
}

impl Engine {
    /// What providers that we call were asked and answered, the newest first.
    pub async fn provider_attempts(&self, filter: AttemptFilter) -> Result<Vec<ProviderAttempt>> {
        Ok(self.store().attempts(filter).await?)
    }

    /// Asks every provider that is set up for its cheapest answer, all at once.
    pub async fn check_providers(&self) -> Vec<CheckedProvider> {
        let hosted = self.parts.providers.hosted();
        join_all(
            hosted
                .iter()
                .map(|provider| self.check_provider(provider.as_ref())),
        )
        .await
    }

    async fn check_provider(&self, provider: &dyn Provider) -> CheckedProvider {
        let mut answer = provider.check().await;
        let routes = routes(self.catalog(), provider.name(), answer.as_ref().ok());
        let (mut checked, settings): (Vec<_>, Vec<_>) = routes.into_iter().unzip();
        if answer.is_ok() && !checked.is_empty() {
            match provider.lacking(&settings).await {
                Ok(lacking) => {
                    for (route, lacking) in checked.iter_mut().zip(lacking) {
                        tell(route, lacking);
                    }
                }
                Err(error) => answer = Err(error),
            }
        }
        CheckedProvider {
            name: provider.name().to_owned(),
            answer,
            routes: checked,
        }
    }
}

fn tell(route: &mut CheckedRoute, lacking: Option<Vec<String>>) {
    match lacking {
        Some(lacking) if !lacking.is_empty() => route.standing = Standing::Lacks(lacking),
        Some(_) if route.standing == Standing::NotTold => route.standing = Standing::Listed,
        Some(_) | None => {}
    }
}

/// The routes to a provider, each with its settings.
fn routes<'a>(
    catalog: &'a Catalog,
    provider: &str,
    told: Option<&Checkup>,
) -> Vec<(CheckedRoute, &'a Map<String, Value>)> {
    let listed = told.and_then(|checkup| checkup.models.as_ref());
    let standing = |upstream: &str| match listed.map(|models| models.get(upstream)) {
        None => Standing::NotTold,
        Some(None) => Standing::Unknown,
        Some(Some(model)) => match &model.retires {
            Some(day) => Standing::Retires(day.clone()),
            None => Standing::Listed,
        },
    };
    let models = catalog.models().iter().filter(|model| model.active);
    models
        .flat_map(|model| model.routes.iter().map(move |route| (model, route)))
        .filter(|(_, route)| route.provider == provider)
        .map(|(model, route)| {
            let checked = CheckedRoute {
                model: model.slug.clone(),
                upstream: route.model.clone(),
                standing: standing(&route.model),
            };
            (checked, &route.settings)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vydra_core::catalog::DEFAULT;
    use vydra_outbound::provider::Listed;

    #[test]
    fn a_route_is_held_against_the_list_of_its_provider() {
        let catalog = Catalog::load([("shipped", DEFAULT)]).unwrap();
        let routes = |provider: &str, told: &Checkup| -> Vec<CheckedRoute> {
            let routes = routes(&catalog, provider, Some(told));
            routes.into_iter().map(|(route, _)| route).collect()
        };
        let all = routes("fal", &Checkup::default());
        assert!(!all.is_empty());
        assert!(all.iter().all(|route| route.standing == Standing::NotTold));
        let known = all[0].upstream.clone();
        let going = all.iter().find(|route| route.upstream != known).unwrap();
        let day = Some("2026-12-01".to_owned());
        let told = Checkup {
            note: None,
            models: Some(
                [
                    (known.clone(), Listed::default()),
                    (going.upstream.clone(), Listed { retires: day }),
                ]
                .into(),
            ),
        };
        for route in routes("fal", &told) {
            let expected = if route.upstream == known {
                Standing::Listed
            } else if route.upstream == going.upstream {
                Standing::Retires("2026-12-01".to_owned())
            } else {
                Standing::Unknown
            };
            assert_eq!(route.standing, expected, "{route:?}");
        }
        assert!(routes("another", &told).is_empty());
    }
}
