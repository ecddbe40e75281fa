//! Who calls. The gate stands before every handler, and a handler that needs the caller takes [`Authorized`].

use crate::ApiState;
use crate::error::ApiError;
use crate::layers::StandingSlot;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use vydra_engine::{Access, Caller, Credentials, Error, Exceeded};

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
                match authorize(self.access, &parts, &state).await {
                    Ok(caller) => parts.extensions.insert(Authorized { caller }),
                    Err(error) => return ApiError(error).into_response(),
                };
            }
            let request = Request::from_parts(parts, body);
            self.handler.call(request, state).await
        })
    }
}

async fn authorize(access: Access, parts: &Parts, state: &ApiState) -> Result<Caller, Error> {
    // A header that is not even text cannot hold a key.
    let authorization = parts
        .headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap_or_default());
    let session = match authorization {
        Some(_) => None,
        None => session(&parts.headers),
    };
    if authorization.is_none() && session.is_none() {
        return Err(access.unknown_caller());
    }
    // Browsers send a cookie with whatever any page asks them to send.
    if session.is_some() && !matches!(parts.method, Method::GET | Method::HEAD) {
        check_page(parts, state)?;
    }
    let credentials = Credentials {
        authorization,
        session: session.as_deref(),
        address: address(parts),
    };
    let slot = parts.extensions.get::<StandingSlot>();
    let fill = |standing| {
        if let Some(slot) = slot {
            slot.fill(standing);
        }
    };
    let caller = state
        .engine
        .authenticate(credentials)
        .await
        .inspect_err(|error| {
            if let Error::RateLimited(Exceeded {
                standing: Some(standing),
                ..
            }) = error
            {
                fill(*standing);
            }
        })?;
    // Whoever may not is counted and told too.
    fill(caller.standing);
    caller.permit(access)?;
    Ok(caller)
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

/// Where the request comes from, when the server was told.
fn address(parts: &Parts) -> Option<IpAddr> {
    let ConnectInfo(address) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(address.ip())
}

fn session(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='))
        .find(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, value)| value.to_owned())
}

/// Somebody who calls what is open to anybody.
pub(crate) struct Visitor {
    pub(crate) session: Option<String>,
    pub(crate) address: Option<IpAddr>,
}

impl FromRequestParts<ApiState> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Infallible> {
        Ok(Self {
            session: session(&parts.headers),
            address: address(parts),
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
