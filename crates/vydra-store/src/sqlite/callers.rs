//! Who calls, remembered from one request to the next.
//!
//! Every request looks up its key and its organization; from the database that costs several times what the rest of an
//! admission does. So both are kept, and a change is seen at the next look-up all the same:
//!
//! - Whoever changes a key or an organization adds a byte to a file beside the database, before the change is answered.
//!   Each look-up asks for the length of that file, which is one system call.
//! - A balance changes too often for that. The one server that charges publishes each new balance after its commit.
//! - Another program, such as SQLite's own shell, does neither: what it changes is seen a second later.

use super::reader;
use crate::{Result, StoreError};
use rusqlite::Connection;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tokio::time::Instant;
use vydra_core::api_key::{ApiKey, KeyHash};
use vydra_core::credits::Credits;
use vydra_core::ids::OrgId;
use vydra_core::job::Mode;
use vydra_core::organization::Organization;

/// After so many keys all are forgotten: about 15 MB.
const MOST: usize = 20_000;
/// What a program that is not ours has changed is seen after so long.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// No balance is below zero.
const UNKNOWN: i64 = -1;

/// A balance as a commit has left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) org: OrgId,
    pub(super) mode: Mode,
    pub(super) credits: Credits,
}

#[derive(Debug)]
pub(super) struct Callers {
    changes: File,
    known: RwLock<Known>,
    others: Mutex<Others>,
}

#[derive(Debug, Default)]
struct Known {
    /// The length of the file up to which its changes were taken in.
    seen: u64,
    /// Goes on whenever all is forgotten: what was read before must not be kept after.
    epoch: u64,
    by_hash: HashMap<KeyHash, Entry>,
    balances: HashMap<OrgId, Arc<Balances>>,
}

#[derive(Debug)]
struct Entry {
    key: ApiKey,
    organization: Organization,
    balances: Arc<Balances>,
}

#[derive(Debug)]
struct Balances {
    live: AtomicI64,
    test: AtomicI64,
}

/// Looks whether any other connection has committed.
#[derive(Debug)]
struct Others {
    connection: Connection,
    version: i64,
    looked: Instant,
}

impl Callers {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push("-changes");
        let changes = File::options()
            .create(true)
            .append(true)
            .open(name)
            .map_err(|error| StoreError::Unwritable(Box::new(error)))?;
        let connection = reader(path)?;
        let version = data_version(&connection)?;
        Ok(Self {
            changes,
            known: RwLock::default(),
            others: Mutex::new(Others {
                connection,
                version,
                looked: Instant::now(),
            }),
        })
    }

    /// To be called when a key or an organization was changed, after the commit and before anybody is told of it.
    pub(super) fn changed(&self) {
        if let Err(error) = (&self.changes).write_all(b".") {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "other processes see a change of keys a second late"
            );
            self.known_mut().forget();
        }
    }

    /// The same for a balance that this process has moved.
    pub(super) fn publish(&self, moved: &Moved) {
        if let Some(balances) = self.known().balances.get(&moved.org) {
            balances
                .of(moved.mode)
                .store(moved.credits.get(), Ordering::Release);
        }
    }

    /// What `read` finds in the database, or found when it was last asked and would find again.
    pub(super) fn get(
        &self,
        hash: &KeyHash,
        read: impl Fn() -> Result<Option<(ApiKey, Organization)>>,
    ) -> Result<Option<(ApiKey, Organization)>> {
        let Ok(changes) = self.changes.metadata() else {
            return read();
        };
        let changes = changes.len();
        self.look_at_others()?;
        {
            let known = self.known();
            if known.seen >= changes
                && let Some(entry) = known.by_hash.get(hash)
            {
                return Ok(Some(entry.now()));
            }
        }
        let epoch = {
            let mut known = self.known_mut();
            if known.seen < changes || known.by_hash.len() >= MOST {
                known.forget();
                known.seen = known.seen.max(changes);
            }
            known.epoch
        };
        let Some((_, organization)) = read()? else {
            return Ok(None);
        };
        let balances = Arc::clone(
            self.known_mut()
                .balances
                .entry(organization.id)
                .or_default(),
        );
        // Read again, now that nothing is published past it: either this sees a movement, or the movement finds it.
        let Some((key, organization)) = read()? else {
            return Ok(None);
        };
        balances.fill(&organization);
        let entry = Entry {
            key,
            organization,
            balances,
        };
        let found = entry.now();
        let mut known = self.known_mut();
        if known.epoch == epoch {
            known.by_hash.insert(hash.clone(), entry);
        }
        Ok(Some(found))
    }

    fn look_at_others(&self) -> Result<()> {
        // Whoever finds it taken comes at the same time as somebody who looks.
        let Ok(mut others) = self.others.try_lock() else {
            return Ok(());
        };
        if others.looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        let version = data_version(&others.connection)?;
        others.looked = Instant::now();
        if std::mem::replace(&mut others.version, version) != version {
            self.known_mut().forget();
        }
        Ok(())
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self) {
        self.epoch += 1;
        self.by_hash.clear();
        self.balances.clear();
    }
}

impl Entry {
    fn now(&self) -> (ApiKey, Organization) {
        let mut organization = self.organization.clone();
        organization.live_credits = self
            .balances
            .get(Mode::Live)
            .unwrap_or(organization.live_credits);
        organization.test_credits = self
            .balances
            .get(Mode::Test)
            .unwrap_or(organization.test_credits);
        (self.key.clone(), organization)
    }
}

impl Default for Balances {
    fn default() -> Self {
        Self {
            live: AtomicI64::new(UNKNOWN),
            test: AtomicI64::new(UNKNOWN),
        }
    }
}

impl Balances {
    fn of(&self, mode: Mode) -> &AtomicI64 {
        match mode {
            Mode::Live => &self.live,
            Mode::Test => &self.test,
        }
    }

    fn get(&self, mode: Mode) -> Option<Credits> {
        Credits::new(self.of(mode).load(Ordering::Acquire))
    }

    /// A balance that was published meanwhile is newer than what was read.
    fn fill(&self, organization: &Organization) {
        for mode in Mode::ALL {
            let read = organization.credits(mode).get();
            let _newer_is_there =
                self.of(mode)
                    .compare_exchange(UNKNOWN, read, Ordering::AcqRel, Ordering::Acquire);
        }
    }
}

fn data_version(connection: &Connection) -> Result<i64> {
    Ok(connection
        .prepare_cached("PRAGMA data_version")?
        .query_row((), |row| row.get(0))?)
}
