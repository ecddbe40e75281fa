use super::DataAndOutput;
use crate::output;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    data: DataAndOutput,
}

impl Migrate {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        // Opening the data brings its schema up to date.
        self.data.open()?;
        let path = self.data.data.load()?.database_path()?;
        if self.data.json {
            output::json(&json!({"database": path, "upToDate": true}));
        } else {
            output::line(&format!("{} is up to date.", path.display()));
        }
        Ok(ExitCode::SUCCESS)
    }
}
