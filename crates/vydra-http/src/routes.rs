//! Every operation of the API: its method, its path, what it asks of a caller, and its handler. There is no other way to
//! register one, so that an operation without a decision about who may use it does not exist.

use crate::auth::Gated;
use crate::{ApiState, v1};
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};
use vydra_core::scope::Scope;
use vydra_engine::Access;

/// What stands before the path of every operation.
pub const PREFIX: &str = "/api/v1";

/// An operation as it was registered.
#[derive(Debug, Clone)]
pub struct Operation {
    pub method: Method,
    /// As in the router: `/jobs/{id}`.
    pub path: &'static str,
    pub access: Access,
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

    fn get<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.on(Method::GET, MethodFilter::GET, path, access, handler)
    }

    fn post<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.on(Method::POST, MethodFilter::POST, path, access, handler)
    }

    fn delete<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.on(Method::DELETE, MethodFilter::DELETE, path, access, handler)
    }

    fn on<H, T>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.operations.push(Operation {
            method,
            path,
            access,
        });
        self.router = self
            .router
            .route(path, on(filter, Gated { access, handler }));
        self
    }
}

pub(crate) fn all() -> Routes {
    use Access::{OwnJobs, Public};
    let scope = Access::Scope;
    Routes::new()
        .get("/health", Public, v1::health::get)
        .get(
            "/organization",
            scope(Scope::AccountRead),
            v1::organization::get,
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
        .post(
            "/models/{*path}",
            scope(Scope::ModelsWrite),
            v1::generate::call,
        )
        .post("/jobs", scope(Scope::JobsWrite), v1::jobs::create)
        .get("/jobs", scope(Scope::JobsRead), v1::jobs::list)
        .get("/jobs/{id}", OwnJobs, v1::jobs::get)
        .delete("/jobs/{id}", OwnJobs, v1::jobs::cancel)
        .get("/jobs/{id}/charges", OwnJobs, v1::transactions::of_job)
}

/// Every operation below [`PREFIX`], in the order of the router.
pub fn operations() -> Vec<Operation> {
    all().operations
}
