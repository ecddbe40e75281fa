//! Everything that a scenario measures with.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::disk::{self, Synced};
use crate::hello::HelloServer;
use crate::host::{self, Host};
use crate::load::{Load, Outcome, request};
use crate::options::{Options, Store};
use crate::postgres::{self, Postgres};
use crate::report::{Report, Section, Unit, median};
use crate::seed::{self, Customer};
use crate::server::{Data, Server, Setting, UNLIMITED};
use crate::sqlite;

/// Before each measurement of a server that answers over connections.
const WARM_UP: Duration = Duration::from_millis(300);

/// Makes the folder anew, for this process alone: two benches at once would measure each other.
fn lock(place: &Path) -> anyhow::Result<File> {
    let cannot = || format!("{} cannot be made anew", place.display());
    fs::create_dir_all(place).with_context(cannot)?;
    let lock = File::create(place.with_extension("lock")).with_context(cannot)?;
    lock.try_lock().context("another bench is running here")?;
    fs::remove_dir_all(place).with_context(cannot)?;
    fs::create_dir(place).with_context(cannot)?;
    Ok(lock)
}

/// Data and the keys of those who are in it.
pub type Fresh = (Data, Arc<Vec<Customer>>);

/// A database of Postgres, and the folders of the nodes on it.
#[derive(Debug)]
pub struct PostgresData {
    pub customers: Arc<Vec<Customer>>,
    nodes: Vec<Data>,
    url: String,
    postgres: Arc<Postgres>,
}

/// Of the database that is measured, and of that from which it begins.
const DATABASE: &str = "vydra";
const SEEDED: &str = "seeded";
/// How long the jobs that are left may take, once no more come.
const UNTIL_THE_LAST: &str = "SET statement_timeout = '10min';
    DO $$ BEGIN
        WHILE EXISTS (SELECT 1 FROM jobs WHERE status = 'pending') OR EXISTS (SELECT 1 FROM jobs WHERE status = 'running') LOOP
            PERFORM pg_sleep(0.005);
        END LOOP;
    END $$";

impl PostgresData {
    /// All its nodes.
    pub fn serve(&self, setting: &Setting) -> anyhow::Result<Vec<Server>> {
        let setting = Setting {
            database: Some(self.url.clone()),
            ..setting.clone()
        };
        let nodes = self.nodes.iter().map(|node| {
            node.configure(&setting)?;
            node.serve()
        });
        nodes.collect()
    }

    pub fn wait_for_the_end(&self) -> anyhow::Result<()> {
        let waited = self.postgres.sql(DATABASE, UNTIL_THE_LAST);
        waited.context("the jobs did not end")?;
        Ok(())
    }

    /// Jobs that have ended so.
    pub fn count(&self, ending: &str) -> anyhow::Result<u64> {
        let count = format!("SELECT count(*) FROM jobs WHERE status = '{ending}'");
        Ok(self.postgres.sql(DATABASE, &count)?.parse()?)
    }

    pub fn audit(&self) -> anyhow::Result<()> {
        self.nodes.first().context("there is no node")?.audit()
    }
}

/// A line of progress.
pub fn say(text: &str) {
    eprintln!("{text}");
}

#[derive(Debug)]
pub struct Lab {
    options: Options,
    binary: Arc<Path>,
    /// Folder of all data; what an interrupted bench left there goes with the next one.
    place: PathBuf,
    _lock: File,
    hello: HelloServer,
    synced: Vec<f64>,
    /// Databases to copy, by how many organizations and finished jobs they hold.
    seeded: HashMap<(usize, usize), Fresh>,
    postgres: Option<Arc<Postgres>>,
    /// Of the database of Postgres that is copied.
    seeded_on_postgres: HashMap<usize, Arc<Vec<Customer>>>,
    left: Vec<Data>,
}

impl Lab {
    pub fn open(options: Options) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program does not find itself")?;
        let folder = program.parent().context("this program is in no folder")?;
        let binary = options
            .binary
            .clone()
            .unwrap_or_else(|| folder.join("vydra"));
        let binary = binary
            .canonicalize()
            .with_context(|| format!("there is no binary at {}", binary.display()))?;
        let place = folder.parent().unwrap_or(folder).join("bench");
        let lock = lock(&place)?;
        ensure!(
            !host::is_in_memory(&place),
            "{} is in memory: nothing durable can be measured there; set CARGO_TARGET_DIR to a real disk",
            place.display()
        );
        Ok(Self {
            options,
            binary: binary.into(),
            place,
            _lock: lock,
            hello: HelloServer::start()?,
            synced: Vec::new(),
            seeded: HashMap::new(),
            postgres: None,
            seeded_on_postgres: HashMap::new(),
            left: Vec::new(),
        })
    }

    pub fn place(&self) -> &Path {
        &self.place
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn setting(&self) -> Setting {
        Setting {
            concurrency: 1,
            instant: false,
            minute: UNLIMITED,
            hour: UNLIMITED,
            day: UNLIMITED,
            log: self.options.log.clone(),
            database: None,
        }
    }

    /// Data of its own with so many organizations, the same at each call.
    pub fn data(&mut self, organizations: usize) -> anyhow::Result<Fresh> {
        self.data_with_jobs(organizations, 0)
    }

    /// The same with so many jobs that have ended.
    pub fn data_with_jobs(&mut self, organizations: usize, jobs: usize) -> anyhow::Result<Fresh> {
        let size = (organizations, jobs);
        if !self.seeded.contains_key(&size) {
            say(&format!(
                "making data of {organizations} organizations and {jobs} jobs"
            ));
            let data = Data::new(&self.place, &self.binary)?;
            data.configure(&self.setting())?;
            let customers = seed::customers(&data, organizations)?;
            if jobs > 0 {
                let setting = Setting {
                    instant: true,
                    ..self.setting()
                };
                seed::finished(&data, &customers, jobs, &setting)?;
            }
            self.seeded.insert(size, (data, Arc::new(customers)));
        }
        let (data, customers) = &self.seeded[&size];
        Ok((data.copy(&self.place)?, Arc::clone(customers)))
    }

    /// Empty data, on which no process was yet.
    pub fn nothing(&self) -> anyhow::Result<Data> {
        let data = Data::new(&self.place, &self.binary)?;
        data.configure(&self.setting())?;
        Ok(data)
    }

    // --- Postgres ---

    /// That of this bench.
    pub fn postgres(&mut self) -> anyhow::Result<Arc<Postgres>> {
        if let Some(postgres) = &self.postgres {
            return Ok(Arc::clone(postgres));
        }
        say("starting PostgreSQL");
        let postgres = Arc::new(Postgres::start(&self.place)?);
        self.postgres = Some(Arc::clone(&postgres));
        Ok(postgres)
    }

    /// A database with so many organizations, the same at each call, and folders for so many nodes on it.
    pub fn postgres_data(
        &mut self,
        organizations: usize,
        nodes: usize,
    ) -> anyhow::Result<PostgresData> {
        let postgres = self.postgres()?;
        let seeded = format!("{SEEDED}_{organizations}");
        if !self.seeded_on_postgres.contains_key(&organizations) {
            say(&format!("making data of {organizations} organizations"));
            postgres.create(&seeded, "template0")?;
            let data = Data::new(&self.place, &self.binary)?;
            data.configure(&Setting {
                database: Some(postgres.url(&seeded)),
                ..self.setting()
            })?;
            let customers = seed::postgres::customers(&data, &postgres, &seeded, organizations)?;
            self.seeded_on_postgres
                .insert(organizations, Arc::new(customers));
        }
        postgres.create(DATABASE, &seeded)?;
        let nodes: anyhow::Result<Vec<Data>> = (0..nodes)
            .map(|_| Data::new(&self.place, &self.binary))
            .collect();
        Ok(PostgresData {
            customers: Arc::clone(&self.seeded_on_postgres[&organizations]),
            nodes: nodes?,
            url: postgres.url(DATABASE),
            postgres,
        })
    }

    /// Keeps the nodes' folders until the bench ends. On ext4 without a journal whoever makes a file passes over each one that was
    /// removed in the last minutes: what one measurement left would be in the way of the next.
    pub fn leave(&mut self, data: PostgresData) {
        self.left.extend(data.nodes);
    }

    /// In a quick bench, a hundredth.
    pub fn count(&self, usual: usize) -> usize {
        if self.options.quick {
            usual.div_ceil(100)
        } else {
            usual
        }
    }

    // --- Yardsticks ---

    pub fn hello(&self, connections: usize) -> anyhow::Result<Outcome> {
        let requests = Arc::new(vec![request("GET", "/", None, "", "")]);
        self.load(self.hello.address, connections, requests, 200)
            .run()
    }

    pub fn synced_writes(&mut self) -> anyhow::Result<Synced> {
        let synced = disk::synced_writes(&self.place, self.span_of_yardsticks())?;
        self.synced.push(synced.rate);
        Ok(synced)
    }

    pub fn charges(&self, batch: u64) -> anyhow::Result<f64> {
        sqlite::charges(&self.place, batch, self.span_of_yardsticks())
    }

    fn span_of_yardsticks(&self) -> Duration {
        self.options.span.min(Duration::from_secs(1))
    }

    /// Adds the yardsticks of whatever is durable: the disk and plain SQLite.
    pub fn durable_yardsticks(&mut self, section: &mut Section) -> anyhow::Result<()> {
        let synced = self.synced_writes()?;
        section.add(
            "disk: 4 KiB write + fdatasync",
            "per second",
            Unit::PerSecond,
            synced.rate,
        );
        section.add(
            "disk: 4 KiB write + fdatasync",
            "p50 ms",
            Unit::Milliseconds,
            synced.p50,
        );
        for (batch, name) in [
            (1, "plain SQLite, one a commit"),
            (100, "plain SQLite, 100 a commit"),
        ] {
            let rate = self.charges(batch)?;
            section.add(name, "per second", Unit::PerSecond, rate);
        }
        Ok(())
    }

    // --- Load ---

    pub fn load(
        &self,
        address: std::net::SocketAddr,
        connections: usize,
        requests: Arc<Vec<Vec<u8>>>,
        status: u16,
    ) -> Load {
        Load {
            addresses: vec![address],
            connections,
            requests,
            status,
            warm_up: WARM_UP.min(self.options.span),
            span: self.options.span,
            most: None,
        }
    }

    pub fn reads(&self, server: &Server, connections: usize, customers: &[Customer]) -> Load {
        let requests = customers
            .iter()
            .map(|customer| request("GET", "/api/v1/organization", Some(&customer.live), "", ""))
            .collect();
        self.load(server.address, connections, Arc::new(requests), 200)
    }

    /// The report of everything that was measured.
    pub fn report(&mut self, sections: Vec<Section>) -> anyhow::Result<Report> {
        if self.synced.is_empty() {
            self.synced_writes()?;
        }
        let low = self.synced.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.synced.iter().copied().fold(0.0, f64::max);
        let synced = format!(
            "{:.0} a second ({low:.0} to {high:.0} in {} looks)",
            median(&self.synced).unwrap_or_default(),
            self.synced.len()
        );
        let Options {
            store,
            span,
            runs,
            quick,
            log,
            ..
        } = &self.options;
        let mut how = format!(
            "Medians of {runs} runs of {:.1} s, in turns with the yardsticks; a ratio is the median of the ratios of each run. Server, load generator and yardsticks share the cores. log.level: {}.",
            span.as_secs_f64(),
            log.as_deref().unwrap_or("as it ships"),
        );
        if *quick {
            how.push_str(" A quick bench: its figures mean nothing.");
        }
        let store = match (store, &self.postgres) {
            (Store::Postgres, Some(postgres)) => {
                format!(
                    "PostgreSQL {} ({})",
                    postgres.version()?,
                    postgres::SETTINGS.join(", ")
                )
            }
            _ => format!("SQLite {}", rusqlite::version()),
        };
        Ok(Report {
            of: (self.options.store == Store::Postgres).then_some("postgres"),
            host: Host::look(&self.place, &self.binary, synced, store),
            how,
            sections,
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.seeded.clear();
        self.postgres = None;
        // The next bench would remove it, too.
        let _ = fs::remove_dir_all(&self.place);
    }
}
