use super::DataAndOutput;
use crate::config::Database;
use crate::new_file::NewFile;
use crate::output;
use crate::wiring;
use anyhow::anyhow;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// As for any other word that cannot be.
const WRONG_USAGE: u8 = 2;

#[derive(Debug, Args)]
#[command(
    after_help = "It is of one moment and can be taken beside a server that works, which does not wait for it. The copy is read again and its books are audited; exit 1 if they do not agree, and the copy stays. Keep it as safe as the database. The media files are not in it.\n\nTo restore it: stop the server, put the copy in place of vydra.db, remove vydra.db-wal and vydra.db-shm, and start the server.\n\nExamples:\n  vydra backup /backups/vydra.db\n  vydra backup /backups/vydra.db --force --json | jq .balanced"
)]
pub struct Backup {
    /// File to write
    #[arg(value_name = "FILE")]
    output: PathBuf,
    /// Overwrite the file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    data: DataAndOutput,
}

impl Backup {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let database = self.data.data.load()?.database()?;
        let path = match &database {
            Database::Sqlite(path) => path,
            Database::Postgres(settings) => {
                output::complain(&anyhow!(
                    "{settings} is backed up by the programs of Postgres: `pg_dump --format=custom --file={} \"{settings}\"` beside servers that work, and pg_restore into a new database; or pg_basebackup with an archive of the log",
                    self.output.display()
                ));
                return Ok(ExitCode::from(WRONG_USAGE));
            }
        };
        let file = NewFile::create(&self.output, self.force, &database)?;
        let bar = output::spinner();
        bar.set_message("copying, and reading the copy again");
        let audit = wiring::backup(path, file.path()).await;
        bar.finish_and_clear();
        let audit = audit?;
        let bytes = file.keep()?;
        let balanced = audit.imbalances.is_empty();
        if self.data.json {
            output::json(&json!({
                "output": self.output,
                "bytes": bytes,
                "organizations": audit.organizations,
                "entries": audit.entries,
                "jobs": audit.jobs,
                "balanced": balanced,
            }));
        } else {
            let what = format!(
                "{} organizations, {} ledger rows and {} jobs were copied to {} ({bytes} bytes).",
                audit.organizations,
                audit.entries,
                audit.jobs,
                self.output.display()
            );
            output::line(&if balanced {
                format!("{what} The books agree.")
            } else {
                format!("{what} The books do NOT agree: `vydra ledger audit` lists where.")
            });
        }
        Ok(if balanced {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
