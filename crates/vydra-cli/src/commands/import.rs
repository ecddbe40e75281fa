use super::{DataAndOutput, summary};
use crate::output;
use crate::system::SystemClock;
use crate::wiring;
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vydra_core::time::Clock as _;
use vydra_store::transfer::Inlet;

const STDIN: &str = "-";
const BUFFER: usize = 256 * 1_024;

#[derive(Debug, Args)]
#[command(
    after_help = "It takes all of an export or nothing, and only into a database that is new; the books are audited before it is made final. No server may work there. Keys, sessions and webhooks go on as they were; jobs that were being worked on are taken up again, and what a provider was asked for is not bought twice.\n\nThe media files are not in an export: the server needs the same media.url, or a copy of the folder or the bucket.\n\nExamples:\n  vydra import vydra.ndjson --database-url postgres://vydra@db/vydra\n  zstd -dc vydra.ndjson.zst | vydra import -\n  vydra export | vydra import - --database-url postgres://vydra@db/vydra"
)]
pub struct Import {
    /// File that `vydra export` has written; - for standard input
    #[arg(value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    data: DataAndOutput,
}

impl Import {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.data.data.load()?;
        let (bar, from): (_, Box<dyn Read + Send>) = if self.input == Path::new(STDIN) {
            (output::spinner(), Box::new(std::io::stdin()))
        } else {
            let failed = || format!("cannot read {}", self.input.display());
            let file = File::open(&self.input).with_context(failed)?;
            let bar = output::bar(file.metadata().with_context(failed)?.len());
            let file = bar.wrap_read(file);
            (bar, Box::new(file))
        };
        let shown = bar.clone();
        let inlet = Inlet {
            from: Box::new(BufReader::with_capacity(BUFFER, from)),
            tell: Box::new(move |rows| shown.set_message(format!("{rows} rows read"))),
            now: SystemClock.now(),
        };
        let moved = wiring::import(&config, inlet).await;
        bar.finish_and_clear();
        let moved = moved?;
        let database = config.database()?;
        if self.data.json {
            output::json(&json!({
                "database": database.to_string(),
                "rows": moved.rows(),
                "tables": moved.0,
                "balanced": true,
            }));
        } else {
            output::line(&format!(
                "{} were imported into {database}. The books agree.",
                summary(&moved)
            ));
            output::line(&format!(
                "The media files are not among them. They are expected in {}.",
                config.media_place()?
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
