//! Files: sending them in, and fetching what was made.

use crate::client::Client;
use crate::error::Error;
use crate::hooks::Progress;
use crate::options::UploadOptions;
use crate::transport::{Core, Request, SILENCE, chunk, random_hex, within};
use crate::types::Upload;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, Url};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Mutex, Notify};
use tokio_util::io::ReaderStream;

const PIECE: usize = 64 * 1024;

/// A file to send in.
pub struct Source(From);

enum From {
    Path(PathBuf),
    Bytes(Bytes),
    Stream(Box<dyn AsyncRead + Send + Unpin>),
    Reader(Box<dyn io::Read + Send>),
}

impl Source {
    /// A file of this machine.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Self(From::Path(path.into()))
    }

    /// What is in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(From::Bytes(bytes.into()))
    }

    /// What comes as it comes.
    pub fn stream(stream: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self(From::Stream(Box::new(stream)))
    }

    /// What is read on a thread that may be held up.
    pub fn reader(reader: impl io::Read + Send + 'static) -> Self {
        Self(From::Reader(Box::new(reader)))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            From::Path(path) => return f.debug_tuple("Path").field(path).finish(),
            From::Bytes(_) => "Bytes",
            From::Stream(_) => "Stream",
            From::Reader(_) => "Reader",
        };
        f.debug_struct(kind).finish_non_exhaustive()
    }
}

/// The pieces of a file, and how long it is, if that is known.
struct Content {
    pieces: BoxStream<'static, io::Result<Bytes>>,
    length: Option<u64>,
    /// That of its path.
    name: Option<String>,
}

impl Content {
    async fn of(source: Source) -> Result<Self, Error> {
        Ok(match source.0 {
            From::Path(path) => {
                let wrong = |source| Error::File {
                    message: format!("{} cannot be read", path.display()),
                    source,
                };
                let file = File::open(&path).await.map_err(wrong)?;
                let length = file.metadata().await.map_err(wrong)?.len();
                let name = path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned());
                Self {
                    pieces: ReaderStream::with_capacity(file, PIECE).boxed(),
                    length: Some(length),
                    name,
                }
            }
            From::Bytes(bytes) => {
                let length = Some(bytes.len() as u64);
                let pieces = stream::unfold(bytes, |mut rest| async move {
                    let piece = rest.split_to(rest.len().min(PIECE));
                    (!piece.is_empty()).then_some((Ok(piece), rest))
                });
                Self {
                    pieces: pieces.boxed(),
                    length,
                    name: None,
                }
            }
            From::Stream(reader) => Self {
                pieces: ReaderStream::with_capacity(reader, PIECE).boxed(),
                length: None,
                name: None,
            },
            From::Reader(reader) => Self {
                pieces: stream::unfold(Some(reader), read_on).boxed(),
                length: None,
                name: None,
            },
        })
    }
}

type Reader = Box<dyn io::Read + Send>;

/// The next piece, and the reader unless it has failed.
async fn read_on(reader: Option<Reader>) -> Option<(io::Result<Bytes>, Option<Reader>)> {
    let mut reader = reader?;
    let reading = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; PIECE];
        let read = loop {
            match reader.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        read.map(|count| {
            piece.truncate(count);
            (Bytes::from(piece), reader)
        })
    });
    match reading.await.map_err(io::Error::other).flatten() {
        Ok((piece, _)) if piece.is_empty() => None,
        Ok((piece, reader)) => Some((Ok(piece), Some(reader))),
        Err(error) => Some((Err(error), None)),
    }
}

impl Client {
    /// Sends a file in; its `url` can be an input. It is never sent again by itself: a stream is gone once it was read.
    pub async fn upload(
        &self,
        source: Source,
        options: &UploadOptions,
        progress: &Progress,
    ) -> Result<Upload, Error> {
        let core = &self.core;
        let request = core
            .request(Method::POST, &["upload"])?
            .query("type", options.r#type.as_ref());
        let content = Content::of(source).await?;
        let name = options
            .filename
            .clone()
            .or(content.name)
            .unwrap_or_else(|| "file".into());
        let moved = Arc::new(Notify::new());
        let (length, told, touched) = (content.length, progress.clone(), Arc::clone(&moved));
        let sent = AtomicU64::new(0);
        let pieces = content.pieces.inspect(move |piece| {
            touched.notify_one();
            if let Ok(piece) = piece {
                let more = piece.len() as u64;
                told.tell(sent.fetch_add(more, Ordering::Relaxed) + more, length);
            }
        });
        let body = Body::wrap_stream(pieces);
        let part = match length {
            Some(length) => Part::stream_with_length(body, length),
            None => Part::stream(body),
        };
        let form = Form::new().part("file", part.file_name(name));
        let answer = async {
            let response = core.open(&request, 0, |http| http.multipart(form)).await?;
            core.answer(&request, response).await
        };
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                () = moved.notified() => {}
                () = tokio::time::sleep(SILENCE) => {
                    return Err(Error::Timeout(format!("nothing of the file was taken for {} s", SILENCE.as_secs())));
                }
            }
        }
    }

    /// Fetches a file to a path, whole or not at all; gives how long it is. What is no medium is refused.
    pub async fn download(
        &self,
        url: &str,
        to: impl AsRef<Path>,
        progress: &Progress,
    ) -> Result<u64, Error> {
        let to = to.as_ref();
        let wrong = |source| Error::File {
            message: format!("{} cannot be written", to.display()),
            source,
        };
        let fetch = async |fetching: &Fetching<'_>, attempt| {
            let (partial, mut file) = Partial::beside(to).await.map_err(wrong)?;
            let length = fetching
                .once(attempt, async |piece| {
                    file.write_all(piece).await.map_err(wrong)
                })
                .await?;
            file.flush().await.map_err(wrong)?;
            Ok((partial, length))
        };
        let (partial, length) = self.fetching(url, progress, fetch).await?;
        tokio::fs::rename(&partial.0, to).await.map_err(wrong)?;
        Ok(length)
    }

    /// Fetches a file and hands it on as it comes; gives how long it is. What is no medium is refused before its first byte. From
    /// then on nothing is repeated: what breaks off is an [`Error::Download`], and a part of it was handed on.
    pub async fn download_to(
        &self,
        url: &str,
        to: &mut (impl AsyncWrite + Unpin),
        progress: &Progress,
    ) -> Result<u64, Error> {
        let wrong = |source| Error::File {
            message: "what was downloaded cannot be handed on".into(),
            source,
        };
        let to = Mutex::new(to);
        let fetch = async |fetching: &Fetching<'_>, attempt| {
            let mut to = to.lock().await;
            let mut has_begun = false;
            let hand_on = async |piece: &[u8]| {
                has_begun = true;
                to.write_all(piece).await.map_err(wrong)
            };
            let length = match fetching.once(attempt, hand_on).await {
                Err(Error::Connection { message, .. } | Error::Timeout(message)) if has_begun => {
                    return Err(half(&message));
                }
                other => other?,
            };
            to.flush().await.map_err(wrong)?;
            Ok(length)
        };
        self.fetching(url, progress, fetch).await
    }

    /// Fetches a file to memory. What is no medium is refused.
    pub async fn bytes(&self, url: &str, progress: &Progress) -> Result<Bytes, Error> {
        let fetch = async |fetching: &Fetching<'_>, attempt| {
            let mut content = BytesMut::new();
            let keep = async |piece: &[u8]| {
                content.extend_from_slice(piece);
                Ok(())
            };
            fetching.once(attempt, keep).await?;
            Ok(content.freeze())
        };
        self.fetching(url, progress, fetch).await
    }

    async fn fetching<T>(
        &self,
        url: &str,
        progress: &Progress,
        once: impl AsyncFn(&Fetching<'_>, u32) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let url = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url
            .ok_or_else(|| Error::Download("what is to be downloaded is no http address".into()))?;
        let fetching = Fetching {
            core: &self.core,
            request: Request::file(url),
            progress,
            has_begun: AtomicBool::new(false),
        };
        let fetched = self
            .core
            .repeating(&fetching.request, |attempt| once(&fetching, attempt))
            .await;
        match fetched {
            Err(Error::Connection { message, .. })
                if fetching.has_begun.load(Ordering::Relaxed) =>
            {
                Err(half(&message))
            }
            other => other,
        }
    }
}

fn half(message: &str) -> Error {
    Error::Download(format!("the file did not come whole: {message}"))
}

/// A file on its way here.
struct Fetching<'a> {
    core: &'a Core,
    request: Request,
    progress: &'a Progress,
    /// Whether the last try was answered by a file.
    has_begun: AtomicBool,
}

impl Fetching<'_> {
    /// One try: hands over the pieces, and gives how long they are together.
    async fn once(
        &self,
        attempt: u32,
        mut keep: impl AsyncFnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let request = &self.request;
        self.has_begun.store(false, Ordering::Relaxed);
        let opening = async {
            let response = self.core.open(request, attempt, |http| http).await?;
            self.core.good(request, response).await
        };
        let mut response = within(SILENCE, request, opening).await?;
        self.has_begun.store(true, Ordering::Relaxed);
        let kind = media_type(response.headers());
        let total = response.content_length();
        let mut received = 0;
        while let Some(piece) = chunk(request, &mut response).await? {
            if received == 0 && !is_medium(&kind, &piece) {
                let kind = if kind.is_empty() { "text" } else { &kind };
                return Err(Error::Download(format!(
                    "what was downloaded is no medium but {kind}"
                )));
            }
            keep(&piece).await?;
            received += piece.len() as u64;
            self.progress.tell(received, total);
        }
        if received == 0 {
            return Err(Error::Download("the file is empty".into()));
        }
        Ok(received)
    }
}

fn media_type(headers: &HeaderMap) -> String {
    let said = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = said
        .and_then(|said| said.split(';').next())
        .unwrap_or_default();
    kind.trim().to_lowercase()
}

fn is_medium(kind: &str, head: &[u8]) -> bool {
    let (class, _) = kind.split_once('/').unwrap_or((kind, ""));
    if matches!(class, "image" | "video" | "audio") {
        return true;
    }
    if class == "text" || kind.ends_with("json") || kind.ends_with("xml") {
        return false;
    }
    let head = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head);
    !matches!(head.trim_ascii_start().first(), Some(b'{' | b'[' | b'<'))
}

/// The temporary file of a download, which is gone with it.
struct Partial(PathBuf);

impl Partial {
    /// By a name of its own, which is never too long where that of the file is not, and that nobody else has.
    async fn beside(to: &Path) -> io::Result<(Self, File)> {
        to.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let path = to.with_file_name(format!(".{}.part", random_hex()?));
        let file = File::create_new(&path).await?;
        Ok((Self(path), file))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is not there when it was renamed.
        let _ = std::fs::remove_file(&self.0);
    }
}
