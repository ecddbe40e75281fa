//! The same organizations and keys on Postgres: copied in the database from one that the binary made itself.

use std::fmt::Write as _;

use anyhow::Context;
use vydra_core::api_key::{KeySecret, Pepper};
use vydra_core::job::Mode;

use super::{Customer, FIRST, org_number};
use crate::postgres::Postgres;
use crate::server::Data;
use crate::system::Numbers;

/// Makes so many organizations in this database, to which the configuration of `data` leads.
pub fn customers(
    data: &Data,
    postgres: &Postgres,
    database: &str,
    count: usize,
) -> anyhow::Result<Vec<Customer>> {
    let first = super::first(data)?;
    let sql = |text: &str| postgres.sql(database, text);
    let pepper = sql("SELECT encode(value, 'hex') FROM settings WHERE name = 'pepper'")?;
    let pepper = pepper_of(&pepper).context("the pepper is not 32 bytes")?;
    let entries: i64 = sql("SELECT count(*) FROM ledger")?.parse()?;
    let last = count - 1;
    // The first one has no row but these: each copy of them follows the one before.
    sql(&format!(
        "INSERT INTO organizations SELECT (jsonb_populate_record(o, jsonb_build_object(
             'id', 'org_' || lpad(n::text, 26, '0'), 'name', 'customer ' || n))).* FROM organizations o, generate_series(1, {last}) n;
         INSERT INTO balances SELECT (jsonb_populate_record(b, jsonb_build_object(
             'org_id', 'org_' || lpad(n::text, 26, '0'), 'last_entry', b.last_entry + n * {entries}))).*
             FROM balances b, generate_series(1, {last}) n;
         INSERT INTO ledger SELECT (jsonb_populate_record(l, jsonb_build_object(
             'seq', l.seq + n * {entries}, 'previous', l.previous + n * {entries}, 'id', l.id || n,
             'org_id', 'org_' || lpad(n::text, 26, '0')))).* FROM ledger l, generate_series(1, {last}) n;
         SELECT setval(pg_get_serial_sequence('ledger', 'seq'), (SELECT max(seq) FROM ledger));"
    ))?;
    let random = Numbers::new(1);
    let (mut customers, mut keys) = (vec![first], String::new());
    for number in 1..count {
        let id = org_number(number);
        let mut make = |mode: Mode| -> anyhow::Result<String> {
            let secret = KeySecret::generate(mode, id.trim_start_matches("org_"), &random);
            let parted = if keys.is_empty() { "" } else { ", " };
            write!(
                keys,
                "{parted}('key_{}{number:022}', '{id}', '{}', '{}')",
                &mode.as_str()[..4],
                secret.hash(&pepper).as_str(),
                mode.as_str()
            )?;
            Ok(secret.reveal().to_owned())
        };
        let (live, test) = (make(Mode::Live)?, make(Mode::Test)?);
        customers.push(Customer { live, test });
    }
    if !keys.is_empty() {
        sql(&format!(
            "INSERT INTO api_keys SELECT (jsonb_populate_record(k, jsonb_build_object('id', n.id, 'org_id', n.org, 'hash', n.hash))).*
             FROM (VALUES {keys}) AS n (id, org, hash, mode) JOIN api_keys k ON k.mode = n.mode
             JOIN organizations o ON o.id = k.org_id AND o.name = '{FIRST}'"
        ))?;
    }
    sql("ANALYZE")?;
    Ok(customers)
}

fn pepper_of(hex: &str) -> Option<Pepper> {
    let bytes: Option<Vec<u8>> = (0..hex.len())
        .step_by(2)
        .map(|place| u8::from_str_radix(hex.get(place..place + 2)?, 16).ok())
        .collect();
    Some(Pepper::new(<[u8; 32]>::try_from(bytes?).ok()?))
}
