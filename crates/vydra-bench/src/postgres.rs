//! A real PostgreSQL of the bench alone, from the programs of the distribution: durable, on the disk of all other data.
//!
//! A small shell looks after it, and stops it when the bench ends, however that ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

/// Who runs the server where we are root, whom Postgres refuses.
const RUNS_AS: &str = "postgres";
/// As it ships, but for what everybody sets who has more than a toy: memory for pages, and checkpoints that are not in each other's
/// way. `fsync`, `full_page_writes` and `synchronous_commit` are on.
pub const SETTINGS: [&str; 4] = [
    "shared_buffers=512MB",
    "max_wal_size=4GB",
    "max_connections=200",
    "wal_compression=off",
];

/// Its arguments are the folder of the programs, that of the server, its port, and its settings.
const KEEPER: &str = r#"
programs=$1 folder=$2 port=$3
shift 3
trap '' PIPE INT
cd "$folder" && exec 2>log || exit
ready() {
    tries=0
    until "$programs/pg_isready" --quiet --host=127.0.0.1 --port="$port" --username=vydra --dbname=postgres; do
        tries=$((tries + 1))
        { [ "$tries" -lt 600 ] && kill -0 "$server" && sleep 0.1; } || return
    done
}
if "$programs/initdb" --pgdata=data --username=vydra --auth=trust --encoding=UTF8 --locale=C.UTF-8 >&2; then
    "$programs/postgres" -D data -k '' -h 127.0.0.1 -p "$port" "$@" </dev/null >&2 &
    server=$!
    if ready; then
        echo ready
        read -r end
    else
        cat log
    fi
    kill -QUIT "$server"
    wait "$server"
else
    cat log
fi
"#;

#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    port: u16,
    keeper: Child,
    _folder: TempDir,
}

impl Postgres {
    pub fn start(place: &Path) -> anyhow::Result<Self> {
        let programs =
            programs().context("there is no PostgreSQL here; `cargo xtask programs` brings it")?;
        let folder = tempfile::Builder::new()
            .prefix("postgres-")
            .tempdir_in(place)
            .context("no folder for PostgreSQL can be made")?;
        let is_root = folder.path().metadata()?.uid() == 0;
        let mut keeper = if is_root {
            run(Command::new("chown").arg(RUNS_AS).arg(folder.path()))?;
            let mut keeper = Command::new("runuser");
            keeper.args(["-u", RUNS_AS, "--", "sh"]);
            keeper
        } else {
            Command::new("sh")
        };
        let port = free_port()?;
        keeper
            .args(["-c", KEEPER, "keeper"])
            .args([programs.as_os_str(), folder.path().as_os_str()])
            .arg(port.to_string());
        for setting in SETTINGS {
            keeper.args(["-c", setting]);
        }
        let mut keeper = keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("PostgreSQL does not start")?;
        let mut output = BufReader::new(keeper.stdout.take().context("no output to read")?);
        let mut said = String::new();
        output.read_line(&mut said)?;
        if said != "ready\n" {
            output.read_to_string(&mut said)?;
            keeper.wait()?;
            bail!(
                "PostgreSQL does not start in {}: {said}",
                folder.path().display()
            );
        }
        Ok(Self {
            programs,
            port,
            keeper,
            _folder: folder,
        })
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://vydra@127.0.0.1:{}/{database}", self.port)
    }

    pub fn program(&self, name: &str) -> Command {
        let mut program = Command::new(self.programs.join(name));
        // What somebody's shell sets must not change the figures.
        program.env_clear();
        program
    }

    /// What a database answers: a line for each row, its columns parted by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let mut psql = self.program("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args([
                "--set",
                "ON_ERROR_STOP=1",
                "--single-transaction",
                "--file=-",
            ])
            .args(["--dbname", &self.url(database)]);
        Ok(run_with(&mut psql, sql)?.trim_end().to_owned())
    }

    /// A database of its own, which begins as `template`. Nobody may be connected to that.
    pub fn create(&self, name: &str, template: &str) -> anyhow::Result<()> {
        // Neither can be done in a transaction.
        for statement in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name} TEMPLATE {template}"),
            // Else the first checkpoint of the measurement would write all of it.
            "CHECKPOINT".to_owned(),
        ] {
            let mut psql = self.program("psql");
            psql.args(["--no-psqlrc", "--quiet", "--dbname", &self.url("postgres")])
                .args(["--command", &statement]);
            run(&mut psql)?;
        }
        Ok(())
    }

    pub fn version(&self) -> anyhow::Result<String> {
        self.sql("postgres", "SHOW server_version")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The end of what the keeper reads.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// The folder of the newest that has all that is needed.
fn programs() -> Option<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql").read_dir().into_iter();
    let installed = versions.flatten().flatten().filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        let folder = version.path().join("bin");
        let has = |program: &str| folder.join(program).is_file();
        (has("initdb") && has("pgbench")).then_some((number, folder))
    });
    let newest = installed.max().map(|(_, folder)| folder);
    newest.or_else(on_path)
}

fn on_path() -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH says which programs this machine has; no product code runs here"
    )]
    let path = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("initdb"));
    let program = found.find_map(|program| program.canonicalize().ok())?;
    Some(program.parent()?.to_owned())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// What a program prints that must succeed.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    run_with(command, "")
}

/// The same, of one that reads this.
fn run_with(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let running = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut running =
        running.with_context(|| format!("{} does not start", command.get_program().display()))?;
    if let Some(mut stdin) = running.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = running.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{}: {}",
        command.get_program().display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
