//! `cargo xtask programs`: what the tests need that cargo cannot fetch.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

#[derive(Debug, PartialEq, Eq)]
struct Need {
    program: &'static str,
    /// The package of Debian and Ubuntu that brings it.
    package: &'static str,
    purpose: &'static str,
}

const NEEDS: [Need; 13] = [
    Need {
        program: "cc",
        package: "g++",
        purpose: "links every program and builds SQLite",
    },
    Need {
        program: "c++",
        package: "g++",
        purpose: "builds the video encoder",
    },
    Need {
        program: "chromium",
        package: "chromium",
        purpose: "plays the videos that the tests make",
    },
    Need {
        program: "curl",
        package: "curl",
        purpose: "runs the lines that `vydra dev` prints",
    },
    Need {
        program: "espeak-ng",
        package: "espeak-ng",
        purpose: "speaks in the tests of speech",
    },
    Need {
        program: "ffprobe",
        package: "ffmpeg",
        purpose: "looks into the media that the tests make",
    },
    Need {
        program: "haproxy",
        package: "haproxy",
        purpose: "stands in front of the servers of a test",
    },
    Need {
        program: "initdb",
        package: "postgresql",
        purpose: "makes the databases of the tests of the store on Postgres",
    },
    Need {
        program: "ip",
        package: "iproute2",
        purpose: "makes the little Internet of a proof",
    },
    Need {
        program: "node",
        package: "nodejs",
        purpose: "runs the SDKs of providers beside the adapters",
    },
    Need {
        program: "npm",
        package: "npm",
        purpose: "brings the SDKs of providers",
    },
    Need {
        program: "python3",
        package: "python3-venv",
        purpose: "runs the generator of requests, and SDKs of providers",
    },
    Need {
        program: "redis-server",
        package: "redis-server",
        purpose: "counts requests in the tests of several servers",
    },
];

/// Installs what is missing where that is possible, and otherwise says what to install. Never fails for a missing program: the tests
/// that need one say so and skip.
pub(crate) fn ensure() -> anyhow::Result<()> {
    let missing = missing(is_here);
    if missing.is_empty() {
        println!("programs: all that the tests need are here");
        return Ok(());
    }
    if !on_path("apt-get") || !is_root()? {
        eprintln!("{}", advice(&missing));
        return Ok(());
    }
    let packages = packages(&missing);
    println!(
        "programs: {} missing; installing {} with apt-get",
        names(&missing),
        packages.join(", ")
    );
    if !apt_get(&["update"])? {
        eprintln!("warning: `apt-get update` failed; trying with the lists that are here");
    }
    // One by one, so that a package that this release does not have costs only the tests that need it.
    for package in packages {
        if !apt_get(&["install", "-y", "--no-install-recommends", package])? {
            eprintln!("warning: `apt-get install {package}` failed");
        }
    }
    let still = self::missing(is_here);
    if !still.is_empty() {
        eprintln!("{}", advice(&still));
    }
    Ok(())
}

fn missing(present: impl Fn(&str) -> bool) -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| !present(need.program)).collect()
}

fn packages(missing: &[&Need]) -> Vec<&'static str> {
    let mut packages: Vec<&'static str> = missing.iter().map(|need| need.package).collect();
    packages.dedup();
    packages
}

fn names(missing: &[&Need]) -> String {
    missing
        .iter()
        .map(|need| need.program)
        .collect::<Vec<_>>()
        .join(", ")
}

fn advice(missing: &[&Need]) -> String {
    let mut lines = vec![
        "warning: programs that the tests need are missing; the tests that need them skip"
            .to_owned(),
    ];
    lines.extend(
        missing
            .iter()
            .map(|need| format!("  {}: {}", need.program, need.purpose)),
    );
    lines.push(format!(
        "hint: on Debian or Ubuntu: sudo apt-get install --no-install-recommends {}",
        packages(missing).join(" ")
    ));
    lines.push("hint: elsewhere: install programs of these names and put them on PATH".to_owned());
    lines.join("\n")
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<bool> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .context("apt-get cannot be started")?;
    Ok(status.success())
}

fn is_root() -> anyhow::Result<bool> {
    let output = Command::new("id")
        .arg("-u")
        .output()
        .context("`id -u` cannot be started")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

/// Debian parts Python from what its environments are made with, and keeps the server's programs of Postgres off PATH.
fn is_here(program: &str) -> bool {
    if program == "initdb" && of_postgres(Path::new("/usr/lib/postgresql"), program) {
        return true;
    }
    on_path(program)
        && (program != "python3"
            || Command::new(program)
                .args(["-c", "import ensurepip, venv"])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success()))
}

/// Each version has a folder of its own there.
fn of_postgres(versions: &Path, program: &str) -> bool {
    let versions = versions.read_dir().into_iter().flatten().flatten();
    versions
        .map(|version| version.path().join("bin").join(program))
        .any(|program| is_program(&program))
}

fn on_path(program: &str) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH says which programs this machine has; no product code runs here"
    )]
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

fn is_program(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    }
    #[cfg(not(unix))]
    {
        path.is_file()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_present_is_not_installed() {
        assert!(missing(|_| true).is_empty());
        let missing = missing(|program| program != "ffprobe");
        assert_eq!(packages(&missing), ["ffmpeg"]);
    }

    #[test]
    fn two_programs_of_one_package_install_it_once() {
        assert_eq!(
            packages(&missing(|_| false)),
            [
                "g++",
                "chromium",
                "curl",
                "espeak-ng",
                "ffmpeg",
                "haproxy",
                "postgresql",
                "iproute2",
                "nodejs",
                "npm",
                "python3-venv",
                "redis-server"
            ]
        );
    }

    #[test]
    fn the_advice_names_the_programs_their_use_and_the_command() {
        let text = advice(&missing(|program| program != "ffprobe" && program != "c++"));
        assert!(text.contains("  ffprobe: looks into"), "{text}");
        assert!(text.contains("  c++: builds"), "{text}");
        assert!(
            text.contains("apt-get install --no-install-recommends g++ ffmpeg"),
            "{text}"
        );
        assert!(!text.contains("chromium"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn a_program_of_postgres_is_found_beside_the_path() {
        use std::os::unix::fs::PermissionsExt;
        let versions = std::env::temp_dir().join(format!("vydra-postgres-{}", std::process::id()));
        let programs = versions.join("15").join("bin");
        std::fs::create_dir_all(&programs).unwrap();
        std::fs::write(programs.join("initdb"), "").unwrap();
        assert!(!of_postgres(&versions, "initdb"), "it cannot be run");
        let runs = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(programs.join("initdb"), runs).unwrap();
        assert!(of_postgres(&versions, "initdb"));
        assert!(!of_postgres(&versions, "no-such-program-of-vydra"));
        assert!(!of_postgres(&versions.join("absent"), "initdb"));
        std::fs::remove_dir_all(versions).unwrap();
    }

    #[test]
    fn a_program_is_found_on_the_path_and_an_invented_one_is_not() {
        assert!(on_path("cargo"));
        assert!(!on_path("no-such-program-of-vydra"));
    }
}
