//! What a reader needs besides the operations: how to begin, workflows, and what can go wrong.

use super::html::{Anchors, Within, code, error_link, escape, json, panel, prose};
use super::operation::{Source, price_row};
use super::sample;
use super::schema::{Schemas, Side, number};
use serde_json::{Value, json};
use vydra_core::asset::MediaKind;
use vydra_core::catalog::{Answer, Catalog, Choice, Makeup, Model, Resolved, Steps, Workflow};
use vydra_core::error_code::ErrorCode;
use vydra_core::plan::Plans;

/// The sections that stand by themselves: their anchors and titles.
pub(super) const BEFORE: [(&str, &str); 2] = [
    ("quick-start", "Quick start"),
    ("authentication", "Authentication"),
];
pub(super) const AFTER: [(&str, &str); 6] = [
    ("errors", "Errors"),
    ("error-shape", "The error shape"),
    ("refunds", "Refunds"),
    ("rate-limits", "Rate limits"),
    ("media", "Media URLs"),
    ("sandbox", "Sandbox"),
];
pub(super) const WORKFLOWS: (&str, &str) = ("workflows", "Workflows");

pub(super) fn section(id: &str, title: &str, words: &str, examples: &str) -> String {
    let examples = if examples.is_empty() {
        String::new()
    } else {
        format!("<div class=\"examples\">{examples}</div>")
    };
    format!(
        "<section class=\"topic\" id=\"{id}\"><div class=\"words\"><h2><a href=\"#{id}\">{title}</a></h2>{words}</div>{examples}</section>"
    )
}

pub(super) fn quick_start(source: Source<'_>) -> String {
    let first = (
        "Put your API key into the environment",
        "With a test key (<code>vydra_test_…</code>) nothing costs anything and no provider is called.",
        panel(
            "Your key",
            "export VYDRA_API_KEY=<span class=\"s\">vydra_test_…</span>",
        ),
    );
    let image =
        sample::model_of(source.catalog, MediaKind::Image, Answer::Sync).map(|(model, priced)| {
            (
                "Make an image",
                "A sync model answers with the result: the image is at <code>imageUrl</code>.",
                example(source, model)
                    + &panel(
                        "Response 200",
                        &json(&sample::completed(source, &priced), Within::Plain),
                    ),
            )
        });
    let video =
        sample::model_of(source.catalog, MediaKind::Video, Answer::Async).map(|(model, priced)| {
            (
                "Start a video",
                "An async model answers at once with a job. Keep its <code>jobId</code>.",
                example(source, model)
                    + &panel(
                        "Response 202",
                        &json(&sample::accepted(model, &priced), Within::Plain),
                    ),
            )
        });
    let last = (
        "Read the job",
        "With <code>?wait=60</code> the answer is held until the job has ended, or for 60 seconds. Ask again while <code>status</code> is <code>pending</code> or <code>running</code>; then the video is at <code>videoUrl</code>. Or follow the job at <code>/events</code>: its status and progress are sent as they change, and its end with the whole job.",
        panel(
            "Request",
            &format!(
                "curl \"{}/api/v1/jobs/$JOB_ID?wait=60\" \\\n  -H \"Authorization: Bearer $VYDRA_API_KEY\"",
                escape(source.base)
            ),
        ),
    );
    let steps: String = [Some(first), image, video, Some(last)]
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(place, (title, words, examples))| {
            let heading = if place == 0 {
                "<h2><a href=\"#quick-start\">Quick start</a></h2>"
            } else {
                ""
            };
            format!(
                "<div class=\"words\">{heading}<h3><span class=\"step\">{}</span> {title}</h3><p>{words}</p></div><div class=\"examples\">{examples}</div>",
                place + 1
            )
        })
        .collect();
    format!("<section class=\"topic\" id=\"quick-start\">{steps}</section>")
}

/// A call of a model with its own example.
fn example(source: Source<'_>, model: &Model) -> String {
    let path = model.path.as_deref().unwrap_or_default();
    panel(
        "Request",
        &posted(
            source,
            &format!("models/{path}"),
            &json!(model.example_input),
        ),
    )
}

fn posted(source: Source<'_>, path: &str, body: &Value) -> String {
    format!(
        "curl \"{}/api/v1/{}\" \\\n  -H \"Authorization: Bearer $VYDRA_API_KEY\" \\\n  -H \"Content-Type: application/json\" \\\n  -d '{}'",
        escape(source.base),
        escape(path),
        json(body, Within::ShellQuotes)
    )
}

pub(super) fn authentication() -> String {
    let words = format!(
        "<p>Send your API key with every request, in the <code>Authorization</code> header. Keys that start with <code>vydra_live_</code> spend credits; those that start with <code>vydra_test_</code> use the <a href=\"#sandbox\">sandbox</a>.</p><p>A key has scopes. <code>*</code> allows everything, <code>models:*</code> everything with models; {} names the scope that is missing. Treat a key like a password: whoever has it spends your credits.</p>",
        error_link(ErrorCode::InsufficientScope),
    );
    section(
        "authentication",
        "Authentication",
        &words,
        &panel("Header", "Authorization: Bearer $VYDRA_API_KEY"),
    )
}

/// Each workflow with the anchor that the sidebar leads to.
pub(super) fn workflow_anchors<'a>(
    catalog: &'a Catalog,
    anchors: &mut Anchors,
) -> Vec<(String, &'a Workflow)> {
    catalog
        .workflows()
        .iter()
        .map(|workflow| {
            (
                anchors.take(&format!("workflow-{}", workflow.slug)),
                workflow,
            )
        })
        .collect()
}

pub(super) fn workflows(source: Source<'_>, workflows: &[(String, &Workflow)]) -> String {
    let (id, title) = WORKFLOWS;
    let list: String = workflows
        .iter()
        .map(|(anchor, workflow)| one_workflow(source, anchor, workflow))
        .collect();
    format!(
        "<section class=\"group\" id=\"{id}\"><h2><a href=\"#{id}\">{title}</a></h2><p class=\"lead\">A workflow is a job with a name. It is started with <code>POST /api/v1/jobs</code>, its fields stand in <code>input</code>, and the answer is a job to read.</p>{list}</section>"
    )
}

fn one_workflow(source: Source<'_>, anchor: &str, workflow: &Workflow) -> String {
    let (heading, prices) = match &workflow.makeup {
        Makeup::Choices(choices) => (
            "<code>model</code>",
            choices
                .iter()
                .map(|choice| choice_row(source.catalog, workflow, choice))
                .collect(),
        ),
        Makeup::Steps(steps) => ("Step", step_rows(source.catalog, workflow, steps)),
    };
    let body = json!({"workflow": workflow.slug, "input": workflow.example_input});
    let example = posted(source, "jobs", &body);
    format!(
        "<section class=\"operation\" id=\"{anchor}\"><div class=\"words\"><h3><a href=\"#{anchor}\">{}</a></h3><p class=\"endpoint\"><span class=\"method post\">WORKFLOW</span> {}</p><p>{}</p><h4>Input</h4>{}<h4>Price</h4><div class=\"scroll\"><table><thead><tr><th scope=\"col\">{heading}</th><th scope=\"col\">Runs</th><th scope=\"col\" class=\"number\">Credits</th></tr></thead><tbody>{prices}</tbody></table></div></div><div class=\"examples\">{}</div></section>",
        escape(&workflow.name),
        code(&workflow.slug),
        prose(&workflow.description),
        Schemas(source.document).list(workflow.schema.json(), Side::Request),
        panel("Request", &example),
    )
}

/// What the example costs.
pub(super) fn example_price(catalog: &Catalog, workflow: &Workflow) -> Option<i64> {
    match workflow.resolve(catalog, workflow.example_input.clone()) {
        Resolved::Call { priced, .. } => Some(priced.price.get()),
        Resolved::UnknownModel(_) | Resolved::Invalid(_) => None,
    }
}

fn choice_row(catalog: &Catalog, workflow: &Workflow, choice: &Choice) -> String {
    let mut word = choice
        .named
        .as_deref()
        .map_or_else(|| "any".to_owned(), code);
    if let Some(field) = &choice.with {
        word.push_str(&format!(" with {}", code(field)));
    }
    price_row(
        &word,
        &code(&choice.model),
        &choice_price(catalog, workflow, choice),
    )
}

/// Each step, and what all of them cost.
fn step_rows(catalog: &Catalog, workflow: &Workflow, steps: &Steps) -> String {
    let each = steps.iter().map(|step| {
        let mut word = code(&step.name);
        if let Some(field) = &step.given {
            word.push_str(&format!(", unless {} is given", code(field)));
        }
        let priced = catalog
            .model(&step.model)
            .filter(|_| steps.credits().is_none());
        let credits = priced.map_or_else(String::new, unit_price);
        price_row(&word, &code(&step.model), &credits)
    });
    let whole = example_price(catalog, workflow).unwrap_or_default();
    let word = match steps.credits() {
        Some(_) => "all of it",
        None => "in the example",
    };
    each.chain([price_row(word, "", &whole.to_string())])
        .collect()
}

fn unit_price(model: &Model) -> String {
    format!("{} per {}", model.credits_per_unit, model.pricing_unit)
}

/// What this choice costs for the example's input.
fn choice_price(catalog: &Catalog, workflow: &Workflow, choice: &Choice) -> String {
    let mut input = workflow.example_input.clone();
    if let Some(named) = &choice.named {
        input.insert("model".to_owned(), json!(named));
    }
    if let Some(field) = &choice.with {
        input
            .entry(field.clone())
            .or_insert_with(|| json!("https://example.com/start.png"));
    }
    match workflow.resolve(catalog, input) {
        Resolved::Call { model, priced } if model.slug == choice.model => {
            priced.price.get().to_string()
        }
        Resolved::Call { .. } | Resolved::UnknownModel(_) | Resolved::Invalid(_) => catalog
            .model(&choice.model)
            .map_or_else(|| "–".to_owned(), unit_price),
    }
}

/// Every code with its page; the row itself can be linked to.
pub(super) fn errors_table() -> String {
    let rows: String = ErrorCode::ALL
        .into_iter()
        .map(|code| {
            let entry = code.entry();
            let (class, retry) = if entry.retryable {
                ("yes", "Helps")
            } else {
                ("no", "Does not help")
            };
            format!(
                "<tr id=\"{code}\"><th scope=\"row\">{}</th><td>{}</td><td>{}<br><span class=\"hint\">{}</span></td><td class=\"retry {class}\">{retry}</td></tr>",
                error_link(code),
                status(entry.status),
                prose(entry.sentence),
                prose(entry.advice),
            )
        })
        .collect();
    format!(
        "<p>Every error has a <code>code</code>, a stable word for programs, and a sentence for people, which may change. Retrying helps where the table says so: wait, then send the same request again. Elsewhere, change the request first. Each code has a page with an example; the header <code>Link</code> of every error leads to it.</p><div class=\"scroll\"><table class=\"errors\"><thead><tr><th scope=\"col\">Code</th><th scope=\"col\">Status</th><th scope=\"col\">What it says, and what to do</th><th scope=\"col\">Retrying</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

pub(super) fn status(status: u16) -> String {
    let class = if status >= 500 { "bad" } else { "refused" };
    format!("<span class=\"status {class}\">{status}</span>")
}

pub(super) fn errors(source: Source<'_>, plans: &Plans) -> String {
    let base = escape(source.base);
    let mut out = section("errors", "Errors", &errors_table(), "");
    out.push_str(&error_shape(source));
    out.push_str(&section(
        "refunds",
        "Refunds",
        include_str!("refunds.html"),
        &panel(
            "A refund",
            &json(
                &json!({"refund": {"applied": true, "creditsRefunded": 15}}),
                Within::Plain,
            ),
        ),
    ));
    out.push_str(&section(
        "rate-limits",
        "Rate limits",
        &format!("{}{}", include_str!("rate_limits.html"), plans_table(plans)),
        &panel("Headers", &escape(include_str!("rate_limits.txt"))),
    ));
    out.push_str(&section(
        "media",
        "Media URLs",
        include_str!("media.html"),
        &[
            panel(
                "Save a result",
                &format!("curl -o result.png \\\n  \"{base}/media/4f/4fe1c09a….png\""),
            ),
            panel(
                "Send an image in",
                &format!(
                    "curl \"{base}/api/v1/upload\" \\\n  -H \"Authorization: Bearer $VYDRA_API_KEY\" \\\n  -F \"file=@lake.png\""
                ),
            ),
        ]
        .concat(),
    ));
    let path = sample::model_of(source.catalog, MediaKind::Image, Answer::Sync)
        .and_then(|(model, _)| model.path.as_deref())
        .unwrap_or("gemini/generate");
    out.push_str(&section(
        "sandbox",
        "Sandbox",
        include_str!("sandbox.html"),
        &panel(
            "Make a call fail",
            &format!(
                "curl \"{base}/api/v1/models/{}\" \\\n  -H \"Authorization: Bearer $VYDRA_API_KEY\" \\\n  -H \"X-Vydra-Simulate: CONTENT_POLICY\" \\\n  -H \"Content-Type: application/json\" \\\n  -d '{}'",
                escape(path),
                json(&json!({"prompt": "A lighthouse"}), Within::ShellQuotes)
            ),
        ),
    ));
    out
}

/// The fields of a failed call, so that the reader sees most of them at once.
pub(super) fn failed_example() -> Value {
    json!({
        "error": "Failed to generate image",
        "code": ErrorCode::GenerationFailed,
        "details": {
            "jobId": "job_01k9m2v7x3c4d5e6f7g8h9j0ka",
            "reason": "content_policy",
            "retryable": false,
        },
        "refund": {"applied": true, "creditsRefunded": 5},
        "requestId": "req_h7Zk2mQx9LrT4vBn8Wc3Ys6D",
    })
}

fn error_shape(source: Source<'_>) -> String {
    let fields = source
        .document
        .pointer("/components/schemas/ErrorBody")
        .map(|schema| Schemas(source.document).list(schema, Side::Response))
        .unwrap_or_default();
    let words = format!(
        "<p>All errors look the same. What <code>details</code> holds depends on the code: the wrong fields of a request, the missing scope, the job that failed. <code>requestId</code> stands in the header <code>x-request-id</code> too; tell it to the operator when you ask for help.</p>{fields}"
    );
    section(
        "error-shape",
        "The error shape",
        &words,
        &panel(
            "A generation that failed",
            &json(&failed_example(), Within::Plain),
        ),
    )
}

fn plans_table(plans: &Plans) -> String {
    let rows: String = plans
        .names()
        .filter_map(|name| Some((name, plans.get(name)?)))
        .map(|(name, limits)| {
            let cells: String = [limits.rpm, limits.rph, limits.rpd, limits.concurrent]
                .into_iter()
                .map(|limit| format!("<td class=\"number\">{}</td>", number(&json!(limit))))
                .collect();
            format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", escape(name))
        })
        .collect();
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Plan</th><th scope=\"col\" class=\"number\">Per minute</th><th scope=\"col\" class=\"number\">Per hour</th><th scope=\"col\" class=\"number\">Per day</th><th scope=\"col\" class=\"number\">Jobs at once</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
}
