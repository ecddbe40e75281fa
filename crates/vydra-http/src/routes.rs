//! Every operation of the API: its method, its path, what it asks of a caller, and its handler. There is no other way to
//! register one, so that an operation without a decision about who may use it does not exist.

use crate::auth::Gated;
use crate::{ApiState, v1};
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};
use std::borrow::Cow;
use vydra_core::catalog::Catalog;
use vydra_core::scope::Scope;
use vydra_engine::Access;

/// What stands before the path of every operation.
pub const PREFIX: &str = "/api/v1";

/// An operation as it was registered.
#[derive(Debug, Clone)]
pub struct Operation {
    pub method: Method,
    /// Behind [`PREFIX`]: `/jobs/{id}`.
    pub path: Cow<'static, str>,
    pub access: Access,
    /// Whether credits are taken for it.
    pub charges: bool,
}

pub(crate) struct Routes {
    pub(crate) router: Router<ApiState>,
    pub(crate) operations: Vec<Operation>,
}

impl Routes {
    fn new() -> Self {
        Self {
            router: Router::new(),
            operations: Vec::new(),
        }
    }

    fn get<H, T>(self, path: impl Into<Cow<'static, str>>, access: Access, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.on(Method::GET, MethodFilter::GET, path, access, false, handler)
    }

    fn post<H, T>(self, path: impl Into<Cow<'static, str>>, access: Access, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.on(
            Method::POST,
            MethodFilter::POST,
            path,
            access,
            false,
            handler,
        )
    }

    /// Takes credits.
    fn paid<H, T>(self, path: impl Into<Cow<'static, str>>, access: Access, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.on(
            Method::POST,
            MethodFilter::POST,
            path,
            access,
            true,
            handler,
        )
    }

    fn patch<H, T>(self, path: impl Into<Cow<'static, str>>, access: Access, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.on(
            Method::PATCH,
            MethodFilter::PATCH,
            path,
            access,
            false,
            handler,
        )
    }

    fn delete<H, T>(self, path: impl Into<Cow<'static, str>>, access: Access, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.on(
            Method::DELETE,
            MethodFilter::DELETE,
            path,
            access,
            false,
            handler,
        )
    }

    fn on<H, T>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: impl Into<Cow<'static, str>>,
        access: Access,
        charges: bool,
        handler: H,
    ) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        let path = path.into();
        let gated = Gated {
            access,
            charges,
            handler,
        };
        // Nested below the prefix, every request would be taken apart and put together again.
        self.router = self
            .router
            .route(&format!("{PREFIX}{path}"), on(filter, gated));
        self.operations.push(Operation {
            method,
            path,
            access,
            charges,
        });
        self
    }
}

pub(crate) fn all(catalog: &Catalog) -> Routes {
    use Access::{OwnJobs, Person, Public};
    let scope = Access::Scope;
    let routes = Routes::new()
        .get("/health", Public, v1::health::get)
        .get(
            "/organization",
            scope(Scope::AccountRead),
            v1::organization::get,
        )
        .get(
            "/account/rate-limits",
            scope(Scope::AccountRead),
            v1::limits::get,
        )
        .get(
            "/billing/credits",
            scope(Scope::BillingRead),
            v1::billing::credits,
        )
        .get(
            "/billing/transactions",
            scope(Scope::BillingRead),
            v1::transactions::list,
        )
        .get("/usage", scope(Scope::AccountRead), v1::usage::get)
        .post("/quotes", scope(Scope::ModelsRead), v1::quotes::create)
        .get("/models", scope(Scope::ModelsRead), v1::models::list)
        // The paths of models hold slashes, so reading one and calling one share a pattern.
        .get("/models/{*path}", scope(Scope::ModelsRead), v1::models::get)
        .paid(
            "/models/{*path}",
            scope(Scope::ModelsWrite),
            v1::generate::call,
        )
        .paid("/jobs", scope(Scope::JobsWrite), v1::jobs::create)
        .get("/jobs", scope(Scope::JobsRead), v1::jobs::list)
        .get("/jobs/{id}", OwnJobs, v1::jobs::get)
        .delete("/jobs/{id}", OwnJobs, v1::jobs::cancel)
        .get("/jobs/{id}/charges", OwnJobs, v1::transactions::of_job)
        .get("/jobs/{id}/events", OwnJobs, v1::streams::get)
        .post("/upload", scope(Scope::UploadWrite), v1::uploads::create)
        .get("/assets", scope(Scope::AssetsRead), v1::assets::list)
        .get("/assets/{id}", scope(Scope::AssetsRead), v1::assets::get)
        .delete(
            "/assets/{id}",
            scope(Scope::AssetsWrite),
            v1::assets::delete,
        )
        .get("/api-keys", scope(Scope::KeysRead), v1::keys::list)
        .post("/api-keys", Person, v1::keys::create)
        .get("/api-keys/{id}", scope(Scope::KeysRead), v1::keys::get)
        .delete("/api-keys/{id}", scope(Scope::KeysWrite), v1::keys::revoke)
        .post(
            "/api-keys/{id}/rotate",
            scope(Scope::KeysWrite),
            v1::keys::rotate,
        )
        .get("/events", scope(Scope::JobsRead), v1::events::list)
        .get(
            "/webhooks/endpoints",
            scope(Scope::WebhooksRead),
            v1::webhooks::list,
        )
        .post(
            "/webhooks/endpoints",
            scope(Scope::WebhooksWrite),
            v1::webhooks::create,
        )
        .get(
            "/webhooks/endpoints/{id}",
            scope(Scope::WebhooksRead),
            v1::webhooks::get,
        )
        .patch(
            "/webhooks/endpoints/{id}",
            scope(Scope::WebhooksWrite),
            v1::webhooks::update,
        )
        .delete(
            "/webhooks/endpoints/{id}",
            scope(Scope::WebhooksWrite),
            v1::webhooks::delete,
        )
        .get(
            "/webhooks/secret",
            scope(Scope::WebhooksWrite),
            v1::webhooks::secret,
        )
        .post(
            "/webhooks/secret/rotate",
            scope(Scope::WebhooksWrite),
            v1::webhooks::rotate,
        )
        .post(
            "/webhooks/test",
            scope(Scope::WebhooksWrite),
            v1::webhooks::test,
        )
        .get(
            "/webhooks/deliveries",
            scope(Scope::WebhooksRead),
            v1::deliveries::list,
        )
        .get(
            "/webhooks/deliveries/{id}",
            scope(Scope::WebhooksRead),
            v1::deliveries::get,
        )
        .post(
            "/webhooks/deliveries/{id}/resend",
            scope(Scope::WebhooksWrite),
            v1::deliveries::resend,
        )
        .post("/auth/login", Public, v1::sessions::login)
        .post("/auth/logout", Public, v1::sessions::logout)
        .get("/auth/me", Person, v1::sessions::me)
        .post("/auth/bot-register", Public, v1::bots::register);
    // A path of several parts cannot be a slug, so nothing but a call is there.
    let deep = catalog
        .models()
        .iter()
        .filter_map(|model| model.path.as_ref())
        .filter(|path| path.contains('/'));
    deep.fold(routes, |routes, path| {
        routes.paid(
            format!("/models/{path}"),
            scope(Scope::ModelsWrite),
            v1::generate::call,
        )
    })
}

/// Every operation below [`PREFIX`], in the order of the router.
pub fn operations(catalog: &Catalog) -> Vec<Operation> {
    all(catalog).operations
}
