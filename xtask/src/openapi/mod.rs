//! `cargo xtask openapi`: the committed description of the API, always that of the code.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};

use crate::process;

mod rust;

const FILE: &str = "openapi.json";
/// The part of it that clients have for every code of an error.
const ERRORS: &str = "sdks/errors.json";
/// Of the Rust client, so that its package needs no other file.
const RUST_TYPES: &str = "crates/vydra-client/src/types.rs";
const RUST_CODES: &str = "crates/vydra-client/src/catalogue.rs";
const MEND: &str = "run `cargo xtask openapi` and commit the file";

/// Writes the document at the root and what our clients take from it, or with `check` only compares them with those that are there.
pub(crate) fn run(root: &Path, check: bool) -> anyhow::Result<()> {
    let document = generate(root)?;
    for (file, generated) in files(document)? {
        let path = root.join(file);
        if !check {
            fs::write(&path, generated).with_context(|| format!("{file} cannot be written"))?;
            println!("openapi: wrote {file}");
            continue;
        }
        let committed = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("{file} cannot be read")),
        };
        compare(file, committed.as_deref(), &generated)?;
        println!("openapi: {file} is what the code says");
    }
    Ok(())
}

/// The document, and what is made of it.
fn files(document: String) -> anyhow::Result<[(&'static str, String); 4]> {
    let errors = errors(&document)?;
    Ok([
        (RUST_TYPES, rust::types(&document)?),
        (RUST_CODES, rust::codes(&errors)?),
        (FILE, document),
        (ERRORS, errors),
    ])
}

fn errors(document: &str) -> anyhow::Result<String> {
    let document: serde_json::Value = serde_json::from_str(document)?;
    let errors = document["components"].get("x-error-codes");
    let errors = errors.context("the document lists no codes of errors")?;
    Ok(format!("{}\n", serde_json::to_string_pretty(errors)?))
}

fn generate(root: &Path) -> anyhow::Result<String> {
    let output = process::cargo(root)
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "vydra-cli",
            "--",
            "openapi",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("`vydra openapi` failed ({})", output.status);
    }
    document(output.stdout)
}

/// Accepts a JSON object only, so that a stray line on standard output never reaches the committed file.
fn document(bytes: Vec<u8>) -> anyhow::Result<String> {
    let text =
        String::from_utf8(bytes).context("`vydra openapi` printed something that is not UTF-8")?;
    let value: serde_json::Value = serde_json::from_str(&text)
        .context("`vydra openapi` printed something that is not JSON")?;
    if value.get("openapi").is_none() {
        bail!(
            "`vydra openapi` printed JSON that is not an OpenAPI document: it has no key `openapi`"
        );
    }
    Ok(format!("{}\n", text.trim_end()))
}

fn compare(file: &str, committed: Option<&str>, generated: &str) -> anyhow::Result<()> {
    let Some(committed) = committed else {
        bail!("{file} is missing; {MEND}");
    };
    if committed == generated {
        return Ok(());
    }
    let same = committed
        .lines()
        .zip(generated.lines())
        .take_while(|(old, new)| old == new)
        .count();
    bail!(
        "{file} is not what the code says, first in line {}; {MEND}",
        same + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_document_passes() {
        assert!(compare(FILE, Some("{\n}\n"), "{\n}\n").is_ok());
    }

    #[test]
    fn a_different_document_fails_with_its_line_and_the_remedy() {
        let message = compare(FILE, Some("{\n  \"a\": 1\n}\n"), "{\n  \"a\": 2\n}\n")
            .unwrap_err()
            .to_string();
        assert!(message.contains("line 2"), "{message}");
        assert!(message.contains("cargo xtask openapi"), "{message}");
    }

    #[test]
    fn a_missing_document_fails_with_the_remedy() {
        let message = compare(FILE, None, "{}\n").unwrap_err().to_string();
        assert!(
            message.contains("missing") && message.contains("cargo xtask openapi"),
            "{message}"
        );
    }

    #[test]
    fn what_is_made_of_the_committed_document_is_committed_too() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let document = fs::read_to_string(root.join(FILE)).unwrap();
        for (file, generated) in files(document).unwrap() {
            let committed = fs::read_to_string(root.join(file)).unwrap();
            compare(file, Some(&committed), &generated).unwrap();
        }
    }

    #[test]
    fn only_an_openapi_document_is_accepted() {
        assert_eq!(
            document(b"{\"openapi\":\"3.1.0\"}\n\n".to_vec()).unwrap(),
            "{\"openapi\":\"3.1.0\"}\n"
        );
        assert!(document(b"warning: x\n{\"openapi\":\"3.1.0\"}".to_vec()).is_err());
        assert!(document(b"{}".to_vec()).is_err());
        assert!(document(vec![0xff]).is_err());
    }
}
