//! The API reference for humans, made from the OpenAPI document; one page that needs no network.
//!
//! [`html`] escapes and draws, [`schema`] turns JSON Schemas into lists, [`operation`] is one operation, [`sample`] what
//! it answers, [`guide`] the prose around them, [`errors`] the page of each error.

#![expect(
    clippy::format_push_string,
    clippy::format_collect,
    reason = "the page takes a few milliseconds all the same, and HTML in one piece is easier to read"
)]

pub(crate) mod errors;
mod guide;
mod html;
mod operation;
mod sample;
mod schema;

use crate::ApiState;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use html::{Anchors, escape, prose};
use operation::{Group, Source, text};
use vydra_core::catalog::Workflow;
use vydra_core::error_code::ErrorCode;
use vydra_core::plan::Plans;

const STYLE: &str = include_str!("page.css");
/// The page loads nothing, runs nothing and sits in no frame, whatever a catalogue says.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Inline, because a browser asks for /favicon.ico otherwise.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' height='32' rx='8' fill='%230b6b72'/%3E%3Cpath d='M8 9l8 14 8-14' fill='none' stroke='%23fff' stroke-width='4' stroke-linecap='round' stroke-linejoin='round'/%3E%3C/svg%3E";

pub(crate) async fn get(State(state): State<ApiState>) -> Response {
    let catalog = state.engine.catalog();
    let settings = state.engine.settings();
    let document = crate::openapi::document(catalog);
    let source = Source {
        document: &document,
        catalog,
        base: &settings.public_url,
    };
    page(render(source, &settings.plans))
}

fn page(html: String) -> Response {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, Html(html)).into_response()
}

fn render(source: Source<'_>, plans: &Plans) -> String {
    let mut anchors = Anchors::default();
    // Ids that links elsewhere rely on are taken first, so that no catalogue can have them.
    let fixed = guide::BEFORE
        .iter()
        .chain(&guide::AFTER)
        .chain([&guide::WORKFLOWS]);
    for id in ["top", "main", "menu"]
        .into_iter()
        .chain(fixed.map(|(id, _)| *id))
        .chain(ErrorCode::ALL.map(ErrorCode::as_str))
    {
        anchors.take(id);
    }
    let groups = operation::groups(source.document, &mut anchors);
    let workflows = guide::workflow_anchors(source.catalog, &mut anchors);
    let info = &source.document["info"];
    let title = escape(text(info, "title"));
    let version = escape(text(info, "version"));
    let mut main = format!(
        "<header class=\"intro\"><h1>{title}</h1><p class=\"lead\">{}</p><p class=\"facts-line\"><span>Version {version}</span><span>This server: <code>{}</code></span><a href=\"/openapi.json\">OpenAPI document</a></p></header>",
        prose(text(info, "description")),
        escape(source.base),
    );
    main.push_str(&guide::quick_start(source));
    main.push_str(&guide::authentication());
    for group in &groups {
        main.push_str(&format!(
            "<section class=\"group\" id=\"{}\">{}",
            group.anchor,
            operation::heading(group)
        ));
        for operation in &group.operations {
            main.push_str(&operation.render(source));
        }
        main.push_str("</section>");
    }
    main.push_str(&guide::workflows(source, &workflows));
    main.push_str(&guide::errors(source, plans));
    let navigation = navigation(&groups, &workflows);
    let brand = format!("<a href=\"#top\">{title}</a> <span>{version}</span>");
    shell(&title, &brand, &navigation, &main)
}

/// The page around its content.
fn shell(title: &str, brand: &str, navigation: &str, main: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\" id=\"top\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title><link rel=\"icon\" href=\"{ICON}\"><style>{STYLE}</style></head><body><a class=\"skip\" href=\"#main\">Skip to the content</a><div class=\"side\"><p class=\"brand\">{brand}</p><input type=\"checkbox\" id=\"menu\"><label for=\"menu\">Contents</label><nav aria-label=\"Contents\">{navigation}</nav></div><main id=\"main\">{main}</main><a class=\"up\" href=\"#top\">↑ Top</a></body></html>"
    )
}

fn navigation(groups: &[Group<'_>], workflows: &[(String, &Workflow)]) -> String {
    let link = |id: &str, label: &str| format!("<li><a href=\"#{id}\">{label}</a></li>");
    let plain = |topics: &[(&str, &str)]| -> String {
        topics.iter().map(|(id, title)| link(id, title)).collect()
    };
    let mut out = format!("<ul>{}</ul>", plain(&guide::BEFORE));
    let mut block = |id: &str, title: &str, items: &str| {
        out.push_str(&format!(
            "<p><a href=\"#{id}\">{title}</a></p><ul>{items}</ul>"
        ));
    };
    for group in groups {
        let items: String = group
            .operations
            .iter()
            .map(|operation| {
                link(
                    &operation.anchor,
                    &format!(
                        "{}<span>{}</span>",
                        operation.badge(),
                        escape(operation.label())
                    ),
                )
            })
            .collect();
        block(&group.anchor, &escape(group.title), &items);
    }
    let items: String = workflows
        .iter()
        .map(|(anchor, workflow)| link(anchor, &escape(&workflow.name)))
        .collect();
    block(guide::WORKFLOWS.0, guide::WORKFLOWS.1, &items);
    if let Some(((id, title), rest)) = guide::AFTER.split_first() {
        block(id, title, &plain(rest));
    }
    out
}

#[cfg(test)]
mod tests;
