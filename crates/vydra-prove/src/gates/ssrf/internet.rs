//! A little Internet in a network namespace of its own: every address there is, a name server that lies as it is told to, a web
//! server that leads astray, and somebody at all other addresses who notices each connection.

use anyhow::{Context, ensure};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use vydra_core::asset::MediaKind;
use vydra_testkit::files;

use super::spellings::{GOOD, ODD_PORTS};

/// Where the good names lead. Nobody outside of the namespace is ever called.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// Those of URLs without a port.
const USUAL_PORTS: [u16; 2] = [80, 443];
/// Some addresses of each kind that must not be called. That they lead to a listener is tried before anything else is.
const INSIDE: [&str; 15] = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "10.200.3.7",
    "169.254.169.254",
    "172.31.0.9",
    "192.168.77.1",
    "100.100.100.200",
    "198.18.0.1",
    "::1",
    "fd00::1",
    "2002:7f00:1::1",
    "64:ff9b::a00:1",
    "2001:0:1:2:3:4:80ff:fffe",
    "2001:4860::5efe:a00:1",
];
/// Names below it change their mind: `r7-flip.rebind.example`.
pub(super) const REBINDING: &str = "rebind.example";
/// How those names answer.
pub(super) const MINDS: [&str; 8] = [
    "flip", "flop", "six", "mixed", "cname", "mapped", "metadata", "zero",
];

/// What the shell does in the new namespace, before the program is there. `$0` is the folder of [`write_settings`].
///
/// Every address leads to this machine, so that no forbidden one is safe because nobody is there. Names are asked of our server
/// alone: no other source, and no cache of the system's.
pub(super) const PREPARATIONS: &str = "\
ip link set lo up
ip route add local 0.0.0.0/0 dev lo
ip -6 route add local ::/0 dev lo
mount --bind \"$0/resolv.conf\" /etc/resolv.conf
if test -e /etc/nsswitch.conf; then mount --bind \"$0/nsswitch.conf\" /etc/nsswitch.conf; fi
if test -d /var/run/nscd; then mount --bind \"$0/nscd\" /var/run/nscd; fi
exec \"$@\"
";

pub(super) fn write_settings(folder: &Path) -> io::Result<()> {
    std::fs::write(
        folder.join("resolv.conf"),
        "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    )?;
    std::fs::write(folder.join("nsswitch.conf"), "hosts: files dns\n")?;
    std::fs::create_dir(folder.join("nscd"))
}

/// Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Internet {
    canaries: Vec<Canary>,
    pub(super) web: Arc<Web>,
    _running: JoinSet<()>,
}

/// Somebody who listens at one port of all addresses of a family, and at which of them it was called.
#[derive(Debug)]
struct Canary {
    /// At which it calls itself.
    address: SocketAddr,
    called: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Canary {
    fn called(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the web server was asked for.
#[derive(Debug, Default)]
pub(super) struct Web {
    pub(super) requests: AtomicU64,
    /// Where it redirects to, by number.
    pub(super) targets: Vec<String>,
}

impl Internet {
    pub(super) async fn open(targets: Vec<String>) -> anyhow::Result<Self> {
        let mut running = JoinSet::new();
        let mut canaries = Vec::new();
        for port in USUAL_PORTS.into_iter().chain(ODD_PORTS) {
            for (all, own) in [
                (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
                (
                    IpAddr::from(Ipv6Addr::UNSPECIFIED),
                    IpAddr::from(Ipv6Addr::LOCALHOST),
                ),
            ] {
                let listener = listen(SocketAddr::new(all, port))?;
                let called = Arc::<Mutex<Vec<SocketAddr>>>::default();
                running.spawn(notice(listener, Arc::clone(&called)));
                canaries.push(Canary {
                    address: SocketAddr::new(own, port),
                    called,
                });
            }
        }
        let web = Arc::new(Web {
            targets,
            ..Web::default()
        });
        let listener = listen(SocketAddr::new(PUBLIC.into(), 80))?;
        running.spawn(serve(listener, Arc::clone(&web)));
        let names = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53))
            .await
            .context("no name server can be opened")?;
        running.spawn(answer_names(names));
        Ok(Self {
            canaries,
            web,
            _running: running,
        })
    }

    /// Otherwise it would say nothing that nobody was called.
    pub(super) async fn everybody_would_be_noticed(&self) -> anyhow::Result<()> {
        for address in INSIDE {
            for port in USUAL_PORTS.into_iter().chain(ODD_PORTS) {
                let address = SocketAddr::new(address.parse()?, port);
                call(address).await?;
                let mut noticed = false;
                for canary in &self.canaries {
                    let mut called = canary.called();
                    noticed |= called.contains(&address);
                    called.clear();
                }
                ensure!(noticed, "a call of {address} was not noticed");
            }
        }
        Ok(())
    }

    /// Calls everybody inside once itself: whoever was called before that has noticed more than this call.
    pub(super) async fn nobody_was_called(&self) -> anyhow::Result<()> {
        for canary in &self.canaries {
            call(canary.address).await?;
            // Connections are taken in their order, so that every earlier one is noticed by now.
            let called = std::mem::take(&mut *canary.called());
            let other = called.iter().find(|address| **address != canary.address);
            ensure!(
                called.len() == 1 && other.is_none(),
                "{} was called",
                other.unwrap_or(&canary.address)
            );
        }
        Ok(())
    }
}

/// Until the other side has noticed.
async fn call(address: SocketAddr) -> anyhow::Result<()> {
    let called = async { TcpStream::connect(address).await?.read_u8().await };
    let called = called.await;
    called.with_context(|| format!("{address} cannot be called"))?;
    Ok(())
}

async fn notice(listener: TcpListener, called: Arc<Mutex<Vec<SocketAddr>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        if let Ok(address) = stream.local_addr() {
            let mut called = called.lock().unwrap_or_else(PoisonError::into_inner);
            called.push(address);
        }
        // The byte tells a caller of ours that it was noticed.
        let _gone = stream.write_all(b"!").await;
    }
}

/// At this address alone, or at all those of its family at which nobody else listens.
fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let listening = socket.and_then(|socket| {
        // Without it, one that listens at all addresses leaves none to others.
        socket.set_reuseport(true)?;
        socket.bind(address)?;
        socket.listen(1_024)
    });
    listening.with_context(|| format!("nobody can listen at {address}"))
}

/// Files of each kind, and redirects.
async fn serve(listener: TcpListener, web: Arc<Web>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let web = Arc::clone(&web);
        // Whoever hangs up early has what they wanted.
        connections.spawn(async move { reply(stream, &web).await.unwrap_or_default() });
        while connections.try_join_next().is_some() {}
    }
}

async fn reply(mut stream: TcpStream, web: &Web) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16_384 {
        head.push(stream.read_u8().await?);
    }
    web.requests.fetch_add(1, Ordering::SeqCst);
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or("/");
    let answer = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["", "to", status, target] => {
            let target = target
                .parse()
                .ok()
                .and_then(|place: usize| web.targets.get(place));
            redirect(status, target.map_or("/", String::as_str))
        }
        ["", "chain", hops, last] => {
            let hops: u32 = hops.parse().unwrap_or(0);
            let next = match hops {
                0 => format!("/to/302/{last}"),
                hops => format!("/chain/{}/{last}", hops - 1),
            };
            redirect("302", &next)
        }
        ["", "circle"] => redirect("307", "/circle"),
        ["", "refresh"] => b"HTTP/1.1 200 OK\r\nrefresh: 0; url=http://127.0.0.1/\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno!".to_vec(),
        ["", "film.mp4"] => file(MediaKind::Video),
        ["", "sound.wav"] => file(MediaKind::Audio),
        _ => file(MediaKind::Image),
    };
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

fn redirect(status: &str, target: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Moved\r\nlocation: {target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .into_bytes()
}

fn file(kind: MediaKind) -> Vec<u8> {
    let file = files::of(kind);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        file.len()
    );
    [head.as_bytes(), &file].concat()
}

/// Where a file of this kind is that may be read.
pub(super) fn good_url(kind: MediaKind) -> String {
    let path = match kind {
        MediaKind::Image => "picture.png",
        MediaKind::Video => "film.mp4",
        MediaKind::Audio => "sound.wav",
    };
    format!("http://{GOOD}/{path}")
}

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// How often each changing name was asked for its address.
type Asked = Mutex<HashMap<String, u32>>;

async fn answer_names(socket: UdpSocket) {
    let asked = Asked::default();
    let mut packet = [0; 1_500];
    while let Ok((length, caller)) = socket.recv_from(&mut packet).await {
        if let Some(answer) = resolve(&packet[..length], &asked) {
            // A caller that is gone asks again.
            let _gone = socket.send_to(&answer, caller).await;
        }
    }
}

/// The answer to one question, as RFC 1035 (section 4) has it; nothing lives longer than its answer.
fn resolve(packet: &[u8], asked: &Asked) -> Option<Vec<u8>> {
    let question = packet.get(12..)?;
    let mut labels = Vec::new();
    let mut at = 0;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = question.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*question.get(at)?, *question.get(at + 1)?]);
    let records = records(&labels.join("."), kind, asked);
    let mut answer = packet.get(..2)?.to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0]);
    answer.push(u8::try_from(records.len()).ok()?);
    answer.extend([0, 0, 0, 0]);
    answer.extend(question.get(..at + 4)?);
    for Record {
        owner,
        kind,
        content,
    } in records
    {
        answer.extend(owner);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 0]);
        answer.extend(u16::try_from(content.len()).ok()?.to_be_bytes());
        answer.extend(content);
    }
    Some(answer)
}

struct Record {
    owner: &'static [u8],
    kind: u16,
    content: Vec<u8>,
}

/// That of the question, which begins at byte 12 of every packet.
const THE_SAME: &[u8] = &[0xc0, 12];
const LOCALHOST: &[u8] = b"\x09localhost\x00";

fn records(name: &str, kind: u16, asked: &Asked) -> Vec<Record> {
    let record = |kind, content| Record {
        owner: THE_SAME,
        kind,
        content,
    };
    let four = |ip: Ipv4Addr| record(A, ip.octets().to_vec());
    let six = |ip: Ipv6Addr| record(AAAA, ip.octets().to_vec());
    let loopback = Ipv4Addr::LOCALHOST;
    if name == GOOD {
        return if kind == A {
            vec![four(PUBLIC)]
        } else {
            Vec::new()
        };
    }
    let mind = name
        .strip_suffix(REBINDING)
        .and_then(|own| own.trim_end_matches('.').rsplit_once('-'))
        .map_or("", |(_, mind)| mind);
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    let times = if kind == A && !mind.is_empty() {
        let times = asked.entry(name.to_owned()).or_default();
        *times += 1;
        *times
    } else {
        0
    };
    match (mind, kind) {
        ("flip", A) => vec![four(if times == 1 { PUBLIC } else { loopback })],
        ("flop", A) => vec![four(if times == 1 { loopback } else { PUBLIC })],
        ("metadata", A) => vec![four(if times == 1 { PUBLIC } else { METADATA })],
        ("six", A) => vec![four(PUBLIC)],
        ("mixed", A) => vec![four(PUBLIC), four(loopback)],
        ("cname", A) => vec![
            record(CNAME, LOCALHOST.to_vec()),
            Record {
                owner: LOCALHOST,
                ..four(loopback)
            },
        ],
        ("mapped", AAAA) => vec![six(loopback.to_ipv6_mapped())],
        ("zero", A) => vec![four(Ipv4Addr::UNSPECIFIED)],
        ("", A) => vec![four(loopback)],
        ("" | "six", AAAA) => vec![six(Ipv6Addr::LOCALHOST)],
        _ => Vec::new(),
    }
}
