//! A real Postgres server for tests: one for each process, from the programs of the distribution, in a folder of its own.
//!
//! A small shell looks after it. It waits for the end of what it reads, which comes when the server is dropped and also
//! when the process of the tests ends, however that ends; then it stops the server and removes the folder.

use crate::certificates::Pair;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tempfile::TempDir;

/// Who runs the server where we are root, whom Postgres refuses.
const RUNS_AS: &str = "postgres";
/// More than one, because somebody else may take the port that was just free.
const ATTEMPTS: u32 = 3;
const READY: &str = "ready\n";

/// The role whose members give a password; all others come in without.
pub const GUARDED: &str = "guarded";

/// Its arguments are the folder of the programs, that of the server, its port, and its further settings. It says `ready`,
/// or why the server cannot be had, and then does what it reads: `crash` and `start`. The socket, not the port, tells that the
/// server is ready: no other one has that.
const KEEPER: &str = r#"
programs=$1 folder=$2 port=$3
shift 3
trap '' PIPE
cd "$folder" && exec 2>log || exit
ready() {
    tries=0
    until "$programs/pg_isready" --quiet --host="$folder" --port="$port" --username=vydra --dbname=postgres; do
        tries=$((tries + 1))
        { [ "$tries" -lt 1200 ] && kill -0 "$server" && sleep 0.05; } || return
    done
}
start() {
    "$programs/postgres" -D data -k "$folder" -h 127.0.0.1 -p "$port" "$@" </dev/null >&2 &
    server=$!
    if ready; then
        echo ready
    else
        cat log
        return 1
    fi
}
crash() {
    kill -QUIT "$server"
    wait "$server"
}
if "$programs/initdb" --pgdata=data --username=vydra --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync >&2; then
    echo "host all +guarded all scram-sha-256" | cat - data/pg_hba.conf >hba && mv hba data/pg_hba.conf
    start "$@" && while read -r word; do
        case $word in
            crash)
                crash
                echo crashed
                ;;
            start) start "$@" || break ;;
        esac
    done
    crash
else
    cat log
fi
cd /
rm -rf "$folder"
"#;

/// Keeps the rows that a database begins with.
const KEEP: &str = "
    CREATE SCHEMA begun;
    DO $$
    DECLARE one record; is_empty boolean;
    BEGIN
        FOR one IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
            EXECUTE format('SELECT NOT EXISTS (SELECT FROM public.%I)', one.relname) INTO is_empty;
            CONTINUE WHEN is_empty;
            EXECUTE format('CREATE TABLE begun.%I AS TABLE public.%I', one.relname, one.relname);
        END LOOP;
    END $$";
/// Puts those in place of the rows that there are, and lets what is counted begin again. Tables of tests have few rows: to
/// truncate them would take longer.
const BEGIN_AGAIN: &str = "
    DO $$
    DECLARE one record;
    BEGIN
        SET LOCAL session_replication_role = replica;
        FOR one IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
            EXECUTE format('DELETE FROM public.%I', one.relname);
        END LOOP;
        FOR one IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'begun'::regnamespace LOOP
            EXECUTE format('INSERT INTO public.%I SELECT * FROM begun.%I', one.relname, one.relname);
        END LOOP;
        PERFORM setval(seqrelid, seqstart, false) FROM pg_sequence;
    END $$";

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether what is committed outlives the machine. Tests have no use for it, unless they measure what it costs.
    pub is_durable: bool,
}

#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    keeper: Mutex<Keeper>,
    databases: AtomicU32,
}

#[derive(Debug)]
struct Keeper {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Keeper {
    fn hear(&mut self) -> String {
        let mut said = String::new();
        self.output.read_line(&mut said).unwrap();
        said
    }

    /// Until it has done so.
    fn tell(&mut self, word: &str, done: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{word}").unwrap();
        let mut said = self.hear();
        if said != done {
            // The end of what it says, as it gives up.
            self.output.read_to_string(&mut said).unwrap();
        }
        assert_eq!(said, done, "postgres does not {word}");
    }
}

impl Postgres {
    /// That of this process. None where there are no programs of it: then it says so, once.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        let start = || Self::start(Options::default());
        SHARED.get_or_init(start).as_ref()
    }

    /// None where there are no programs of it: then it says so.
    pub fn start(options: Options) -> Option<Self> {
        Self::start_as(options, None)
    }

    /// One that speaks TLS to whoever asks for it.
    pub fn start_encrypted(pair: &Pair) -> Option<Self> {
        Self::start_as(Options::default(), Some(pair))
    }

    fn start_as(options: Options, pair: Option<&Pair>) -> Option<Self> {
        let Some(programs) = programs() else {
            // Not by a macro, whose output the harness keeps to itself.
            let _ = writeln!(
                std::io::stdout(),
                "skipped: no postgres; `cargo xtask programs` brings it"
            );
            return None;
        };
        let mut launched = Self::launch(&programs, options, pair);
        for _ in 1..ATTEMPTS {
            launched = launched.or_else(|_| Self::launch(&programs, options, pair));
        }
        let why = launched.as_ref().err();
        assert!(why.is_none(), "postgres does not start:\n{}", why.unwrap());
        launched.ok()
    }

    fn launch(programs: &Path, options: Options, pair: Option<&Pair>) -> Result<Self, String> {
        // Not where temporary files are to be: the path of a socket is short, and another user must get there.
        let folder = tempfile::Builder::new()
            .prefix("vydra-postgres-")
            .tempdir_in("/tmp")
            .unwrap();
        let mut settings = settings(options);
        if let Some(pair) = pair {
            // Beside the data, where its user alone can read them.
            std::fs::copy(&pair.certificate, folder.path().join("server.pem")).unwrap();
            std::fs::copy(&pair.key, folder.path().join("server.key")).unwrap();
            settings.extend(["-c", "ssl=on"]);
            settings.extend(["-c", "ssl_cert_file=../server.pem"]);
            settings.extend(["-c", "ssl_key_file=../server.key"]);
        }
        let is_root = folder.path().metadata().unwrap().uid() == 0;
        let mut keeper = if is_root {
            let mut own = Command::new("chown");
            own.args(["-R", RUNS_AS])
                .arg(folder.path())
                .stdin(Stdio::null());
            run(own);
            let mut keeper = Command::new("runuser");
            keeper.args(["-u", RUNS_AS, "--", "sh"]);
            keeper
        } else {
            Command::new("sh")
        };
        let port = free_port();
        keeper
            .args(["-c", KEEPER, "keeper"])
            .args([programs.as_os_str(), folder.path().as_os_str()])
            .arg(port.to_string())
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What interrupts the tests must not keep it from cleaning up.
            .process_group(0);
        let mut child = keeper.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut keeper = Keeper { child, output };
        let mut said = keeper.hear();
        if said != READY {
            keeper.output.read_to_string(&mut said).unwrap();
            keeper.child.wait().unwrap();
            return Err(said);
        }
        Ok(Self {
            programs: programs.to_owned(),
            folder,
            port,
            keeper: Mutex::new(keeper),
            databases: AtomicU32::new(0),
        })
    }

    /// A new, empty database: its address. It lives as long as the server.
    pub fn database(&self) -> String {
        // A template to which nobody can connect, because one that is in use cannot be copied.
        self.create("template0")
    }

    /// From now on it can be copied, and its copies be made new again. Nobody may be connected to it any more.
    pub fn make_template(&self, url: &str) {
        self.psql(url, KEEP);
    }

    pub fn empty(&self, url: &str, table: &str) {
        self.psql(url, &format!("DELETE FROM {table}"));
    }

    /// Breaks the connections over which servers hear of each other: they alone hold locks of no table.
    pub fn hang_up_on_ears(&self, url: &str) {
        let ears = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')";
        self.psql(url, ears);
    }

    /// A new database that begins as that one.
    pub fn database_from(&self, template: &str) -> String {
        self.create(name(template))
    }

    fn create(&self, template: &str) -> String {
        let name = self.new_name();
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        self.psql(&self.url("postgres"), &create);
        self.url(&name)
    }

    /// The address for another user, such as `name` or `name:password`.
    pub fn address_for(url: &str, user: &str) -> String {
        url.replacen("//vydra@", &format!("//{user}@"), 1)
    }

    fn new_name(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        format!("test_{number}")
    }

    /// The copy of a template that nobody needs any more, as it began: the address that it has now. Whoever knows the old one is
    /// cut off and does not come back. To copy the template anew takes several times as long.
    pub fn renewed(&self, used: &str) -> String {
        let (old, new) = (name(used), self.new_name());
        let steps = [
            &format!("ALTER DATABASE {old} ALLOW_CONNECTIONS false"),
            &format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{old}'"
            ),
            // Waits for those that were cut off.
            &format!("ALTER DATABASE {old} RENAME TO {new}"),
            &format!("ALTER DATABASE {new} ALLOW_CONNECTIONS true"),
            &format!("\\connect {new}"),
            BEGIN_AGAIN,
        ];
        run(psql_on(&self.programs, &self.url("postgres"), &steps));
        self.url(&new)
    }

    /// What a database answers: a line for each row, its columns parted by `|`. Several statements are one transaction.
    pub fn psql(&self, url: &str, sql: &str) -> String {
        let answer = run(psql_on(&self.programs, url, &[sql]));
        answer.trim_end().to_owned()
    }

    /// As `pg_ctl stop -m immediate` does, or a loss of power where it is durable: nobody is told, nothing is brought to an end.
    pub fn crash(&self) {
        self.keeper().tell("crash", "crashed\n");
    }

    /// At its old address; until it has made good what the crash broke off, and lets in.
    pub fn start_again(&self) {
        self.keeper().tell("start", READY);
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all that is in a database to a file, as SQL.
    pub fn dump(&self, url: &str, file: &Path) -> Result<(), String> {
        let mut dump = Command::new(self.programs.join("pg_dump"));
        dump.args(["--dbname", url, "--file"]).arg(file);
        told(dump.stdin(Stdio::null())).map(drop)
    }

    /// Where its socket is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://vydra@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut keeper = self.keeper();
        drop(keeper.child.stdin.take());
        let _ = keeper.child.wait();
    }
}

/// Of the database at the end of its address.
fn name(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

/// What a database answers to some statements, each of them as in [`Postgres::psql`] and all in one session.
pub fn psql(url: &str, statements: &[&str]) -> Result<String, String> {
    let programs = programs().ok_or("there are no programs of Postgres")?;
    told(&mut psql_on(&programs, url, statements))
}

/// What a program tells, or says of its failure.
fn told(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

fn psql_on(programs: &Path, url: &str, statements: &[&str]) -> Command {
    let mut psql = Command::new(programs.join("psql"));
    psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args(["--set", "ON_ERROR_STOP=1", "--dbname", url])
        .stdin(Stdio::null());
    for statement in statements {
        psql.args(["--command", statement]);
    }
    psql
}

fn settings(options: Options) -> Vec<&'static str> {
    // The log of many small databases is not to fill the disk.
    let mut settings = vec!["-c", "max_connections=400", "-c", "max_wal_size=256MB"];
    settings.extend(if options.is_durable {
        // One call after a crash, in place of one for each file.
        ["-c", "recovery_init_sync_method=syncfs"].as_slice()
    } else {
        ["-c", "fsync=off", "-c", "full_page_writes=off"].as_slice()
    });
    settings
}

/// Whether there are programs of it here.
pub fn is_here() -> bool {
    programs().is_some()
}

/// The folder of the newest.
fn programs() -> Option<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql").read_dir().into_iter();
    let installed = versions.flatten().flatten().filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        let folder = version.path().join("bin");
        folder.join("initdb").is_file().then_some((number, folder))
    });
    let newest = installed.max().map(|(_, folder)| folder);
    newest.or_else(|| on_path(path().as_deref()?))
}

/// Where the program is, not a link to it: the others stand beside it.
fn on_path(path: &OsStr) -> Option<PathBuf> {
    let mut found = std::env::split_paths(path).map(|folder| folder.join("initdb"));
    let program = found.find_map(|program| program.canonicalize().ok())?;
    Some(program.parent()?.to_owned())
}

fn path() -> Option<std::ffi::OsString> {
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH says which programs this machine has; no product code runs here"
    )]
    std::env::var_os("PATH")
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn run(mut command: Command) -> String {
    told(&mut command).expect("a program of Postgres does its work")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_new_database_answers_and_knows_nothing_of_another() {
        let Some(postgres) = Postgres::shared() else {
            return;
        };
        let (one, two) = (postgres.database(), postgres.database());
        assert_eq!(postgres.psql(&one, "select 1"), "1");
        postgres.psql(&one, "create table here (id bigint)");
        let tables = "select count(*) from pg_tables where tablename = 'here'";
        assert_eq!(postgres.psql(&one, tables), "1");
        assert_eq!(postgres.psql(&two, tables), "0");
        let settings = "select current_setting('fsync'), current_setting('synchronous_commit'),
            current_setting('max_connections'), pg_encoding_to_char(encoding), datcollate
            from pg_database where datname = current_database()";
        let settings = postgres.psql(&two, settings);
        assert_eq!(settings, "off|on|400|UTF8|C.UTF-8");
        let by_socket = format!(
            "host={} port={} user=vydra dbname=test_0",
            postgres.folder().display(),
            postgres.port()
        );
        assert_eq!(postgres.psql(&by_socket, "select 1"), "1");
    }

    #[test]
    fn a_copy_that_is_renewed_is_as_it_began_and_nobody_else_is_there() {
        let Some(postgres) = Postgres::shared() else {
            return;
        };
        let template = postgres.database();
        let make = "create table turns (mode text);
            insert into turns values ('live'), ('test');
            create table parents (id bigint generated always as identity primary key);
            create table children (parent bigint not null references parents);
            create function never() returns trigger language plpgsql as 'begin raise exception ''no''; end';
            create trigger never before delete on children execute function never()";
        postgres.psql(&template, make);
        postgres.make_template(&template);
        let copy = postgres.database_from(&template);
        let rows = "select (select string_agg(mode, ' ' order by mode) from turns),
            (select count(*) from parents), (select count(*) from children)";
        assert_eq!(postgres.psql(&copy, rows), "live test|0|0");
        let change = "insert into parents default values;
            insert into children values (1);
            update turns set mode = 'none' where mode = 'live'";
        postgres.psql(&copy, change);
        assert_eq!(postgres.psql(&copy, rows), "none test|1|1");
        // Somebody who does not go by himself.
        let mut connected = psql_on(&postgres.programs, &copy, &[]);
        let mut connected = connected
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = connected.stdin.take().unwrap();
        writeln!(input, "select 'here';").unwrap();
        let mut said = String::new();
        let output = connected.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut said).unwrap();
        assert_eq!(said, "here\n");
        let renewed = postgres.renewed(&copy);
        assert_eq!(postgres.psql(&renewed, rows), "live test|0|0");
        let next = "insert into parents default values returning id";
        assert_eq!(postgres.psql(&renewed, next), "1");
        let _ = writeln!(input, "select 'here';");
        drop(input);
        assert!(!connected.wait().unwrap().success(), "was cut off");
        let old = format!(
            "select 1 from pg_database where datname = '{}'",
            name(&copy)
        );
        assert_eq!(postgres.psql(&template, &old), "");
    }

    #[test]
    fn what_is_committed_outlives_a_crash() {
        let Some(postgres) = Postgres::start(Options { is_durable: true }) else {
            return;
        };
        let url = postgres.database();
        for number in 1..=2 {
            postgres.psql(&url, "create table if not exists kept (id bigint)");
            postgres.psql(&url, "insert into kept values (1)");
            postgres.crash();
            assert!(psql(&url, &["select 1"]).is_err(), "nobody is there");
            postgres.start_again();
            let count = postgres.psql(&url, "select count(*) from kept");
            assert_eq!(count, number.to_string());
        }
        postgres.crash();
        let folder = postgres.folder().to_owned();
        drop(postgres);
        assert!(!folder.exists());
    }

    #[test]
    fn a_server_is_gone_with_its_handle() {
        let Some(postgres) = Postgres::start(Options { is_durable: true }) else {
            return;
        };
        let (folder, port) = (postgres.folder().to_owned(), postgres.port());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert_eq!(postgres.psql(&postgres.url("postgres"), "show fsync"), "on");
        drop(postgres);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(!folder.exists());
    }
}
