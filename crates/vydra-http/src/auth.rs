//! Who calls. The gate stands before every handler, and a handler that needs the caller takes [`Authorized`].

use crate::ApiState;
use crate::client_address;
use crate::error::ApiError;
use crate::extract::BodyLimit;
use crate::layers::StandingSlot;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use vydra_engine::{Access, Caller, Credentials, Error, Exceeded, Identity, Standing};

pub(crate) const SIMULATE: &str = "x-vydra-simulate";

/// A login is a few dozen bytes; nobody shall be kept waiting on more from whom we do not know.
const MAX_BODY_OF_NOBODY: usize = 8 * 1_024;

/// The cookie of a person who logged in.
pub(crate) const SESSION_COOKIE: &str = "__session";

/// The caller whom the gate let through.
#[derive(Debug, Clone)]
pub(crate) struct Authorized {
    pub(crate) caller: Caller,
}

impl FromRequestParts<ApiState> for Authorized {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, ApiError> {
        // Only behind a gate that lets anybody through is there no caller: a handler that asks for one there is a mistake
        // of ours, and answers nobody.
        parts
            .extensions
            .remove::<Self>()
            .ok_or(ApiError(Error::MissingAuth))
    }
}

/// A handler behind its gate.
#[derive(Debug, Clone)]
pub(crate) struct Gated<H> {
    pub(crate) access: Access,
    /// Whether credits are taken for it.
    pub(crate) charges: bool,
    pub(crate) handler: H,
}

impl<H, T> Handler<T, ApiState> for Gated<H>
where
    H: Handler<T, ApiState>,
    T: 'static,
{
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: ApiState) -> Self::Future {
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            if self.access != Access::Public {
                join_wishes(&mut parts.headers);
                match authorize(self.access, self.charges, &parts, &state).await {
                    Ok(caller) => parts.extensions.insert(Authorized { caller }),
                    Err(error) => return ApiError(error).into_response(),
                };
            }
            let mut request = Request::from_parts(parts, body);
            if self.access == Access::Public {
                request
                    .extensions_mut()
                    .insert(BodyLimit(MAX_BODY_OF_NOBODY));
                DefaultBodyLimit::max(MAX_BODY_OF_NOBODY).apply(&mut request);
            }
            self.handler.call(request, state).await
        })
    }
}

/// Several headers say what one with commas says.
fn join_wishes(headers: &mut HeaderMap) {
    if !headers.contains_key(SIMULATE) {
        return;
    }
    let wishes: Vec<&str> = headers
        .get_all(SIMULATE)
        .iter()
        // What is not even text is no wish that is known.
        .map(|value| value.to_str().unwrap_or("?"))
        .collect();
    if let Ok(joined) = HeaderValue::try_from(wishes.join(",")) {
        headers.insert(SIMULATE, joined);
    }
}

async fn authorize(
    access: Access,
    charges: bool,
    parts: &Parts,
    state: &ApiState,
) -> Result<Caller, Error> {
    let credentials = credentials(parts, state);
    let caller = state
        .engine
        .authenticate(access, credentials)
        .await
        .inspect_err(|error| fill_refused(parts, error))?;
    // Whoever may not is counted and told too.
    fill(parts, caller.standing);
    // Browsers send a cookie with whatever any page asks them to send.
    if matches!(caller.identity, Identity::Person { .. })
        && !matches!(parts.method, Method::GET | Method::HEAD)
    {
        check_page(parts, state)?;
    }
    caller.permit(access)?;
    let wishes = parts.headers.get(SIMULATE);
    let wishes = wishes.and_then(|value| value.to_str().ok());
    caller.simulate(wishes, access, charges)?;
    Ok(caller)
}

/// For a request to what is not there. An error when it is one too many.
pub(crate) async fn count_in_vain(parts: &Parts, state: &ApiState) -> Result<(), Error> {
    let standing = state
        .engine
        .count_in_vain(credentials(parts, state))
        .await
        .inspect_err(|error| fill_refused(parts, error))?;
    if let Some(standing) = standing {
        fill(parts, standing);
    }
    Ok(())
}

fn credentials<'a>(parts: &'a Parts, state: &ApiState) -> Credentials<'a> {
    // A header that is not even text cannot hold a key.
    let authorization = parts
        .headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap_or_default());
    let session = match authorization {
        Some(_) => None,
        None => session(&parts.headers),
    };
    Credentials {
        authorization,
        session,
        address: address(parts, state),
    }
}

fn fill(parts: &Parts, standing: Standing) {
    if let Some(slot) = parts.extensions.get::<StandingSlot>() {
        slot.fill(standing);
    }
}

fn fill_refused(parts: &Parts, error: &Error) {
    if let Error::RateLimited(Exceeded {
        standing: Some(standing),
        ..
    }) = error
    {
        fill(parts, *standing);
    }
}

fn check_page(parts: &Parts, state: &ApiState) -> Result<(), Error> {
    // A header that is not even text names no page of ours.
    let text = |name: HeaderName| {
        let value = parts.headers.get(name)?;
        Some(value.to_str().unwrap_or_default())
    };
    state.engine.check_origin(
        text(header::ORIGIN),
        text(HeaderName::from_static("sec-fetch-site")),
    )
}

fn address(parts: &Parts, state: &ApiState) -> Option<IpAddr> {
    client_address::of(parts, &state.engine.settings().limits)
}

fn session(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='))
        .find(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, value)| value)
}

/// Somebody who calls what is open to anybody.
pub(crate) struct Visitor {
    pub(crate) session: Option<String>,
    pub(crate) address: Option<IpAddr>,
}

impl FromRequestParts<ApiState> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Infallible> {
        Ok(Self {
            session: session(&parts.headers).map(str::to_owned),
            address: address(parts, state),
        })
    }
}

/// For what is open to anybody and sets or takes a cookie: only pages of our own may have it sent.
pub(crate) struct OwnPage;

impl FromRequestParts<ApiState> for OwnPage {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        check_page(parts, state)?;
        Ok(Self)
    }
}

/// An answer that holds a secret, or what only one person may see.
pub(crate) fn unstored(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    response
}
