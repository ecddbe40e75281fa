//! A hundred prompts, some at a time, and never more credits than allowed: `cargo run --example batch -- FOLDER CREDITS`.

use futures_util::future::try_join_all;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use vydra_client::{Buy, Client, Error, ErrorClass, ImageInput, Job, Progress, Quoted, Wait};

const AT_ONCE: usize = 8;

/// What was made, and what it cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) made: u32,
    pub(crate) spent: u64,
    next: usize,
}

/// What the workers share.
struct Batch<'a> {
    client: &'a Client,
    prompts: &'a [String],
    folder: &'a Path,
    price: u64,
    cap: u64,
    tally: Mutex<Tally>,
}

/// Makes pictures of the prompts for as long as the credits last.
pub(crate) async fn batch(
    client: &Client,
    prompts: &[String],
    folder: &Path,
    cap: u64,
) -> Result<Tally, Error> {
    let Some(first) = prompts.first() else {
        return Ok(Tally::default());
    };
    let quote = client
        .quote(Quoted::Workflow("generate_image"), &image(first))
        .await?;
    let batch = Batch {
        client,
        prompts,
        folder,
        price: quote.credits.unsigned_abs(),
        cap,
        tally: Mutex::default(),
    };
    // When one gives up, the others are dropped, and with them the jobs that they wait for.
    try_join_all((0..AT_ONCE).map(|_| batch.work())).await?;
    Ok(batch.tally(|tally| *tally))
}

impl Batch<'_> {
    async fn work(&self) -> Result<(), Error> {
        while let Some((index, prompt)) = self.next() {
            match self.make(prompt).await {
                Ok(job) => {
                    let to = self.folder.join(format!("{index:03}.png"));
                    for url in job.urls() {
                        self.client.download(url, &to, &Progress::none()).await?;
                    }
                    self.tally(|tally| tally.made += 1);
                }
                Err(error) => self.lost(error)?,
            }
        }
        Ok(())
    }

    async fn make(&self, prompt: &str) -> Result<Job, Error> {
        let buy = Buy {
            max_credits: Some(self.price),
            ..Buy::default()
        };
        let wait = Wait {
            cancel_on_drop: true,
            ..Wait::default()
        };
        self.client
            .generate()
            .image(&image(prompt), &buy, &wait)
            .await
    }

    /// The next prompt, whose price is set aside before it is sent: workers do not together exceed what each of them saw.
    fn next(&self) -> Option<(usize, &str)> {
        self.tally(|tally| {
            let prompt = self.prompts.get(tally.next)?;
            if tally.spent + self.price > self.cap {
                return None;
            }
            tally.spent += self.price;
            tally.next += 1;
            Some((tally.next - 1, prompt.as_str()))
        })
    }

    /// The next one may do, unless it would be told the same.
    fn lost(&self, error: Error) -> Result<(), Error> {
        let Error::Api(api) = &error else {
            return Err(error);
        };
        let refund = api.refund.as_ref().filter(|refund| refund.applied);
        // What was paid back, or refused before it was bought. Whatever else it was, the job may go on and cost what it costs.
        let back = match (refund, api.class()) {
            (Some(refund), _) => refund.credits_refunded.unsigned_abs(),
            (None, ErrorClass::BadRequest) if error.job_id().is_none() => self.price,
            (
                None,
                ErrorClass::Authentication
                | ErrorClass::PaymentRequired
                | ErrorClass::PermissionDenied
                | ErrorClass::RateLimit,
            ) => return Err(error),
            (None, _) => 0,
        };
        self.tally(|tally| tally.spent = tally.spent.saturating_sub(back));
        Ok(())
    }

    fn tally<T>(&self, change: impl FnOnce(&mut Tally) -> T) -> T {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn image(prompt: &str) -> ImageInput {
    ImageInput {
        prompt: prompt.to_owned(),
        ..ImageInput::default()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (folder, cap) = (
        words.next().unwrap_or_else(|| "pictures".into()),
        words.next(),
    );
    let cap = cap.map_or(Ok(50), |cap| cap.parse())?;
    std::fs::create_dir_all(&folder)?;
    let prompts: Vec<_> = (1..=100)
        .map(|number| format!("a lighthouse, view {number} of 100"))
        .collect();
    let tally = batch(&Client::new()?, &prompts, Path::new(&folder), cap).await?;
    writeln!(
        std::io::stdout(),
        "{} pictures for {} credits",
        tally.made,
        tally.spent
    )?;
    Ok(())
}
