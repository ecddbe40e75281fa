//! What a host answers, counted while it is read.

use super::{FetchError, explain};
use bytes::{Bytes, BytesMut};
use reqwest::Response;
use std::fmt;
use std::time::Duration;

/// Memory reserved on the word of a `Content-Length`; beyond it, only bytes that came are stored.
const TRUSTED_LENGTH: u64 = 1024 * 1024;

/// A file that is being read. Dropping it hangs up.
pub struct Body {
    response: Response,
    /// How many bytes may still come.
    left: u64,
    idle: Duration,
}

/// The response would show its URL.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Body {
    pub(crate) fn of(
        response: Response,
        max_bytes: u64,
        idle: Duration,
    ) -> Result<Self, FetchError> {
        if response.content_length().unwrap_or(0) > max_bytes {
            return Err(FetchError::TooLarge);
        }
        Ok(Self {
            response,
            left: max_bytes,
            idle,
        })
    }

    /// The next bytes, never none of them; None at the end of a file that came as a whole.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let next = tokio::time::timeout(self.idle, self.response.chunk())
                .await
                .map_err(|_| FetchError::TimedOut)?;
            let Some(piece) = next.map_err(|error| explain(&error))? else {
                return Ok(None);
            };
            self.left = u64::try_from(piece.len())
                .ok()
                .and_then(|length| self.left.checked_sub(length))
                .ok_or(FetchError::TooLarge)?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    pub(super) async fn whole(mut self) -> Result<Bytes, FetchError> {
        let announced = self.response.content_length().unwrap_or(0);
        let reserve = usize::try_from(announced.min(TRUSTED_LENGTH)).unwrap_or(0);
        let mut bytes = BytesMut::with_capacity(reserve);
        while let Some(piece) = self.piece().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }
}
