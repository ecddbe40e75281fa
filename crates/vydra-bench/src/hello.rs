//! Yardstick: a bare axum server that answers a small JSON object and does nothing else, in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use axum::serve::ListenerExt as _;
use axum::{Json, Router, routing};
use serde::Serialize;

use crate::options::SERVE_HELLO;

#[derive(Debug, Serialize)]
struct Hello {
    id: &'static str,
    name: &'static str,
    plan: &'static str,
    number: u64,
}

/// The hidden verb: serves until it is ended.
pub fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| {
            // As the product does; a failure shows in the figures.
            let _ = stream.set_nodelay(true);
        });
        let answer = || async {
            Json(Hello {
                id: "org_01jd3x0v8kq6w5r4t3y2z1a0bc",
                name: "hello",
                plan: "enterprise",
                number: 42,
            })
        };
        axum::serve(listener, Router::new().route("/", routing::get(answer))).await?;
        Ok(())
    })
}

/// A running one; it ends with this value.
#[derive(Debug)]
pub struct HelloServer {
    child: Child,
    pub address: SocketAddr,
}

impl HelloServer {
    pub fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program does not find itself")?;
        let mut child = Command::new(program)
            .arg(SERVE_HELLO)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the yardstick server does not start")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no output to read")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line
            .trim()
            .parse()
            .context("the yardstick server tells no address")?;
        Ok(Self { child, address })
    }
}

impl Drop for HelloServer {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to save in it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
