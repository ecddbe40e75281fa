//! The parts of a form that was sent.

use vydra_testkit::upstream::Recorded;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// Name and media type of a file.
    pub(crate) file: Option<(String, String)>,
    pub(crate) content: Vec<u8>,
}

pub(crate) fn text(name: &str, content: &str) -> Part {
    Part {
        name: name.to_owned(),
        file: None,
        content: content.into(),
    }
}

pub(crate) fn file(name: &str, file: &str, media_type: &str, content: &[u8]) -> Part {
    Part {
        name: name.to_owned(),
        file: Some((file.to_owned(), media_type.to_owned())),
        content: content.to_vec(),
    }
}

/// In the order of their names, and of their being sent where a name is there twice.
pub(crate) fn parts(sent: &Recorded) -> Vec<Part> {
    let kind = sent.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let mut rest = sent.body.as_ref();
    let mut parts = Vec::new();
    let mark = format!("--{boundary}").into_bytes();
    rest = &rest[find(rest, &mark).unwrap() + mark.len()..];
    while !rest.starts_with(b"--") {
        let head_ends = find(rest, b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&rest[..head_ends]).into_owned();
        rest = &rest[head_ends + 4..];
        let end = find(rest, &mark).unwrap();
        let quoted = |key: &str| {
            let (_, behind) = head.split_once(&format!(" {key}=\""))?;
            Some(
                behind
                    .split_once('"')?
                    .0
                    .replace("%5B", "[")
                    .replace("%5D", "]"),
            )
        };
        let media_type = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Type: "));
        parts.push(Part {
            name: quoted("name").unwrap(),
            file: quoted("filename").map(|name| (name, media_type.unwrap().to_owned())),
            content: rest[..end - 2].to_vec(),
        });
        rest = &rest[end + mark.len()..];
    }
    parts.sort_by(|one, other| one.name.cmp(&other.name));
    parts
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
