use crate::ApiState;
use crate::auth::{Visitor, unstored};
use crate::error::{ApiError, ErrorBody};
use crate::extract::{Fields, JsonObject};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use vydra_core::credits::PACKS;
use vydra_core::ids::{KeyId, OrgId};
use vydra_engine::{NewBot, RegisteredBot};

const WHAT_NEXT: &str =
    "Keep this key: it is shown only this once. Calls answer 402 until credits have been bought.";

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BotView {
    #[schema(value_type = String)]
    id: KeyId,
    /// The key itself.
    #[schema(example = "vydra_live_bot_…")]
    key: String,
    #[schema(example = "vydra_live_bot...")]
    key_prefix: String,
    #[schema(value_type = String)]
    organization_id: OrgId,
    agent_name: String,
    billing_email: String,
    credits_remaining: i64,
    /// What can be bought.
    packs: Vec<PackView>,
    message: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PackView {
    #[schema(example = "small")]
    pack: &'static str,
    price_usd: u32,
    credits: u32,
}

#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "describes a body that is read field by field, so that each can have its own error"
)]
pub(crate) struct NewBotBody {
    /// What the agent calls itself: 1 to 80 characters.
    #[schema(example = "scout", min_length = 1, max_length = 80)]
    agent_name: String,
    /// Of whoever pays.
    #[schema(
        example = "bills@example.com",
        pattern = "^[a-z0-9.]{1,60}@[a-z0-9]{1,60}[.][a-z]{2,20}$"
    )]
    billing_email: String,
}

impl From<RegisteredBot> for BotView {
    fn from(bot: RegisteredBot) -> Self {
        Self {
            id: bot.created.key.id,
            key: bot.created.secret.reveal().to_owned(),
            key_prefix: bot.created.key.shown_prefix,
            credits_remaining: bot.organization.live_credits.get(),
            organization_id: bot.organization.id,
            agent_name: bot.agent_name,
            billing_email: bot.billing_email,
            packs: PACKS
                .into_iter()
                .map(|pack| PackView {
                    pack: pack.name,
                    price_usd: pack.price_usd,
                    credits: pack.credits,
                })
                .collect(),
            message: WHAT_NEXT,
        }
    }
}

/// Registers an agent: an organization without credits, and its key. Only where the operator has switched it on.
#[utoipa::path(post, path = "/api/v1/auth/bot-register", operation_id = "register_bot", tag = "Keys", security(()), request_body = NewBotBody, responses(
    (status = 201, description = "The key, shown this once", body = BotView),
    (status = 400, description = "INVALID_INPUT", body = ErrorBody),
    (status = 404, description = "NOT_FOUND: not switched on here", body = ErrorBody),
    (status = 429, description = "RATE_LIMIT_EXCEEDED: five an hour from one address", body = ErrorBody),
))]
pub(crate) async fn register(
    State(state): State<ApiState>,
    visitor: Visitor,
    body: Result<JsonObject, ApiError>,
) -> Result<Response, ApiError> {
    // Before the body: where it is off, nothing tells it from a path that is not there.
    state.engine.check_bots_welcome(visitor.address)?;
    let JsonObject(body) = body?;
    let mut fields = Fields::of(body);
    let new = NewBot {
        agent_name: fields.text("agent_name"),
        billing_email: fields.text("billing_email"),
        address: visitor.address,
    };
    fields.finish()?;
    let bot = state.engine.register_bot(new).await?;
    Ok(unstored((StatusCode::CREATED, Json(BotView::from(bot)))))
}
