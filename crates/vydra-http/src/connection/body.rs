//! A request's body that can be finished by another than its reader.

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

#[derive(Debug, Clone)]
pub(super) struct Unread(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    incoming: Mutex<Incoming>,
    asked_for: AtomicBool,
}

impl Unread {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self(Arc::new(Inner {
            incoming: Mutex::new(incoming),
            asked_for: AtomicBool::new(false),
        }))
    }

    fn incoming(&self) -> MutexGuard<'_, Incoming> {
        // Whatever panicked while it held the lock, the bytes are where they were.
        let lock = self.0.incoming.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.0.asked_for.store(true, Ordering::Relaxed);
        Pin::new(&mut *self.incoming()).poll_frame(cx)
    }

    pub(super) fn was_asked_for(&self) -> bool {
        self.0.asked_for.load(Ordering::Relaxed)
    }

    /// Reads the rest, and says whether that was all of it.
    pub(super) async fn discard(&self, most: usize) -> bool {
        let mut read = 0;
        loop {
            if self.incoming().is_end_stream() {
                return true;
            }
            match poll_fn(|cx| self.poll(cx)).await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
            }
            if read > most {
                return false;
            }
        }
    }
}

impl Body for Unread {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming().size_hint()
    }
}
