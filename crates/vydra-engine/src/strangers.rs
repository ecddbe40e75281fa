//! Requests of nobody whom we know, limited by where they come from (contract, section 6).

use crate::throttle::{Origin, Throttle};
use crate::{Engine, Error, LimitKind, Result};
use std::net::IpAddr;
use vydra_core::window::Window;

/// How many requests are remembered at most; beyond it the oldest is forgotten, to the stranger's advantage. Some 130
/// bytes each when every one has an address of its own: 65 MB, whoever calls.
const REMEMBERED: usize = 500_000;

#[derive(Debug)]
pub(crate) struct Strangers(Throttle<Origin>);

impl Strangers {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self(Throttle::new(
            LimitKind::Minute,
            per_minute,
            Window::Minute.span(),
            REMEMBERED,
        ))
    }
}

impl Engine {
    /// For a request whose sender is not known, and which is of no use to anybody who is. Where no address is known,
    /// nothing is limited.
    pub(crate) fn count_stranger(&self, address: Option<IpAddr>) -> Result<()> {
        let Some(address) = address else {
            return Ok(());
        };
        let counted = self.strangers.0.count(&Origin::of(address), self.clock());
        counted.map(|_| ()).map_err(Error::RateLimited)
    }
}
