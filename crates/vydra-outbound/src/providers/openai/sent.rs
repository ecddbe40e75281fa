//! What is sent: the route's fields, the model, and how many.

use crate::provider::{MediaInput, Request};
use crate::upstream::{Content, Field};
use serde_json::{Map, Value, json};

/// The part that covers what an edit leaves as it is.
const MASK: &str = "mask";

/// What every call bears besides the route's fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common<'a> {
    pub(super) model: &'a str,
    /// None where the route or the operation leaves it out.
    pub(super) count: Option<u32>,
}

impl Common<'_> {
    fn with(self, mut fields: Map<String, Value>) -> Map<String, Value> {
        fields.insert("model".to_owned(), json!(self.model));
        if let Some(count) = self.count {
            fields.insert("n".to_owned(), json!(count));
        }
        fields
    }
}

pub(super) fn body(request: &Request, common: Common<'_>) -> Content {
    let fields = request.body(|media| json!(media.data_uri()));
    Content::Json(Value::Object(common.with(fields)))
}

/// An edit names its files by what they are for, whatever our catalogue calls them.
pub(super) fn edit(request: &Request, common: Common<'_>) -> Content {
    let images = request.media.iter().filter(|media| media.field != MASK);
    let name = if images.count() > 1 {
        "image[]"
    } else {
        "image"
    };
    form(request, common, |media| match media.field.as_str() {
        MASK => MASK.to_owned(),
        _ => name.to_owned(),
    })
}

/// A form whose files have the route's names.
pub(super) fn named(request: &Request, common: Common<'_>) -> Content {
    form(request, common, |media| {
        let list = if media.listed { "[]" } else { "" };
        format!("{}{list}", media.field)
    })
}

fn form(request: &Request, common: Common<'_>, name: impl Fn(&MediaInput) -> String) -> Content {
    let fields = common.with(request.input.clone());
    let texts = fields.into_iter().flat_map(|(name, value)| match value {
        Value::Array(list) => {
            let name = format!("{name}[]");
            let list = list.into_iter().filter_map(text);
            list.map(|text| (name.clone(), text)).collect()
        }
        single => Vec::from_iter(text(single).map(|text| (name, text))),
    });
    let files = request.media.iter().enumerate().map(|(number, media)| {
        let file = Field::File {
            name: media.file_name(number),
            media_type: media.media_type.clone(),
            bytes: media.bytes.clone(),
        };
        (name(media), file)
    });
    let texts = texts.map(|(name, text)| (name, Field::Text(text)));
    Content::Form(texts.chain(files).collect())
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}
