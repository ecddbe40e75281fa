use super::DataAndOutput;
use crate::output;
use crate::wiring::{self, Purpose};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    data: DataAndOutput,
}

impl Migrate {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.data.data.load()?;
        // Opening the data brings its schema up to date.
        wiring::engine(&config, Purpose::Migration).await?;
        let database = config.database()?.to_string();
        if self.data.json {
            output::json(&json!({"database": database, "upToDate": true}));
        } else {
            output::line(&format!("{database} is up to date."));
        }
        Ok(ExitCode::SUCCESS)
    }
}
