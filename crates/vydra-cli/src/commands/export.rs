use super::{DataAndOutput, summary};
use crate::new_file::NewFile;
use crate::output;
use crate::system::SystemClock;
use crate::wiring;
use anyhow::bail;
use clap::Args;
use serde_json::json;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vydra_core::time::Clock as _;
use vydra_store::transfer::Outlet;

const STDOUT: &str = "-";
/// Rows are some hundred bytes.
const BUFFER: usize = 256 * 1_024;

#[derive(Debug, Args)]
#[command(
    after_help = "It is one JSON value a line, of one moment, and can be taken beside servers that work. Keep it as safe as the database: keys and passwords are in it as digests alone, but with the secret under which keys are digested, and the secrets that sign webhooks. The media files are not in it.\n\nTo move, stop the servers first: what they do afterwards would not be in it, and jobs that are open would go on in both places.\n\nExamples:\n  vydra export -o vydra.ndjson\n  vydra export | zstd > vydra.ndjson.zst\n  vydra export --database-url postgres://vydra@db/vydra -o vydra.ndjson --json | jq .rows"
)]
pub struct Export {
    /// File to write; - or none for standard output
    #[arg(long, short, value_name = "FILE", default_value = STDOUT, hide_default_value = true)]
    output: PathBuf,
    /// Overwrite the file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    data: DataAndOutput,
}

impl Export {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.data.data.load()?;
        let file = if self.output == Path::new(STDOUT) {
            None
        } else {
            Some(NewFile::create(
                &self.output,
                self.force,
                &config.database()?,
            )?)
        };
        if self.data.json && file.is_none() {
            bail!(
                "--json tells what was written where there is nothing else: name a file with --output"
            );
        }
        let to: Box<dyn Write + Send> = match &file {
            Some(file) => Box::new(file.open()?),
            None => Box::new(std::io::stdout()),
        };
        let bar = output::spinner();
        let shown = bar.clone();
        let outlet = Outlet {
            to: Box::new(BufWriter::with_capacity(BUFFER, to)),
            tell: Box::new(move |rows| shown.set_message(format!("{rows} rows written"))),
            now: SystemClock.now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let moved = wiring::export(&config, outlet).await;
        bar.finish_and_clear();
        let moved = moved?;
        let Some(file) = file else {
            return Ok(ExitCode::SUCCESS);
        };
        let bytes = file.keep()?;
        if self.data.json {
            output::json(&json!({
                "output": self.output,
                "bytes": bytes,
                "rows": moved.rows(),
                "tables": moved.0,
            }));
        } else {
            output::line(&format!(
                "{} were written to {} ({bytes} bytes).",
                summary(&moved),
                self.output.display()
            ));
            output::line(&format!(
                "The media files are not in it. They are in {}.",
                config.media_place()?
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
