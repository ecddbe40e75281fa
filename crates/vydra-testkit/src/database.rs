//! Where the applications of tests remember: in a file of SQLite, or on Postgres in a database of their own.

use crate::postgres::Postgres;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use tokio::runtime::Runtime;
use vydra_core::api_key::Pepper;
use vydra_core::time::Clock;
use vydra_store::{PostgresStore, SqliteStore, Store};

/// Names the backend of the tests that do not choose one themselves.
const VARIABLE: &str = "VYDRA_TEST_STORE";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// As the environment says, and then it says so once; SQLite where it says nothing.
    pub fn chosen() -> Self {
        static CHOSEN: OnceLock<Backend> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            #[expect(
                clippy::disallowed_methods,
                reason = "the same tests run twice, and this says on what; no product code runs here"
            )]
            let Some(word) = std::env::var_os(VARIABLE) else {
                return Self::Sqlite;
            };
            let known = Self::ALL.into_iter().find(|one| word == one.as_str());
            let word = word.display();
            assert!(known.is_some(), "{VARIABLE} is {word}, and must be sqlite or postgres");
            let chosen = known.unwrap();
            // Not by a macro, whose output the harness keeps to itself.
            let said = format!("{VARIABLE}: these applications remember on {}", chosen.as_str());
            let _ = writeln!(std::io::stdout(), "{said}");
            chosen
        })
    }
}

/// A database, by the words with which it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// Its URL.
    Postgres(String),
}

impl Database {
    /// A new one that belongs to this folder. None where there are no programs of Postgres: then it says so.
    pub fn new(backend: Backend, folder: &Path) -> Option<Self> {
        match backend {
            Backend::Sqlite => Some(Self::Sqlite(folder.join("vydra.db"))),
            Backend::Postgres => {
                let server = Postgres::shared()?;
                let used = given_back().pop();
                Some(Self::Postgres(match used {
                    Some(used) => server.renewed(&used),
                    None => server.database_from(template(server)),
                }))
            }
        }
    }

    /// The store that is kept there. `fresh_pepper` is for a new one. Requests are counted by this clock, also where they would be
    /// by the database's own.
    pub fn open(&self, fresh_pepper: &Pepper, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(path) => Arc::new(SqliteStore::open(path, fresh_pepper).unwrap()),
            Self::Postgres(url) => Arc::new(open(url, fresh_pepper).windows_by(clock)),
        }
    }

    /// Nobody needs it any more. Whoever still works on it is cut off before it is used again; a file goes with its folder.
    pub fn give_back(&self) {
        if let Self::Postgres(url) = self {
            given_back().push(url.clone());
        }
    }
}

fn given_back() -> MutexGuard<'static, Vec<String>> {
    static GIVEN_BACK: Mutex<Vec<String>> = Mutex::new(Vec::new());
    GIVEN_BACK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Empty, with the schema of now: to make it anew takes longer than most tests do.
fn template(server: &'static Postgres) -> &'static str {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let url = server.database();
        let store = open(&url, &Pepper::new([7; 32]));
        drop(store);
        // Each application has a pepper of its own.
        server.empty(&url, "settings");
        server.make_template(&url);
        url
    })
}

fn open(url: &str, fresh_pepper: &Pepper) -> PostgresStore {
    let (settings, fresh_pepper) = (url.parse().unwrap(), fresh_pepper.clone());
    apart(async move { PostgresStore::open(&settings, &fresh_pepper).await }).unwrap()
}

/// Runs where neither a test that blocks its thread nor one that ends can hold it up.
pub(crate) fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    static APART: OnceLock<Runtime> = OnceLock::new();
    let runtime = APART.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("testkit")
            .enable_all()
            .build()
            .unwrap()
    });
    let (done, answer) = mpsc::channel();
    runtime.spawn(async move {
        // Whoever has panicked meanwhile waits no longer.
        let _ = done.send(work.await);
    });
    answer.recv().unwrap()
}
