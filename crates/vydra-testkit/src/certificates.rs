//! Certificates for tests, signed by an authority of their own. By `openssl`, which every system with Postgres has.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    pair: Pair,
}

impl Authority {
    /// None where there is no `openssl`: then it says so.
    pub fn new() -> Option<Self> {
        let look = Command::new("openssl")
            .arg("version")
            .stdout(Stdio::null())
            .status();
        if look.is_err() {
            // Not by a macro, whose output the harness keeps to itself.
            let _ = writeln!(std::io::stdout(), "skipped: no openssl");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let pair = make(folder.path(), "authority", "CA:TRUE", "", None);
        Some(Self { folder, pair })
    }

    /// Its own certificate.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// For a server of these names, such as `DNS:localhost,IP:127.0.0.1`.
    pub fn issue(&self, name: &str, names: &str) -> Pair {
        let names = format!("subjectAltName = {names}");
        make(
            self.folder.path(),
            name,
            "CA:FALSE",
            &names,
            Some(&self.pair),
        )
    }
}

fn make(folder: &Path, name: &str, basic: &str, names: &str, signer: Option<&Pair>) -> Pair {
    let config = folder.join(format!("{name}.cnf"));
    let text = format!(
        "[req]\nprompt = no\ndistinguished_name = who\nx509_extensions = more\n\
         [who]\nCN = {name}\n[more]\nbasicConstraints = critical,{basic}\n{names}\n"
    );
    std::fs::write(&config, text).unwrap();
    let pair = Pair {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    };
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]);
    openssl.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-config"]);
    openssl.arg(&config).arg("-keyout").arg(&pair.key);
    openssl.arg("-out").arg(&pair.certificate);
    if let Some(signer) = signer {
        openssl.arg("-CA").arg(&signer.certificate);
        openssl.arg("-CAkey").arg(&signer.key);
    }
    let output = openssl.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{openssl:?}: {errors}");
    pair
}
