//! A real Redis for tests, from the program of the distribution, in a folder of its own and with nothing kept in files.
//!
//! A small shell looks after it, as after [`crate::postgres`].

use crate::certificates::Pair;
use crate::postgres::free_port;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;
use vydra_outbound::windows::RedisAddress;

/// Tells the tests that do not choose themselves where requests are counted.
const VARIABLE: &str = "VYDRA_TEST_LIMITS";
/// One for each application of a process.
const DATABASES: u32 = 10_000;
/// More than one, because somebody else may take the port that was just free.
const ATTEMPTS: u32 = 3;

/// Its arguments are the folder of the server, and its settings. It says `ready`, or why the server cannot be had.
const KEEPER: &str = r#"
folder=$1
shift
trap '' PIPE
cd "$folder" && exec 2>log || exit
redis-server --unixsocket "$folder/socket" "$@" </dev/null >&2 &
server=$!
tries=0
until [ "$(redis-cli -s "$folder/socket" ping 2>/dev/null)" = PONG ]; do
    tries=$((tries + 1))
    { [ "$tries" -lt 1200 ] && kill -0 "$server" && sleep 0.05; } || break
done
if kill -0 "$server" && [ "$tries" -lt 1200 ]; then
    echo ready
    read -r end
else
    cat log
fi
kill -KILL "$server"
wait "$server"
cd /
rm -rf "$folder"
"#;

#[derive(Debug)]
pub struct Redis {
    port: u16,
    keeper: Child,
    folder: TempDir,
    databases: AtomicU32,
}

impl Redis {
    /// That of this process. None where there is no program of it: then it says so, once.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Redis>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// None where there is no program of it: then it says so.
    pub fn start() -> Option<Self> {
        Self::start_as(None, &[])
    }

    /// One that speaks TLS and nothing else.
    pub fn start_encrypted(pair: &Pair) -> Option<Self> {
        Self::start_as(Some(pair), &[])
    }

    /// One with these further settings, such as `--maxmemory`, `2mb`.
    pub fn start_with(settings: &[&str]) -> Option<Self> {
        Self::start_as(None, settings)
    }

    /// A new one in place of this one, which knows nothing of what it was told.
    #[must_use]
    pub fn restart(self) -> Self {
        let port = self.port;
        drop(self);
        Self::launch(port, None, &[]).unwrap()
    }

    fn start_as(pair: Option<&Pair>, settings: &[&str]) -> Option<Self> {
        let look = Command::new("redis-server")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if look.is_err() {
            // Not by a macro, whose output the harness keeps to itself.
            let _ = writeln!(
                std::io::stdout(),
                "skipped: no redis; `cargo xtask programs` brings it"
            );
            return None;
        }
        let mut launched = Self::launch(free_port(), pair, settings);
        for _ in 1..ATTEMPTS {
            launched = launched.or_else(|_| Self::launch(free_port(), pair, settings));
        }
        let why = launched.as_ref().err();
        assert!(why.is_none(), "redis does not start:\n{}", why.unwrap());
        launched.ok()
    }

    fn launch(port: u16, pair: Option<&Pair>, settings: &[&str]) -> Result<Self, String> {
        // Not where temporary files are to be: the path of a socket is short.
        let folder = tempfile::Builder::new()
            .prefix("vydra-redis-")
            .tempdir_in("/tmp")
            .unwrap();
        let mut keeper = Command::new("sh");
        keeper
            .args(["-c", KEEPER, "keeper"])
            .arg(folder.path())
            .args(["--bind", "127.0.0.1", "--save", "", "--databases"])
            .arg(DATABASES.to_string())
            .args(settings);
        let port_of = if pair.is_some() {
            "--tls-port"
        } else {
            "--port"
        };
        keeper.arg(port_of).arg(port.to_string());
        if let Some(pair) = pair {
            keeper.args(["--port", "0", "--tls-auth-clients", "no"]);
            keeper.arg("--tls-cert-file").arg(&pair.certificate);
            keeper.arg("--tls-key-file").arg(&pair.key);
            keeper.arg("--tls-ca-cert-file").arg(&pair.certificate);
        }
        let mut keeper = keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What interrupts the tests must not keep it from cleaning up.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(keeper.stdout.take().unwrap());
        let mut said = String::new();
        output.read_line(&mut said).unwrap();
        if said != "ready\n" {
            output.read_to_string(&mut said).unwrap();
            keeper.wait().unwrap();
            return Err(said);
        }
        Ok(Self {
            port,
            keeper,
            folder,
            databases: AtomicU32::new(0),
        })
    }

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        assert!(number < DATABASES, "redis has no more databases");
        format!("redis://127.0.0.1:{}/{number}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it answers to a command in one of its databases.
    pub fn ask(&self, url: &str, command: &[&str]) -> String {
        let (_, number) = url.rsplit_once('/').unwrap();
        let output = Command::new("redis-cli")
            .arg("-s")
            .arg(self.socket().as_os_str())
            .args(["-n", number])
            .args(command)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    fn socket(&self) -> std::path::PathBuf {
        Path::new(self.folder.path()).join("socket")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Where the application of a test has its requests counted, if the environment wants it in a Redis.
pub(crate) fn chosen() -> Option<RedisAddress> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the same tests run twice, and this says how; no product code runs here"
    )]
    let word = std::env::var_os(VARIABLE)?;
    assert!(word == "redis", "{VARIABLE} can only be redis");
    // There is no way to skip one test, and all of this process miss the same: they end here, as passed.
    let redis = Redis::shared().unwrap_or_else(|| std::process::exit(0));
    Some(redis.database().parse().unwrap())
}
