//! The network between a program and a server of this machine, which can be cut.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// Lives on the runtime on which it was laid.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    server: u16,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Silent,
    Broken,
}

impl Wire {
    /// To the server at this port.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, seen) = watch::channel(State::Whole);
        TaskTracker::new().spawn(async move {
            let connections = TaskTracker::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, server, seen.clone()));
            }
        });
        Self {
            port,
            server,
            state,
        }
    }

    /// The same address, over this wire.
    pub fn address(&self, url: &str) -> String {
        url.replacen(&format!(":{}", self.server), &format!(":{}", self.port), 1)
    }

    /// From now on nothing passes, and neither end is told.
    pub fn cut(&self) {
        self.state.send_replace(State::Silent);
    }

    /// From now on nothing passes: both ends are told that their connections are gone, and whoever makes a new one is told the
    /// same.
    pub fn break_off(&self) {
        self.state.send_replace(State::Broken);
    }

    /// What was on its way arrives, unless it was broken off.
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

async fn carry(mut client: TcpStream, server: u16, mut seen: watch::Receiver<State>) {
    let state = seen.wait_for(|state| *state != State::Silent).await;
    let is_broken = state.map(|state| *state == State::Broken);
    if is_broken.unwrap_or(true) {
        let _ = client.set_zero_linger();
        return;
    }
    // Nobody may be there; whoever asks hears that.
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let is_broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let mut breaks = seen.clone();
        // When one end hangs up, the other one hears it.
        tokio::select! {
            () = one_way(from_client, to_server, seen.clone()) => false,
            () = one_way(from_server, to_client, seen) => false,
            _ = breaks.wait_for(|state| *state == State::Broken) => true,
        }
    };
    if is_broken {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut seen: watch::Receiver<State>,
) {
    let mut bytes = vec![0; 65_536];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        let is_whole = seen.wait_for(|state| *state == State::Whole).await.is_ok();
        if !is_whole || read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says everything back, to any number of callers.
    async fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TaskTracker::new().spawn(async move {
            let callers = TaskTracker::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                callers.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn what_is_broken_off_is_told_to_those_that_were_there_and_to_those_that_come() {
        let wire = Wire::to(echo().await).await;
        let there = ("127.0.0.1", wire.port);
        let mut heard = [0; 3];
        let mut line = TcpStream::connect(there).await.unwrap();
        line.write_all(b"one").await.unwrap();
        line.read_exact(&mut heard).await.unwrap();
        wire.cut();
        line.write_all(b"two").await.unwrap();
        wire.mend();
        line.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"two");
        wire.break_off();
        let next = TcpStream::connect(there).await.unwrap();
        for mut gone in [line, next] {
            let told = gone.read_exact(&mut heard).await.unwrap_err();
            assert_eq!(told.kind(), std::io::ErrorKind::ConnectionReset);
        }
        wire.mend();
        let mut next = TcpStream::connect(there).await.unwrap();
        next.write_all(b"six").await.unwrap();
        next.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"six");
    }
}
