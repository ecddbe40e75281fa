//! Quotes: what something would cost, by the very check and price of the real call.

use crate::{Caller, Engine, Result};
use serde_json::{Map, Value};
use std::time::Duration;
use vydra_core::catalog::Pricing;
use vydra_core::credits::Credits;
use vydra_core::time::Timestamp;

/// How long a client may count on it without asking again.
const HOLDS: Duration = Duration::from_mins(5);

/// What is to be priced.
#[derive(Debug, Clone, Copy)]
pub enum Quoted<'a> {
    /// By its path or its slug.
    Model(&'a str),
    Workflow(&'a str),
}

#[derive(Debug, Clone)]
pub struct Quote {
    pub credits: Credits,
    pub pricing: Pricing,
    pub expires_at: Timestamp,
}

impl Engine {
    /// Fetches nothing and charges nothing.
    pub fn quote(
        &self,
        caller: &Caller,
        what: Quoted<'_>,
        input: Map<String, Value>,
    ) -> Result<Quote> {
        let priced = match what {
            Quoted::Model(word) => {
                let model = self.callable_as(word, caller.mode())?;
                model.price(input)?
            }
            Quoted::Workflow(slug) => self.resolve(caller, slug, input)?.priced,
        };
        Ok(Quote {
            credits: priced.price,
            pricing: Pricing {
                version: self.catalog().price_version().to_owned(),
                ..priced.call.pricing
            },
            expires_at: self.now().plus(HOLDS),
        })
    }
}
