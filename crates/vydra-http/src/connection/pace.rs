//! Whom a connection waits for, and since when. A place must not be held by a caller who neither asks nor takes.

use super::wire::Shared;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

const FRAME_HEAD: usize = 9;
const DATA: u8 = 0;

#[derive(Debug)]
pub(super) struct Pace {
    /// The requests that wait for us: for an answer, or for more of its body.
    ours: usize,
    /// When something was last done for the caller.
    done: Instant,
    /// When the socket last took something, while it takes no more.
    stuck: Option<Instant>,
    written: Written,
}

/// What is to be done with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    LookAgain(Instant),
    Shut,
    Drop,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            ours: 0,
            done: Instant::now(),
            stuck: None,
            written: Written::Nothing,
        }
    }
}

impl Pace {
    pub(super) fn wrote(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        self.stuck = None;
        if self.written.is_answer(bytes) {
            self.done = now;
        }
    }

    pub(super) fn is_stuck(&mut self) {
        self.stuck.get_or_insert_with(Instant::now);
    }

    /// `is_shut` when the connection already ends as soon as what has begun on it is over.
    pub(super) fn next(&self, idle: Duration, write: Duration, is_shut: bool) -> Next {
        let now = Instant::now();
        // Neither bound can pass unseen when each look is followed by another within the shorter one.
        let mut look = now + idle.min(write);
        if let Some(stuck) = self.stuck {
            if now >= stuck + write {
                return Next::Drop;
            }
            look = look.min(stuck + write);
        } else if self.ours == 0 {
            let until = self.done + idle;
            if is_shut && now >= until + write {
                return Next::Drop;
            }
            if !is_shut && now >= until {
                return Next::Shut;
            }
            let until = if is_shut { until + write } else { until };
            look = look.min(until);
        }
        Next::LookAgain(look)
    }
}

/// Of HTTP/2 only the answers' bodies count: anyone can have a ping answered, or answer one, for ever.
#[derive(Debug, Clone, Copy)]
enum Written {
    Nothing,
    Http1,
    Head([u8; FRAME_HEAD], usize),
    Within { left: usize, is_data: bool },
}

impl Written {
    fn is_answer(&mut self, mut bytes: &[u8]) -> bool {
        let mut is_answer = false;
        while let Some(first) = bytes.first() {
            *self = match *self {
                Self::Http1 => return true,
                // The first frame of HTTP/2 is a short one, so that its length begins with zero.
                Self::Nothing if *first != 0 => Self::Http1,
                Self::Nothing => Self::Head([0; FRAME_HEAD], 0),
                Self::Head(mut head, had) => {
                    head[had] = *first;
                    bytes = &bytes[1..];
                    match (had + 1, head) {
                        (FRAME_HEAD, [high, middle, low, kind, ..]) => {
                            let left = u32::from_be_bytes([0, high, middle, low]);
                            let left = usize::try_from(left).unwrap_or(usize::MAX);
                            let is_data = kind == DATA;
                            is_answer |= is_data;
                            within(left, is_data)
                        }
                        (had, head) => Self::Head(head, had),
                    }
                }
                Self::Within { left, is_data } => {
                    let step = left.min(bytes.len());
                    bytes = &bytes[step..];
                    is_answer |= is_data;
                    within(left - step, is_data)
                }
            };
        }
        is_answer
    }
}

fn within(left: usize, is_data: bool) -> Written {
    if left == 0 {
        Written::Head([0; FRAME_HEAD], 0)
    } else {
        Written::Within { left, is_data }
    }
}

/// As long as it lives, a request waits for us.
#[derive(Debug)]
pub(super) struct Ours(Arc<Shared>);

impl Ours {
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        shared.pace().ours += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let mut pace = self.0.pace();
        pace.ours -= 1;
        pace.done = Instant::now();
    }
}

/// An answer's body. It is only asked when there is room for more, so that one which was asked last and had nothing
/// waits for us, and one which is not asked waits for the caller.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    shared: Arc<Shared>,
    ours: Option<Ours>,
}

impl Answer {
    pub(super) fn new(body: Body, shared: Arc<Shared>) -> Self {
        Self {
            body,
            shared,
            ours: None,
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_ready() {
            this.ours = None;
        } else if this.ours.is_none() {
            this.ours = Some(Ours::of(&this.shared));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, size: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, size, kind, 0, 0, 0, 0, 1];
        frame.resize(FRAME_HEAD + usize::from(size), DATA);
        frame
    }

    #[test]
    fn only_answers_count_in_whatever_pieces_they_go_out() {
        let others = [frame(4, 6), frame(6, 8), frame(4, 0), frame(7, 8)].concat();
        for piece in 1..=others.len() {
            let mut written = Written::Nothing;
            for bytes in others.chunks(piece) {
                assert!(!written.is_answer(bytes), "{piece}");
            }
            let data = frame(DATA, 20);
            assert!(!written.is_answer(&data[..3]));
            assert!(written.is_answer(&data[3..12]));
            assert!(written.is_answer(&data[12..]));
            assert!(!written.is_answer(&others));
        }
        let mut written = Written::Nothing;
        assert!(written.is_answer(b"HTTP/1.1 200 OK\r\n"));
        assert!(written.is_answer(&others));
    }
}
