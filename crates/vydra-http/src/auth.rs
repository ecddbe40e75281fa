//! Who calls. A handler that takes no [`Authorized`] is public; one that does names its scope in the type, so that a
//! route without a decision does not exist.

use crate::ApiState;
use crate::error::ApiError;
use crate::layers::StandingSlot;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use std::marker::PhantomData;
use vydra_core::scope::Scope;
use vydra_engine::{Caller, Error, Exceeded};

/// What a route asks of a key.
pub(crate) trait Requirement: Send + Sync {
    /// None when the engine decides, because it depends on whose job it is.
    const SCOPE: Option<Scope>;
}

macro_rules! requirements {
    ($($name:ident => $scope:expr),+ $(,)?) => {
        $(
            #[derive(Debug)]
            pub(crate) struct $name;

            impl Requirement for $name {
                const SCOPE: Option<Scope> = $scope;
            }
        )+
    };
}

requirements! {
    ModelsRead => Some(Scope::ModelsRead),
    ModelsWrite => Some(Scope::ModelsWrite),
    JobsRead => Some(Scope::JobsRead),
    JobsWrite => Some(Scope::JobsWrite),
    OwnJobs => None,
    AccountRead => Some(Scope::AccountRead),
    BillingRead => Some(Scope::BillingRead),
}

/// A caller who may do what the route does.
#[derive(Debug)]
pub(crate) struct Authorized<R> {
    pub(crate) caller: Caller,
    requirement: PhantomData<R>,
}

impl<R: Requirement> FromRequestParts<ApiState> for Authorized<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        // A header that is not even text cannot hold a key.
        let header = parts
            .headers
            .get(header::AUTHORIZATION)
            .map(|value| value.to_str().unwrap_or_default());
        let slot = parts.extensions.get::<StandingSlot>();
        let caller = state
            .engine
            .authenticate(header)
            .await
            .inspect_err(|error| {
                if let (
                    Some(slot),
                    Error::RateLimited(Exceeded {
                        standing: Some(standing),
                        ..
                    }),
                ) = (slot, error)
                {
                    slot.fill(*standing);
                }
            })?;
        if let Some(slot) = slot {
            slot.fill(caller.standing);
        }
        if let Some(scope) = R::SCOPE {
            caller.require(scope)?;
        }
        Ok(Self {
            caller,
            requirement: PhantomData,
        })
    }
}
