//! A picture: `VYDRA_BASE_URL=http://127.0.0.1:8787 VYDRA_API_KEY=… cargo run --example quickstart -- boat.png`.

use std::io::Write as _;
use std::path::Path;
use vydra_client::{Buy, Client, Error, ImageInput, Progress, Wait};

/// Makes a picture, and gives how many credits it took.
pub(crate) async fn quickstart(client: &Client, to: &Path) -> Result<i64, Error> {
    let input = ImageInput {
        prompt: "a small boat on a calm sea".into(),
        ..ImageInput::default()
    };
    let buy = Buy {
        max_credits: Some(10),
        ..Buy::default()
    };
    let job = client
        .generate()
        .image(&input, &buy, &Wait::default())
        .await?;
    for url in job.urls() {
        client.download(url, to, &Progress::none()).await?;
    }
    Ok(job.credits_charged)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let to = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| "boat.png".into());
    let mut out = std::io::stdout();
    match quickstart(&Client::new()?, Path::new(&to)).await {
        Ok(credits) => writeln!(out, "{} for {credits} credits", Path::new(&to).display())?,
        // The sentence is for people, and the error itself for the log.
        Err(error) => {
            writeln!(out, "{}", error.friendly())?;
            return Err(error.into());
        }
    }
    Ok(())
}
