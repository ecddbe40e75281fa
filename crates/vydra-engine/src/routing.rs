//! Who is asked: the routes of a model in their order, and which of them are left alone for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vydra_core::time::Timestamp;
use vydra_outbound::provider::{Accepted, ErrorKind, ProviderError};
use vydra_outbound::registry::{Registry, Working};

/// A provider that has failed so often in a row is left alone.
const FAILURES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(30);
/// The same for one that does not take our key, or says that our account is empty.
const REFUSALS: u32 = 3;
/// Without a key or credits nothing will come, until the operator has done something.
const LONG_PAUSE: Duration = Duration::from_mins(1);

/// What is known of the health of providers, and how many calls each may still take.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    circuits: Mutex<HashMap<String, Circuit>>,
    places: HashMap<String, Arc<Semaphore>>,
}

#[derive(Debug, Clone, Copy)]
struct Circuit {
    /// In a row.
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    until: Timestamp,
    why: ErrorKind,
}

impl Routing {
    pub(crate) fn new(providers: &Registry) -> Self {
        let places = providers.bounds().filter_map(|(name, bounds)| {
            let places = usize::try_from(bounds.concurrency?).unwrap_or(Semaphore::MAX_PERMITS);
            Some((name.to_owned(), Arc::new(Semaphore::new(places))))
        });
        Self {
            circuits: Mutex::default(),
            places: places.collect(),
        }
    }

    fn circuits(&self) -> MutexGuard<'_, HashMap<String, Circuit>> {
        self.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the provider may be asked now. When its pause is over, one request finds out how it is, while the others wait
    /// for as long again.
    pub(crate) fn is_open_to(&self, provider: &str, now: Timestamp) -> Result<(), ProviderError> {
        let mut circuits = self.circuits();
        let Some(open) = circuits
            .get_mut(provider)
            .and_then(|known| known.open.as_mut())
        else {
            return Ok(());
        };
        if open.until <= now {
            open.until = now.plus(PAUSE);
            return Ok(());
        }
        Err(ProviderError {
            retry_after: Some(open.until.since(now)),
            ..ProviderError::new(
                open.why,
                Accepted::No,
                "it is left alone after its failures",
            )
        })
    }

    /// Learns from what a provider did.
    pub(crate) fn learn(&self, provider: &str, failure: Option<&ProviderError>, now: Timestamp) {
        let mut circuits = self.circuits();
        let kind = failure.map(|error| error.kind);
        if kind.is_some_and(|kind| !tells_anything(kind)) {
            return;
        }
        let Some(kind) = kind.filter(|kind| tells_of_health(*kind)) else {
            if let Some(Circuit { open: Some(_), .. }) = circuits.remove(provider) {
                tracing::info!(provider.name = provider, "a provider works again");
            }
            return;
        };
        let circuit = circuits.entry(provider.to_owned()).or_insert(Circuit {
            failures: 0,
            open: None,
        });
        circuit.failures = circuit.failures.saturating_add(1);
        let (pause, why) = match kind {
            // One request may want what our account lacks, and the next one not.
            ErrorKind::Auth | ErrorKind::QuotaExhausted if circuit.failures >= REFUSALS => {
                (LONG_PAUSE, kind)
            }
            // Of whoever is not asked, everything is known: nothing was bought.
            _ if circuit.failures >= FAILURES => (PAUSE, ErrorKind::Unavailable),
            _ => return,
        };
        if circuit.open.is_none() {
            tracing::error!(
                provider.name = provider,
                reason = kind.as_str(),
                failures = circuit.failures,
                "a provider is left alone for a while: `vydra doctor` tells more"
            );
        }
        circuit.open = Some(Open {
            until: now.plus(pause),
            why,
        });
    }

    /// A place for one more call, for as long as it takes; None when all are taken.
    pub(crate) fn place(&self, provider: &str) -> Option<Place> {
        match self.places.get(provider) {
            None => Some(Place { _permit: None }),
            Some(places) => {
                let permit = Arc::clone(places).try_acquire_owned().ok()?;
                Some(Place {
                    _permit: Some(permit),
                })
            }
        }
    }
}

/// One of the calls that a provider may take at once.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Whether it was the provider who failed or refused, and not our own input, the caller's, or the time.
const fn tells_anything(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::InvalidRequest
        | ErrorKind::InputUnreadable
        | ErrorKind::ModelGone
        | ErrorKind::RateLimited
        | ErrorKind::Cancelled
        | ErrorKind::Expired
        | ErrorKind::TimedOut => false,
        ErrorKind::Auth
        | ErrorKind::QuotaExhausted
        | ErrorKind::Unavailable
        | ErrorKind::Unknown
        | ErrorKind::Protocol
        | ErrorKind::TaskGone
        | ErrorKind::ContentRefused
        | ErrorKind::NoOutput => true,
    }
}

/// Whether a failure says something of the provider, and not of the one request.
const fn tells_of_health(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Auth
        | ErrorKind::QuotaExhausted
        | ErrorKind::Unavailable
        | ErrorKind::Unknown
        | ErrorKind::Protocol
        | ErrorKind::TaskGone => true,
        ErrorKind::ContentRefused
        | ErrorKind::InvalidRequest
        | ErrorKind::InputUnreadable
        | ErrorKind::RateLimited
        | ErrorKind::NoOutput
        | ErrorKind::ModelGone
        | ErrorKind::Cancelled
        | ErrorKind::Expired
        | ErrorKind::TimedOut => false,
    }
}

/// The order in which routes are tried: as they stand, but among neighbours with weights the draw of the job decides which one
/// is the first. The same job has the same order at each attempt.
pub(crate) fn in_order(mut routes: Vec<Working>, job: &str) -> Vec<Working> {
    let mut start = 0;
    while start < routes.len() {
        let weighed = routes[start..]
            .iter()
            .take_while(|working| working.route.weight > 0);
        let end = start + weighed.count();
        let sum: u64 = routes[start..end]
            .iter()
            .map(|working| u64::from(working.route.weight))
            .sum();
        if sum > 0 {
            let mut drawn = draw(job) % sum;
            let first = routes[start..end].iter().position(|working| {
                let weight = u64::from(working.route.weight);
                let is_it = drawn < weight;
                drawn = drawn.saturating_sub(weight);
                is_it
            });
            routes[start..end].rotate_left(first.unwrap_or(0));
        }
        start = end.max(start + 1);
    }
    routes
}

/// A number for a job, spread evenly (FNV-1a, with its high bits mixed in).
fn draw(job: &str) -> u64 {
    let hash = job.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests;
