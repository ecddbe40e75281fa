//! Where results go: into files that overwrite nothing, to stdout, or on the screen.

use super::failure::Failure;
use super::follow::Progress;
use crate::output;
use anyhow::{Context as _, anyhow};
use clap::{Args, ValueHint};
use serde_json::Value;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;
use vydra_client::{Client, Job};

/// The longest part of a prompt that is in the name of a file.
const LONGEST_NAME: usize = 40;
/// Of media: a server could call a program anything.
const ENDINGS: [&str; 21] = [
    "aac", "avif", "bmp", "flac", "gif", "jpeg", "jpg", "m4a", "m4v", "mkv", "mov", "mp3", "mp4",
    "oga", "ogg", "opus", "png", "tiff", "wav", "webm", "webp",
];
/// Of what is none of these.
const UNKNOWN: &str = "bin";
/// Names that are tried before it is given up.
const TRIES: usize = 10_000;

/// What becomes of results.
#[derive(Debug, Clone, Args)]
pub struct Keep {
    /// Save it: a file, a folder (with / if it is new), or - for stdout
    #[arg(long, short, value_name = "FILE|FOLDER", value_hint = ValueHint::AnyPath)]
    output: Option<PathBuf>,
    /// Overwrite files that are there
    #[arg(long, requires = "output")]
    force: bool,
    /// Open the result with the program that this computer has for it
    #[arg(long)]
    open: bool,
}

/// Where the results of one command go.
#[derive(Debug)]
pub struct Place {
    to: To,
    force: bool,
    open: bool,
    /// Of how many jobs, if that is known to be more than one.
    jobs: usize,
}

#[derive(Debug)]
enum To {
    /// They stay where they are; their addresses are told.
    Server,
    Stdout,
    Folder(PathBuf),
    File(PathBuf),
}

/// A result: its address, or where it was saved.
#[derive(Debug)]
pub struct Kept {
    url: String,
    file: Option<PathBuf>,
    /// Whether it is a kind of medium that is known here.
    is_known: bool,
}

impl Keep {
    /// Refuses, before anything is bought, what could not be saved afterwards.
    pub fn prepare(&self, jobs: usize, json: bool) -> Result<Place, Failure> {
        let to = match &self.output {
            None => To::Server,
            Some(path) if path.as_os_str() == "-" => {
                if jobs > 1 {
                    return Err(Failure::usage(
                        "only one result fits on stdout: -o names a folder for several",
                    ));
                }
                if json {
                    return Err(Failure::usage(
                        "stdout cannot have both the result and the JSON: leave one away",
                    ));
                }
                if std::io::stdout().is_terminal() {
                    return Err(Failure::usage(
                        "the result is no text for a terminal: -o names a file, or send stdout to a program",
                    ));
                }
                To::Stdout
            }
            Some(path) if path.is_dir() => To::Folder(path.clone()),
            Some(path) if path.to_string_lossy().ends_with('/') => {
                let failed = || format!("cannot make the folder {}", path.display());
                fs::create_dir_all(path).with_context(failed)?;
                To::Folder(path.clone())
            }
            Some(path) => To::File(path.clone()),
        };
        let place = Place {
            to,
            force: self.force,
            open: self.open,
            jobs,
        };
        place.check()?;
        Ok(place)
    }
}

impl Place {
    fn check(&self) -> Result<(), Failure> {
        let file = match &self.to {
            To::Server | To::Stdout => return Ok(()),
            To::Folder(folder) => return probe(&folder.join(PROBE)),
            To::File(file) => file,
        };
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            let folder = folder.display();
            return Err(
                anyhow!("there is no folder {folder}: make it, or name another one").into(),
            );
        }
        (1..=self.jobs).try_for_each(|number| self.check_file(&self.numbered(file, number)))?;
        // What is overwritten is replaced by a file beside it.
        probe(&folder.join(PROBE))
    }

    fn check_file(&self, file: &Path) -> Result<(), Failure> {
        if file.extension().is_some() {
            return self.check_name(file);
        }
        let names = ENDINGS.iter().map(|ending| file.with_extension(ending));
        names
            .into_iter()
            .try_for_each(|name| self.check_name(&name))
    }

    fn check_name(&self, file: &Path) -> Result<(), Failure> {
        match (file.symlink_metadata(), self.force) {
            (Ok(_), false) => Err(is_taken(file)),
            (Ok(_), true) => is_replaceable(file).map(drop),
            (Err(_), _) => probe(file),
        }
    }

    /// The file for one of several jobs.
    fn numbered(&self, file: &Path, number: usize) -> PathBuf {
        if self.jobs > 1 {
            with_number(file, number)
        } else {
            file.to_owned()
        }
    }

    /// The results of the `number`th job: saved if that is asked for, told on stdout unless that is JSON, and opened.
    pub async fn keep(
        &self,
        client: &Client,
        job: &Job,
        number: usize,
        progress: &Progress,
        json: bool,
    ) -> Result<Vec<Kept>, Failure> {
        let urls = job.urls();
        if matches!(self.to, To::Stdout) && urls.len() > 1 {
            let failure = anyhow!("there are {} results, and one fits on stdout", urls.len());
            let of_result = |failure: Failure, url: &&str| failure.of_result(&job.id, url);
            return Err(urls.iter().fold(failure.into(), of_result));
        }
        if urls.is_empty() && !matches!(self.to, To::Server) {
            return Err(Failure::gone(format!(
                "The results of {} were deleted.",
                job.id
            )));
        }
        let mut all = Vec::new();
        for (index, url) in urls.iter().enumerate() {
            let file = self
                .save(client, job, url, (number, index), progress)
                .await
                .map_err(|failure| failure.of_result(job.id.as_str(), url))?;
            let kept = Kept {
                url: (*url).to_owned(),
                file,
                is_known: ending_of(url, job.mime_type.as_deref()) != UNKNOWN,
            };
            if !json && !matches!(self.to, To::Stdout) {
                progress.aside(|| output::result(&kept.shown()));
            }
            if self.open {
                self.show(&kept, progress).await;
            }
            all.push(kept);
        }
        if urls.is_empty() {
            progress.note(&format!("{}: its files were deleted since", job.id));
        }
        Ok(all)
    }

    async fn save(
        &self,
        client: &Client,
        job: &Job,
        url: &str,
        (number, index): (usize, usize),
        progress: &Progress,
    ) -> Result<Option<PathBuf>, Failure> {
        let ending = ending_of(url, job.mime_type.as_deref());
        let wanted = match &self.to {
            To::Server => return Ok(None),
            To::Stdout => {
                let told = progress.bytes("fetching".to_owned());
                // Whoever reads slowly must not keep a signal from being heard.
                let mut out = tokio::io::stdout();
                client.download_to(url, &mut out, &told).await?;
                return Ok(None);
            }
            To::Folder(folder) => folder.join(format!("{}.{ending}", name_of(job))),
            To::File(file) => {
                let mut file = self.numbered(file, number);
                if file.extension().is_none() {
                    file.set_extension(&ending);
                } else if !fits(&file, &ending) {
                    progress.note(&format!(
                        "{} holds {}",
                        file.display(),
                        ending.to_uppercase()
                    ));
                }
                file
            }
        };
        let wanted = if job.urls().len() > 1 {
            with_number(&wanted, index + 1)
        } else {
            wanted
        };
        let reserved = self.reserve(&wanted)?;
        let file = reserved.file.clone();
        if file != wanted {
            progress.note(&format!("{} is there already", wanted.display()));
        }
        let told = progress.bytes(format!("saving {}", file.display()));
        client.download(url, &reserved.target, &told).await?;
        if let Err(error) = reserved.keep() {
            progress.note(&format!("{}: {error}", file.display()));
        }
        Ok(Some(file))
    }

    /// A name that nobody else can take meanwhile: what was paid for is not lost because of a name.
    fn reserve(&self, wanted: &Path) -> Result<Reserved, Failure> {
        if self.force {
            let permissions = is_replaceable(wanted)?;
            let behind_link = wanted.canonicalize().ok().filter(|_| wanted.is_symlink());
            return Ok(Reserved {
                target: behind_link.unwrap_or_else(|| wanted.to_owned()),
                file: wanted.to_owned(),
                permissions,
                is_empty: false,
            });
        }
        let others = (2..TRIES).map(|number| with_number(wanted, number));
        for file in std::iter::once(wanted.to_owned()).chain(others) {
            match OpenOptions::new().write(true).create_new(true).open(&file) {
                Ok(_) => {
                    return Ok(Reserved {
                        target: file.clone(),
                        file,
                        permissions: None,
                        is_empty: true,
                    });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let told = format!("cannot write to {}", file.display());
                    return Err(anyhow::Error::new(error).context(told).into());
                }
            }
        }
        Err(is_taken(wanted))
    }

    /// What cannot be opened is there all the same.
    async fn show(&self, kept: &Kept, progress: &Progress) {
        let what = match &kept.file {
            Some(file) if !kept.is_known => {
                let file = file.display();
                return progress.note(&format!(
                    "{file} is no medium that is known, and is not opened"
                ));
            }
            Some(file) => std::path::absolute(file).unwrap_or_else(|_| file.clone()),
            // Nothing but an address of the web may reach the program that opens.
            None if kept.url.starts_with("http://") || kept.url.starts_with("https://") => {
                kept.url.clone().into()
            }
            None => return,
        };
        let program = if cfg!(target_os = "macos") {
            "open"
        } else {
            "xdg-open"
        };
        let ran = Command::new(program)
            .arg(&what)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await;
        let told = match ran {
            Ok(status) if status.success() => return,
            Ok(status) => format!("{program}: {status}"),
            Err(error) => format!("{program}: {error}"),
        };
        progress.note(&format!(
            "{} cannot be opened here ({told})",
            what.display()
        ));
    }
}

/// A file that has a name and nothing in it, until the result takes its place.
struct Reserved {
    file: PathBuf,
    /// The same behind its link.
    target: PathBuf,
    /// Of the file that was there.
    permissions: Option<Permissions>,
    is_empty: bool,
}

impl Reserved {
    fn keep(mut self) -> std::io::Result<()> {
        self.is_empty = false;
        match self.permissions.take() {
            Some(permissions) => fs::set_permissions(&self.target, permissions),
            None => Ok(()),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.is_empty {
            // That it could not be removed is no news: the failure before it is.
            let _ = fs::remove_file(&self.file);
        }
    }
}

impl Kept {
    fn shown(&self) -> String {
        match &self.file {
            Some(file) => file.display().to_string(),
            None => output::clean(&self.url),
        }
    }

    fn file(&self) -> Option<Value> {
        let file = self.file.as_ref()?;
        Some(file.to_string_lossy().into_owned().into())
    }
}

/// A job with the files that were made of its results.
pub fn told(job: &Job, kept: &[Kept]) -> Result<Value, Failure> {
    let mut told = super::value(job)?;
    told["files"] = kept.iter().filter_map(Kept::file).collect();
    Ok(told)
}

/// A name of nobody's file.
const PROBE: &str = ".vydra-probe.part";

/// Whether a file can be made there: it is made, and removed.
fn probe(file: &Path) -> Result<(), Failure> {
    let told = || format!("cannot write to {}", file.display());
    let made = OpenOptions::new().write(true).create_new(true).open(file);
    match made {
        Ok(_) => fs::remove_file(file).with_context(told)?,
        // Another one looks just now.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(anyhow::Error::new(error).context(told()).into()),
    }
    Ok(())
}

/// The permissions of a plain file, or of the one behind a link: a device or a pipe is not overwritten.
fn is_replaceable(file: &Path) -> Result<Option<Permissions>, Failure> {
    match fs::metadata(file) {
        Ok(found) if found.is_file() => Ok(Some(found.permissions())),
        Ok(_) => Err(anyhow!(
            "{} is no plain file, and is not overwritten",
            file.display()
        )
        .into()),
        Err(_) => Ok(None),
    }
}

fn is_taken(file: &Path) -> Failure {
    let file = file.display();
    anyhow!("{file} is there already; --force overwrites it").into()
}

/// `boat.png` and 2: `boat-2.png`.
fn with_number(file: &Path, number: usize) -> PathBuf {
    let mut name = file.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(ending) = file.extension() {
        name.push(".");
        name.push(ending);
    }
    file.with_file_name(name)
}

/// Of what was asked for, and of the job, so that the same words twice do not meet.
fn name_of(job: &Job) -> String {
    let mut name = String::new();
    for word in super::words(job)
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        if name.chars().count() + word.chars().count() >= LONGEST_NAME {
            break;
        }
        name.push_str(&word.to_lowercase());
        name.push('-');
    }
    if name.is_empty() {
        let kind = job.workflow.as_deref().unwrap_or(&job.model);
        let plain = |c: char| if c.is_alphanumeric() { c } else { '-' };
        name = kind.chars().map(plain).collect();
        name.push('-');
    }
    let id: Vec<char> = job.id.chars().filter(char::is_ascii_alphanumeric).collect();
    name.extend(&id[id.len().saturating_sub(6)..]);
    name
}

/// Of a file's name, from its address or from what it is.
fn ending_of(url: &str, mime_type: Option<&str>) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let ending = last
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_ascii_lowercase());
    if let Some(ending) = ending.filter(|ending| ENDINGS.contains(&ending.as_str())) {
        return ending;
    }
    let named = match mime_type.and_then(|kind| kind.split_once('/')) {
        Some(("audio", "mpeg")) => "mp3",
        Some(("audio", "mp4")) => "m4a",
        Some(("audio", "x-wav" | "wave" | "vnd.wave")) => "wav",
        Some(("video", "quicktime")) => "mov",
        Some(("image" | "video" | "audio", kind)) if ENDINGS.contains(&kind) => kind,
        _ => UNKNOWN,
    };
    named.to_owned()
}

/// Whether a file's name says what is in it.
fn fits(file: &Path, ending: &str) -> bool {
    let same = |ending: &str| match ending {
        "jpg" => "jpeg".to_owned(),
        other => other.to_owned(),
    };
    let named = file.extension().unwrap_or_default().to_string_lossy();
    same(&named.to_ascii_lowercase()) == same(ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_before_the_ending() {
        for (name, numbered) in [
            ("a/boat.png", "a/boat-2.png"),
            ("boat", "boat-2"),
            ("a.b.png", "a.b-2.png"),
        ] {
            assert_eq!(with_number(Path::new(name), 2), Path::new(numbered));
        }
    }

    #[test]
    fn the_ending_is_that_of_the_address_or_of_the_kind() {
        for (url, kind, ending) in [
            ("http://x/a.PNG?q=1.2", None, "png"),
            ("http://x/a", Some("image/png"), "png"),
            ("http://x.com/a", Some("audio/mpeg"), "mp3"),
            ("http://x/a.not-an-ending", Some("video/mp4"), "mp4"),
            ("http://x/a../", None, "bin"),
            ("http://x/a", Some("image/svg+xml"), "bin"),
            ("http://x/a.jar", Some("image/png"), "png"),
            ("http://x/a.sh", Some("application/x-sh"), "bin"),
            ("http://x/a", Some("video/quicktime"), "mov"),
        ] {
            assert_eq!(ending_of(url, kind), ending, "{url}");
        }
    }

    #[test]
    fn an_ending_fits_in_both_spellings() {
        assert!(fits(Path::new("a.JPG"), "jpeg") && fits(Path::new("a.png"), "png"));
        assert!(!fits(Path::new("a.jpg"), "png"));
    }
}
