//! Idempotency: the same key and request are carried out once, whatever becomes of the connection or the process
//! (contract, section 6).
//!
//! The store remembers a key in the transaction of the charge. What it cannot know is whether the first request is still
//! being handled: that is told here, by the [`Ticket`] that its handling holds.

use crate::generate::Started;
use crate::{Caller, Engine, Error, Result};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vydra_core::credits::Credits;
use vydra_core::idempotency::{
    Fingerprint, IdempotencyKey, IdempotencyRecord, REMEMBERED, StoredAnswer,
};
use vydra_core::ids::{JobId, OrgId};
use vydra_core::job::Mode;
use vydra_store::store::{NewIdempotency, Recorded};

/// Where a key is unique.
type Place = (OrgId, Mode, IdempotencyKey);

/// The keys whose requests are being handled by this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashMap<Place, Fingerprint>>>);

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Fingerprint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to handle the request of a key. Nobody else handles it until this is dropped.
#[derive(Debug)]
pub struct Ticket {
    place: Place,
    fingerprint: Fingerprint,
    /// The job that an earlier try has bought, whose caller was never told.
    resumes: Option<JobId>,
    in_flight: InFlight,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.in_flight.lock().remove(&self.place);
    }
}

impl Ticket {
    pub(crate) fn resumes(&self) -> Option<&JobId> {
        self.resumes.as_ref()
    }
}

/// How the request of a key begins.
#[derive(Debug)]
pub enum Begun {
    /// It is to be carried out, or taken over where an earlier try left it.
    Ticket(Ticket),
    /// It was answered before, like this.
    Replay(StoredAnswer),
}

/// Why a key cannot be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyConflict {
    /// The first request of this key is still being handled.
    InProgress,
    /// The key was used for another request.
    DifferentRequest,
}

impl Engine {
    /// To be asked before a request has any effect.
    pub async fn begin(
        &self,
        caller: &Caller,
        key: IdempotencyKey,
        fingerprint: Fingerprint,
    ) -> Result<Begun> {
        let place = (caller.organization.id.clone(), caller.mode(), key);
        let mut ticket = self.take_ticket(place, fingerprint)?;
        // Read with the ticket in hand: whoever held it before has left behind what there is to find.
        let (org, mode, key) = &ticket.place;
        let record = self
            .store()
            .idempotency(org, *mode, key, self.now())
            .await?;
        match record {
            None => Ok(Begun::Ticket(ticket)),
            Some(record) if record.fingerprint != ticket.fingerprint => {
                Err(Error::IdempotencyConflict(KeyConflict::DifferentRequest))
            }
            Some(IdempotencyRecord {
                answer: Some(answer),
                ..
            }) => Ok(Begun::Replay(answer)),
            Some(record) => {
                tracing::info!(job.id = %record.job_id, "a request is taken over from a try whose caller was not told");
                ticket.resumes = Some(record.job_id);
                Ok(Begun::Ticket(ticket))
            }
        }
    }

    fn take_ticket(&self, place: Place, fingerprint: Fingerprint) -> Result<Ticket> {
        match self.in_flight.lock().entry(place.clone()) {
            Entry::Occupied(other) => {
                let conflict = if *other.get() == fingerprint {
                    KeyConflict::InProgress
                } else {
                    KeyConflict::DifferentRequest
                };
                return Err(Error::IdempotencyConflict(conflict));
            }
            Entry::Vacant(free) => free.insert(fingerprint.clone()),
        };
        Ok(Ticket {
            place,
            fingerprint,
            resumes: None,
            in_flight: self.in_flight.clone(),
        })
    }

    /// What the store shall remember with the job.
    pub(crate) fn remembered(&self, ticket: &Ticket) -> NewIdempotency {
        NewIdempotency {
            key: ticket.place.2.clone(),
            fingerprint: ticket.fingerprint.clone(),
            expires_at: self.now().plus(REMEMBERED),
        }
    }

    /// The store knows the key, although [`Self::begin`] did not find it: an earlier try whose caller hung up was still on
    /// its way there.
    pub(crate) async fn overtaken(
        &self,
        caller: &Caller,
        ticket: Option<&Ticket>,
        taken: IdempotencyRecord,
    ) -> Result<Started> {
        let same = ticket.is_some_and(|ticket| ticket.fingerprint == taken.fingerprint);
        if !same {
            return Err(Error::IdempotencyConflict(KeyConflict::DifferentRequest));
        }
        if taken.answer.is_some() {
            // Another try will find the answer.
            return Err(Error::IdempotencyConflict(KeyConflict::InProgress));
        }
        self.take_over(caller, &taken.job_id).await
    }

    /// The job of an earlier try, as it stands now.
    pub(crate) async fn take_over(&self, caller: &Caller, id: &JobId) -> Result<Started> {
        let org = &caller.organization.id;
        let job = self.store().job(org, id).await?.ok_or(Error::JobNotFound)?;
        let totals = self.credit_totals(org, caller.mode()).await?;
        Ok(Started {
            job,
            remaining: Credits::new(totals.remaining).unwrap_or_default(),
        })
    }

    /// Remembers what the caller is about to be told. Some when an earlier try was told something else: that one counts.
    pub async fn record_answer(
        &self,
        ticket: &Ticket,
        answer: StoredAnswer,
    ) -> Result<Option<StoredAnswer>> {
        let (org, mode, key) = &ticket.place;
        match self.store().record_answer(org, *mode, key, answer).await? {
            Recorded::Now | Recorded::Forgotten => Ok(None),
            Recorded::Already(earlier) => Ok(Some(earlier)),
        }
    }
}
