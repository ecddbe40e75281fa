use crate::caller::failure::Failure;
use crate::caller::follow::Progress;
use crate::caller::{Caller, input, value};
use crate::output;
use anyhow::anyhow;
use clap::{Args, ValueHint};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vydra upload house.png                     prints its address, for an input\n  vydra upload voice.mp3 --json | jq -r .key\n  vydra upload clip.bin --type video\n\n`vydra generate` and `vydra jobs create` send files in by themselves."
)]
pub struct Upload {
    /// The file
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// What it is [default: as its name says]
    #[arg(long, value_parser = ["image", "video", "audio"])]
    r#type: Option<String>,
    #[command(flatten)]
    caller: Caller,
}

impl Upload {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        Ok(self.caller.end(self.send().await))
    }

    async fn send(&self) -> Result<(), Failure> {
        if !self.file.is_file() {
            return Err(anyhow!("there is no file {}", self.file.display()).into());
        }
        let progress = Progress::new(1, self.caller.json);
        let client = self.caller.client_beside(&progress)?;
        let sent = input::send(&client, &self.file, self.r#type.as_deref(), &progress).await;
        drop(progress);
        let sent = sent?;
        if self.caller.json {
            output::json(&value(&sent)?);
        } else {
            output::line(&output::clean(&sent.url));
        }
        Ok(())
    }
}
