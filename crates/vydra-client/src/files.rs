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
use reqwest::{Body, Method, Response, Url};
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
        let beside = Beside {
            to,
            file: None,
            partial: None,
        };
        let (length, beside) = self.fetching(url, progress, beside).await?;
        if let Some(partial) = &beside.partial {
            let renamed = tokio::fs::rename(&partial.0, to).await;
            renamed.map_err(|error| unwritten(to, error))?;
        }
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
        let (length, _) = self.fetching(url, progress, HandedOn(to)).await?;
        Ok(length)
    }

    /// Fetches a file to memory. What is no medium is refused.
    pub async fn bytes(&self, url: &str, progress: &Progress) -> Result<Bytes, Error> {
        let (_, content) = self.fetching(url, progress, BytesMut::new()).await?;
        Ok(content.freeze())
    }

    async fn fetching<T: Target>(
        &self,
        url: &str,
        progress: &Progress,
        target: T,
    ) -> Result<(u64, T), Error> {
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
            target: Mutex::new(target),
        };
        let fetched = self
            .core
            .repeating(&fetching.request, |attempt| fetching.once(attempt))
            .await;
        match fetched {
            Ok(length) => Ok((length, fetching.target.into_inner())),
            Err(Error::Connection { message, .. })
                if fetching.has_begun.load(Ordering::Relaxed) =>
            {
                Err(half(&message))
            }
            Err(error) => Err(error),
        }
    }
}

fn half(message: &str) -> Error {
    Error::Download(format!("the file did not come whole: {message}"))
}

fn unwritten(path: &Path, source: io::Error) -> Error {
    Error::File {
        message: format!("{} cannot be written", path.display()),
        source,
    }
}

/// Where the pieces of a file go.
trait Target {
    /// Whether a try that broke off leaves nothing behind.
    const FORGETS: bool = true;

    async fn begin(&mut self) -> Result<(), Error>;
    async fn take(&mut self, piece: &[u8]) -> Result<(), Error>;
    async fn end(&mut self) -> Result<(), Error>;
}

impl Target for BytesMut {
    async fn begin(&mut self) -> Result<(), Error> {
        self.clear();
        Ok(())
    }

    async fn take(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.extend_from_slice(piece);
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// A file that gets its name when it is whole.
struct Beside<'a> {
    to: &'a Path,
    file: Option<File>,
    partial: Option<Partial>,
}

impl Target for Beside<'_> {
    async fn begin(&mut self) -> Result<(), Error> {
        (self.file, self.partial) = (None, None);
        let partial = Partial::beside(self.to).await;
        let (partial, file) = partial.map_err(|error| unwritten(self.to, error))?;
        (self.file, self.partial) = (Some(file), Some(partial));
        Ok(())
    }

    async fn take(&mut self, piece: &[u8]) -> Result<(), Error> {
        if let Some(file) = &mut self.file {
            let written = file.write_all(piece).await;
            written.map_err(|error| unwritten(self.to, error))?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Error> {
        // Closed before it is renamed.
        if let Some(mut file) = self.file.take() {
            let flushed = file.flush().await;
            flushed.map_err(|error| unwritten(self.to, error))?;
        }
        Ok(())
    }
}

struct HandedOn<'a, W>(&'a mut W);

impl<W> HandedOn<'_, W> {
    fn refused(source: io::Error) -> Error {
        Error::File {
            message: "what was downloaded cannot be handed on".into(),
            source,
        }
    }
}

impl<W: AsyncWrite + Unpin> Target for HandedOn<'_, W> {
    const FORGETS: bool = false;

    async fn begin(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn take(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.0.write_all(piece).await.map_err(Self::refused)
    }

    async fn end(&mut self) -> Result<(), Error> {
        self.0.flush().await.map_err(Self::refused)
    }
}

/// A file on its way here.
struct Fetching<'a, T> {
    core: &'a Core,
    request: Request,
    progress: &'a Progress,
    /// Whether the last try was answered by a file.
    has_begun: AtomicBool,
    /// Of one try at a time.
    target: Mutex<T>,
}

impl<T: Target> Fetching<'_, T> {
    /// One try; gives how long the file is.
    async fn once(&self, attempt: u32) -> Result<u64, Error> {
        let request = &self.request;
        self.has_begun.store(false, Ordering::Relaxed);
        let opening = async {
            let response = self.core.open(request, attempt, |http| http).await?;
            self.core.good(request, response).await
        };
        let response = within(SILENCE, request, opening).await?;
        self.has_begun.store(true, Ordering::Relaxed);
        let mut received = 0;
        match self.take(response, &mut received).await {
            Err(Error::Connection { message, .. } | Error::Timeout(message))
                if received > 0 && !T::FORGETS =>
            {
                Err(half(&message))
            }
            Ok(()) if received == 0 => Err(Error::Download("the file is empty".into())),
            taken => taken.map(|()| received),
        }
    }

    async fn take(&self, mut response: Response, received: &mut u64) -> Result<(), Error> {
        let mut target = self.target.lock().await;
        target.begin().await?;
        let kind = media_type(response.headers());
        let total = response.content_length();
        while let Some(piece) = chunk(&self.request, &mut response).await? {
            if *received == 0 && !is_medium(&kind, &piece) {
                let kind = if kind.is_empty() { "text" } else { &kind };
                return Err(Error::Download(format!(
                    "what was downloaded is no medium but {kind}"
                )));
            }
            target.take(&piece).await?;
            *received += piece.len() as u64;
            self.progress.tell(*received, total);
        }
        target.end().await
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
