use super::organizations;
use super::rows::{Columns, collect, first};
use crate::document::to_json;
use crate::store::{NewRotation, Rotation};
use crate::{Result, StoreError};
use rusqlite::{Connection, params};
use vydra_core::api_key::{ApiKey, KeyHash};
use vydra_core::ids::{KeyId, OrgId, UserId};
use vydra_core::job::Mode;
use vydra_core::organization::Organization;
use vydra_core::scope::GrantedScopes;
use vydra_core::time::Timestamp;

const COLUMNS: &str = "k.id, k.org_id, k.name, k.shown_prefix, k.mode, k.scopes, k.created_at, k.expires_at, k.revoked_at,
    k.user_id, k.origin_id, k.request_count, k.last_used_at";

fn read(row: &mut Columns<'_, '_>) -> Result<ApiKey> {
    Ok(ApiKey {
        id: KeyId::trusted(row.take()?),
        org_id: OrgId::trusted(row.take()?),
        name: row.take()?,
        shown_prefix: row.take()?,
        mode: row.word(Mode::parse)?,
        scopes: GrantedScopes::trusted(row.json()?),
        created_at: row.time()?,
        expires_at: row.time_if_any()?,
        revoked_at: row.time_if_any()?,
        user_id: row.take::<Option<String>>()?.map(UserId::trusted),
        origin_id: row.take::<Option<String>>()?.map(KeyId::trusted),
        request_count: row.take::<i64>()?.unsigned_abs(),
        last_used_at: row.time_if_any()?,
    })
}

pub(super) fn create(db: &Connection, key: &ApiKey, hash: &KeyHash) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO api_keys (id, org_id, name, shown_prefix, hash, mode, scopes, created_at, expires_at, revoked_at, user_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        key.id.as_str(),
        key.org_id.as_str(),
        key.name,
        key.shown_prefix,
        hash.as_str(),
        key.mode.as_str(),
        to_json(&key.scopes)?,
        key.created_at.as_micros(),
        key.expires_at.map(Timestamp::as_micros),
        key.revoked_at.map(Timestamp::as_micros),
        key.user_id.as_ref().map(UserId::as_str),
    ])?;
    Ok(())
}

pub(super) fn by_hash(db: &Connection, hash: &KeyHash) -> Result<Option<(ApiKey, Organization)>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS}, {} FROM api_keys k JOIN organizations o ON o.id = k.org_id WHERE k.hash = ?1",
        organizations::COLUMNS
    ))?;
    first(statement.query(params![hash.as_str()])?, |row| {
        Ok((read(row)?, organizations::read(row)?))
    })
}

pub(super) fn list(db: &Connection, org: &OrgId) -> Result<Vec<ApiKey>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM api_keys k WHERE k.org_id = ?1 ORDER BY k.id"
    ))?;
    collect(statement.query(params![org.as_str()])?, read)
}

pub(super) fn revoke(db: &Connection, id: &KeyId, now: Timestamp) -> Result<Option<ApiKey>> {
    db.prepare_cached("UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")?
        .execute(params![id.as_str(), now.as_micros()])?;
    get(db, id)
}

pub(super) fn revoke_of(
    db: &Connection,
    org: &OrgId,
    id: &KeyId,
    now: Timestamp,
) -> Result<Option<ApiKey>> {
    db.prepare_cached(
        "UPDATE api_keys SET revoked_at = ?3 WHERE id = ?2 AND org_id = ?1 AND revoked_at IS NULL",
    )?
    .execute(params![org.as_str(), id.as_str(), now.as_micros()])?;
    of(db, org, id)
}

pub(super) fn get(db: &Connection, id: &KeyId) -> Result<Option<ApiKey>> {
    let mut statement =
        db.prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys k WHERE k.id = ?1"))?;
    first(statement.query(params![id.as_str()])?, read)
}

pub(super) fn of(db: &Connection, org: &OrgId, id: &KeyId) -> Result<Option<ApiKey>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM api_keys k WHERE k.org_id = ?1 AND k.id = ?2"
    ))?;
    first(statement.query(params![org.as_str(), id.as_str()])?, read)
}

pub(super) fn rotate(db: &Connection, rotation: &NewRotation) -> Result<Rotation> {
    let NewRotation {
        org_id,
        old,
        new,
        shown_prefix,
        hash,
        user_id,
        until,
        now,
    } = rotation;
    let made = db
        .prepare_cached(
            "INSERT INTO api_keys (id, org_id, name, shown_prefix, hash, mode, scopes, created_at, expires_at, user_id, origin_id)
             SELECT ?3, org_id, name, ?4, ?5, mode, scopes, ?7, expires_at, coalesce(?6, user_id), coalesce(origin_id, id) FROM api_keys
             WHERE id = ?2 AND org_id = ?1 AND revoked_at IS NULL AND replaced_by IS NULL AND (expires_at IS NULL OR expires_at > ?7)",
        )?
        .execute(params![
            org_id.as_str(),
            old.as_str(),
            new.as_str(),
            shown_prefix,
            hash.as_str(),
            user_id.as_ref().map(UserId::as_str),
            now.as_micros(),
        ])?;
    if made == 0 {
        return Ok(match of(db, org_id, old)? {
            Some(_) => Rotation::NotActive,
            None => Rotation::NotFound,
        });
    }
    db.prepare_cached(
        "UPDATE api_keys SET replaced_by = ?3, expires_at = min(coalesce(expires_at, ?2), ?2),
             revoked_at = CASE WHEN ?2 <= ?4 THEN ?4 END WHERE id = ?1",
    )?
    .execute(params![
        old.as_str(),
        until.as_micros(),
        new.as_str(),
        now.as_micros()
    ])?;
    match (of(db, org_id, new)?, of(db, org_id, old)?) {
        (Some(new), Some(old)) => Ok(Rotation::Rotated {
            new: Box::new(new),
            old: Box::new(old),
        }),
        _ => Err(StoreError::Corrupt("a rotated key is gone".to_owned())),
    }
}
