//! Data to measure on: many organizations with their keys, copied in the database from one that the binary made itself, so that
//! whatever a row has besides its ids is as the binary writes it.

mod admissions;
mod jobs;
pub mod postgres;

use anyhow::Context;
use rusqlite::{Connection, Transaction, params};
use vydra_core::api_key::{KeySecret, Pepper};
use vydra_core::job::Mode;

pub use admissions::admissions;
pub use jobs::finished;

use crate::server::{Data, PLAN};
use crate::system::Numbers;

/// Enough for every measurement, at 5 credits a job.
const CREDITS: &str = "1000000000000";
const FIRST: &str = "first";

/// The secrets of an organization.
#[derive(Debug, Clone)]
pub struct Customer {
    pub live: String,
    pub test: String,
}

/// Makes the first organization in `data`, which is empty and configured.
fn first(data: &Data) -> anyhow::Result<Customer> {
    let create = [
        "org",
        "create",
        "--name",
        FIRST,
        "--plan",
        PLAN,
        "--credits",
        CREDITS,
    ];
    data.json(&create)?;
    let grant = [
        "credits", "grant", "--org", FIRST, "--test", "--amount", CREDITS, "--reason", "bench",
    ];
    data.json(&grant)?;
    let key = |more: &[&str]| -> anyhow::Result<String> {
        let made = data.json(&[&["key", "create", "--org", FIRST], more].concat())?;
        let secret = made["key"].as_str().context("the key is not shown")?;
        Ok(secret.to_owned())
    };
    Ok(Customer {
        live: key(&[])?,
        test: key(&["--test"])?,
    })
}

/// Makes so many organizations in `data`, which is empty and configured.
pub fn customers(data: &Data, count: usize) -> anyhow::Result<Vec<Customer>> {
    let mut customers = vec![first(data)?];
    let mut db = data.open()?;
    let org: String = db.query_row("SELECT id FROM organizations", (), |row| row.get(0))?;
    let org = org.as_str();
    let pepper = pepper(&db)?;
    let random = Numbers::new(1);
    let transaction = db.transaction()?;
    let entries: i64 =
        transaction.query_row("SELECT count(*) FROM ledger", (), |row| row.get(0))?;
    for number in 1..count {
        let id = org_number(number);
        let name = format!("customer {number}");
        copy(
            &transaction,
            "organizations",
            "id = ?1",
            &[("id", &id), ("name", &name)],
            org,
        )?;
        // The first one has no row but these: each copy of them follows the one before.
        let behind = entries * i64::try_from(number)?;
        transaction
            .prepare_cached(&copying(
                &transaction,
                "balances",
                "org_id = ?1",
                &[("org_id", "?2"), ("last_entry", "last_entry + ?3")],
            )?)?
            .execute(params![org, id, behind])?;
        transaction
            .prepare_cached(&copying(
                &transaction,
                "ledger",
                "org_id = ?1",
                &[
                    ("seq", "seq + ?4"),
                    ("previous", "previous + ?4"),
                    ("id", "id || ?2"),
                    ("org_id", "?3"),
                ],
            )?)?
            .execute(params![org, number.to_string(), id, behind])?;
        let make = |mode: Mode| -> anyhow::Result<String> {
            let secret = KeySecret::generate(mode, id.trim_start_matches("org_"), &random);
            let hash = secret.hash(&pepper);
            let key_id = format!("key_{}{:022}", &mode.as_str()[..4], number);
            let new = [
                ("id", key_id.as_str()),
                ("org_id", &id),
                ("hash", hash.as_str()),
            ];
            let which = format!("org_id = ?1 AND mode = '{}'", mode.as_str());
            copy(&transaction, "api_keys", &which, &new, org)?;
            Ok(secret.reveal().to_owned())
        };
        let (live, test) = (make(Mode::Live)?, make(Mode::Test)?);
        customers.push(Customer { live, test });
    }
    transaction.commit()?;
    settle(&db)?;
    Ok(customers)
}

/// The id of a copied organization.
fn org_number(number: usize) -> String {
    format!("org_{number:026}")
}

fn pepper(db: &Connection) -> anyhow::Result<Pepper> {
    let kept: Vec<u8> = db.query_row(
        "SELECT value FROM settings WHERE name = 'pepper'",
        (),
        |row| row.get(0),
    )?;
    let bytes = <[u8; 32]>::try_from(kept)
        .ok()
        .context("the pepper is not 32 bytes")?;
    Ok(Pepper::new(bytes))
}

/// Everything into the one file that is copied.
fn settle(db: &Connection) -> anyhow::Result<()> {
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?;
    Ok(())
}

/// Copies the rows of `table` for which `which` holds of `of`, with other texts in some columns.
fn copy(
    db: &Transaction<'_>,
    table: &str,
    which: &str,
    new: &[(&str, &str)],
    of: &str,
) -> anyhow::Result<()> {
    let places: Vec<String> = (2..2 + new.len())
        .map(|place| format!("?{place}"))
        .collect();
    let replaced: Vec<(&str, &str)> = new
        .iter()
        .zip(&places)
        .map(|((column, _), place)| (*column, place.as_str()))
        .collect();
    let values = std::iter::once(of).chain(new.iter().map(|(_, value)| *value));
    db.prepare_cached(&copying(db, table, which, &replaced)?)?
        .execute(rusqlite::params_from_iter(values))?;
    Ok(())
}

/// The statement that copies rows, whatever columns the table has.
fn copying(
    db: &Connection,
    table: &str,
    which: &str,
    replaced: &[(&str, &str)],
) -> anyhow::Result<String> {
    let columns = columns(db, table)?;
    let values: Vec<&str> = columns
        .iter()
        .map(|column| {
            replaced
                .iter()
                .find(|(name, _)| name == column)
                .map_or(column.as_str(), |(_, value)| *value)
        })
        .collect();
    let (columns, values) = (columns.join(", "), values.join(", "));
    Ok(format!(
        "INSERT INTO {table} ({columns}) SELECT {values} FROM {table} WHERE {which}"
    ))
}

fn columns(db: &Connection, table: &str) -> anyhow::Result<Vec<String>> {
    Ok(db
        .prepare_cached("SELECT name FROM pragma_table_info(?1)")?
        .query_map(params![table], |row| row.get(0))?
        .collect::<Result<_, _>>()?)
}
