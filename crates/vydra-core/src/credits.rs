//! Credits: whole, never negative.

use serde::{Deserialize, Serialize};

/// An amount of credits, zero or more. A signed movement is an `i64` in a ledger row; this is what is priced and held.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "i64", into = "i64")]
pub struct Credits(i64);

impl Credits {
    pub const ZERO: Self = Self(0);

    /// None below zero.
    pub const fn new(amount: i64) -> Option<Self> {
        if amount < 0 { None } else { Some(Self(amount)) }
    }

    pub const fn get(self) -> i64 {
        self.0
    }

    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    pub fn checked_mul(self, units: u32) -> Option<Self> {
        self.0.checked_mul(i64::from(units)).map(Self)
    }

    /// What is paid back when only `delivered` of `expected` outputs came: the price of the missing part, rounded in the
    /// payer's favour. More than expected changes nothing.
    #[must_use]
    pub fn missing_share(self, expected: u32, delivered: u32) -> Self {
        let expected = i64::from(expected.max(1));
        let kept = i128::from(self.0) * i128::from(i64::from(delivered).min(expected))
            / i128::from(expected);
        Self(self.0 - i64::try_from(kept).unwrap_or(self.0))
    }
}

impl std::fmt::Display for Credits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Credits> for i64 {
    fn from(credits: Credits) -> Self {
        credits.0
    }
}

/// An amount of credits cannot be negative.
#[derive(Debug, thiserror::Error)]
#[error("an amount of credits cannot be negative")]
pub struct NegativeCredits;

impl TryFrom<i64> for Credits {
    type Error = NegativeCredits;

    fn try_from(amount: i64) -> Result<Self, NegativeCredits> {
        Self::new(amount).ok_or(NegativeCredits)
    }
}

/// Credits as they are sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pack {
    pub name: &'static str,
    pub price_usd: u32,
    pub credits: u32,
}

/// Contract, section 8.
pub const PACKS: [Pack; 3] = [
    Pack {
        name: "small",
        price_usd: 5,
        credits: 750,
    },
    Pack {
        name: "medium",
        price_usd: 12,
        credits: 2_000,
    },
    Pack {
        name: "large",
        price_usd: 25,
        credits: 5_000,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pays_back_the_missing_part() {
        let price = Credits::new(60).unwrap();
        assert_eq!(price.missing_share(4, 4), Credits::ZERO);
        assert_eq!(price.missing_share(4, 3).get(), 15);
        assert_eq!(price.missing_share(4, 0), price);
        assert_eq!(price.missing_share(4, 9), Credits::ZERO);
        assert_eq!(
            Credits::new(10).unwrap().missing_share(3, 2).get(),
            4,
            "rounds for the payer"
        );
    }

    proptest! {
        #[test]
        fn a_share_is_never_more_than_the_price(price in 0..i64::MAX, expected in 0..u32::MAX, delivered in 0..u32::MAX) {
            let price = Credits::new(price).unwrap();
            let back = price.missing_share(expected, delivered);
            prop_assert!(back >= Credits::ZERO && back <= price);
            if delivered >= expected.max(1) { prop_assert_eq!(back, Credits::ZERO); }
            if delivered == 0 { prop_assert_eq!(back, price); }
        }
    }
}
