//! `cargo xtask openapi`: the committed description of the API, always that of the code.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};

use crate::process;

const FILE: &str = "openapi.json";
const MEND: &str = "run `cargo xtask openapi` and commit the file";

/// Writes the document at the root, or with `check` only compares it with the one that is there.
pub(crate) fn run(root: &Path, check: bool) -> anyhow::Result<()> {
    let generated = generate(root)?;
    let path = root.join(FILE);
    if !check {
        fs::write(&path, generated).with_context(|| format!("{FILE} cannot be written"))?;
        println!("openapi: wrote {FILE}");
        return Ok(());
    }
    let committed = match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("{FILE} cannot be read")),
    };
    compare(committed.as_deref(), &generated)?;
    println!("openapi: {FILE} is what the code says");
    Ok(())
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

fn compare(committed: Option<&str>, generated: &str) -> anyhow::Result<()> {
    let Some(committed) = committed else {
        bail!("{FILE} is missing; {MEND}");
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
        "{FILE} is not what the code says, first in line {}; {MEND}",
        same + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_document_passes() {
        assert!(compare(Some("{\n}\n"), "{\n}\n").is_ok());
    }

    #[test]
    fn a_different_document_fails_with_its_line_and_the_remedy() {
        let message = compare(Some("{\n  \"a\": 1\n}\n"), "{\n  \"a\": 2\n}\n")
            .unwrap_err()
            .to_string();
        assert!(message.contains("line 2"), "{message}");
        assert!(message.contains("cargo xtask openapi"), "{message}");
    }

    #[test]
    fn a_missing_document_fails_with_the_remedy() {
        let message = compare(None, "{}\n").unwrap_err().to_string();
        assert!(
            message.contains("missing") && message.contains("cargo xtask openapi"),
            "{message}"
        );
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
