use super::rows::{Columns, collect, first};
use super::{credits, keys};
use crate::Result;
use crate::store::{Creation, NewOrganization};
use rusqlite::{Connection, params};
use std::time::Duration;
use vydra_core::api_key::{ApiKey, KeyHash};
use vydra_core::ids::OrgId;
use vydra_core::job::Mode;
use vydra_core::ledger::EntryKind;
use vydra_core::organization::Organization;
use vydra_core::plan::LimitOverrides;
use vydra_core::time::Timestamp;

/// The columns of [`read`], from `organizations o`.
pub(super) const COLUMNS: &str = "o.id, o.name, o.plan, o.rpm, o.rph, o.rpd, o.concurrent,
    (SELECT credits FROM balances WHERE org_id = o.id AND mode = 'live'),
    (SELECT credits FROM balances WHERE org_id = o.id AND mode = 'test'),
    o.billing_email, o.keep_assets, o.created_at, o.updated_at";

pub(super) fn read(row: &mut Columns<'_, '_>) -> Result<Organization> {
    Ok(Organization {
        id: OrgId::trusted(row.take()?),
        name: row.take()?,
        plan: row.take()?,
        overrides: LimitOverrides {
            rpm: row.take()?,
            rph: row.take()?,
            rpd: row.take()?,
            concurrent: row.take()?,
        },
        live_credits: row.credits()?,
        test_credits: row.credits()?,
        billing_email: row.take()?,
        keep_assets: row
            .take::<Option<i64>>()?
            .map(|micros| Duration::from_micros(micros.unsigned_abs())),
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

pub(super) fn create(db: &Connection, new: &NewOrganization) -> Result<Creation<Organization>> {
    let now = new.now.as_micros();
    let LimitOverrides {
        rpm,
        rph,
        rpd,
        concurrent,
    } = new.overrides;
    let inserted = db
        .prepare_cached(
            "INSERT INTO organizations (id, name, plan, rpm, rph, rpd, concurrent, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![new.id.as_str(), new.name, new.plan, rpm, rph, rpd, concurrent, now])?;
    if inserted == 0 {
        return Ok(Creation::NameTaken);
    }
    for (mode, (entry, amount)) in [(Mode::Live, &new.live), (Mode::Test, &new.test)] {
        db.prepare_cached("INSERT INTO balances (org_id, mode, credits) VALUES (?1, ?2, 0)")?
            .execute(params![new.id.as_str(), mode.as_str()])?;
        if amount.get() > 0 {
            let movement = credits::Movement {
                id: entry,
                org: &new.id,
                mode,
                kind: EntryKind::Grant,
                amount: amount.get(),
                job: None,
                reason: &new.reason,
                now: new.now,
            };
            credits::add(db, &movement)?;
        }
    }
    created(db, &new.id)
}

pub(super) fn register_bot(
    db: &Connection,
    new: &NewOrganization,
    billing_email: &str,
    key: &ApiKey,
    hash: &KeyHash,
) -> Result<Creation<Organization>> {
    if create(db, new)? == Creation::NameTaken {
        return Ok(Creation::NameTaken);
    }
    db.prepare_cached("UPDATE organizations SET billing_email = ?2 WHERE id = ?1")?
        .execute(params![new.id.as_str(), billing_email])?;
    keys::create(db, key, hash)?;
    created(db, &new.id)
}

fn created(db: &Connection, id: &OrgId) -> Result<Creation<Organization>> {
    get(db, id)?
        .map(Creation::Created)
        .ok_or_else(|| crate::StoreError::Corrupt("a new organization is gone".to_owned()))
}

pub(super) fn get(db: &Connection, id: &OrgId) -> Result<Option<Organization>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM organizations o WHERE o.id = ?1"
    ))?;
    first(statement.query(params![id.as_str()])?, read)
}

pub(super) fn by_name(db: &Connection, name: &str) -> Result<Option<Organization>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM organizations o WHERE o.name = ?1"
    ))?;
    first(statement.query(params![name])?, read)
}

pub(super) fn list(db: &Connection) -> Result<Vec<Organization>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM organizations o ORDER BY o.id"
    ))?;
    collect(statement.query(())?, read)
}

pub(super) fn set_plan(
    db: &Connection,
    id: &OrgId,
    plan: &str,
    LimitOverrides {
        rpm,
        rph,
        rpd,
        concurrent,
    }: LimitOverrides,
    now: Timestamp,
) -> Result<Option<Organization>> {
    db.prepare_cached(
        "UPDATE organizations SET plan = ?2, rpm = ?3, rph = ?4, rpd = ?5, concurrent = ?6, updated_at = ?7 WHERE id = ?1",
    )?
    .execute(params![id.as_str(), plan, rpm, rph, rpd, concurrent, now.as_micros()])?;
    get(db, id)
}

pub(super) fn set_retention(
    db: &Connection,
    id: &OrgId,
    keep_assets: Option<Duration>,
    now: Timestamp,
) -> Result<Option<Organization>> {
    let micros = keep_assets.map(|span| i64::try_from(span.as_micros()).unwrap_or(i64::MAX));
    db.prepare_cached("UPDATE organizations SET keep_assets = ?2, updated_at = ?3 WHERE id = ?1")?
        .execute(params![id.as_str(), micros, now.as_micros()])?;
    get(db, id)
}
