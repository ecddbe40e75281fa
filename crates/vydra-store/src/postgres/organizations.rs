use super::db::Db;
use super::rows::{self, Columns, collect};
use super::{credits, keys};
use crate::Result;
use crate::store::{Creation, NewOrganization};
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

pub(super) fn read(row: &mut Columns<'_>) -> Result<Organization> {
    Ok(Organization {
        id: OrgId::trusted(row.take()?),
        name: row.take()?,
        plan: row.take()?,
        overrides: LimitOverrides {
            rpm: row.number_if_any()?,
            rph: row.number_if_any()?,
            rpd: row.number_if_any()?,
            concurrent: row.number_if_any()?,
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

pub(super) async fn create(db: &Db, new: &NewOrganization) -> Result<Creation<Organization>> {
    let [rpm, rph, rpd, concurrent] = limits(new.overrides);
    let inserted = db
        .run(
            "INSERT INTO organizations (id, name, plan, rpm, rph, rpd, concurrent, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT (name) DO NOTHING",
            &[
                &new.id.as_str(),
                &new.name,
                &new.plan,
                &rpm,
                &rph,
                &rpd,
                &concurrent,
                &new.now.as_micros(),
            ],
        )
        .await?;
    if inserted == 0 {
        return Ok(Creation::NameTaken);
    }
    for (mode, (entry, amount)) in [(Mode::Live, &new.live), (Mode::Test, &new.test)] {
        db.run(
            "INSERT INTO balances (org_id, mode, credits) VALUES ($1, $2, 0)",
            &[&new.id.as_str(), &mode.as_str()],
        )
        .await?;
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
            credits::add(db, &movement).await?;
        }
    }
    created(db, &new.id).await
}

/// As the columns take them.
fn limits(overrides: LimitOverrides) -> [Option<i64>; 4] {
    let LimitOverrides {
        rpm,
        rph,
        rpd,
        concurrent,
    } = overrides;
    [rpm, rph, rpd, concurrent].map(|limit| limit.map(i64::from))
}

pub(super) async fn register_bot(
    db: &Db,
    new: &NewOrganization,
    billing_email: &str,
    key: &ApiKey,
    hash: &KeyHash,
) -> Result<Creation<Organization>> {
    if create(db, new).await? == Creation::NameTaken {
        return Ok(Creation::NameTaken);
    }
    db.run(
        "UPDATE organizations SET billing_email = $2 WHERE id = $1",
        &[&new.id.as_str(), &billing_email],
    )
    .await?;
    keys::create(db, key, hash).await?;
    created(db, &new.id).await
}

async fn created(db: &Db, id: &OrgId) -> Result<Creation<Organization>> {
    get(db, id)
        .await?
        .map(Creation::Created)
        .ok_or_else(|| crate::StoreError::Corrupt("a new organization is gone".to_owned()))
}

pub(super) async fn get(db: &Db, id: &OrgId) -> Result<Option<Organization>> {
    let row = db
        .first(
            &format!("SELECT {COLUMNS} FROM organizations o WHERE o.id = $1"),
            &[&id.as_str()],
        )
        .await?;
    rows::read(row.as_ref(), read)
}

pub(super) async fn by_name(db: &Db, name: &str) -> Result<Option<Organization>> {
    let row = db
        .first(
            &format!("SELECT {COLUMNS} FROM organizations o WHERE o.name = $1"),
            &[&name],
        )
        .await?;
    rows::read(row.as_ref(), read)
}

pub(super) async fn list(db: &Db) -> Result<Vec<Organization>> {
    let rows = db
        .all(
            &format!("SELECT {COLUMNS} FROM organizations o ORDER BY o.id"),
            &[],
        )
        .await?;
    collect(&rows, read)
}

pub(super) async fn set_plan(
    db: &Db,
    id: &OrgId,
    plan: &str,
    overrides: LimitOverrides,
    now: Timestamp,
) -> Result<Option<Organization>> {
    let [rpm, rph, rpd, concurrent] = limits(overrides);
    db.run(
        "UPDATE organizations SET plan = $2, rpm = $3, rph = $4, rpd = $5, concurrent = $6, updated_at = $7 WHERE id = $1",
        &[
            &id.as_str(),
            &plan,
            &rpm,
            &rph,
            &rpd,
            &concurrent,
            &now.as_micros(),
        ],
    )
    .await?;
    get(db, id).await
}

pub(super) async fn set_retention(
    db: &Db,
    id: &OrgId,
    keep_assets: Option<Duration>,
    now: Timestamp,
) -> Result<Option<Organization>> {
    let micros = keep_assets.map(|span| i64::try_from(span.as_micros()).unwrap_or(i64::MAX));
    db.run(
        "UPDATE organizations SET keep_assets = $2, updated_at = $3 WHERE id = $1",
        &[&id.as_str(), &micros, &now.as_micros()],
    )
    .await?;
    get(db, id).await
}
