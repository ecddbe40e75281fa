//! Two servers behind `HAProxy`, with the configuration that `deploy/compose` ships: both are replaced, and no caller notices.

use crate::programs::{installed, until};
use crate::restarts::{Line, generate, get};
use crate::server::{Data, Server};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::net::TcpSocket;
use tokio::process::Command;
use tokio_util::task::TaskTracker;
use vydra_testkit::postgres::Postgres;

const CONFIGURATION: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../deploy/compose/haproxy.cfg"
);
const CALLERS: usize = 6;

/// A port that is given to nobody else while this lives, and at which a program may listen all the same.
struct Port {
    _socket: TcpSocket,
    address: SocketAddr,
}

impl Port {
    fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        Self {
            _socket: socket,
            address,
        }
    }
}

async fn node(data: &Data, port: &Port) -> Server {
    let address = port.address.to_string();
    Server::start(data.vydra(&["serve", "--listen", &address])).await
}

async fn answers(proxy: SocketAddr) -> Option<()> {
    let mut line = Line::open(proxy).await.ok()?;
    let told = line.ask(&get("/api/v1/health", "")).await.ok()?;
    (told.status == 200).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_the_servers_behind_haproxy_are_replaced() {
    let Some(postgres) = Postgres::shared() else {
        return;
    };
    if !installed("haproxy").await {
        return;
    }
    let data = Data::on(&postgres.database())
        .with("VYDRA__PROVIDERS__LOCAL__INSTANT", "true")
        .with("VYDRA__SERVER__DRAIN_DELAY", "4s");
    let ports = [Port::reserve(), Port::reserve()];
    let mut servers = [node(&data, &ports[0]).await, node(&data, &ports[1]).await];
    let org = data.org("acme", 1_000_000).await;
    // The callers may be as fast as they like: more than any plan allows.
    let (plan, most) = (["--plan", "enterprise"], "100000000");
    let words = ["org", "set-plan", "--org", &org];
    let limits = ["--rpm", most, "--rph", most, "--rpd", most];
    data.json(&[&words[..], &plan, &limits].concat()).await;
    let key = data.key(&org, &[]).await;
    let front = Port::reserve();
    let mut haproxy = Command::new("haproxy");
    haproxy
        .args(["-db", "-f", CONFIGURATION])
        .env("BIND", front.address.to_string())
        .env("NODE_1", ports[0].address.to_string())
        .env("NODE_2", ports[1].address.to_string());
    let proxy = Server::begin(haproxy);
    until("the proxy has found a server", || answers(front.address)).await;

    let (done, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::<AtomicUsize>::default(),
    );
    let tasks = TaskTracker::new();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (done, calls, key) = (Arc::clone(&done), Arc::clone(&calls), key.clone());
            let at = front.address;
            tasks.spawn(async move {
                let mut line = Line::open(at).await.unwrap();
                while !done.load(Ordering::SeqCst) {
                    let request = match calls.fetch_add(1, Ordering::SeqCst) % 4 {
                        0 => generate(&key),
                        _ => get("/api/v1/organization", &key),
                    };
                    let told = line.ask(&request).await.expect("each request is answered");
                    assert_eq!(told.status, 200, "{told:?}");
                    if told.is_last {
                        line = Line::open(at).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for (server, port) in servers.iter_mut().zip(&ports) {
        let before = calls.load(Ordering::SeqCst);
        server.terminate().await;
        assert_eq!(server.ended().await.code(), Some(0));
        *server = node(&data, port).await;
        let found = format!(
            "Server nodes/node-{} is UP",
            if port.address == ports[0].address {
                1
            } else {
                2
            }
        );
        until("the proxy has found the new server", || async {
            (proxy.log().contains(&found)).then_some(())
        })
        .await;
        assert!(
            calls.load(Ordering::SeqCst) > before + 50,
            "callers went on meanwhile"
        );
    }
    done.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    for server in servers {
        server.stop().await;
    }
}
