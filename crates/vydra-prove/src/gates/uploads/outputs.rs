//! A large film that a provider names by its URL: it streams into the storage, every byte of it, and takes no memory.
//!
//! No provider of the program names URLs yet, so that the engine works in this very process here, beside the server of the film.

use super::memory::{MIB, Memory};
use anyhow::{Context, ensure};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::io::Read;
use std::path::Path;
use tokio::time::Instant;
use vydra_core::asset::Asset;
use vydra_core::job::Mode;
use vydra_engine::{Asked, Caller, Preference};
use vydra_testkit::{FileServer, Reply, Served, TestApp, files, filler};

const LENGTH: u64 = 200_000_000;
/// Pieces of 64 KiB, and what the client and the server of the film hold of the stream.
const BOUND: u64 = 8 * MIB;

pub(super) async fn large(disk: &Path) -> anyhow::Result<String> {
    let app = TestApp::with(|setup| {
        setup.readable = vec!["127.0.0.1"];
        setup.place = Some(disk.to_owned());
    });
    let org = app.org("acme", 1_000).await;
    let caller = app.caller_of(&org, Mode::Live).await;
    let first = files::mp4();
    let server = FileServer::serving([
        // What is made once for all of them is not theirs.
        Served::Whole(first.clone()),
        Served::Long(first.clone(), LENGTH),
    ])
    .await;
    let memory = Memory::of(std::process::id());
    deliver(&app, &caller, &server).await?;
    let (before, began) = (memory.begin()?, Instant::now());
    let film = deliver(&app, &caller, &server).await?;
    let (grown, took) = (memory.grown_since(before)?, began.elapsed());
    ensure!(
        grown <= BOUND,
        "a film of {LENGTH} bytes took {} MiB of memory",
        grown / MIB
    );
    let files = app.media_files();
    let file = files
        .iter()
        .find(|path| path.ends_with(&film.storage_key))
        .context("an output is a file")?;
    is_as_sent(file, &first)?;
    Ok(format!(
        "a film of {} MB by its URL takes {} KiB and {:.1} s",
        LENGTH / 1_000_000,
        grown / 1_024,
        took.as_secs_f64(),
    ))
}

/// A job whose provider names what is served.
async fn deliver(app: &TestApp, caller: &Caller, server: &FileServer) -> anyhow::Result<Asset> {
    app.provider.next(Reply::Urls(vec![server.url.clone()]));
    let input = Map::from_iter([("prompt".to_owned(), Value::from("a long film"))]);
    let asked = Asked {
        preference: Preference::RespondAsync,
        ..Asked::default()
    };
    let started = app.engine.generate(caller, "veo3", input, asked).await?;
    app.step().await;
    let job = app.job(&started.job).await;
    let film = job.outputs.first().cloned();
    film.with_context(|| format!("a film by its URL was not taken in: {job:?}"))
}

fn is_as_sent(file: &Path, first: &Bytes) -> anyhow::Result<()> {
    let mut file = std::fs::File::open(file)?;
    let mut read = vec![0; first.len()];
    file.read_exact(&mut read)?;
    ensure!(read == *first, "the film begins with other bytes");
    let mut position = u64::try_from(first.len())?;
    while position < LENGTH {
        let sent = filler(position, LENGTH - position);
        read.resize(sent.len(), 0);
        file.read_exact(&mut read)?;
        ensure!(read == sent, "the film has other bytes behind {position}");
        position += u64::try_from(sent.len())?;
    }
    ensure!(
        file.read(&mut [0])? == 0,
        "the film has more than {LENGTH} bytes"
    );
    Ok(())
}
