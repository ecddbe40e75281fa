//! What hyper writes, followed message by message, so that an answer of its own is known for one and gets our shape.
//!
//! An answer is hyper's own when it begins where a message ends and the service owes none. Nothing is guessed from the
//! bytes themselves: a media file may hold whatever it likes. Whatever is not understood passes untouched from there on.

use super::pace::Pace;
use crate::ApiState;
use crate::layers::{Refusal, refusal};
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// An answer with more of them passes untouched.
const MAX_FIELDS: usize = 64;
const MALFORMED: &str = "The HTTP request is malformed";
const URI_TOO_LONG: &str = "The request's URI is too long";
const HEAD_TOO_LARGE: &str = "The request's header fields are too many or too large";

/// What a connection's reader, writer and service know of each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The answers that the service owes, oldest first; true for those to HEAD.
    owed: Mutex<VecDeque<bool>>,
    begun: AtomicBool,
    cut: AtomicBool,
    pace: Mutex<Pace>,
    /// Where the socket is when hyper has let go of it.
    returned: Mutex<Option<TcpStream>>,
}

impl Shared {
    fn owed(&self) -> MutexGuard<'_, VecDeque<bool>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn returned(&self) -> MutexGuard<'_, Option<TcpStream>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn expect_answer(&self, is_head: bool) {
        self.begun.store(true, Ordering::Relaxed);
        self.owed().push_back(is_head);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The caller may still be sending what nobody will read.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// The socket of a connection that ended before everything was read.
    pub(super) fn left_to_read(&self) -> Option<TcpStream> {
        let stream = self.returned().take();
        stream.filter(|_| self.cut.load(Ordering::Relaxed))
    }
}

/// Where in the messages the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a message.
    Start,
    /// This many bytes before the next message, or the next chunk.
    Within { left: usize, chunked: bool },
    /// Before the line that says how long a chunk is.
    Chunk,
    /// Nothing that we follow: HTTP/2, or a message that only the end of the connection ends.
    Untouched,
}

#[derive(Debug, Clone, Copy)]
struct Walk {
    place: Place,
    /// How many answers of the service have begun.
    begun: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Nothing of hyper's own up to the end.
    Nothing,
    /// An answer of hyper's own, from here on.
    Foreign { at: usize, status: u16 },
}

impl Walk {
    /// Goes on to `until`, or to the first answer of hyper's own. `buffer` holds every head that begins in it whole,
    /// because hyper writes one at once.
    fn on(&mut self, buffer: &[u8], until: usize, owed: &VecDeque<bool>) -> Found {
        let mut at = 0;
        while at < until {
            let rest = &buffer[at..];
            match self.place {
                Place::Untouched => return Found::Nothing,
                Place::Within { left, chunked } => {
                    let step = left.min(until - at);
                    at += step;
                    self.place = within(left - step, chunked);
                }
                Place::Chunk => self.place = chunk(rest),
                Place::Start => match head(rest) {
                    None => self.place = Place::Untouched,
                    Some(head) if head.status < 200 => {
                        self.place = within(head.length, false);
                    }
                    Some(head) => match owed.get(self.begun) {
                        None => {
                            let status = head.status;
                            return Found::Foreign { at, status };
                        }
                        Some(is_head) => {
                            self.begun += 1;
                            self.place = head.followed_by(*is_head);
                        }
                    },
                },
            }
        }
        Found::Nothing
    }
}

fn within(left: usize, chunked: bool) -> Place {
    match (left, chunked) {
        (0, true) => Place::Chunk,
        (0, false) => Place::Start,
        _ => Place::Within { left, chunked },
    }
}

/// The head of an answer, and what its message is bounded by.
#[derive(Debug, Clone, Copy)]
struct Head {
    status: u16,
    length: usize,
    chunked: bool,
    body: Option<usize>,
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

fn head(bytes: &[u8]) -> Option<Head> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    let length = match parsed.parse(bytes).ok()? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return None,
    };
    let mut head = Head {
        status: parsed.code?,
        length,
        chunked: false,
        body: None,
    };
    for field in parsed.headers {
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = true;
        } else if field.name.eq_ignore_ascii_case("content-length") {
            head.body = std::str::from_utf8(field.value).ok()?.parse().ok();
        }
    }
    Some(head)
}

impl Head {
    fn followed_by(&self, is_head: bool) -> Place {
        if is_head || matches!(self.status, 204 | 304) {
            return within(self.length, false);
        }
        if self.chunked {
            return within(self.length, true);
        }
        let all = self.body.and_then(|body| body.checked_add(self.length));
        all.map_or(Place::Untouched, |all| within(all, false))
    }
}

fn chunk(bytes: &[u8]) -> Place {
    let size = position(bytes, b"\r\n").and_then(|end| {
        let size = std::str::from_utf8(&bytes[..end]).ok()?;
        Some((end + 2, usize::from_str_radix(size, 16).ok()?))
    });
    match size {
        None => Place::Untouched,
        // The last one, with what may trail it.
        Some((_, 0)) => {
            position(bytes, b"\r\n\r\n").map_or(Place::Untouched, |end| within(end + 4, false))
        }
        Some((line, size)) => size
            .checked_add(line + 2)
            .map_or(Place::Untouched, |all| within(all, true)),
    }
}

/// An answer that is written in the place of hyper's own.
#[derive(Debug)]
struct Instead {
    bytes: Bytes,
    /// How many bytes of hyper's it stands for.
    of: usize,
}

#[derive(Debug)]
pub(super) struct Wire {
    /// Always there until the end.
    stream: Option<TcpStream>,
    shared: Arc<Shared>,
    state: ApiState,
    walk: Walk,
    instead: Option<Instead>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, shared: Arc<Shared>, state: ApiState) -> Self {
        Self {
            stream: Some(stream),
            shared,
            state,
            walk: Walk {
                place: Place::Start,
                begun: 0,
            },
            instead: None,
        }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let stream = self.stream.as_mut().map(Pin::new);
        stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write(cx, bytes);
        match written {
            Poll::Ready(Ok(count)) => self.shared.pace().wrote(&bytes[..count]),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.shared.pace().is_stuck(),
        }
        written
    }

    /// Writes what is ours or passes through, up to the next answer of hyper's own.
    fn pass(&mut self, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let shared = Arc::clone(&self.shared);
        let mut ahead = self.walk;
        let found = ahead.on(buffer, buffer.len(), &shared.owed());
        let until = match found {
            Found::Nothing => buffer.len(),
            Found::Foreign { at: 0, status } if status >= 400 => {
                let bytes = answer(&self.state, status, buffer);
                shared.cut();
                self.instead = Some(Instead {
                    bytes,
                    of: buffer.len(),
                });
                return self.replace(cx);
            }
            // Nothing that hyper is known to write by itself; it knows better.
            Found::Foreign { at: 0, .. } => {
                self.walk.place = Place::Untouched;
                buffer.len()
            }
            Found::Foreign { at, .. } => at,
        };
        let written = ready!(self.write(cx, &buffer[..until]))?;
        let mut owed = shared.owed();
        if written == buffer.len() && found == Found::Nothing {
            self.walk = ahead;
        } else {
            self.walk.on(buffer, written, &owed);
        }
        let begun = self.walk.begun.min(owed.len());
        owed.drain(..begun);
        self.walk.begun = 0;
        Poll::Ready(Ok(written))
    }

    fn replace(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some(mut instead) = self.instead.take() {
            if instead.bytes.is_empty() {
                self.walk.place = Place::Untouched;
                return Poll::Ready(Ok(instead.of));
            }
            let written = self.write(cx, &instead.bytes);
            if let Poll::Ready(Ok(written)) = written {
                instead.bytes.advance(written);
            }
            let is_stuck = matches!(written, Poll::Ready(Ok(0)));
            self.instead = Some(instead);
            ready!(written)?;
            if is_stuck {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(0))
    }
}

fn answer(state: &ApiState, status: u16, own: &[u8]) -> Bytes {
    let sentence = match status {
        414 => URI_TOO_LONG,
        431 => HEAD_TOO_LARGE,
        _ => MALFORMED,
    };
    let Refusal {
        status,
        headers,
        text,
        ..
    } = refusal(state, sentence);
    let mut out = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for (name, value) in &headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut own_head = httparse::Response::new(&mut fields);
    if own_head.parse(own).is_ok()
        && let Some(date) = own_head
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case("date"))
    {
        out.extend_from_slice(&[b"date: ", date.value, b"\r\n"].concat());
    }
    out.extend_from_slice(format!("content-length: {}\r\n\r\n", text.len()).as_bytes());
    out.extend_from_slice(&text);
    out.into()
}

impl Drop for Wire {
    fn drop(&mut self) {
        *self.shared.returned() = self.stream.take();
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.shared.begun.store(true, Ordering::Relaxed);
        if self.instead.is_some() {
            return self.replace(cx);
        }
        self.pass(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }

    /// hyper must hand over what it has in one piece.
    fn is_write_vectored(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

    /// All that the service answers, each message with a body that looks like an answer of hyper's own.
    fn messages() -> Vec<(bool, Vec<u8>)> {
        let head = |fields: &str| format!("HTTP/1.1 200 OK\r\nx-a: b\r\n{fields}\r\n").into_bytes();
        let sized = |size: usize| head(&format!("Content-Length: {size}\r\n"));
        let size = format!("{:X}\r\n", OWN.len()).into_bytes();
        let chunked = head("transfer-encoding: chunked\r\n");
        vec![
            (false, [sized(OWN.len()), OWN.to_vec()].concat()),
            (false, sized(0)),
            (true, sized(OWN.len())),
            (
                false,
                [&chunked[..], &size, OWN, b"\r\n1\r\n\n\r\n0\r\n\r\n"].concat(),
            ),
            (
                false,
                [&chunked[..], &size, OWN, b"\r\n0\r\nx-a: b\r\n\r\n"].concat(),
            ),
            (true, chunked.clone()),
            (false, b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
            (
                false,
                b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n".to_vec(),
            ),
            (
                false,
                [&b"HTTP/1.1 100 Continue\r\n\r\n"[..], &sized(1), b"H"].concat(),
            ),
        ]
    }

    /// Sends the bytes in pieces of this size, as a slow socket takes them. Says where hyper's own answer was found.
    fn found(bytes: &[u8], piece: usize, mut owed: VecDeque<bool>) -> Option<usize> {
        let mut walk = Walk {
            place: Place::Start,
            begun: 0,
        };
        let mut at = 0;
        while at < bytes.len() {
            let buffer = &bytes[at..];
            let mut ahead = walk;
            let until = match ahead.on(buffer, buffer.len(), &owed) {
                Found::Foreign { at: 0, .. } => return Some(at),
                Found::Foreign { at, .. } => at,
                Found::Nothing => buffer.len(),
            };
            let taken = piece.min(until);
            assert_eq!(walk.on(buffer, taken, &owed), Found::Nothing);
            owed.drain(..walk.begun);
            walk.begun = 0;
            at += taken;
        }
        assert!(owed.is_empty(), "all messages were followed");
        None
    }

    #[test]
    fn an_answer_of_hypers_own_is_found_behind_any_other_and_in_any_piece() {
        let owed: VecDeque<bool> = messages().iter().map(|(is_head, _)| *is_head).collect();
        let service: Vec<u8> = messages()
            .into_iter()
            .flat_map(|(_, bytes)| bytes)
            .collect();
        let all = [&service[..], OWN].concat();
        for piece in 1..=all.len() {
            assert_eq!(found(&service, piece, owed.clone()), None, "{piece}");
            let at = found(&all, piece, owed.clone());
            assert_eq!(at, Some(service.len()), "{piece}");
        }
    }

    #[test]
    fn what_is_no_message_of_ours_passes_untouched() {
        for bytes in [
            b"\0\0\x12\x04\0\0\0\0\0".as_slice(),
            b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
            b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ] {
            let mut walk = Walk {
                place: Place::Start,
                begun: 0,
            };
            let found = walk.on(bytes, bytes.len(), &[false].into());
            assert_eq!((found, walk.place), (Found::Nothing, Place::Untouched));
            assert_eq!(walk.on(OWN, OWN.len(), &VecDeque::new()), Found::Nothing);
        }
    }
}
