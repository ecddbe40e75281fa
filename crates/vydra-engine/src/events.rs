//! The feed of all ends of an organization's jobs: with it, whoever missed a webhook catches up.

use crate::{Caller, Engine, Error, Result};
use std::time::Duration;
use tokio::time::Instant;
use vydra_core::catalog::Violations;
use vydra_core::ids::EventId;
use vydra_core::scope::Scope;
use vydra_store::store::Event;

/// What ends together is told together.
const GATHER: Duration = Duration::from_millis(100);

/// Which events a caller asks for.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// The id of an event; without it, from the first one on. `latest` stands for the last there is.
    pub after: Option<String>,
    pub limit: u32,
    /// How long to wait for the first one.
    pub wait: Duration,
}

/// What was found.
#[derive(Debug)]
pub struct Feed {
    /// In the order in which they happened.
    pub events: Vec<Event>,
    /// The event behind which they stand; None when they begin with the first.
    pub after: Option<EventId>,
}

impl Engine {
    pub async fn events(&self, caller: &Caller, query: EventQuery) -> Result<Feed> {
        caller.require(Scope::JobsRead)?;
        let org = &caller.organization.id;
        let after = match query.after.as_deref() {
            None => None,
            Some("latest") => self.store().last_event(org, caller.mode()).await?,
            Some(word) => Some(EventId::parse(word).ok_or_else(unknown_event)?),
        };
        // Whoever waits holds a place, as whoever follows a job does.
        let _place = if query.wait.is_zero() {
            None
        } else {
            Some(self.stream_place(caller)?)
        };
        let until = Instant::now() + query.wait;
        let mut bell = self.ends.listen(org.clone());
        loop {
            let events = self
                .store()
                .events(org, caller.mode(), after.as_ref(), query.limit)
                .await?
                .ok_or_else(unknown_event)?;
            if !events.is_empty() || Instant::now() >= until || self.closing.is_cancelled() {
                return Ok(Feed { events, after });
            }
            tokio::select! {
                () = bell.rung() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(self.nodes.look_after()) => {}
                () = tokio::time::sleep_until(until) => {}
                () = self.closing.cancelled() => {}
            }
        }
    }
}

fn unknown_event() -> Error {
    Violations::one("after", "unknown", "the id of an event, or latest").into()
}
