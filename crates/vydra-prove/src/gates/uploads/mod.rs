//! G10: files that are small and become large, that are two things at once, or damaged, sent to the real program in both ways that
//! take a file; many slow senders at once; and a large film that a provider names. Each gets its answer, memory stays within its
//! bounds, and nothing that is served can act.

mod bombs;
mod memory;
mod outputs;

use super::{Outcome, Run, on_disk};
use crate::api::{self, Answer, Api, Purchase, form};
use crate::books;
use crate::server::Data;
use anyhow::{Context, ensure};
use bombs::{Sample, Verdict};
use memory::{MIB, Memory};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use reqwest::header::HeaderValue;
use serde_json::json;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What an answer may take, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(1);
/// To draw, too.
const PATIENCE_WITH_JOBS: Duration = Duration::from_secs(30);
const REFUSED: u64 = 32 * MIB;
/// On top of that, to be drawn on: of each pixel, in bytes, and for the new picture of 1,024 pixels a side.
const EACH_PIXEL: u64 = 8;
const DRAWING: u64 = 32 * MIB;
/// As the contract has it (section 9).
const LARGEST: usize = 20 * 1_024 * 1_024;
const SLOW_SENDERS: usize = 1_000;
/// What each of them has sent when it stops: more than is kept in memory of a file.
const SENT: usize = 300 * 1_024;
/// Of all slow senders together: what the system, the reader of forms and the storage hold of each.
const SLOW: u64 = 512 * MIB;
/// What a body of JSON may weigh, with something for the rest of it.
const FITS_INTO_A_REQUEST: usize = 700 * 1_024;
/// One in so many of the damaged files is drawn on.
const DRAWN: u64 = 10;

pub(super) fn prove(run: &Run) -> Outcome {
    on_disk("uploads", run, async |data| {
        let attacked = attack(run, data).await?;
        let film = outputs::large(&run.disk).await?;
        Ok(format!("{attacked}; {film}"))
    })
}

struct Studio {
    api: Api,
    client: reqwest::Client,
    memory: Memory,
}

async fn attack(run: &Run, data: &Data) -> anyhow::Result<String> {
    let key = data.customer("acme").await?;
    data.grant("acme", 1_000_000_000, "plenty").await?;
    let server = data.serve().await?;
    let client = api::client()?;
    let studio = Studio {
        api: Api::new(&client, &server.url, &key),
        client,
        memory: Memory::of(server.process()?),
    };
    let samples = bombs::all()?;
    // What is made once for all of them is not theirs.
    studio
        .edit(&reference(&studio.taken(&samples).await?)?)
        .await?;
    let (mut most_refused, mut most_taken, mut slowest) = (0, 0, Duration::ZERO);
    for sample in &samples {
        let (took, grown) = studio.send(sample).await.context(sample.name)?;
        slowest = slowest.max(took);
        match sample.verdict {
            Verdict::Refused(_) => most_refused = grown.max(most_refused),
            Verdict::Taken(_) => most_taken = grown.max(most_taken),
        }
    }
    let damaged = damaged(run, &studio, &samples).await?;
    let largest = largest(&studio).await?;
    let slow = slow_senders(&server.url, &key, &studio).await?;
    server.stop().await?;
    data.audit().await?;
    books::check(&data.database())?;
    Ok(format!(
        "{} files, at most {} MiB for one that is refused and {} MiB beside its pixels for one that is drawn on, answers within {} ms; {damaged}; {largest}; {slow}",
        samples.len(),
        most_refused / MIB,
        most_taken / MIB,
        slowest.as_millis(),
    ))
}

fn reference(answer: &Answer) -> anyhow::Result<String> {
    let key = answer.body["key"].as_str().context("an upload has a key")?;
    Ok(key.to_owned())
}

impl Studio {
    async fn taken(&self, samples: &[Sample]) -> anyhow::Result<Answer> {
        let good = samples
            .iter()
            .find(|sample| sample.name == "png and script")
            .context("there is a good file")?;
        self.upload(&good.bytes).await
    }

    async fn upload(&self, bytes: &[u8]) -> anyhow::Result<Answer> {
        let answer = self.api.upload("file.png", bytes).await?;
        answer.context("the server hung up")
    }

    /// Asks for a picture after this one. Whether it was made, or not and paid back, the answer says so.
    async fn edit(&self, image: &str) -> anyhow::Result<Answer> {
        let purchase = Purchase {
            path: "models/gemini/edit".into(),
            body: json!({"prompt": "Make it winter", "image_url": image}),
            outcome: "",
            respond_async: false,
            key: None,
        };
        let answer = self.api.buy(&purchase).await?;
        answer.context("the server hung up")
    }

    /// In both ways that take a file. How long the first answer took, and how much memory was needed at most, beside its
    /// pixels.
    async fn send(&self, sample: &Sample) -> anyhow::Result<(Duration, u64)> {
        let before = self.memory.begin()?;
        let began = Instant::now();
        let answer = self.upload(&sample.bytes).await?;
        let took = began.elapsed();
        ensure!(took < PATIENCE, "the answer took {took:?}");
        self.within(before, REFUSED)?;
        let before = self.memory.begin()?;
        match sample.verdict {
            Verdict::Refused(code) => {
                ensure!(
                    answer.status == 400 && answer.body["code"] == code,
                    "instead of {code}: {answer:?}"
                );
                self.refuses_in_a_request(sample).await?;
                Ok((took, self.within(before, REFUSED)?))
            }
            Verdict::Taken(media_type) => {
                ensure!(
                    answer.status == 200 && answer.body["type"] == media_type,
                    "instead of {media_type}: {answer:?}"
                );
                self.is_harmless(&answer, media_type).await?;
                self.is_drawn_on_or_paid_back(&reference(&answer)?).await?;
                let pixels = EACH_PIXEL * sample.pixels;
                let grown = self.within(before, REFUSED + DRAWING + pixels)?;
                Ok((took, grown.saturating_sub(pixels)))
            }
        }
    }

    fn within(&self, before: u64, bound: u64) -> anyhow::Result<u64> {
        let grown = self.memory.grown_since(before)?;
        ensure!(
            grown <= bound,
            "memory grew by {} MiB, and {} are allowed",
            grown / MIB,
            bound / MIB
        );
        Ok(grown)
    }

    async fn refuses_in_a_request(&self, sample: &Sample) -> anyhow::Result<()> {
        if sample.bytes.len() * 3 > FITS_INTO_A_REQUEST {
            return Ok(());
        }
        let mut escaped = String::with_capacity(sample.bytes.len() * 3);
        for byte in &sample.bytes {
            write!(escaped, "%{byte:02x}")?;
        }
        let answer = self.edit(&format!("data:image/png,{escaped}")).await?;
        ensure!(
            answer.status == 400 && answer.body["code"] == "INVALID_URL",
            "in a request: {answer:?}"
        );
        Ok(())
    }

    async fn is_drawn_on_or_paid_back(&self, image: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        let answer = self.edit(image).await?;
        ensure!(
            began.elapsed() < PATIENCE_WITH_JOBS,
            "the job took {:?}",
            began.elapsed()
        );
        let paid_back = answer.status == 500
            && answer.body["code"] == "GENERATION_FAILED"
            && answer.body["refund"].is_object();
        ensure!(answer.status == 200 || paid_back, "drawn on: {answer:?}");
        Ok(())
    }

    /// Whatever else the file is, a browser is told that it is an image, and to believe that.
    async fn is_harmless(&self, answer: &Answer, media_type: &str) -> anyhow::Result<()> {
        let url = answer.body["url"].as_str().context("an upload has a URL")?;
        let file = self.client.get(url).send().await?;
        for (name, wanted) in [
            ("content-type", media_type),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; sandbox"),
        ] {
            let value = file.headers().get(name).map(HeaderValue::as_bytes);
            ensure!(
                value == Some(wanted.as_bytes()),
                "{name} of {url} is {value:?}"
            );
        }
        Ok(())
    }
}

/// Good files with some bytes changed, cut or added.
async fn damaged(run: &Run, studio: &Studio, samples: &[Sample]) -> anyhow::Result<String> {
    let mut random = StdRng::seed_from_u64(run.seed);
    let good: Vec<&Sample> = samples
        .iter()
        .filter(|sample| matches!(sample.verdict, Verdict::Taken(_)) && sample.bytes.len() < 65_536)
        .collect();
    let (mut taken, mut refused) = (0_u64, 0_u64);
    for number in 0..run.count {
        let sample = good.choose(&mut random).context("there are good files")?;
        let mut bytes = sample.bytes.clone();
        for _ in 0..random.random_range(1..8) {
            let place = random.random_range(0..bytes.len());
            match random.random_range(0..4) {
                0 => bytes.truncate(place.max(1)),
                1 => bytes.insert(place, random.random()),
                _ => bytes[place] = random.random(),
            }
        }
        let answer = studio.upload(&bytes).await?;
        let context = || {
            format!(
                "{} of seed {}, damaged for the {number}th time",
                sample.name, run.seed
            )
        };
        match answer.status {
            200 => taken += 1,
            400 => refused += 1,
            _ => anyhow::bail!("{}: {answer:?}", context()),
        }
        if answer.status == 200 && number.is_multiple_of(DRAWN) {
            let image = reference(&answer)?;
            let drawn = studio.is_drawn_on_or_paid_back(&image).await;
            drawn.with_context(context)?;
        }
        run.progress.step(run.count);
    }
    Ok(format!("{taken} damaged ones taken and {refused} refused"))
}

/// A picture of no use, of so many bytes.
fn padded(length: usize) -> Vec<u8> {
    let mut file = vydra_testkit::files::png(8, 6).to_vec();
    file.resize(length, 0x5a);
    file
}

async fn largest(studio: &Studio) -> anyhow::Result<String> {
    let before = studio.memory.begin()?;
    let file = padded(LARGEST);
    for _ in 0..10 {
        let answer = studio.upload(&file).await?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    let grown = studio.memory.grown_since(before)?;
    ensure!(
        grown <= REFUSED,
        "20 MiB took {} MiB of memory",
        grown / MIB
    );
    let answer = studio.upload(&padded(LARGEST + 1)).await?;
    ensure!(
        answer.body["code"] == "FILE_TOO_LARGE",
        "one byte too many: {answer:?}"
    );
    Ok(format!("20 MiB take {} MiB", grown / MIB))
}

/// Each stops in the middle of its file until all have come so far. Meanwhile others are served.
async fn slow_senders(url: &str, key: &str, studio: &Studio) -> anyhow::Result<String> {
    let address = url.trim_start_matches("http://");
    let (content_type, body) = form("slow.png", &padded(2 * SENT));
    let head = format!(
        "POST /api/v1/upload HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let before = studio.memory.begin()?;
    let mut senders = Vec::with_capacity(SLOW_SENDERS);
    for _ in 0..SLOW_SENDERS {
        let mut sender = TcpStream::connect(address).await?;
        sender.write_all(head.as_bytes()).await?;
        sender.write_all(&body[..SENT]).await?;
        senders.push(sender);
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        let began = Instant::now();
        let answer = studio.api.get("organization").await?;
        ensure!(
            answer.as_ref().is_some_and(|answer| answer.status == 200),
            "beside slow senders: {answer:?}"
        );
        slowest = slowest.max(began.elapsed());
    }
    let answer = studio.upload(&padded(LARGEST)).await?;
    ensure!(answer.status == 200, "beside slow senders: {answer:?}");
    let grown = studio.memory.grown_since(before)?;
    ensure!(
        grown <= SLOW && slowest < PATIENCE,
        "{SLOW_SENDERS} slow senders took {} MiB, and a read beside them {slowest:?}",
        grown / MIB
    );
    for mut sender in senders {
        sender.write_all(&body[SENT..]).await?;
        let mut answer = Vec::new();
        sender.read_to_end(&mut answer).await?;
        ensure!(
            answer.starts_with(b"HTTP/1.1 200 "),
            "a slow sender was answered {}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(format!(
        "{SLOW_SENDERS} slow senders take {} MiB, and a read beside them at most {} ms",
        grown / MIB,
        slowest.as_millis()
    ))
}
