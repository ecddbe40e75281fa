//! A request as a provider is asked: our call under its route's names and values.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};
use vydra_core::asset::MediaKind;
use vydra_core::catalog::Route;
use vydra_core::job::{Action, Script, StepCall};

/// How a name in a route says that a list is sent under it.
const LIST: &str = "[]";

#[derive(Debug, Clone)]
pub struct Request {
    /// The same for every attempt, and for nothing else: a client-chosen id, and a seed for what is not seeded.
    pub job: String,
    /// The provider's name for the model.
    pub model: String,
    pub kind: MediaKind,
    pub action: Action,
    pub outputs: u32,
    /// The input under the provider's names and in its words, media taken out.
    pub input: Map<String, Value>,
    pub media: Vec<MediaInput>,
    /// Of the route, for this kind of provider alone.
    pub settings: Map<String, Value>,
    pub script: Script,
}

/// A media file that the request names, as bytes.
#[derive(Debug, Clone)]
pub struct MediaInput {
    /// The provider's name for the field.
    pub field: String,
    /// Whether a list is sent under that name.
    pub listed: bool,
    pub kind: MediaKind,
    pub media_type: String,
    pub bytes: Bytes,
}

impl MediaInput {
    pub fn base64(&self) -> String {
        BASE64_STANDARD.encode(&self.bytes)
    }

    pub fn data_uri(&self) -> String {
        format!("data:{};base64,{}", self.media_type, self.base64())
    }

    /// A name for an upload: of us, never of the caller's file.
    pub fn file_name(&self, number: usize) -> String {
        let subtype = self
            .media_type
            .rsplit_once('/')
            .map_or("bin", |(_, kind)| kind);
        let extension = match subtype {
            "jpeg" => "jpg",
            "mpeg" => "mp3",
            "quicktime" => "mov",
            plain => plain.trim_start_matches("x-"),
        };
        format!("input-{number}.{extension}")
    }
}

impl Request {
    /// The call as its route says. `media` comes with our names.
    pub fn new(job: &str, call: &StepCall<'_>, route: &Route, media: Vec<MediaInput>) -> Self {
        let mut input = route.set.clone();
        for (ours, value) in call.input {
            if media.iter().any(|media| media.field == *ours) {
                continue;
            }
            if let Some((theirs, is_list)) = named(route, ours) {
                put(&mut input, theirs, is_list, translated(route, ours, value));
            }
        }
        let media = media.into_iter().filter_map(|media| {
            let (theirs, is_list) = named(route, &media.field)?;
            let is_ours = call.input.get(&media.field).is_some_and(Value::is_array);
            Some(MediaInput {
                field: theirs.to_owned(),
                listed: is_list || is_ours,
                ..media
            })
        });
        let media = media.collect();
        Self {
            job: match call.name {
                None => job.to_owned(),
                Some(_) => format!("{job}-{}", call.number),
            },
            model: route.model.clone(),
            kind: call.kind,
            action: call.action,
            outputs: call.outputs,
            input,
            media,
            settings: route.settings.clone(),
            script: call.script(),
        }
    }

    /// The input with its media in their places, each as `text` writes it.
    pub fn body(&self, text: impl Fn(&MediaInput) -> Value) -> Map<String, Value> {
        let mut body = self.input.clone();
        for media in &self.media {
            put(&mut body, &media.field, media.listed, text(media));
        }
        body
    }

    /// A field of the input, taken out of it.
    pub fn take_text(&mut self, name: &str) -> Option<String> {
        match self.input.shift_remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(Value::Null) | None => None,
            Some(other) => Some(other.to_string()),
        }
    }
}

/// Their name for our field, and whether it is that of a list; None for what is not sent.
fn named<'a>(route: &'a Route, ours: &'a str) -> Option<(&'a str, bool)> {
    let theirs = route.fields.get(ours).map_or(ours, String::as_str);
    let (name, is_list) = match theirs.strip_suffix(LIST) {
        Some(name) => (name, true),
        None => (theirs, false),
    };
    (!name.is_empty()).then_some((name, is_list))
}

fn translated(route: &Route, ours: &str, value: &Value) -> Value {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let known = route.values.get(ours).and_then(|values| values.get(&text));
    match (known, route.formats.get(ours)) {
        (Some(theirs), _) => theirs.clone(),
        (None, Some(format)) => Value::String(format.replace("{}", &text)),
        (None, None) => value.clone(),
    }
}

/// A dot in a name leads into an object: `voice_settings.speed`.
fn put(body: &mut Map<String, Value>, name: &str, is_list: bool, value: Value) {
    if let Some((outer, inner)) = name.split_once('.') {
        let place = body
            .entry(outer)
            .or_insert_with(|| Value::Object(Map::new()));
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        if let Value::Object(place) = place {
            put(place, inner, is_list, value);
        }
        return;
    }
    if !is_list {
        body.insert(name.to_owned(), value);
        return;
    }
    let mut values = match value {
        Value::Array(values) => values,
        single => vec![single],
    };
    match body.get_mut(name) {
        Some(Value::Array(known)) => known.append(&mut values),
        _ => {
            body.insert(name.to_owned(), Value::Array(values));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use vydra_core::job::Call;

    fn call(input: &Value) -> Call {
        serde_json::from_value(json!({
            "model": "m", "kind": "image", "action": "edit", "outputs": 1, "input": input,
        }))
        .unwrap()
    }

    fn route(toml: &str) -> Route {
        toml::from_str(&format!("provider = \"p\"\nmodel = \"up/stream\"\n{toml}")).unwrap()
    }

    fn picture(field: &str, byte: u8) -> MediaInput {
        MediaInput {
            field: field.to_owned(),
            listed: false,
            kind: MediaKind::Image,
            media_type: "image/png".to_owned(),
            bytes: Bytes::from(vec![byte]),
        }
    }

    #[test]
    fn a_request_bears_the_providers_names_and_words() {
        let call = call(&json!({
            "prompt": "p", "imageUrl": "asset:x", "aspectRatio": "1:1", "duration": 8, "voice": "Rachel", "speed": 1.2,
            "quality": "high", "note": "n",
        }));
        let route = route(
            r#"
            fields = { imageUrl = "image_urls[]", aspectRatio = "size", speed = "voice_settings.speed", note = "" }
            values.aspectRatio = { "1:1" = "1024x1024" }
            values.voice = { Rachel = 21 }
            formats = { duration = "{}s" }
            set = { output_format = "png", quality = "low" }
            "#,
        );
        let call = call.calls().next().unwrap();
        let request = Request::new("job_1", &call, &route, vec![picture("imageUrl", 1)]);
        assert_eq!(request.model, "up/stream");
        assert_eq!(request.job, "job_1");
        assert_eq!(
            Value::Object(request.body(|media| json!(media.base64()))),
            json!({
                "output_format": "png", "quality": "high", "prompt": "p", "size": "1024x1024", "duration": "8s",
                "voice": 21, "voice_settings": {"speed": 1.2}, "image_urls": ["AQ=="],
            })
        );
        assert!(!request.input.contains_key("image_urls"));
    }

    #[test]
    fn several_files_of_one_field_are_a_list_where_either_side_has_one() {
        let of = |input: Value, toml: &str| {
            let call = call(&input);
            let files = vec![picture("imageUrls", 1), picture("imageUrls", 2)];
            let request = Request::new("j", &call.calls().next().unwrap(), &route(toml), files);
            Value::Object(request.body(|media| json!(media.data_uri())))
        };
        let both = json!(["data:image/png;base64,AQ==", "data:image/png;base64,Ag=="]);
        let ours = of(json!({"imageUrls": ["asset:a", "asset:b"]}), "");
        assert_eq!(ours, json!({"imageUrls": both}));
        let theirs = of(
            json!({"imageUrls": ["asset:a", "asset:b"]}),
            "fields.imageUrls = \"images[]\"",
        );
        assert_eq!(theirs, json!({"images": both}));
    }

    #[test]
    fn files_are_named_by_us() {
        for (media_type, name) in [
            ("image/png", "input-0.png"),
            ("image/jpeg", "input-0.jpg"),
            ("audio/mpeg", "input-0.mp3"),
            ("audio/x-wav", "input-0.wav"),
        ] {
            let file = MediaInput {
                media_type: media_type.to_owned(),
                ..picture("x", 0)
            };
            assert_eq!(file.file_name(0), name);
        }
    }

    /// Otherwise two of them would be one purchase, or one picture.
    #[test]
    fn each_step_of_a_job_has_an_id_of_its_own() {
        let step = |name: &str| json!({"name": name, "model": "m", "kind": "image", "action": "generate", "outputs": 1, "input": {}});
        let call: Call = serde_json::from_value(json!({
            "model": "m", "kind": "image", "action": "generate", "outputs": 1, "input": {}, "steps": [step("a"), step("b")],
        }))
        .unwrap();
        let ids: Vec<String> = call
            .calls()
            .map(|step| Request::new("job_1", &step, &route(""), Vec::new()).job)
            .collect();
        assert_eq!(ids, ["job_1-0", "job_1-1"]);
    }
}
