use super::rows::{Columns, collect, first};
use super::{SqliteStore, organizations};
use crate::Result;
use crate::document::to_json;
use crate::store::{AssetFilter, AssetPage, AssetStore, Deleted, Recording};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;
use vydra_core::asset::{Asset, AssetRole, ListedAsset, MediaKind};
use vydra_core::ids::{AssetId, JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::organization::Organization;
use vydra_core::time::Timestamp;

/// The columns of [`read`], from `assets a`.
const COLUMNS: &str = "a.id, a.org_id, a.mode, a.job_id, a.role, a.kind, a.media_type, a.storage_key, a.bytes, a.width, a.height,
    a.duration_ms, a.created_at, a.filename, a.upload_key, a.has_thumbnail";

/// Those that their organization sees.
const LISTED: &str = "a.deleted_at IS NULL AND a.role IN ('output', 'upload')";

/// Those that a job needs which has not ended: it takes them in, or its steps made them.
const NEEDED: &str = "(EXISTS (SELECT 1 FROM job_inputs i WHERE i.asset_id = a.id)
    OR EXISTS (SELECT 1 FROM jobs n WHERE n.id = a.job_id AND n.completed_at IS NULL))";

fn read(row: &mut Columns<'_, '_>) -> Result<Asset> {
    Ok(Asset {
        id: AssetId::trusted(row.take()?),
        org_id: OrgId::trusted(row.take()?),
        mode: row.word(Mode::parse)?,
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
        has_thumbnail: row.take()?,
    })
}

fn read_listed(row: &mut Columns<'_, '_>) -> Result<ListedAsset> {
    Ok(ListedAsset {
        asset: read(row)?,
        workflow: row.take()?,
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
        "INSERT INTO assets (id, org_id, mode, job_id, place, role, kind, media_type, storage_key, bytes, width, height, duration_ms, created_at, filename, upload_key, step)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
         ON CONFLICT (upload_key) DO NOTHING",
    )?
    .execute(params![
        asset.id.as_str(),
        asset.org_id.as_str(),
        asset.mode.as_str(),
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

pub(super) fn get(db: &Connection, org: &OrgId, mode: Mode, id: &AssetId) -> Result<Option<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM assets a WHERE a.id = ?1 AND a.org_id = ?2 AND a.mode = ?3 AND a.deleted_at IS NULL"
    ))?;
    let rows = statement.query(params![id.as_str(), org.as_str(), mode.as_str()])?;
    first(rows, read)
}

/// The job needs it until it ends.
pub(super) fn take_in(db: &Connection, job: &JobId, id: &AssetId) -> Result<()> {
    db.prepare_cached("INSERT INTO job_inputs (job_id, asset_id) VALUES (?1, ?2)")?
        .execute(params![job.as_str(), id.as_str()])?;
    Ok(())
}

/// The job has ended.
pub(super) fn let_go(db: &Connection, job: &JobId) -> Result<()> {
    db.prepare_cached("DELETE FROM job_inputs WHERE job_id = ?1")?
        .execute(params![job.as_str()])?;
    Ok(())
}

pub(super) fn of_job(db: &Connection, job: &JobId) -> Result<Vec<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM assets a WHERE a.job_id = ?1 AND a.role = 'output' AND a.deleted_at IS NULL ORDER BY a.place"
    ))?;
    collect(statement.query(params![job.as_str()])?, read)
}

pub(super) fn of_step(db: &Connection, job: &JobId, step: u32) -> Result<Vec<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM assets a WHERE a.job_id = ?1 AND a.role = 'step' AND a.step = ?2 ORDER BY a.place"
    ))?;
    collect(statement.query(params![job.as_str(), step])?, read)
}

fn by_storage_key(db: &Connection, storage_key: &str) -> Result<Option<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM assets a WHERE a.storage_key = ?1 AND a.deleted_at IS NULL"
    ))?;
    first(statement.query(params![storage_key])?, read)
}

fn by_upload_key(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    upload_key: &str,
) -> Result<Option<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM assets a
         WHERE a.upload_key = ?1 AND a.org_id = ?2 AND a.mode = ?3 AND a.deleted_at IS NULL"
    ))?;
    let rows = statement.query(params![upload_key, org.as_str(), mode.as_str()])?;
    first(rows, read)
}

fn job_input(db: &Connection, job: &JobId, id: &AssetId) -> Result<Option<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM job_inputs i CROSS JOIN assets a ON a.id = i.asset_id
         WHERE i.job_id = ?1 AND i.asset_id = ?2"
    ))?;
    first(statement.query(params![job.as_str(), id.as_str()])?, read)
}

fn listed(db: &Connection, org: &OrgId, mode: Mode, id: &AssetId) -> Result<Option<ListedAsset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS}, coalesce(j.workflow, a.workflow) FROM assets a LEFT JOIN jobs j ON j.id = a.job_id
         WHERE a.id = ?1 AND a.org_id = ?2 AND a.mode = ?3 AND {LISTED}"
    ))?;
    let rows = statement.query(params![id.as_str(), org.as_str(), mode.as_str()])?;
    first(rows, read_listed)
}

struct ListSql {
    count: String,
    page: String,
}

impl ListSql {
    /// Both are found in the index alone: rows are read of the page itself, however many stand before it. A job is only looked
    /// up where its workflow matters.
    fn new(of_workflow: bool) -> Self {
        let found = if of_workflow {
            "assets a LEFT JOIN jobs w ON w.id = a.job_id WHERE coalesce(w.workflow, a.workflow) = ?3"
        } else {
            "assets a WHERE ?3 IS NULL"
        };
        let found = format!("{found} AND a.org_id = ?1 AND a.mode = ?2 AND {LISTED}");
        Self {
            count: format!("SELECT count(*) FROM {found}"),
            page: format!(
                "SELECT {COLUMNS}, coalesce(j.workflow, a.workflow) FROM (
                     SELECT a.id FROM {found} AND (a.created_at, a.id) < (?4, ?5)
                     ORDER BY a.created_at DESC, a.id DESC LIMIT ?6 OFFSET ?7) p
                 CROSS JOIN assets a ON a.id = p.id LEFT JOIN jobs j ON j.id = a.job_id
                 ORDER BY a.created_at DESC, a.id DESC"
            ),
        }
    }
}

fn list(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    filter: &AssetFilter,
) -> Result<Option<AssetPage>> {
    let (org, mode) = (org.as_str(), mode.as_str());
    let before = match &filter.after {
        None => (i64::MAX, ""),
        Some(after) => {
            let found = db
                .prepare_cached(
                    "SELECT created_at FROM assets
                     WHERE id = ?1 AND org_id = ?2 AND mode = ?3 AND role IN ('output', 'upload')",
                )?
                .query_row(params![after.as_str(), org, mode], |row| row.get(0))
                .optional()?;
            match found {
                Some(created_at) => (created_at, after.as_str()),
                None => return Ok(None),
            }
        }
    };
    let sql = ListSql::new(filter.workflow.is_some());
    let count: i64 = db
        .prepare_cached(&sql.count)?
        .query_row(params![org, mode, filter.workflow], |row| row.get(0))?;
    let mut statement = db.prepare_cached(&sql.page)?;
    // Nothing is made later than the end of time, so that the first page needs no statement of its own.
    let page = params![
        org,
        mode,
        filter.workflow,
        before.0,
        before.1,
        filter.limit,
        filter.offset
    ];
    Ok(Some(AssetPage {
        assets: collect(statement.query(page)?, read_listed)?,
        count: count.unsigned_abs(),
    }))
}

fn delete(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    id: &AssetId,
    now: Timestamp,
) -> Result<Option<Deleted>> {
    let mut statement = db.prepare_cached(&format!(
        "UPDATE assets AS a SET deleted_at = ?4 WHERE a.id = ?1 AND a.org_id = ?2 AND a.mode = ?3 AND {LISTED}"
    ))?;
    let changed = statement.execute(params![
        id.as_str(),
        org.as_str(),
        mode.as_str(),
        now.as_micros()
    ])?;
    if changed == 0 {
        return Ok(None);
    }
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS}, {NEEDED} FROM assets a WHERE a.id = ?1"
    ))?;
    first(statement.query(params![id.as_str()])?, |row| {
        Ok(Deleted {
            asset: read(row)?,
            is_needed: row.take()?,
        })
    })
}

/// Both modes of each organization that has a term: no other is looked at.
fn expire(db: &Connection, now: Timestamp, limit: u32) -> Result<u64> {
    let expired = db
        .prepare_cached(&format!(
            "UPDATE assets SET deleted_at = ?1 WHERE id IN (
                 SELECT a.id FROM organizations o CROSS JOIN (SELECT 'live' AS mode UNION ALL SELECT 'test') m
                     CROSS JOIN assets a ON a.org_id = o.id AND a.mode = m.mode AND a.created_at <= ?1 - o.keep_assets
                 WHERE o.keep_assets IS NOT NULL AND a.deleted_at IS NULL AND a.role <> 'late' AND NOT {NEEDED}
                 LIMIT ?2)"
        ))?
        .execute(params![now.as_micros(), limit])?;
    Ok(u64::try_from(expired).unwrap_or(u64::MAX))
}

fn erasable(db: &Connection, after: &str, limit: u32) -> Result<Vec<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM assets a
         WHERE a.deleted_at IS NOT NULL AND a.erased_at IS NULL AND NOT {NEEDED}
             AND (a.deleted_at, a.id) > (coalesce((SELECT deleted_at FROM assets WHERE id = ?1), 0), ?1)
         ORDER BY a.deleted_at, a.id LIMIT ?2"
    ))?;
    collect(statement.query(params![after, limit])?, read)
}

fn record_erased(db: &Connection, ids: &str, now: Timestamp) -> Result<()> {
    db.prepare_cached(
        "UPDATE assets SET erased_at = ?2
         WHERE id IN (SELECT value FROM json_each(?1)) AND deleted_at IS NOT NULL AND erased_at IS NULL",
    )?
    .execute(params![ids, now.as_micros()])?;
    Ok(())
}

fn no_thumbnail(db: &Connection, id: &AssetId) -> Result<()> {
    db.prepare_cached("UPDATE assets SET has_thumbnail = 0 WHERE id = ?1")?
        .execute(params![id.as_str()])?;
    Ok(())
}

fn unnamed(db: &Connection, storage_keys: &str) -> Result<Vec<String>> {
    let mut statement = db.prepare_cached(
        "SELECT value FROM json_each(?1)
         WHERE NOT EXISTS (SELECT 1 FROM assets WHERE storage_key = value AND erased_at IS NULL)",
    )?;
    let keys = statement.query_map(params![storage_keys], |row| row.get(0))?;
    Ok(keys.collect::<rusqlite::Result<_>>()?)
}

fn kept(db: &Connection, after: &str, limit: u32) -> Result<Vec<Asset>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM assets a WHERE a.id > ?1 AND a.deleted_at IS NULL ORDER BY a.id LIMIT ?2"
    ))?;
    collect(statement.query(params![after, limit])?, read)
}

#[async_trait]
impl AssetStore for SqliteStore {
    async fn record_asset(&self, asset: &Asset) -> Result<Recording> {
        let asset = asset.clone();
        self.write(move |db| insert(db, &asset, None, 0)).await
    }

    async fn asset(&self, org: &OrgId, mode: Mode, id: &AssetId) -> Result<Option<Asset>> {
        self.look_up(|db| get(db, org, mode, id))
    }

    async fn asset_by_storage_key(&self, storage_key: &str) -> Result<Option<Asset>> {
        self.look_up(|db| by_storage_key(db, storage_key))
    }

    async fn asset_by_upload_key(
        &self,
        org: &OrgId,
        mode: Mode,
        upload_key: &str,
    ) -> Result<Option<Asset>> {
        self.look_up(|db| by_upload_key(db, org, mode, upload_key))
    }

    async fn job_input(&self, job: &JobId, id: &AssetId) -> Result<Option<Asset>> {
        self.look_up(|db| job_input(db, job, id))
    }

    async fn listed_asset(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &AssetId,
    ) -> Result<Option<ListedAsset>> {
        self.look_up(|db| listed(db, org, mode, id))
    }

    async fn listed_assets(
        &self,
        org: &OrgId,
        mode: Mode,
        filter: AssetFilter,
    ) -> Result<Option<AssetPage>> {
        let org = org.clone();
        self.scan(move |db| list(db, &org, mode, &filter)).await
    }

    async fn delete_asset(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &AssetId,
        now: Timestamp,
    ) -> Result<Option<Deleted>> {
        let (org, id) = (org.clone(), id.clone());
        self.write(move |db| delete(db, &org, mode, &id, now)).await
    }

    async fn set_retention(
        &self,
        org: &OrgId,
        keep_assets: Option<Duration>,
        now: Timestamp,
    ) -> Result<Option<Organization>> {
        let org = org.clone();
        self.write_callers(move |db| organizations::set_retention(db, &org, keep_assets, now))
            .await
    }

    async fn expire_assets(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.write(move |db| expire(db, now, limit)).await
    }

    async fn erasable_assets(&self, after: Option<&AssetId>, limit: u32) -> Result<Vec<Asset>> {
        let after = after.map(|id| id.as_str().to_owned()).unwrap_or_default();
        self.scan(move |db| erasable(db, &after, limit)).await
    }

    async fn record_no_thumbnail(&self, id: &AssetId) -> Result<()> {
        let id = id.clone();
        self.write(move |db| no_thumbnail(db, &id)).await
    }

    async fn unnamed_files(&self, storage_keys: Vec<String>) -> Result<Vec<String>> {
        let storage_keys = to_json(&storage_keys)?;
        self.scan(move |db| unnamed(db, &storage_keys)).await
    }

    async fn kept_assets(&self, after: Option<&AssetId>, limit: u32) -> Result<Vec<Asset>> {
        let after = after.map(|id| id.as_str().to_owned()).unwrap_or_default();
        self.scan(move |db| kept(db, &after, limit)).await
    }

    async fn record_erased(&self, ids: &[AssetId], now: Timestamp) -> Result<()> {
        let ids = to_json(&ids)?;
        self.write(move |db| record_erased(db, &ids, now)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{connect, migrations};

    /// How SQLite goes about it, a line for each step.
    fn plan(db: &Connection, sql: &str) -> Vec<String> {
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = statement.raw_query().mapped(|row| row.get(3));
        lines.collect::<rusqlite::Result<_>>().unwrap()
    }

    #[test]
    fn what_is_counted_and_passed_over_is_found_in_the_index_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut db = connect(&folder.path().join("vydra.db")).unwrap();
        migrations::migrate(&mut db).unwrap();
        for of_workflow in [false, true] {
            let sql = ListSql::new(of_workflow);
            for sql in [sql.count, sql.page] {
                let steps = plan(&db, &sql);
                let first = steps.iter().find(|step| step.contains(" a ")).unwrap();
                assert!(
                    first.starts_with("SEARCH a USING COVERING INDEX assets_kept"),
                    "{steps:#?}"
                );
            }
        }
    }
}
