use crate::caller::failure::Failure;
use crate::caller::input::InputArguments;
use crate::caller::purchase::Product;
use crate::caller::{Caller, credits, value};
use crate::output;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vydra quote --workflow generate_video -i prompt=\"waves at night\" -i model=kling-3.1\n  vydra quote --model flux-edit -i prompt=\"make it winter\" -i imageUrl=house.png -i numImages=4\n\nNothing is charged, and no file is sent in. `vydra generate image|video|speech --dry-run` does the same for those."
)]
pub struct Quote {
    /// A workflow, such as `generate_video`
    #[arg(long, required_unless_present = "model", conflicts_with = "model")]
    workflow: Option<String>,
    /// A model, by its name or its path
    #[arg(long)]
    model: Option<String>,
    #[command(flatten)]
    input: InputArguments,
    #[command(flatten)]
    caller: Caller,
}

impl Quote {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        Ok(self.caller.end(self.quote().await))
    }

    async fn quote(&self) -> Result<(), Failure> {
        let input = self.input.read()?.with_names_of_files();
        let product = match (&self.workflow, &self.model) {
            (Some(workflow), _) => Product::Workflow(workflow.clone()),
            (None, model) => Product::Model(model.clone().unwrap_or_default()),
        };
        let client = self.caller.client()?;
        let quote = client.quote(product.quoted(), &input).await?;
        if self.caller.json {
            output::json(&value(&quote)?);
            return Ok(());
        }
        output::line(&credits(quote.credits));
        for line in &quote.breakdown {
            output::line(&format!(
                "  {}: {} × {} = {}",
                output::clean(&line.item),
                line.units,
                line.credits_per_unit,
                line.credits
            ));
        }
        Ok(())
    }
}
