use super::rows::{Columns, collect, first};
use crate::Result;
use crate::store::Recording;
use rusqlite::{Connection, params};
use vydra_core::asset::{Asset, AssetRole, MediaKind};
use vydra_core::ids::{AssetId, JobId, OrgId};

const COLUMNS: &str = "id, org_id, job_id, role, kind, media_type, storage_key, bytes, width, height, duration_ms, created_at, filename, upload_key";

fn read(row: &mut Columns<'_, '_>) -> Result<Asset> {
    Ok(Asset {
        id: AssetId::trusted(row.take()?),
        org_id: OrgId::trusted(row.take()?),
        job_id: row.take::<Option<String>>()?.map(JobId::trusted),
        role: row.word(AssetRole::parse)?,
        kind: row.word(MediaKind::parse)?,
        media_type: row.take()?,
        storage_key: row.take()?,
        bytes: row.take::<i64>()?.unsigned_abs(),
        dimensions: row.take::<Option<u32>>()?.zip(row.take()?),
        duration_ms: row.take::<Option<i64>>()?.map(i64::unsigned_abs),
        created_at: row.time()?,
        filename: row.take()?,
        upload_key: row.take()?,
    })
}

/// `step` is that of a step's output, and of nothing else.
pub(super) fn insert(
    db: &Connection,
    asset: &Asset,
    step: Option<u32>,
    place: usize,
) -> Result<Recording> {
    let changed = db.prepare_cached(
        "INSERT INTO assets (id, org_id, job_id, place, role, kind, media_type, storage_key, bytes, width, height, duration_ms, created_at, filename, upload_key, step)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
         ON CONFLICT (upload_key) DO NOTHING",
    )?
    .execute(params![
        asset.id.as_str(),
        asset.org_id.as_str(),
        asset.job_id.as_ref().map(JobId::as_str),
        i64::try_from(place).unwrap_or(i64::MAX),
        asset.role.as_str(),
        asset.kind.as_str(),
        asset.media_type,
        asset.storage_key,
        i64::try_from(asset.bytes).unwrap_or(i64::MAX),
        asset.dimensions.map(|(width, _)| width),
        asset.dimensions.map(|(_, height)| height),
        asset.duration_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
        asset.created_at.as_micros(),
        asset.filename,
        asset.upload_key,
        step,
    ])?;
    Ok(if changed == 0 {
        Recording::UploadKeyTaken
    } else {
        Recording::Recorded
    })
}

pub(super) fn get(db: &Connection, org: &OrgId, id: &AssetId) -> Result<Option<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM assets WHERE id = ?1 AND org_id = ?2"
    ))?;
    first(statement.query(params![id.as_str(), org.as_str()])?, read)
}

pub(super) fn by_storage_key(db: &Connection, storage_key: &str) -> Result<Option<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM assets WHERE storage_key = ?1"
    ))?;
    first(statement.query(params![storage_key])?, read)
}

pub(super) fn by_upload_key(
    db: &Connection,
    org: &OrgId,
    upload_key: &str,
) -> Result<Option<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM assets WHERE upload_key = ?1 AND org_id = ?2"
    ))?;
    first(statement.query(params![upload_key, org.as_str()])?, read)
}

pub(super) fn of_job(db: &Connection, job: &JobId) -> Result<Vec<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM assets WHERE job_id = ?1 AND role = 'output' ORDER BY place"
    ))?;
    collect(statement.query(params![job.as_str()])?, read)
}

pub(super) fn of_step(db: &Connection, job: &JobId, step: u32) -> Result<Vec<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM assets WHERE job_id = ?1 AND role = 'step' AND step = ?2 ORDER BY place"
    ))?;
    collect(statement.query(params![job.as_str(), step])?, read)
}
