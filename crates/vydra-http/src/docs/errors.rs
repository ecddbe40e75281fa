//! A page for each error: what happened, what to do, and how to meet it on purpose.

use super::html::{Within, escape, json, panel, prose};
use super::{guide, page, shell};
use crate::ApiState;
use crate::error::{ApiError, ErrorBody, Refund};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use vydra_core::asset::MediaKind;
use vydra_core::catalog::Violations;
use vydra_core::credits::Credits;
use vydra_core::error_code::ErrorCode;
use vydra_core::job::JobStatus;
use vydra_core::scope::Scope;
use vydra_engine::{Error, Exceeded, LimitKind};

const JOB: &str = "job_01k9m2v7x3c4d5e6f7g8h9j0ka";
const REQUEST: &str = "req_h7Zk2mQx9LrT4vBn8Wc3Ys6D";

pub(crate) async fn list(State(state): State<ApiState>) -> Response {
    page(render_list(&state.engine.settings().public_url))
}

pub(crate) async fn get(
    State(state): State<ApiState>,
    Path(code): Path<String>,
) -> Result<Response, ApiError> {
    let code = ErrorCode::parse(&code).ok_or(Error::NotFound { what: code })?;
    Ok(page(render(code, &state.engine.settings().public_url)))
}

pub(super) fn render_list(base: &str) -> String {
    let main = format!(
        "<header class=\"intro\"><p class=\"crumbs\"><a href=\"/docs\">API reference</a></p><h1>Errors</h1></header><section><div class=\"words\">{}</div></section>{}",
        guide::errors_table(),
        panel(
            "The answer to a failed request",
            &body(example(ErrorCode::InvalidInput))
        ),
    );
    shell("Errors", BRAND, &navigation(None, base), &main)
}

const BRAND: &str = "<a href=\"/docs\">API reference</a>";

pub(super) fn render(code: ErrorCode, base: &str) -> String {
    let entry = code.entry();
    let reason = StatusCode::from_u16(entry.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let words = |title: &str, html: &str| format!("<h2>{title}</h2><p>{html}</p>");
    let main = format!(
        "<article class=\"error\"><header class=\"intro\"><p class=\"crumbs\"><a href=\"/docs/errors\">Errors</a></p><h1>{code}</h1><p class=\"says\">{says}</p><p class=\"facts-line\"><span>{status} {reason}</span><span>{retry}</span></p></header><section class=\"topic\"><div class=\"words\">{happened}{todo}{retrying}</div><div class=\"examples\">{examples}</div></section></article>",
        says = prose(entry.sentence),
        status = guide::status(entry.status),
        retry = if entry.retryable {
            "Retrying helps"
        } else {
            "Retrying does not help"
        },
        happened = words("What happened", &prose(entry.meaning)),
        todo = words("What to do", &prose(entry.advice)),
        retrying = words("Whether to retry", &prose(retrying(code))),
        examples = [
            panel("The answer", &body(example(code))),
            panel("In JavaScript", &escape(&handling(code, base))),
            panel("With a test key", &simulated(code, base)),
        ]
        .concat(),
    );
    shell(code.as_str(), BRAND, &navigation(Some(code), base), &main)
}

fn navigation(current: Option<ErrorCode>, base: &str) -> String {
    let items: String = ErrorCode::ALL
        .into_iter()
        .map(|code| {
            let here = if current == Some(code) {
                " aria-current=\"page\""
            } else {
                ""
            };
            format!(
                "<li><a href=\"/docs/errors/{code}\"{here}>{}</a></li>",
                code.as_str().replace('_', "_<wbr>")
            )
        })
        .collect();
    format!(
        "<p><a href=\"/docs/errors\">Errors</a></p><ul>{items}</ul><p>This server</p><ul><li><code>{}</code></li></ul>",
        escape(base)
    )
}

fn body(example: ErrorBody) -> String {
    let example = ErrorBody {
        request_id: REQUEST.to_owned(),
        ..example
    };
    json(&json!(example), Within::Plain)
}

/// Made as the real ones are.
pub(super) fn example(code: ErrorCode) -> ErrorBody {
    let error = match code {
        ErrorCode::InvalidInput => Violations::missing("prompt", "string").into(),
        ErrorCode::InvalidFileType => Error::InvalidFileType(MediaKind::Image),
        ErrorCode::FileTooLarge => vydra_engine::upload_too_large(MediaKind::Image),
        ErrorCode::InvalidUrl => Error::InvalidUrl {
            field: "imageUrl".to_owned(),
            sentence: "Invalid field: imageUrl leads to an address that is not public, expected a public URL of an image".to_owned(),
        },
        ErrorCode::MissingAuth => Error::MissingAuth,
        ErrorCode::InvalidFormat => Error::InvalidFormat,
        ErrorCode::KeyNotFound => Error::KeyNotFound,
        ErrorCode::KeyRevoked => Error::KeyRevoked,
        ErrorCode::KeyExpired => Error::KeyExpired,
        ErrorCode::InsufficientCredits => Error::InsufficientCredits {
            required: Credits::new(15).unwrap_or(Credits::ZERO),
            remaining: Credits::new(5).unwrap_or(Credits::ZERO),
        },
        ErrorCode::InsufficientScope => Error::InsufficientScope {
            required: Scope::ModelsWrite.as_str(),
            granted: vec![Scope::ModelsRead.as_str().to_owned()],
        },
        ErrorCode::NotFound => Error::NotFound {
            what: String::new(),
        },
        ErrorCode::ModelNotFound => Error::ModelNotFound {
            model: "gemini/paint".to_owned(),
            hint: "GET /api/v1/models lists the models that can be called".to_owned(),
        },
        ErrorCode::JobNotFound => Error::JobNotFound,
        ErrorCode::JobNotCancellable => Error::JobNotCancellable(JobStatus::Completed),
        ErrorCode::RateLimitExceeded => Error::RateLimited(Exceeded {
            kind: LimitKind::Minute,
            limit: 30,
            used: 31,
            retry_after_s: 30,
            standing: None,
        }),
        ErrorCode::GenerationFailed => {
            return failed(code, "no_output").saying("Failed to generate image");
        }
        ErrorCode::ProcessingTimeout => return failed(code, "timed_out"),
        ErrorCode::MethodNotAllowed
        | ErrorCode::IdempotencyConflict
        | ErrorCode::InternalError
        | ErrorCode::Unavailable => return ErrorBody::of(code),
    };
    ApiError(error).body()
}

fn failed(code: ErrorCode, reason: &str) -> ErrorBody {
    ErrorBody {
        refund: Some(Refund {
            applied: true,
            credits_refunded: 5,
        }),
        ..ErrorBody::of(code)
    }
    .with("jobId", json!(JOB))
    .with("reason", json!(reason))
}

const WAIT_AS_TOLD: &str = "Yes, unchanged. Wait for the seconds in `Retry-After` first. Without that header wait one second, then twice as long after each try, up to a minute, and take a random part of that time off, so that many clients do not come back at once. Give up after some tries.";
const WAIT_LONGER: &str = "Yes, unchanged. Wait one second before the first try, then twice as long after each, up to a minute, and take a random part of that time off, so that many clients do not come back at once. Give up after some tries.";

fn retrying(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::RateLimitExceeded | ErrorCode::Unavailable => WAIT_AS_TOLD,
        ErrorCode::InternalError => {
            "Yes, unchanged, but a paid call only with an `Idempotency-Key`, so that it cannot be charged twice. Wait one second before the first try, then twice as long after each, up to a minute, and take a random part of that time off. Give up after some tries."
        }
        ErrorCode::GenerationFailed => {
            "Only when `details.retryable` is true; each try is a new job with a charge of its own. Wait one second before the first try, then twice as long after each, up to a minute, and take a random part of that time off. Give up after some tries."
        }
        ErrorCode::ProcessingTimeout => WAIT_LONGER,
        ErrorCode::IdempotencyConflict => {
            "Only when `Retry-After` is there: the first request still runs, and the same request gets its answer once it has ended. Otherwise no."
        }
        ErrorCode::InsufficientCredits => "No, not before the balance covers the price.",
        ErrorCode::MissingAuth
        | ErrorCode::InvalidFormat
        | ErrorCode::KeyNotFound
        | ErrorCode::KeyRevoked
        | ErrorCode::KeyExpired => {
            "No. Every request with this key, or without one, is answered alike."
        }
        ErrorCode::InvalidInput
        | ErrorCode::InvalidFileType
        | ErrorCode::FileTooLarge
        | ErrorCode::InvalidUrl
        | ErrorCode::InsufficientScope
        | ErrorCode::NotFound
        | ErrorCode::ModelNotFound
        | ErrorCode::JobNotFound
        | ErrorCode::MethodNotAllowed
        | ErrorCode::JobNotCancellable => {
            "No. The same request gets the same answer; change it first."
        }
    }
}

fn handling(code: ErrorCode, base: &str) -> String {
    let line = match code {
        ErrorCode::InvalidInput => {
            "for (const { field, problem, expected } of problem.details?.fields ?? []) {\n      form.mark(field, `${problem}, expected ${expected}`);\n    }"
        }
        ErrorCode::InvalidFileType => "show(\"Please choose a JPEG, PNG, WebP or GIF image.\");",
        ErrorCode::FileTooLarge => "show(\"Please choose a smaller image.\");",
        ErrorCode::InvalidUrl => {
            "form.mark(problem.details.field, \"This address cannot be read.\");"
        }
        ErrorCode::MissingAuth
        | ErrorCode::InvalidFormat
        | ErrorCode::KeyNotFound
        | ErrorCode::KeyRevoked
        | ErrorCode::KeyExpired => {
            "// The key is no secret to repair at run time: tell whoever runs this program.\n    throw new Error(`Authentication failed: ${problem.error}`);"
        }
        ErrorCode::InsufficientCredits => {
            "show(`This costs ${problem.creditsRequired} credits; you have ${problem.creditsRemaining}.`);"
        }
        ErrorCode::InsufficientScope => {
            "throw new Error(`The key lacks ${problem.details.required.join(\", \")}`);"
        }
        ErrorCode::NotFound | ErrorCode::JobNotFound => "return null;",
        ErrorCode::ModelNotFound => "show(`This server has no model ${problem.details?.model}.`);",
        ErrorCode::MethodNotAllowed => {
            "throw new Error(`Allowed here: ${response.headers.get(\"Allow\")}`);"
        }
        ErrorCode::IdempotencyConflict => {
            "const seconds = response.headers.get(\"Retry-After\");\n    if (seconds) await sleep(seconds * 1000); // then send the same request again\n    else throw new Error(\"This Idempotency-Key belongs to another request\");"
        }
        ErrorCode::JobNotCancellable => "return fetchJob(id); // it has ended; see how",
        ErrorCode::RateLimitExceeded | ErrorCode::Unavailable => {
            "const seconds = problem.retryAfter ?? 60;\n    await sleep(seconds * 1000 + Math.random() * 1000); // then send the same request again"
        }
        ErrorCode::GenerationFailed => {
            "show(`That did not work. ${problem.refund?.creditsRefunded ?? 0} credits were paid back.`);\n    if (problem.details.retryable) offerRetry();"
        }
        ErrorCode::ProcessingTimeout => {
            "show(`That took too long. ${problem.refund?.creditsRefunded ?? 0} credits were paid back.`);\n    offerRetry();"
        }
        ErrorCode::InternalError => {
            "const pause = Math.min(60, 2 ** attempt) * (0.5 + Math.random() / 2);\n    await sleep(pause * 1000); // then send the same request again\n    console.error(problem.code, problem.requestId);"
        }
    };
    format!(
        "const response = await fetch(`{base}/api/v1${{path}}`, options);\nif (!response.ok) {{\n  const problem = await response.json();\n  if (problem.code === \"{code}\") {{\n    {line}\n  }}\n}}"
    )
}

/// The sandbox answers every code on request, through the path of the real one.
fn simulated(code: ErrorCode, base: &str) -> String {
    format!(
        "# nothing of it costs anything\ncurl -i \"{}/api/v1/models/gemini/generate\" \\\n  -H \"Authorization: Bearer $VYDRA_TEST_KEY\" \\\n  -H \"X-Vydra-Simulate: {code}\" \\\n  -H \"Content-Type: application/json\" \\\n  -d '{}'",
        escape(base),
        json(&json!({"prompt": "A lighthouse"}), Within::ShellQuotes),
    )
}
