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
    is_cut: watch::Sender<bool>,
}

impl Wire {
    /// To the server at this port.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_cut, passes) = watch::channel(false);
        TaskTracker::new().spawn(async move {
            let connections = TaskTracker::new();
            while let Ok((client, _)) = listener.accept().await {
                let passes = passes.clone();
                connections.spawn(carry(client, server, passes));
            }
        });
        Self {
            port,
            server,
            is_cut,
        }
    }

    /// The same address, over this wire.
    pub fn address(&self, url: &str) -> String {
        url.replacen(&format!(":{}", self.server), &format!(":{}", self.port), 1)
    }

    /// From now on nothing passes, and neither end is told.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// What was on its way arrives.
    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn carry(client: TcpStream, server: u16, mut passes: watch::Receiver<bool>) {
    if passes.wait_for(|is_cut| !is_cut).await.is_err() {
        return;
    }
    let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // When one end hangs up, the other one hears it.
    tokio::select! {
        () = one_way(from_client, to_server, passes.clone()) => {}
        () = one_way(from_server, to_client, passes) => {}
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut passes: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 65_536];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        let is_mended = passes.wait_for(|is_cut| !is_cut).await.is_ok();
        if !is_mended || read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
