//! A WebSocket of a provider's server, to listen to: news that nothing depends on.

use super::Upstream;
use futures_util::StreamExt;
use reqwest::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{StatusCode, Upgraded};
use std::fmt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

/// Of one message, such as a picture that shows how far the work is.
const LARGEST: usize = 8 * 1024 * 1024;

/// Dropping it hangs up.
pub struct Socket(WebSocketStream<Upgraded>);

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl Upstream {
    /// Opens a socket of this server (RFC 6455), by the same client and with the same key as every call; None if it cannot be
    /// had. Whoever opens it bounds the time.
    pub async fn socket(&self, path: &str) -> Option<Socket> {
        let key = generate_key();
        let request = self
            .client
            .get(self.at(path)?)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key)
            .headers(self.credential.clone());
        let response = request.send().await.ok()?;
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS
            || accept.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()
        {
            return None;
        }
        let connection = response.upgrade().await.ok()?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(LARGEST))
            .max_frame_size(Some(LARGEST));
        let stream = WebSocketStream::from_raw_socket(connection, Role::Client, Some(config));
        Some(Socket(stream.await))
    }
}

impl Socket {
    /// The next text; None when the socket has ended or broken.
    pub async fn text(&mut self) -> Option<String> {
        loop {
            if let Message::Text(text) = self.0.next().await?.ok()? {
                return Some(text.as_str().to_owned());
            }
        }
    }
}
