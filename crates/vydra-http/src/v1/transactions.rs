use super::quotes::PriceLineView;
use crate::ApiState;
use crate::auth::Authorized;
use crate::error::{ApiError, ErrorBody};
use crate::extract::ApiQuery;
use crate::page::{self, Page, Pagination};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use utoipa::{IntoParams, ToSchema};
use vydra_core::catalog::Violations;
use vydra_core::ids::{EntryId, JobId};
use vydra_core::ledger::{Entry, EntryKind, RefundRule};
use vydra_core::time::Timestamp;
use vydra_engine::{Error, TransactionQuery};

/// A page is shown; a file is kept.
struct Size {
    usual: u64,
    limits: RangeInclusive<u64>,
}

const SHOWN: Size = Size {
    usual: page::USUAL,
    limits: page::LIMITS,
};
const FILE: Size = Size {
    usual: 1_000,
    limits: 1..=10_000,
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct TransactionsQuery {
    /// 1 to 100, 20 when absent; as CSV 1 to 10,000, 1,000 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// How many to pass over.
    #[param(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64)]
    offset: Option<String>,
    /// Only rows behind this one in the list: the last page's nextCursor.
    #[param(pattern = "^txn_[0-9a-z]{26}$")]
    after: Option<String>,
    /// Only rows of this type: grant, purchase, charge, refund or adjustment.
    #[serde(rename = "type")]
    #[param(pattern = "^(grant|purchase|charge|refund|adjustment)$")]
    kind: Option<String>,
    /// Only rows of this job.
    job_id: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TransactionView {
    #[schema(value_type = String)]
    id: EntryId,
    /// grant, purchase, charge, refund or adjustment.
    #[serde(rename = "type")]
    #[schema(example = "charge")]
    kind: &'static str,
    /// Signed: what was taken is below zero.
    #[schema(example = -15)]
    amount: i64,
    #[schema(example = 985)]
    balance_after: i64,
    #[schema(value_type = Option<String>)]
    job_id: Option<JobId>,
    #[schema(example = "flux-edit")]
    reason: String,
    #[schema(value_type = String)]
    created_at: Timestamp,
}

impl From<Entry> for TransactionView {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id,
            kind: entry.kind.as_str(),
            amount: entry.amount,
            balance_after: entry.balance_after,
            job_id: entry.job_id,
            reason: entry.reason,
            created_at: entry.created_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TransactionList {
    data: Vec<TransactionView>,
    pagination: Pagination,
}

/// Every movement of credits, the newest first. With `Accept: text/csv` the same rows as a file.
#[utoipa::path(get, path = "/api/v1/billing/transactions", operation_id = "list_transactions", tag = "Billing", params(TransactionsQuery), responses(
    (status = 200, description = "A page of the ledger; as CSV with a Link to the next file when there is more", content(
        (TransactionList = "application/json"),
        (String = "text/csv"),
    )),
    (status = 400, description = "INVALID_INPUT: also for a cursor that is not of this list", body = ErrorBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    auth: Authorized,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<TransactionsQuery>,
) -> Result<Response, ApiError> {
    let as_csv = wants_csv(&headers);
    let size = if as_csv { FILE } else { SHOWN };
    let wanted = Page::within(
        query.limit.as_deref(),
        query.offset.as_deref(),
        size.usual,
        size.limits,
    )?;
    let kind = query.kind.as_deref().map(kind).transpose()?;
    let mut page = state
        .engine
        .transactions(
            &auth.caller,
            TransactionQuery {
                kind,
                job: query.job_id.clone(),
                limit: wanted.and_one(),
                offset: wanted.offset,
                after: query.after,
            },
        )
        .await?;
    let cursor = |entry: &Entry| entry.id.to_string();
    let pagination = wanted.told(&mut page.entries, page.count, cursor);
    if as_csv {
        let limit = wanted.limit;
        let next = pagination.next_cursor.map(|cursor| {
            let mut url = format!(
                "{}/api/v1/billing/transactions?limit={limit}&after={cursor}",
                state.engine.settings().public_url
            );
            // There are rows, so these are words of ours. Writing to a String cannot fail.
            if let Some(kind) = kind {
                let _ = write!(url, "&type={}", kind.as_str());
            }
            if let Some(job) = &query.job_id {
                let _ = write!(url, "&jobId={job}");
            }
            url
        });
        return Ok(file(&page.entries, next.as_deref()));
    }
    let list = TransactionList {
        data: page.entries.into_iter().map(Into::into).collect(),
        pagination,
    };
    Ok(Json(list).into_response())
}

fn kind(word: &str) -> Result<EntryKind, ApiError> {
    EntryKind::parse(word).ok_or_else(|| {
        let known = EntryKind::ALL.map(EntryKind::as_str).join(", ");
        Error::from(Violations::one(
            "type",
            "not one of the allowed values",
            &known,
        ))
        .into()
    })
}

/// Whether CSV is asked for by name, and JSON not rather. Wildcards mean JSON.
fn wants_csv(headers: &HeaderMap) -> bool {
    let mut best: Option<(f32, bool)> = None;
    let ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let is_csv = match parts.next().unwrap_or_default().to_ascii_lowercase() {
            name if name == "text/csv" => true,
            name if name == "application/json" => false,
            _ => continue,
        };
        let weight = parts
            .find_map(|part| part.strip_prefix("q="))
            .and_then(|text| text.parse::<f32>().ok())
            .unwrap_or(1.0);
        if weight > 0.0 && best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, is_csv));
        }
    }
    best.is_some_and(|(_, is_csv)| is_csv)
}

/// RFC 4180.
fn file(entries: &[Entry], next: Option<&str>) -> Response {
    let mut text = "id,type,amount,balanceAfter,jobId,reason,createdAt\r\n".to_owned();
    for entry in entries {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{},{},{},{},{},{},{}\r\n",
            entry.id,
            entry.kind.as_str(),
            entry.amount,
            entry.balance_after,
            entry.job_id.as_ref().map_or("", JobId::as_str),
            cell(&entry.reason),
            entry.created_at
        );
    }
    let headers: [(HeaderName, &str); 2] = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"transactions.csv\"",
        ),
    ];
    let mut response = (headers, text).into_response();
    let link = next.and_then(|url| HeaderValue::try_from(format!("<{url}>; rel=\"next\"")).ok());
    response
        .headers_mut()
        .extend(link.map(|link| (header::LINK, link)));
    response
}

/// A text that somebody chose. Spreadsheets calculate what begins like a formula, so it gets a quote mark before it.
fn cell(text: &str) -> String {
    let begins_a_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guard = if begins_a_formula { "'" } else { "" };
    if begins_a_formula || text.contains([',', '"', '\r', '\n']) {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Why a refund is what it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefundRuleView {
    /// `not_ended`, `delivered`, `partial`, `failed`, `timed_out` or `cancelled`.
    #[schema(example = "partial")]
    rule: &'static str,
    /// The same for a human.
    explanation: &'static str,
}

impl From<RefundRule> for RefundRuleView {
    fn from(rule: RefundRule) -> Self {
        Self {
            rule: rule.as_str(),
            explanation: rule.sentence(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChargesView {
    #[schema(value_type = String)]
    job_id: JobId,
    #[schema(example = 60)]
    credits_charged: i64,
    #[schema(example = 45)]
    credits_refunded: i64,
    #[schema(example = 15)]
    credits_net: i64,
    /// How the price was made up when the job was created.
    breakdown: Vec<PriceLineView>,
    /// The prices that held then; null for a job from before prices had versions.
    price_version: Option<String>,
    refund_rule: RefundRuleView,
    /// The job's rows of the ledger, the newest first.
    data: Vec<TransactionView>,
}

/// Why a job cost what it cost.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/charges", operation_id = "get_job_charges", tag = "Jobs", params(("id" = String, Path, description = "The job's id")), responses(
    (status = 200, description = "The job's charge, its refund and the rule behind it", body = ChargesView),
    (status = 404, description = "JOB_NOT_FOUND, also for a job of another organization", body = ErrorBody),
))]
pub(crate) async fn of_job(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
) -> Result<Json<ChargesView>, ApiError> {
    let charges = state.engine.job_charges(&auth.caller, &id).await?;
    let job = charges.job;
    let (charged, refunded) = (job.price.get(), job.refunded.get());
    let pricing = job.call.pricing;
    Ok(Json(ChargesView {
        job_id: job.id,
        credits_charged: charged,
        credits_refunded: refunded,
        credits_net: charged - refunded,
        price_version: Some(pricing.version).filter(|version| !version.is_empty()),
        breakdown: pricing.lines.into_iter().map(Into::into).collect(),
        refund_rule: charges.rule.into(),
        data: charges.entries.into_iter().map(Into::into).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_calculate_or_leave_its_place() {
        for (text, written) in [
            ("flux-edit", "flux-edit"),
            ("a, b", "\"a, b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
        ] {
            assert_eq!(cell(text), written);
        }
    }

    #[test]
    fn csv_is_sent_to_whoever_asks_for_it() {
        for (accept, expected) in [
            ("text/csv", true),
            ("TEXT/CSV; charset=utf-8", true),
            ("text/csv, */*;q=0.1", true),
            ("application/json;q=0.5, text/csv", true),
            ("application/json, text/csv;q=0.5", false),
            ("application/json", false),
            ("text/csv;q=0", false),
            ("*/*", false),
            ("text/html", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(wants_csv(&headers), expected, "{accept}");
        }
    }
}
