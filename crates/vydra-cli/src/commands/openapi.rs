use crate::output;
use std::process::ExitCode;
use vydra_core::catalog::Catalog;

pub fn run() -> anyhow::Result<ExitCode> {
    let document = vydra_http::openapi::document(&Catalog::builtin()?);
    output::text(&serde_json::to_string_pretty(&document)?);
    Ok(ExitCode::SUCCESS)
}
