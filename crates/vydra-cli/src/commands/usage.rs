use crate::caller::failure::Failure;
use crate::caller::{Caller, value};
use crate::output;
use clap::Args;
use std::process::ExitCode;
use vydra_client::UsageFilter;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vydra usage                        the last 30 days, day by day\n  vydra usage --by model --from 2026-01-01\n  vydra usage --by key --json | jq .totals.creditsNet"
)]
pub struct Usage {
    /// What each row stands for
    #[arg(long, value_parser = ["day", "model", "key"], default_value = "day")]
    by: String,
    /// From this day or time on, such as 2026-01-31 [default: 30 days ago]
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Until this day or time [default: now]
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    #[command(flatten)]
    caller: Caller,
}

impl Usage {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        Ok(self.caller.end(self.show().await))
    }

    async fn show(&self) -> Result<(), Failure> {
        let filter = UsageFilter {
            from: self.from.clone(),
            to: self.to.clone(),
            by: Some(self.by.clone()),
        };
        let usage = self.caller.client()?.usage(&filter).await?;
        if self.caller.json {
            output::json(&value(&usage)?);
            return Ok(());
        }
        let figures = |numbers: [i64; 6]| numbers.map(|number| number.to_string());
        let mut rows: Vec<Vec<String>> = Vec::new();
        for row in &usage.data {
            let names = [&row.day, &row.model, &row.key_name, &row.key_id];
            let name = names.into_iter().find_map(Option::as_deref);
            let mut cells = vec![output::clean(name.unwrap_or_default())];
            cells.extend(figures([
                row.jobs,
                row.completed,
                row.failed,
                row.cancelled,
                row.credits_refunded,
                row.credits_net,
            ]));
            rows.push(cells);
        }
        let totals = &usage.totals;
        let mut cells = vec!["in all".to_owned()];
        cells.extend(figures([
            totals.jobs,
            totals.completed,
            totals.failed,
            totals.cancelled,
            totals.credits_refunded,
            totals.credits_net,
        ]));
        rows.push(cells);
        let by = self.by.to_uppercase();
        let headings = [
            by.as_str(),
            "JOBS",
            "COMPLETED",
            "FAILED",
            "CANCELLED",
            "REFUNDED",
            "CREDITS",
        ];
        output::table(&headings, &rows);
        Ok(())
    }
}
