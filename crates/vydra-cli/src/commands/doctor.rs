//! Looks at the installation as an operator would who wonders why something does not work.

use super::DataAndOutput;
use crate::config::{Config, Database};
use crate::output;
use crate::wiring::{self, Purpose, concerns};
use clap::Args;
use serde_json::json;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use vydra_core::job::Mode;
use vydra_engine::{CheckedProvider, CheckedRoute, Engine, RouteStanding as Standing};
use vydra_outbound::provider::ErrorKind;
use vydra_outbound::windows::RedisWindows;
use vydra_store::{PostgresSettings, PostgresStore};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vydra doctor --config /etc/vydra.toml")]
pub struct Doctor {
    #[command(flatten)]
    data: DataAndOutput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Works, but an operator should know.
    Note,
    Bad,
}

struct Finding {
    verdict: Verdict,
    check: &'static str,
    sentence: String,
}

impl Doctor {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let mut findings = Vec::new();
        let mut tell = |verdict, check, sentence: String| {
            findings.push(Finding {
                verdict,
                check,
                sentence,
            });
        };
        match self.data.data.load() {
            Err(error) => tell(Verdict::Bad, "configuration", error.to_string()),
            Ok(config) => {
                tell(
                    Verdict::Good,
                    "configuration",
                    "every key is known and possible".to_owned(),
                );
                // Looking must not make what it looks for.
                match wiring::engine(&config, Purpose::Look).await {
                    Err(error) => tell(Verdict::Bad, "data", format!("{error:#}")),
                    Ok(engine) => examine(&config, &engine, &mut tell).await,
                }
            }
        }
        match Command::new("espeak-ng").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
            Ok(status) if status.success() => tell(Verdict::Good, "speech", "espeak-ng is installed".to_owned()),
            _ => tell(
                Verdict::Note,
                "speech",
                "espeak-ng is not installed: the local provider speaks in tones. Your distribution has a package of that name.".to_owned(),
            ),
        }
        let healthy = findings
            .iter()
            .all(|finding| finding.verdict != Verdict::Bad);
        self.show(&findings, healthy);
        Ok(if healthy {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn show(&self, findings: &[Finding], healthy: bool) {
        let word = |verdict| match verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Bad => "bad",
        };
        if self.data.json {
            let findings: Vec<_> = findings
                .iter()
                .map(|finding| json!({"check": finding.check, "verdict": word(finding.verdict), "sentence": finding.sentence}))
                .collect();
            return output::json(&json!({"healthy": healthy, "findings": findings}));
        }
        for finding in findings {
            output::line(&format!(
                "{:<5} {:<14} {}",
                word(finding.verdict),
                finding.check,
                finding.sentence
            ));
        }
    }
}

fn examine_provider(
    provider: &CheckedProvider,
    tell: &mut impl FnMut(Verdict, &'static str, String),
) {
    const CHECK: &str = "provider";
    let name = &provider.name;
    match &provider.answer {
        Ok(checkup) => {
            let note = checkup.note.as_ref();
            let note = note.map_or(String::new(), |note| format!(" ({note})"));
            tell(Verdict::Good, CHECK, format!("{name} answers{note}"));
        }
        Err(error) => {
            let advice = match error.kind {
                ErrorKind::Auth => ": is the key right, and may it do what it is for?",
                ErrorKind::QuotaExhausted => ": its account has run dry",
                _ => ": is its address right, and can this machine reach it?",
            };
            tell(Verdict::Bad, CHECK, format!("{name}: {error}{advice}"));
            return;
        }
    }
    for route in &provider.routes {
        let CheckedRoute {
            model, upstream, ..
        } = route;
        match &route.standing {
            Standing::Listed | Standing::NotTold => {}
            Standing::Retires(day) => tell(
                Verdict::Note,
                CHECK,
                format!(
                    "{name} will switch off {upstream} ({day}), which serves {model}: route it elsewhere before"
                ),
            ),
            Standing::Unknown => tell(
                Verdict::Bad,
                CHECK,
                format!(
                    "{name} does not list {upstream}, which serves {model}: calls of it will fail"
                ),
            ),
            Standing::Lacks(what) => tell(
                Verdict::Bad,
                CHECK,
                format!(
                    "{name} lacks what serves {model}, calls of it will fail: {}",
                    what.join(", ")
                ),
            ),
        }
    }
}

async fn examine_postgres(
    settings: &PostgresSettings,
    tell: &mut impl FnMut(Verdict, &'static str, String),
) {
    const CHECK: &str = "database";
    let report = match PostgresStore::report(settings).await {
        Ok(report) => report,
        Err(error) => {
            let error = anyhow::Error::new(error);
            tell(Verdict::Bad, CHECK, format!("{settings}: {error:#}"));
            return;
        }
    };
    tell(
        Verdict::Good,
        CHECK,
        format!(
            "PostgreSQL {}, {}, {:.1} ms there and back; a server makes up to {} of its {} connections, of which {} are taken",
            report.version,
            if report.is_encrypted {
                "encrypted"
            } else {
                "not encrypted"
            },
            report.round_trip.as_secs_f64() * 1_000.0,
            PostgresStore::most_connections(settings),
            report.most_connections,
            report.taken_connections,
        ),
    );
    for concern in concerns::of_postgres(settings, &report) {
        tell(Verdict::Note, CHECK, concern);
    }
}

async fn examine_redis(config: &Config, tell: &mut impl FnMut(Verdict, &'static str, String)) {
    const CHECK: &str = "limits";
    let Ok(Some(address)) = config.redis() else {
        return;
    };
    let looked = async {
        let windows = RedisWindows::new(address.clone())?;
        windows.check_writable().await?;
        windows.report().await
    };
    match looked.await {
        Ok(report) => {
            let sentence = format!("requests are counted at {address} ({})", report.version);
            tell(Verdict::Good, CHECK, sentence);
            for concern in concerns::of_redis(&address, &report) {
                tell(Verdict::Note, CHECK, concern);
            }
        }
        Err(error) => {
            let error = anyhow::Error::new(error);
            tell(
                Verdict::Bad,
                CHECK,
                format!("requests cannot be counted at {address}, and are refused: {error:#}"),
            );
        }
    }
}

async fn examine(
    config: &Config,
    engine: &Arc<Engine>,
    tell: &mut impl FnMut(Verdict, &'static str, String),
) {
    let database = config.database();
    match engine.check_store().await {
        Ok(()) => tell(
            Verdict::Good,
            "storage",
            match &database {
                Ok(Database::Postgres(settings)) => format!("{settings} can be written"),
                _ => format!(
                    "{} can be written (SQLite {})",
                    config.data_dir.display(),
                    vydra_store::sqlite_version()
                ),
            },
        ),
        Err(error) => tell(
            Verdict::Bad,
            "storage",
            format!(
                "the database cannot be written: is the disk full, or the folder read-only? ({:#})",
                anyhow::Error::new(error)
            ),
        ),
    }
    if let Ok(Database::Postgres(settings)) = &database {
        examine_postgres(settings, tell).await;
        if let Some(concern) = concerns::of_files(config) {
            tell(Verdict::Note, "media", concern);
        }
        if let Some(concern) = concerns::of_public_url(config) {
            tell(Verdict::Note, "public_url", concern);
        }
    }
    examine_redis(config, tell).await;
    match (config.media_place(), engine.check_media().await) {
        (Ok(place), Ok(())) => tell(Verdict::Good, "media", format!("{place} can be written")),
        (Ok(place), Err(error)) => tell(
            Verdict::Bad,
            "media",
            format!("{place} cannot be written: {:#}", anyhow::Error::new(error)),
        ),
        (Err(error), _) => tell(Verdict::Bad, "media", error.to_string()),
    }
    match engine.audit().await {
        Ok(audit) if audit.imbalances.is_empty() => tell(
            Verdict::Good,
            "ledger",
            format!("the books agree ({} rows)", audit.entries),
        ),
        Ok(audit) => tell(
            Verdict::Bad,
            "ledger",
            format!(
                "{} differences: see vydra ledger audit",
                audit.imbalances.len()
            ),
        ),
        Err(error) => tell(Verdict::Bad, "ledger", error.to_string()),
    }
    match engine.late_jobs().await {
        Ok(0) => {}
        Ok(jobs) => {
            let jobs = if jobs == 1 {
                "1 job was".to_owned()
            } else {
                format!("{jobs} jobs were")
            };
            tell(
                Verdict::Note,
                "late results",
                format!(
                    "{jobs} delivered after it had ended and been paid back: the provider may have charged for it. The log tells of each; the files are kept."
                ),
            );
        }
        Err(error) => tell(Verdict::Bad, "late results", error.to_string()),
    }
    let inactive: Vec<&str> = engine
        .models(Mode::Live)
        .filter(|listed| !listed.is_active)
        .map(|listed| listed.model.slug.as_str())
        .collect();
    if inactive.is_empty() {
        tell(
            Verdict::Good,
            "models",
            "every model of the catalogue can be called".to_owned(),
        );
    } else {
        tell(
            Verdict::Note,
            "models",
            format!(
                "{} cannot be called, as no provider serves them: {}. Route them in a catalogue file, or set providers.local.enabled for stand-ins.",
                inactive.len(),
                inactive.join(", ")
            ),
        );
    }
    for provider in engine.check_providers().await {
        examine_provider(&provider, tell);
    }
    if config.local_is_fallback() {
        tell(Verdict::Note, "providers", "the local provider stands in for models without another route: what it makes is procedural art".to_owned());
    }
    if engine.settings().public_url.starts_with("http://")
        && !config.server.listen.ip().is_loopback()
    {
        tell(
            Verdict::Note,
            "public_url",
            format!(
                "{} is not https: put a TLS proxy in front, and set server.public_url",
                engine.settings().public_url
            ),
        );
    }
}
