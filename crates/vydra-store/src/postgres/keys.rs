use super::db::Db;
use super::organizations;
use super::rows::{self, Columns, collect};
use crate::document::to_json;
use crate::store::{NewRotation, Rotation};
use crate::{Result, StoreError};
use vydra_core::api_key::{ApiKey, KeyHash};
use vydra_core::ids::{KeyId, OrgId, UserId};
use vydra_core::job::Mode;
use vydra_core::organization::Organization;
use vydra_core::scope::GrantedScopes;
use vydra_core::time::Timestamp;

/// The columns of [`read`], from `api_keys k`.
pub(super) const COLUMNS: &str = "k.id, k.org_id, k.name, k.shown_prefix, k.mode, k.scopes, k.created_at, k.expires_at, k.revoked_at,
    k.user_id, k.origin_id, k.request_count, k.last_used_at";

pub(super) fn read(row: &mut Columns<'_>) -> Result<ApiKey> {
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
        request_count: row.number()?,
        last_used_at: row.time_if_any()?,
    })
}

pub(super) async fn create(db: &Db, key: &ApiKey, hash: &KeyHash) -> Result<()> {
    db.run(
        "INSERT INTO api_keys (id, org_id, name, shown_prefix, hash, mode, scopes, created_at, expires_at, revoked_at, user_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            &key.id.as_str(),
            &key.org_id.as_str(),
            &key.name,
            &key.shown_prefix,
            &hash.as_str(),
            &key.mode.as_str(),
            &to_json(&key.scopes)?,
            &key.created_at.as_micros(),
            &key.expires_at.map(Timestamp::as_micros),
            &key.revoked_at.map(Timestamp::as_micros),
            &key.user_id.as_ref().map(UserId::as_str),
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn by_hash(db: &Db, hash: &KeyHash) -> Result<Option<(ApiKey, Organization)>> {
    let row = db
        .first(
            &format!(
                "SELECT {COLUMNS}, {} FROM api_keys k JOIN organizations o ON o.id = k.org_id WHERE k.hash = $1",
                organizations::COLUMNS
            ),
            &[&hash.as_str()],
        )
        .await?;
    rows::read(row.as_ref(), |row| {
        Ok((read(row)?, organizations::read(row)?))
    })
}

pub(super) async fn list(db: &Db, org: &OrgId) -> Result<Vec<ApiKey>> {
    let rows = db
        .all(
            &format!("SELECT {COLUMNS} FROM api_keys k WHERE k.org_id = $1 ORDER BY k.id"),
            &[&org.as_str()],
        )
        .await?;
    collect(&rows, read)
}

pub(super) async fn revoke(db: &Db, id: &KeyId, now: Timestamp) -> Result<Option<ApiKey>> {
    db.run(
        "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
        &[&id.as_str(), &now.as_micros()],
    )
    .await?;
    get(db, id).await
}

pub(super) async fn revoke_of(
    db: &Db,
    org: &OrgId,
    id: &KeyId,
    now: Timestamp,
) -> Result<Option<ApiKey>> {
    db.run(
        "UPDATE api_keys SET revoked_at = $3 WHERE id = $2 AND org_id = $1 AND revoked_at IS NULL",
        &[&org.as_str(), &id.as_str(), &now.as_micros()],
    )
    .await?;
    of(db, org, id).await
}

pub(super) async fn get(db: &Db, id: &KeyId) -> Result<Option<ApiKey>> {
    let row = db
        .first(
            &format!("SELECT {COLUMNS} FROM api_keys k WHERE k.id = $1"),
            &[&id.as_str()],
        )
        .await?;
    rows::read(row.as_ref(), read)
}

pub(super) async fn of(db: &Db, org: &OrgId, id: &KeyId) -> Result<Option<ApiKey>> {
    let row = db
        .first(
            &format!("SELECT {COLUMNS} FROM api_keys k WHERE k.org_id = $1 AND k.id = $2"),
            &[&org.as_str(), &id.as_str()],
        )
        .await?;
    rows::read(row.as_ref(), read)
}

pub(super) async fn rotate(db: &Db, rotation: &NewRotation) -> Result<Rotation> {
    if !replace(db, rotation).await? {
        return Ok(match of(db, &rotation.org_id, &rotation.old).await? {
            Some(_) => Rotation::NotActive,
            None => Rotation::NotFound,
        });
    }
    db.run(
        "UPDATE api_keys SET replaced_by = $3, expires_at = least(expires_at, $2::bigint),
             revoked_at = CASE WHEN $2::bigint <= $4::bigint THEN $4::bigint END WHERE id = $1",
        &[
            &rotation.old.as_str(),
            &rotation.until.as_micros(),
            &rotation.new.as_str(),
            &rotation.now.as_micros(),
        ],
    )
    .await?;
    let new = of(db, &rotation.org_id, &rotation.new).await?;
    let old = of(db, &rotation.org_id, &rotation.old).await?;
    match (new, old) {
        (Some(new), Some(old)) => Ok(Rotation::Rotated {
            new: Box::new(new),
            old: Box::new(old),
        }),
        _ => Err(StoreError::Corrupt("a rotated key is gone".to_owned())),
    }
}

/// Makes the new key of an active old one. False, and nothing made, when the old one is not active.
async fn replace(db: &Db, rotation: &NewRotation) -> Result<bool> {
    // Of several at once the first takes the old row, and the others find it replaced. Jobs go on naming it meanwhile.
    let made = db
        .run(
            "INSERT INTO api_keys (id, org_id, name, shown_prefix, hash, mode, scopes, created_at, expires_at, user_id, origin_id)
             SELECT $3::text, org_id, name, $4::text, $5::text, mode, scopes, $7::bigint, expires_at, coalesce($6::text, user_id),
                 coalesce(origin_id, id)
             FROM api_keys
             WHERE id = $2 AND org_id = $1 AND revoked_at IS NULL AND replaced_by IS NULL
                 AND (expires_at IS NULL OR expires_at > $7::bigint)
             FOR NO KEY UPDATE",
            &[
                &rotation.org_id.as_str(),
                &rotation.old.as_str(),
                &rotation.new.as_str(),
                &rotation.shown_prefix,
                &rotation.hash.as_str(),
                &rotation.user_id.as_ref().map(UserId::as_str),
                &rotation.now.as_micros(),
            ],
        )
        .await?;
    Ok(made > 0)
}
