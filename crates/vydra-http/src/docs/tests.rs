use super::*;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use vydra_core::asset::MediaKind;
use vydra_core::catalog::{Answer, Catalog};
use vydra_core::plan::Limits;

const BASE: &str = "http://localhost:8787";
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn page_of(catalog: &Catalog) -> (Value, String) {
    let document = crate::openapi::document(catalog);
    let limits = Limits {
        rpm: 10,
        rph: 100,
        rpd: 20_000,
        concurrent: 2,
    };
    let plans = Plans::new(BTreeMap::from([("free".to_owned(), limits)]));
    let page = render(
        Source {
            document: &document,
            catalog,
            base: BASE,
        },
        &plans,
    );
    (document, page)
}

fn page() -> (Catalog, Value, String) {
    let catalog = Catalog::builtin().unwrap();
    let (document, page) = page_of(&catalog);
    // For looking at: VYDRA_DOCS_OUT=/tmp/docs.html cargo test -p vydra-http docs
    if let Some(path) = option_env!("VYDRA_DOCS_OUT") {
        std::fs::write(path, &page).unwrap();
    }
    (catalog, document, page)
}

/// A catalogue whose every text tries to leave its place.
fn hostile() -> Catalog {
    let text = r#"
[[models]]
slug = "evil"
path = "evil/one"
name = "<script>alert('name')</script>"
provider = "x"
model_id = "x"
description = "\" onload=\"alert(1) </p></section><img src=x> `<b>`"
kind = "image"
answer = "sync"
credits_per_unit = 1
pricing_unit = "<i>image</i>"
example_input = { "</code></pre><script>" = "it's <script>" , prompt = "'; rm -rf / #" }
routes = []
[models.input_schema]
type = "object"
required = ["prompt"]
[models.input_schema.properties]
prompt = { type = "string", default = "<script>", enum = ["</li>", "\"x\"", "<script>", "'; rm -rf / #"], description = "<script src='https://evil.example'>" }
"</code><script>" = { pattern = "<script>" }

[[workflows]]
slug = "<script>'\""
name = "<script>"
description = "<script>"
choices = [{ model = "evil" }]
example_input = { prompt = "</script>" }
[workflows.input_schema]
type = "object"
[workflows.input_schema.properties]
prompt = { type = "string", description = "</dl><script>" }
"#;
    Catalog::load([("hostile.toml", text)]).unwrap()
}

struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
    is_end: bool,
}

/// The tags of a page, in order.
fn tags(page: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some((_, behind)) = rest.split_once('<') {
        let (inside, next) = behind.split_once('>').expect("a tag that does not end");
        rest = next;
        if inside.starts_with('!') {
            continue;
        }
        let (end, inside) = inside
            .strip_prefix('/')
            .map_or((false, inside), |inside| (true, inside));
        let (name, mut left) = inside.split_once(' ').unwrap_or((inside, ""));
        assert!(
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()),
            "not a tag: <{inside}>"
        );
        let mut attributes = Vec::new();
        while !left.trim().is_empty() {
            let (key, value) = left.split_once("=\"").expect("attributes are quoted");
            let (value, behind) = value.split_once('"').expect("a quote that does not end");
            attributes.push((key.trim().to_owned(), value.to_owned()));
            left = behind;
        }
        if name == "style" && !end {
            rest = rest.split_once("</style>").expect("the style ends").1;
            continue;
        }
        tags.push(Tag {
            name: name.to_owned(),
            attributes,
            is_end: end,
        });
    }
    tags
}

fn check_html(page: &str) {
    let mut open: Vec<String> = Vec::new();
    let mut ids = HashSet::new();
    let mut links = Vec::new();
    for Tag {
        name,
        attributes,
        is_end,
    } in tags(page)
    {
        for (key, value) in attributes {
            match key.as_str() {
                "id" => assert!(
                    ids.insert(value.clone()),
                    "two elements have the id {value}"
                ),
                "href" if value.starts_with('#') => links.push(value),
                "href" => assert!(
                    value == "/openapi.json"
                        || value == "/docs"
                        || value == "/docs/errors"
                        || value
                            .strip_prefix("/docs/errors/")
                            .is_some_and(|code| ErrorCode::parse(code).is_some())
                        || value.starts_with("data:image/svg+xml,"),
                    "a link leads away: {value}"
                ),
                "for" => links.push(format!("#{value}")),
                "class" | "lang" | "charset" | "name" | "content" | "rel" | "type" | "tabindex"
                | "aria-label" | "aria-current" | "scope" => {}
                other => panic!("an attribute that nobody wrote: {other}"),
            }
        }
        assert_ne!(name, "script");
        assert_ne!(name, "img");
        match name.as_str() {
            "meta" | "link" | "br" | "wbr" | "input" => assert!(!is_end),
            _ if is_end => assert_eq!(open.pop(), Some(name), "open: {open:?}"),
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    for link in links {
        assert!(ids.contains(&link[1..]), "{link} leads nowhere");
    }
}

#[test]
fn the_page_is_sound_and_loads_nothing() {
    let (_, _, page) = page();
    check_html(&page);
    for loads in ["src=", "url(", "@import", "<script", "<iframe", "srcset"] {
        assert!(!page.contains(loads), "{loads}");
    }
}

#[test]
fn every_operation_stands_on_the_page() {
    let (_, document, page) = page();
    let mut anchors = Anchors::default();
    let groups = operation::groups(&document, &mut anchors);
    let shown: Vec<_> = groups.iter().flat_map(|group| &group.operations).collect();
    let mut count = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in METHODS
            .iter()
            .filter(|method| operations.get(method).is_some())
        {
            count += 1;
            let operation = shown
                .iter()
                .find(|operation| operation.path == path && operation.method == *method)
                .expect("an operation is missing");
            assert!(page.contains(&format!("id=\"{}\"", operation.anchor)));
            assert!(page.contains(&format!("href=\"#{}\"", operation.anchor)));
        }
    }
    assert_eq!(shown.len(), count);
    assert_eq!(groups[0].title, "Generate");
}

#[test]
fn every_error_model_and_workflow_stands_on_the_page() {
    let (catalog, _, page) = page();
    for code in ErrorCode::ALL {
        assert!(page.contains(&format!("id=\"{code}\"")), "{code}");
        assert!(
            page.contains(&format!("href=\"/docs/errors/{code}\"")),
            "{code}"
        );
        assert!(page.contains(&escape(code.entry().sentence)), "{code}");
    }
    for path in catalog
        .models()
        .iter()
        .filter_map(|model| model.path.as_ref())
    {
        let line = format!("curl \"{BASE}/api/v1/models/{path}\"");
        assert!(page.contains(&line), "{path}");
    }
    for workflow in catalog.workflows() {
        assert!(page.contains(&format!("id=\"workflow-{}\"", workflow.slug)));
    }
}

#[test]
fn the_pages_of_errors_are_sound_and_whole() {
    check_html(&errors::render_list(BASE));
    for code in ErrorCode::ALL {
        let page = errors::render(code, BASE);
        check_html(&page);
        let entry = code.entry();
        for text in [entry.sentence, entry.meaning, entry.advice] {
            assert!(page.contains(&html::prose(text)), "{code}: {text}");
        }
        for text in [
            format!("<title>{code}</title>"),
            entry.status.to_string(),
            format!("X-Vydra-Simulate: {code}"),
            format!("problem.code === &quot;{code}&quot;"),
            format!("href=\"/docs/errors/{code}\" aria-current=\"page\""),
        ] {
            assert!(page.contains(&text), "{code}: {text}");
        }
        if let Some(folder) = option_env!("VYDRA_DOCS_OUT") {
            std::fs::write(format!("{folder}.{code}.html"), &page).unwrap();
        }
    }
    if let Some(folder) = option_env!("VYDRA_DOCS_OUT") {
        std::fs::write(format!("{folder}.list.html"), errors::render_list(BASE)).unwrap();
    }
    let hostile = errors::render(ErrorCode::NotFound, "http://\"><script>");
    check_html(&hostile);
}

/// An example must show what the catalogue and the shape say.
#[test]
fn the_examples_of_errors_are_errors() {
    let (_, document, _) = page();
    let described = document
        .pointer("/components/schemas/ErrorBody/properties")
        .unwrap();
    for code in ErrorCode::ALL {
        let example = serde_json::to_value(errors::example(code)).unwrap();
        assert_eq!(example["code"], code.as_str());
        for name in example.as_object().unwrap().keys() {
            assert!(described.get(name).is_some(), "{code}: {name}");
        }
    }
}

#[test]
fn hostile_text_stays_text() {
    let catalog = hostile();
    let (_, page) = page_of(&catalog);
    check_html(&page);
    assert!(page.contains("&lt;script&gt;alert(&#39;name&#39;)&lt;/script&gt;"));
}

#[test]
fn the_anchors_of_errors_cannot_be_taken() {
    let mut anchors = Anchors::default();
    anchors.take("INVALID_INPUT");
    assert_ne!(anchors.take("INVALID_INPUT"), "INVALID_INPUT");
}

/// An example that shows a field which does not exist, or leaves one out that is always there, misleads.
#[test]
fn examples_of_answers_fit_their_schemas() {
    let (catalog, document, _) = page();
    let source = Source {
        document: &document,
        catalog: &catalog,
        base: BASE,
    };
    let schemas = schema::Schemas(&document);
    let fits = |name: &str, sample: &Value| {
        let described = document
            .pointer(&format!("/components/schemas/{name}"))
            .unwrap();
        let names = schemas.property_names(described);
        for field in sample.as_object().unwrap().keys() {
            assert!(
                names.iter().any(|(name, _)| name == field),
                "{name} has no {field}"
            );
        }
        for (field, _) in names.iter().filter(|(_, required)| *required) {
            assert!(sample.get(field).is_some(), "{name} always has {field}");
        }
    };
    for name in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        if let Some(sample) = sample::response(source, name, None) {
            fits(name, &sample);
        }
    }
    for model in catalog.models().iter().filter(|model| model.path.is_some()) {
        let accepted = sample::response(source, "Accepted", Some(model)).unwrap();
        fits("Accepted", &accepted);
        if let Some(sample) = sample::response(source, "Completed", Some(model)) {
            fits("Completed", &sample);
        }
    }
    fits("ErrorBody", &guide::failed_example());
    let job = sample::job(source);
    fits("OutputView", &job["output"]);
    fits("AssetView", &job["output"]["assets"][0]);
    for (kind, answer) in [
        (MediaKind::Image, Answer::Sync),
        (MediaKind::Video, Answer::Async),
    ] {
        assert!(sample::model_of(&catalog, kind, answer).is_some());
    }
}

#[test]
fn the_page_is_made_quickly() {
    let (catalog, _, page) = page();
    let began = tokio::time::Instant::now();
    for _ in 0..10 {
        page_of(&catalog);
    }
    let one = began.elapsed() / 10;
    println!("{one:?} for {} bytes", page.len());
    // Without optimisation on a busy machine; in a release it is a few milliseconds.
    assert!(one.as_millis() < 1_000, "{one:?}");
}
