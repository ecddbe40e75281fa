//! The input of a generation: what was typed as fields or as JSON, and the files that are to be sent in before.

use super::failure::Failure;
use super::follow::Progress;
use clap::Args;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use vydra_client::{Client, Source, UploadOptions};

/// No input is as long.
const LONGEST: u64 = 16 * 1_024 * 1_024;
/// What the server can read by itself, or has already.
const ADDRESSES: [&str; 4] = ["http://", "https://", "data:", "asset:"];
/// Where the server keeps what was sent in.
const SENT_IN: &str = "uploads/";

/// What every input is made of, besides what a command has flags for.
#[derive(Debug, Clone, Args)]
pub struct InputArguments {
    /// A field, such as seed=7 or imageUrl=house.png; again for a list
    #[arg(long = "input", short = 'i', value_name = "KEY=VALUE")]
    fields: Vec<String>,
    /// The input as one JSON object, sent as it is; - reads it from stdin
    #[arg(long, value_name = "JSON")]
    input_json: Option<String>,
}

/// An input, before its files were sent in.
#[derive(Debug, Default)]
pub struct Input {
    fields: Map<String, Value>,
    files: Vec<Place>,
    /// It can be read once.
    is_stdin_read: bool,
}

/// The addresses of files that were sent in.
pub type Sent = BTreeMap<PathBuf, String>;

/// Where the address of a file belongs.
#[derive(Debug)]
struct Place {
    field: String,
    /// Of a list.
    index: Option<usize>,
    file: PathBuf,
}

impl InputArguments {
    /// The JSON first; what was typed by itself replaces its fields.
    pub fn read(&self) -> Result<Input, Failure> {
        let mut input = Input::default();
        if let Some(text) = &self.input_json {
            let text = match text.as_str() {
                "-" => input.stdin()?,
                text => text.to_owned(),
            };
            input.fields = serde_json::from_str(&text).map_err(|error| {
                Failure::usage(format!("--input-json is no JSON object: {error}"))
            })?;
        }
        let mut typed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for field in &self.fields {
            let Some((name, text)) = field.split_once('=').filter(|(name, _)| !name.is_empty())
            else {
                let sentence = format!("--input {field:?} is not KEY=VALUE, such as seed=7");
                return Err(Failure::usage(sentence));
            };
            typed.entry(name).or_default().push(text);
        }
        for (name, texts) in typed {
            let lower = name.to_ascii_lowercase();
            let is_media = lower.ends_with("url") || lower.ends_with("urls");
            if let ([text], true) = (&texts[..], is_media)
                && let Some(value) = json_value(text)
            {
                input.set(name, value);
            } else if let ([text], true) = (&texts[..], lower.ends_with("url")) {
                input.media(name, text)?;
            } else if is_media {
                input.media_list(name, &texts)?;
            } else if let [text] = &texts[..] {
                input.set(name, typed_value(text));
            } else {
                let values = texts.iter().map(|text| typed_value(text)).collect();
                input.set(name, Value::Array(values));
            }
        }
        Ok(input)
    }
}

impl Input {
    pub fn set(&mut self, name: &str, value: Value) {
        self.files.retain(|place| place.field != name);
        self.fields.insert(name.to_owned(), value);
    }

    /// A text; `-` stands for what stdin has.
    pub fn text(&mut self, name: &str, text: Option<&str>) -> Result<(), Failure> {
        match text {
            Some("-") => {
                let text = self.stdin()?;
                self.set(name, text.trim_end().into());
            }
            Some(text) => self.set(name, text.into()),
            None => {}
        }
        Ok(())
    }

    fn stdin(&mut self) -> Result<String, Failure> {
        if std::mem::replace(&mut self.is_stdin_read, true) {
            return Err(Failure::usage("- stands twice, and stdin can be read once"));
        }
        let mut text = String::new();
        std::io::stdin()
            .take(LONGEST + 1)
            .read_to_string(&mut text)
            .map_err(|error| Failure::usage(format!("stdin cannot be read: {error}")))?;
        if text.len() as u64 > LONGEST {
            return Err(Failure::usage("stdin has more than any input"));
        }
        Ok(text)
    }

    /// An address, or a file.
    pub fn media(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        self.set(name, text.into());
        self.note_file(name, None, text)
    }

    pub fn media_list(&mut self, name: &str, texts: &[&str]) -> Result<(), Failure> {
        self.set(name, texts.into());
        for (index, text) in texts.iter().enumerate() {
            self.note_file(name, Some(index), text)?;
        }
        Ok(())
    }

    fn note_file(&mut self, name: &str, index: Option<usize>, text: &str) -> Result<(), Failure> {
        let begins = |start: &&str| {
            let begin = text.get(..start.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(start))
        };
        if ADDRESSES.iter().any(begins) {
            return Ok(());
        }
        let file = Path::new(text);
        if !file.is_file() {
            if text.starts_with(SENT_IN) {
                return Ok(());
            }
            return Err(Failure::usage(format!(
                "{name}: there is no file {text:?}; an address begins with https://"
            )));
        }
        self.files.push(Place {
            field: name.to_owned(),
            index,
            file: file.to_owned(),
        });
        Ok(())
    }

    /// For a quote, which reads no file: their names stand in for their addresses.
    pub fn with_names_of_files(mut self) -> Map<String, Value> {
        for place in std::mem::take(&mut self.files) {
            let name = place.file.file_name().unwrap_or_default().to_string_lossy();
            self.put(&place, &format!("{SENT_IN}{name}"));
        }
        self.fields
    }

    /// Sends the files in, each once.
    pub async fn sent_in(
        mut self,
        client: &Client,
        progress: &Progress,
    ) -> Result<(Map<String, Value>, Sent), Failure> {
        let mut sent = Sent::new();
        for place in std::mem::take(&mut self.files) {
            let url = match sent.get(&place.file) {
                Some(url) => url.clone(),
                None => send(client, &place.file, None, progress).await?.url,
            };
            self.put(&place, &url);
            sent.insert(place.file, url);
        }
        Ok((self.fields, sent))
    }

    fn put(&mut self, place: &Place, address: &str) {
        let field = self.fields.get_mut(&place.field);
        let spot = match place.index {
            None => field,
            Some(index) => field.and_then(|list| list.get_mut(index)),
        };
        if let Some(spot) = spot {
            *spot = address.into();
        }
    }
}

/// Sends one file in; what it is to be is guessed from its name unless it is said.
pub async fn send(
    client: &Client,
    file: &Path,
    kind: Option<&str>,
    progress: &Progress,
) -> Result<vydra_client::types::Upload, Failure> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let told = progress.bytes(format!("sending {name}"));
    let options = UploadOptions {
        r#type: Some(kind.unwrap_or_else(|| kind_of(file)).to_owned()),
        ..UploadOptions::default()
    };
    Ok(client.upload(Source::path(file), &options, &told).await?)
}

/// What a file is, by its name; the server looks at its bytes.
fn kind_of(file: &Path) -> &'static str {
    let ending = file.extension().unwrap_or_default().to_ascii_lowercase();
    match ending.to_str().unwrap_or_default() {
        "mp4" | "m4v" | "mov" | "webm" | "mkv" => "video",
        "mp3" | "wav" | "m4a" | "ogg" | "oga" | "opus" | "flac" | "aac" => "audio",
        _ => "image",
    }
}

/// A number, `true`, a list and the like as such; everything else is a text.
fn typed_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// What is JSON where an address or a file belongs: a number is the name of a file there.
fn json_value(text: &str) -> Option<Value> {
    let value = serde_json::from_str(text).ok();
    value.filter(|value| matches!(value, Value::Array(_) | Value::Object(_) | Value::String(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(fields: &[&str], json: Option<&str>) -> Result<Input, Failure> {
        let fields = fields.iter().map(ToString::to_string).collect();
        let input_json = json.map(str::to_owned);
        InputArguments { fields, input_json }.read()
    }

    #[test]
    fn values_are_what_they_look_like() {
        let fields = [
            "seed=7",
            "sharp=true",
            "voice=0123",
            "id=\"7\"",
            "prompt=a = b",
            "size={\"width\": 3}",
            "empty=",
            "tag=a",
            "tag=2",
        ];
        let read = read(&fields, None).unwrap();
        let expected = json!({
            "seed": 7, "sharp": true, "voice": "0123", "id": "7", "prompt": "a = b",
            "size": {"width": 3}, "empty": "", "tag": ["a", 2],
        });
        assert_eq!(Value::Object(read.fields), expected);
    }

    #[test]
    fn what_was_typed_replaces_fields_of_the_json() {
        let read = read(&["seed=7"], Some(r#"{"seed": 1, "prompt": "a boat"}"#)).unwrap();
        assert_eq!(
            Value::Object(read.fields),
            json!({"seed": 7, "prompt": "a boat"})
        );
    }

    #[test]
    fn files_are_found_where_an_address_belongs_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cat.png");
        std::fs::write(&file, "x").unwrap();
        let path = file.to_str().unwrap();
        let fields = [
            format!("imageUrl={path}"),
            format!("image_urls={path}"),
            "image_urls=https://example.com/a.png".to_owned(),
            format!("prompt={path}"),
            "video_url=uploads/a/1-b.mp4".to_owned(),
            "mask_url=HTTPS://example.com/m.png".to_owned(),
            r#"list_urls=["https://example.com/b.png"]"#.to_owned(),
            format!("pair_url={path}"),
            "pair_url=https://example.com/c.png".to_owned(),
        ];
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let json = format!(r#"{{"audioUrl": {path:?}}}"#);
        let read = read(&fields, Some(&json)).unwrap();
        let places: Vec<_> = read
            .files
            .iter()
            .map(|p| (p.field.as_str(), p.index))
            .collect();
        let expected = [
            ("imageUrl", None),
            ("image_urls", Some(0)),
            ("pair_url", Some(0)),
        ];
        assert_eq!(places, expected);
        let expected = json!({
            "audioUrl": path, "imageUrl": "uploads/cat.png", "prompt": path,
            "image_urls": ["uploads/cat.png", "https://example.com/a.png"],
            "video_url": "uploads/a/1-b.mp4",
            "mask_url": "HTTPS://example.com/m.png",
            "list_urls": ["https://example.com/b.png"],
            "pair_url": ["uploads/cat.png", "https://example.com/c.png"],
        });
        assert_eq!(Value::Object(read.with_names_of_files()), expected);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for (fields, json, told) in [
            (&["seed"][..], None, "is not KEY=VALUE"),
            (&["=7"], None, "is not KEY=VALUE"),
            (&["image_url=nowhere.png"], None, "there is no file"),
            (&[], Some("[1]"), "is no JSON object"),
            (&[], Some("{"), "is no JSON object"),
        ] {
            let failure = read(fields, json).unwrap_err();
            assert!(failure.to_string().contains(told), "{failure}");
        }
    }

    #[test]
    fn a_file_is_what_its_name_says() {
        for (name, kind) in [
            ("a.png", "image"),
            ("a", "image"),
            ("A.MP4", "video"),
            ("b.wav", "audio"),
        ] {
            assert_eq!(kind_of(Path::new(name)), kind, "{name}");
        }
    }
}
