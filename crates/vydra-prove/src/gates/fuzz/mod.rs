//! G16: the readers of what strangers send, on a corpus of hostile inputs and on what chance makes of them. Whatever comes, each
//! property holds, nothing panics, and nothing takes long.
//!
//! A target is a function from bytes to what is wrong with them. What fails is kept in the corpus, whose replay is a test. The
//! commonest change: one more target. Write it in a file beside this one, add it to [`TARGETS`], and give it a folder of seeds.

mod multipart;
mod mutator;
mod probe;
mod urls;

use super::{Outcome, Run, Violation, panicked};
use anyhow::{Context, bail, ensure};
use mutator::Mutator;
use sha2::{Digest, Sha256};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::time::Instant;

/// One reader, and what must be true of whatever it reads.
struct Target {
    name: &'static str,
    /// What its inputs are made of.
    words: &'static [&'static [u8]],
    open: fn() -> anyhow::Result<Check>,
}

/// What is wrong with these bytes.
type Check = Box<dyn FnMut(&[u8]) -> anyhow::Result<()>>;

const TARGETS: [Target; 3] = [
    Target {
        name: "multipart",
        words: &multipart::WORDS,
        open: multipart::open,
    },
    Target {
        name: "probe",
        words: &probe::WORDS,
        open: || Ok(Box::new(probe::check)),
    },
    Target {
        name: "urls",
        words: &urls::WORDS,
        open: || Ok(Box::new(urls::check)),
    },
];

/// As long as an input may be.
const LONGEST: usize = 64 * 1_024;
/// As long as one may take, on a machine that has other things to do. The quickest of some tries counts.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 3;
/// One that takes so long never ends.
const HANGS: Duration = Duration::from_secs(20);

pub(super) fn prove(run: &Run) -> Outcome {
    let mut figures = Vec::new();
    for target in &TARGETS {
        if run.only.as_ref().is_none_or(|only| only == target.name) {
            figures.push(fuzz(target, run)?);
        }
    }
    if figures.is_empty() {
        let known = TARGETS.map(|target| target.name).join(", ");
        return Err(anyhow::anyhow!("there is no such target; there are {known}").into());
    }
    Ok(figures.join("; "))
}

fn fuzz(target: &Target, run: &Run) -> Result<String, Violation> {
    let folder = corpus(target);
    let inputs = read(&folder)?;
    let looker = Looker::start(target.open)?;
    for (name, bytes) in &inputs {
        let looked = looker.look(bytes);
        looked.with_context(|| format!("{}/{name}", target.name))?;
    }
    let inputs: Vec<Vec<u8>> = inputs.into_iter().map(|(_, bytes)| bytes).collect();
    let mut mutator = Mutator::new(run.seed, &inputs, target.words);
    let began = Instant::now();
    let goes_on = |made: u64| match run.seconds {
        Some(seconds) => began.elapsed() < Duration::from_secs(seconds),
        None => made < run.count,
    };
    let mut made = 0;
    while goes_on(made) {
        let input = mutator.next(LONGEST);
        if let Err(error) = looker.look(&input) {
            let kept = keep(&folder, &input)?;
            let error = error.context(format!(
                "{}: an input that is kept as {}",
                target.name,
                kept.display()
            ));
            return Err(Violation::at(
                format!("--only {} --count 0", target.name),
                error,
            ));
        }
        made += 1;
        run.progress.step(run.count);
    }
    Ok(format!(
        "{}: {} of the corpus and {made} made of them",
        target.name,
        inputs.len()
    ))
}

/// The inputs of a target, each in a file whose name says what it is.
fn corpus(target: &Target) -> PathBuf {
    let all = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"));
    all.join(target.name)
}

fn read(folder: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let cannot = || format!("the corpus {} cannot be read", folder.display());
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        inputs.push((name, std::fs::read(entry.path()).with_context(cannot)?));
    }
    ensure!(!inputs.is_empty(), "{} is empty", folder.display());
    // The same at each run, whatever the file system says.
    inputs.sort();
    Ok(inputs)
}

fn keep(folder: &Path, input: &[u8]) -> anyhow::Result<PathBuf> {
    let digest = Sha256::digest(input);
    let name = u64::from_be_bytes(*digest.first_chunk().context("a digest is long")?);
    let path = folder.join(format!("found-{name:016x}"));
    std::fs::write(&path, input)?;
    Ok(path)
}

/// A thread that looks at one input after the other, so that one on which it hangs can be told.
struct Looker {
    inputs: Sender<Vec<u8>>,
    verdicts: Receiver<anyhow::Result<()>>,
}

impl Looker {
    fn start(open: fn() -> anyhow::Result<Check>) -> anyhow::Result<Self> {
        let (inputs, received) = channel::<Vec<u8>>();
        let (verdict, verdicts) = channel();
        std::thread::Builder::new().spawn(move || {
            let mut check = match open() {
                Ok(check) => check,
                // Whoever is gone needs no verdict.
                Err(error) => return drop(verdict.send(Err(error))),
            };
            while let Ok(input) = received.recv() {
                if verdict.send(in_time(&mut check, &input)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { inputs, verdicts })
    }

    fn look(&self, input: &[u8]) -> anyhow::Result<()> {
        // Its last word tells why it is gone.
        let _gone = self.inputs.send(input.to_vec());
        match self.verdicts.recv_timeout(HANGS) {
            Ok(verdict) => verdict,
            Err(RecvTimeoutError::Timeout) => bail!("it hangs"),
            Err(RecvTimeoutError::Disconnected) => bail!("nobody looks any more"),
        }
    }
}

fn in_time(check: &mut Check, input: &[u8]) -> anyhow::Result<()> {
    let mut quickest = Duration::MAX;
    for _ in 0..TRIES {
        let began = Instant::now();
        catch_unwind(AssertUnwindSafe(|| check(input)))
            .unwrap_or_else(|panic| Err(panicked(&*panic)))?;
        quickest = quickest.min(began.elapsed());
        if quickest < PATIENCE {
            return Ok(());
        }
    }
    bail!("it takes {quickest:?}")
}

/// Where a text that came in pieces was cut: chance that depends on nothing but the bytes.
fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    let mut state = crc32fast::hash(data) | 1;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // Xorshift (Marsaglia): mostly small pieces, some large.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let size = match state % 8 {
            0 => 4_096,
            1 => 100,
            small => small,
        };
        let (piece, left) = rest.split_at(usize::try_from(size).ok()?.min(rest.len()));
        rest = left;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_replayed() {
        for target in &TARGETS {
            let looker = Looker::start(target.open).unwrap();
            for (name, bytes) in read(&corpus(target)).unwrap() {
                assert!(bytes.len() <= LONGEST, "{}/{name} is long", target.name);
                looker
                    .look(&bytes)
                    .unwrap_or_else(|error| panic!("{}/{name}: {error:#}", target.name));
            }
        }
    }

    fn strange(data: &[u8]) -> anyhow::Result<()> {
        match data {
            b"panic" => panic!("as it was told"),
            b"wrong" => bail!("it is wrong"),
            _ => Ok(()),
        }
    }

    #[test]
    fn whatever_goes_wrong_is_told() {
        let looker = Looker::start(|| Ok(Box::new(strange))).unwrap();
        let told = |input: &[u8]| looker.look(input).unwrap_err().to_string();
        looker.look(b"good").unwrap();
        assert_eq!(told(b"wrong"), "it is wrong");
        assert_eq!(told(b"panic"), "panicked: as it was told");
        looker.look(b"good").unwrap();
        let closed = Looker::start(|| bail!("it does not open")).unwrap();
        assert_eq!(
            closed.look(b"").unwrap_err().to_string(),
            "it does not open"
        );
    }

    #[test]
    fn what_fails_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = keep(folder.path(), b"wrong").unwrap();
        let kept = read(folder.path()).unwrap();
        assert_eq!(kept[0].1, b"wrong");
        assert!(path.ends_with(&kept[0].0) && kept[0].0.starts_with("found-"));
    }

    #[test]
    fn pieces_are_the_whole() {
        let data: Vec<u8> = (0..=255).cycle().take(20_000).collect();
        let pieces: Vec<&[u8]> = pieces(&data).collect();
        assert!(pieces.len() > 20);
        assert_eq!(pieces.concat(), data);
    }
}
