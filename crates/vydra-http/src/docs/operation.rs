//! One operation of the document: what it takes, what it answers, and how it is called.

use super::html::{Anchors, Within, escape, json, panel, prose};
use super::sample;
use super::schema::{Schemas, Side};
use serde_json::{Map, Value};
use vydra_core::catalog::Catalog;

const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];

/// The operations of one tag.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) anchor: String,
    pub(super) title: &'a str,
    pub(super) description: &'a str,
    pub(super) operations: Vec<Operation<'a>>,
}

#[derive(Debug)]
pub(super) struct Operation<'a> {
    pub(super) anchor: String,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    described: &'a Value,
}

/// What every part of the page is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) document: &'a Value,
    pub(super) catalog: &'a Catalog,
    pub(super) base: &'a str,
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn entries<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value
        .get(name)
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter)
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// In the order of the document's tags; what has no known tag comes last.
pub(super) fn groups<'a>(document: &'a Value, anchors: &mut Anchors) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = items(document, "tags")
        .map(|tag| Group {
            anchor: anchors.take(&format!("tag-{}", text(tag, "name"))),
            title: text(tag, "name"),
            description: text(tag, "description"),
            operations: Vec::new(),
        })
        .collect();
    let mut others = Group {
        anchor: anchors.take("tag-other"),
        title: "Other",
        description: "",
        operations: Vec::new(),
    };
    for (path, described) in entries(document, "paths") {
        for method in METHODS {
            let Some(described) = described.get(method) else {
                continue;
            };
            let short = path.strip_prefix("/api/v1").unwrap_or(path);
            let operation = Operation {
                anchor: anchors.take(&format!("{method}{short}")),
                method,
                path,
                described,
            };
            let tag = items(described, "tags").find_map(Value::as_str);
            groups
                .iter_mut()
                .find(|group| Some(group.title) == tag)
                .unwrap_or(&mut others)
                .operations
                .push(operation);
        }
    }
    groups.push(others);
    groups.retain(|group| !group.operations.is_empty());
    groups
}

impl<'a> Operation<'a> {
    /// The first sentence of the summary, and what follows it.
    fn title_and_rest(&self) -> (&'a str, &'a str) {
        let summary = text(self.described, "summary");
        match summary.split_once(". ") {
            _ if summary.is_empty() => (self.path, ""),
            Some((title, rest)) => (title, rest),
            None => (summary.trim_end_matches('.'), ""),
        }
    }

    /// A few words for the sidebar.
    pub(super) fn label(&self) -> &'a str {
        let (title, _) = self.title_and_rest();
        title
            .split([',', ':', ';'])
            .next()
            .unwrap_or(title)
            .trim_end()
    }

    fn is_public(&self) -> bool {
        items(self.described, "security").any(|need| need.as_object().is_some_and(Map::is_empty))
    }

    /// Where no key will do.
    fn needs_session(&self) -> bool {
        let mut needs = items(self.described, "security").peekable();
        needs.peek().is_some() && needs.all(|need| need.get("session").is_some())
    }

    pub(super) fn badge(&self) -> String {
        format!(
            "<span class=\"method {0}\">{1}</span>",
            self.method,
            self.method.to_ascii_uppercase()
        )
    }

    pub(super) fn render(&self, source: Source<'a>) -> String {
        let (title, rest) = self.title_and_rest();
        let mut words = format!(
            "<h3><a href=\"#{0}\">{1}</a></h3><p class=\"endpoint\">{2} <code>{3}</code></p>",
            self.anchor,
            escape(title),
            self.badge(),
            breakable(self.path),
        );
        for paragraph in [rest, text(self.described, "description")] {
            if !paragraph.is_empty() {
                words.push_str(&format!("<p>{}</p>", prose(paragraph)));
            }
        }
        if self.is_public() {
            words.push_str("<p class=\"note\">Needs no key.</p>");
        }
        if self.needs_session() {
            words.push_str("<p class=\"note\">Needs a session, never a key.</p>");
        }
        words.push_str(&self.parameters(source, "path", "Path parameters"));
        words.push_str(&self.parameters(source, "query", "Query parameters"));
        words.push_str(&self.body(source));
        words.push_str(&self.parameters(source, "header", "Headers"));
        words.push_str(&self.responses(source));
        let mut examples = panel("Request", &self.curl(source));
        examples.push_str(&self.answer(source));
        format!(
            "<section class=\"operation\" id=\"{}\"><div class=\"words\">{words}</div><div class=\"examples\">{examples}</div></section>",
            self.anchor
        )
    }

    fn parameters(&self, source: Source<'a>, place: &str, title: &str) -> String {
        let rows: String = items(self.described, "parameters")
            .filter(|parameter| text(parameter, "in") == place)
            .map(|parameter| {
                Schemas(source.document).entry(
                    text(parameter, "name"),
                    parameter.get("schema").unwrap_or(&Value::Null),
                    parameter.get("required") == Some(&Value::Bool(true)),
                    text(parameter, "description"),
                )
            })
            .collect();
        if rows.is_empty() {
            return rows;
        }
        format!("<h4>{title}</h4><dl class=\"props\">{rows}</dl>")
    }

    /// The media type and description of the request's body.
    fn content(&self) -> Option<(&'a str, &'a Value)> {
        let body = self.described.get("requestBody")?;
        entries(body, "content")
            .map(|(media_type, content)| (media_type.as_str(), content))
            .next()
    }

    fn body(&self, source: Source<'a>) -> String {
        let Some((media_type, content)) = self.content() else {
            return String::new();
        };
        let list = content
            .get("schema")
            .map(|schema| Schemas(source.document).list(schema, Side::Request))
            .unwrap_or_default();
        format!(
            "<h4>Body <span class=\"type\">{}</span></h4>{list}",
            escape(media_type)
        )
    }

    fn responses(&self, source: Source<'a>) -> String {
        let mut responses: Vec<_> = entries(self.described, "responses").collect();
        responses.sort_by_key(|(status, _)| status.as_str());
        let rows: String = responses
            .iter()
            .map(|(status, response)| {
                let class = match status.bytes().next() {
                    Some(b'2' | b'3') => "good",
                    Some(b'5') => "bad",
                    _ => "refused",
                };
                let line = format!(
                    "<span class=\"status {class}\">{}</span> <span>{}</span>",
                    escape(status),
                    prose(text(response, "description"))
                );
                let list = schema_of(response)
                    // All errors have one shape; the page describes it once.
                    .filter(|schema| !is_error_body(schema))
                    .map(|schema| Schemas(source.document).list(schema, Side::Response))
                    .unwrap_or_default();
                if list.is_empty() {
                    format!("<div class=\"response\"><p>{line}</p></div>")
                } else {
                    format!("<details class=\"response\"><summary>{line}</summary>{list}</details>")
                }
            })
            .collect();
        if rows.is_empty() {
            return rows;
        }
        format!(
            "<h4>Responses</h4><div class=\"responses\">{rows}</div><p class=\"hint\">Errors come in <a href=\"#error-shape\">one shape</a>.</p>"
        )
    }

    fn curl(&self, source: Source<'a>) -> String {
        let mut lines = Vec::new();
        let method = match self.method {
            "get" => String::new(),
            "post" if self.content().is_some() => String::new(),
            "head" => "-I ".to_owned(),
            other => format!("-X {} ", other.to_ascii_uppercase()),
        };
        lines.push(format!(
            "curl {method}\"{}{}\"",
            escape(source.base),
            escape(&with_variables(self.path))
        ));
        if self.needs_session() {
            lines.push("-b \"__session=$VYDRA_SESSION\"".to_owned());
        } else if !self.is_public() {
            lines.push("-H \"Authorization: Bearer $VYDRA_API_KEY\"".to_owned());
        }
        match self.content() {
            Some((media_type, content)) if media_type.starts_with("multipart/") => {
                let schema = content.get("schema").unwrap_or(&Value::Null);
                for (name, _) in Schemas(source.document).property_names(schema) {
                    lines.push(format!("-F \"{}=@picture.png\"", escape(name)));
                }
            }
            Some((media_type, content)) => {
                lines.push(format!("-H \"Content-Type: {}\"", escape(media_type)));
                let body = content
                    .get("example")
                    .cloned()
                    .unwrap_or_else(|| sample::request(source, self.path, content));
                lines.push(format!("-d '{}'", json(&body, Within::ShellQuotes)));
            }
            None => {}
        }
        lines.join(" \\\n  ")
    }

    /// What the first good response looks like, when we know.
    fn answer(&self, source: Source<'a>) -> String {
        let mut responses: Vec<_> = entries(self.described, "responses")
            .filter(|(status, _)| status.starts_with('2'))
            .collect();
        responses.sort_by_key(|(status, _)| status.as_str());
        // A model that answers late takes the second of its responses by default.
        let model = self
            .path
            .strip_prefix("/api/v1/models/")
            .filter(|_| self.method == "post")
            .and_then(|path| source.catalog.model_at(path));
        let shown = responses.iter().find_map(|(status, response)| {
            let name = text(schema_of(response)?, "$ref").rsplit('/').next()?;
            let sample = sample::response(source, name, model)?;
            Some((status, sample))
        });
        shown
            .map(|(status, sample)| {
                panel(&format!("Response {status}"), &json(&sample, Within::Plain))
            })
            .unwrap_or_default()
    }
}

fn schema_of(response: &Value) -> Option<&Value> {
    entries(response, "content").next()?.1.get("schema")
}

fn is_error_body(schema: &Value) -> bool {
    text(schema, "$ref").ends_with("/ErrorBody")
}

/// A path that may break behind its slashes, so that narrow screens need not scroll.
fn breakable(path: &str) -> String {
    escape(path).replace('/', "/<wbr>")
}

/// `/jobs/{id}` as a shell would fill it in: `/jobs/$JOB_ID`.
fn with_variables(path: &str) -> String {
    let mut before = "";
    let segments: Vec<String> = path
        .split('/')
        .map(|segment| {
            let filled = segment
                .strip_prefix('{')
                .and_then(|segment| segment.strip_suffix('}'))
                .map(|name| {
                    let noun = before.strip_suffix('s').unwrap_or(before);
                    format!("${noun}_{name}")
                        .replace('-', "_")
                        .to_ascii_uppercase()
                });
            before = segment;
            filled.unwrap_or_else(|| segment.to_owned())
        })
        .collect();
    segments.join("/")
}

/// The heading of a group.
pub(super) fn heading(group: &Group<'_>) -> String {
    format!(
        "<h2><a href=\"#{}\">{}</a></h2><p class=\"lead\">{}</p>",
        group.anchor,
        escape(group.title),
        prose(group.description)
    )
}

/// A named row of a table of choices: what is written, which model runs, what it costs.
pub(super) fn price_row(word: &str, model: &str, credits: &str) -> String {
    format!(
        "<tr><td>{word}</td><td>{model}</td><td class=\"number\">{}</td></tr>",
        escape(credits)
    )
}
