//! Prices: what a call comes to line by line, and the version under which all prices of a catalogue are known.

use super::{Catalog, Makeup};
use crate::credits::Credits;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

const VERSION_BYTES: usize = 6;

/// Why something costs what it costs, by the prices of this version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pricing {
    pub version: String,
    pub lines: Vec<PriceLine>,
}

impl Pricing {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// So many units, at so much each: of a model, or of a workflow that has one price for all its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceLine {
    /// For a human.
    pub item: String,
    /// The model, or the one that makes the workflow's result.
    pub model: String,
    pub pricing_unit: String,
    pub credits_per_unit: Credits,
    pub units: u32,
    pub credits: Credits,
}

impl Catalog {
    /// Changes with every price, and with nothing else; the same for every server with the same prices.
    pub fn price_version(&self) -> &str {
        // Every job bears it, and it takes longer to work out than to charge for one.
        self.price_version.get_or_init(|| self.hash_of_prices())
    }

    fn hash_of_prices(&self) -> String {
        let mut prices: Vec<String> = self
            .models()
            .iter()
            .map(|model| {
                let variants: Vec<_> = model
                    .variants
                    .iter()
                    .map(|variant| {
                        json!([variant.when, variant.credits_per_unit, variant.pricing_unit])
                    })
                    .collect();
                json!([
                    "model",
                    model.slug,
                    model.credits_per_unit,
                    model.pricing_unit,
                    model.units_from,
                    variants
                ])
                .to_string()
            })
            .collect();
        // Which model a workflow runs decides what it costs.
        prices.extend(self.workflows().iter().map(|workflow| {
            let makeup = match &workflow.makeup {
                Makeup::Choices(choices) => choices
                    .iter()
                    .map(|choice| json!([choice.named, choice.with, choice.model, choice.set]))
                    .collect(),
                Makeup::Steps(steps) => steps.priced_by(self),
            };
            json!(["workflow", workflow.slug, makeup]).to_string()
        }));
        prices.sort_unstable();
        let hash = Sha256::digest(prices.join("\n").as_bytes());
        let mut version = String::with_capacity(2 * VERSION_BYTES);
        for byte in hash.iter().take(VERSION_BYTES) {
            // Writing to a String cannot fail.
            let _ = write!(version, "{byte:02x}");
        }
        version
    }
}
