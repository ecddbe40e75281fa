use crate::ApiState;
use crate::auth::{Authorized, OwnPage, SESSION_COOKIE, Visitor, unstored};
use crate::error::{ApiError, ErrorBody};
use crate::extract::{Fields, JsonObject};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;
use vydra_core::ids::{OrgId, UserId};
use vydra_core::time::Timestamp;
use vydra_core::user::{Membership, Password, Role};
use vydra_engine::{LoginRequest, Person};

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserView {
    #[schema(value_type = String)]
    id: UserId,
    email: String,
    #[schema(value_type = String)]
    created_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlaceView {
    #[schema(value_type = String)]
    id: OrgId,
    name: String,
    plan: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MembershipView {
    #[schema(value_type = String)]
    id: OrgId,
    name: String,
    /// owner or member.
    #[schema(value_type = String, example = "owner")]
    role: Role,
}

impl From<Membership> for MembershipView {
    fn from(membership: Membership) -> Self {
        Self {
            id: membership.org_id,
            name: membership.org_name,
            role: membership.role,
        }
    }
}

/// Who is logged in, and where.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonView {
    user: UserView,
    organization: PlaceView,
    /// owner, or member, who can neither make and end keys nor pay.
    #[schema(value_type = String, example = "owner")]
    role: Role,
    /// All organizations of the user: a login names one of them.
    organizations: Vec<MembershipView>,
}

impl From<Person> for PersonView {
    fn from(person: Person) -> Self {
        Self {
            user: UserView {
                id: person.user.id,
                email: person.user.email,
                created_at: person.user.created_at,
            },
            organization: PlaceView {
                id: person.organization.id,
                name: person.organization.name,
                plan: person.organization.plan,
            },
            role: person.role,
            organizations: person.memberships.into_iter().map(Into::into).collect(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoggedInView {
    #[serde(flatten)]
    person: PersonView,
    /// When the session ends by itself.
    #[schema(value_type = String)]
    expires_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoggedOutView {
    /// Always false.
    logged_in: bool,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "describes a body that is read field by field, so that each can have its own error"
)]
pub(crate) struct LoginBody {
    #[schema(
        example = "ada@example.com",
        pattern = "^[a-z0-9.]{1,60}@[a-z0-9]{1,60}[.][a-z]{2,20}$"
    )]
    email: String,
    #[schema(example = "correct horse battery")]
    password: String,
    /// Which of the user's organizations; the oldest membership when absent.
    organization_id: Option<String>,
}

/// Logs a person in: sets the cookie `__session`, and ends the session that the request came with.
#[utoipa::path(post, path = "/api/v1/auth/login", operation_id = "login", tag = "Sessions", security(()), request_body = LoginBody, responses(
    (status = 200, description = "Who is logged in now", body = LoggedInView),
    (status = 400, description = "INVALID_INPUT", body = ErrorBody),
    (status = 401, description = "MISSING_AUTH: email or password is wrong", body = ErrorBody),
    (status = 403, description = "INSUFFICIENT_SCOPE: the request came from another site", body = ErrorBody),
    (status = 404, description = "NOT_FOUND: the user does not belong to that organization", body = ErrorBody),
    (status = 429, description = "RATE_LIMIT_EXCEEDED: too many logins that failed", body = ErrorBody),
    (status = 503, description = "UNAVAILABLE: too many logins at once", body = ErrorBody),
))]
pub(crate) async fn login(
    State(state): State<ApiState>,
    _: OwnPage,
    visitor: Visitor,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of(body);
    let (email, password) = (fields.text("email"), fields.text("password"));
    let organization = fields.text_if_any("organizationId");
    fields.finish()?;
    let logged_in = state
        .engine
        .login(LoginRequest {
            email: &email,
            password: Password::new(password),
            organization: organization.as_deref(),
            session: visitor.session.as_deref(),
            address: visitor.address,
        })
        .await?;
    let view = LoggedInView {
        person: logged_in.person.into(),
        expires_at: logged_in.expires_at,
    };
    let lifetime = state.engine.settings().auth.session_lifetime;
    let cookie = cookie(&state, logged_in.token.reveal(), lifetime);
    Ok(unstored(([(header::SET_COOKIE, cookie)], Json(view))))
}

/// Logs out: ends the session and takes the cookie back. Fine also for who is not logged in.
#[utoipa::path(post, path = "/api/v1/auth/logout", operation_id = "logout", tag = "Sessions", security(()), responses(
    (status = 200, description = "Nobody is logged in any more", body = LoggedOutView),
    (status = 403, description = "INSUFFICIENT_SCOPE: the request came from another site", body = ErrorBody),
))]
pub(crate) async fn logout(
    State(state): State<ApiState>,
    _: OwnPage,
    visitor: Visitor,
) -> Result<Response, ApiError> {
    state
        .engine
        .logout(visitor.session.as_deref(), visitor.address)
        .await?;
    let cookie = cookie(&state, "", Duration::ZERO);
    let view = LoggedOutView { logged_in: false };
    Ok(unstored(([(header::SET_COOKIE, cookie)], Json(view))))
}

/// Who is logged in.
#[utoipa::path(get, path = "/api/v1/auth/me", operation_id = "get_me", tag = "Sessions", security(("session" = [])), responses(
    (status = 200, description = "The person, the organization of the session, and all others of the person", body = PersonView),
))]
pub(crate) async fn me(
    State(state): State<ApiState>,
    auth: Authorized,
) -> Result<Response, ApiError> {
    let person = state.engine.person(auth.caller).await?;
    Ok(unstored(Json(PersonView::from(person))))
}

/// Scripts cannot read it, and other sites' forms are sent without it.
fn cookie(state: &ApiState, token: &str, lifetime: Duration) -> HeaderValue {
    let secure = if state.engine.settings().public_url.starts_with("https://") {
        "; Secure"
    } else {
        ""
    };
    let text = format!(
        "{SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}",
        lifetime.as_secs()
    );
    // Letters, digits and punctuation: always a header's value.
    let mut value =
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(SESSION_COOKIE));
    value.set_sensitive(true);
    value
}
