//! Files, and who still needs them. Whoever takes a file into a job locks its row until the commit, so that it is not deleted
//! meanwhile; and whoever deletes it waits for that, and then sees every job that took it in before.

use super::PostgresStore;
use super::db::Db;
use super::organizations;
use super::rows::{Columns, collect, read as read_row};
use crate::Result;
use crate::document::to_json;
use crate::store::{AssetFilter, AssetPage, AssetStore, Deleted, Recording};
use async_trait::async_trait;
use serde::Serialize;
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

/// Those that a job needs which has not ended: it takes them in, or its steps made them. The job is looked up by itself; were
/// it asked whether there is one, all jobs might be read first to know.
const NEEDED: &str = "(EXISTS (SELECT 1 FROM job_inputs i WHERE i.asset_id = a.id)
    OR coalesce((SELECT n.completed_at IS NULL FROM jobs n WHERE n.id = a.job_id), false))";

fn read(row: &mut Columns<'_>) -> Result<Asset> {
    Ok(Asset {
        id: AssetId::trusted(row.take()?),
        org_id: OrgId::trusted(row.take()?),
        mode: row.word(Mode::parse)?,
        job_id: row.take::<Option<String>>()?.map(JobId::trusted),
        role: row.word(AssetRole::parse)?,
        kind: row.word(MediaKind::parse)?,
        media_type: row.take()?,
        storage_key: row.take()?,
        bytes: row.number()?,
        dimensions: row.number_if_any()?.zip(row.number_if_any()?),
        duration_ms: row.number_if_any()?,
        created_at: row.time()?,
        filename: row.take()?,
        upload_key: row.take()?,
        has_thumbnail: row.take()?,
    })
}

fn read_listed(row: &mut Columns<'_>) -> Result<ListedAsset> {
    Ok(ListedAsset {
        asset: read(row)?,
        workflow: row.take()?,
    })
}

fn number(of: impl TryInto<i64>) -> i64 {
    of.try_into().unwrap_or(i64::MAX)
}

/// `step` is that of a step's output, and of nothing else.
pub(super) async fn insert(
    db: &Db,
    asset: &Asset,
    step: Option<u32>,
    place: usize,
) -> Result<Recording> {
    let changed = db
        .run(
            "INSERT INTO assets (id, org_id, mode, job_id, place, role, kind, media_type, storage_key, bytes, width, height, duration_ms, created_at, filename, upload_key, step)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
             ON CONFLICT (upload_key) DO NOTHING",
            &[
                &asset.id.as_str(),
                &asset.org_id.as_str(),
                &asset.mode.as_str(),
                &asset.job_id.as_ref().map(JobId::as_str),
                &number(place),
                &asset.role.as_str(),
                &asset.kind.as_str(),
                &asset.media_type,
                &asset.storage_key,
                &number(asset.bytes),
                &asset.dimensions.map(|(width, _)| i64::from(width)),
                &asset.dimensions.map(|(_, height)| i64::from(height)),
                &asset.duration_ms.map(number),
                &asset.created_at.as_micros(),
                &asset.filename,
                &asset.upload_key,
                &step.map(i64::from),
            ],
        )
        .await?;
    Ok(if changed == 0 {
        Recording::UploadKeyTaken
    } else {
        Recording::Recorded
    })
}

/// A row as the end of jobs takes it in.
#[derive(Serialize)]
struct Output<'a> {
    /// The place of its job among those that end.
    of: i64,
    id: &'a str,
    org_id: &'a str,
    mode: &'a str,
    job_id: Option<&'a str>,
    place: i64,
    role: &'a str,
    kind: &'a str,
    media_type: &'a str,
    storage_key: &'a str,
    bytes: i64,
    width: Option<u32>,
    height: Option<u32>,
    duration_ms: Option<i64>,
    created_at: i64,
    filename: Option<&'a str>,
}

/// What jobs have made, for the command that ends them: each with the place of its job, and its own among what that job made.
/// None when there is nothing.
pub(super) fn outputs<'a>(
    assets: impl Iterator<Item = (i64, usize, &'a Asset)>,
) -> Result<Option<String>> {
    let rows: Vec<Output<'_>> = assets
        .map(|(of, place, asset)| Output {
            of,
            id: asset.id.as_str(),
            org_id: asset.org_id.as_str(),
            mode: asset.mode.as_str(),
            job_id: asset.job_id.as_ref().map(JobId::as_str),
            place: number(place),
            role: asset.role.as_str(),
            kind: asset.kind.as_str(),
            media_type: &asset.media_type,
            storage_key: &asset.storage_key,
            bytes: number(asset.bytes),
            width: asset.dimensions.map(|(width, _)| width),
            height: asset.dimensions.map(|(_, height)| height),
            duration_ms: asset.duration_ms.map(number),
            created_at: asset.created_at.as_micros(),
            filename: asset.filename.as_deref(),
        })
        .collect();
    (!rows.is_empty()).then(|| to_json(&rows)).transpose()
}

pub(super) async fn get(db: &Db, org: &OrgId, mode: Mode, id: &AssetId) -> Result<Option<Asset>> {
    let row = db
        .first(
            &format!(
                "SELECT {COLUMNS} FROM assets a WHERE a.id = $1 AND a.org_id = $2 AND a.mode = $3 AND a.deleted_at IS NULL"
            ),
            &[&id.as_str(), &org.as_str(), &mode.as_str()],
        )
        .await?;
    read_row(row.as_ref(), read)
}

pub(super) async fn of_job(db: &Db, job: &JobId) -> Result<Vec<Asset>> {
    let rows = db
        .all(
            &format!(
                "SELECT {COLUMNS} FROM assets a WHERE a.job_id = $1 AND a.role = 'output' AND a.deleted_at IS NULL ORDER BY a.place"
            ),
            &[&job.as_str()],
        )
        .await?;
    collect(&rows, read)
}

pub(super) async fn of_step(db: &Db, job: &JobId, step: u32) -> Result<Vec<Asset>> {
    let rows = db
        .all(
            &format!(
                "SELECT {COLUMNS} FROM assets a WHERE a.job_id = $1 AND a.role = 'step' AND a.step = $2 ORDER BY a.place"
            ),
            &[&job.as_str(), &i64::from(step)],
        )
        .await?;
    collect(&rows, read)
}

pub(super) async fn by_storage_key(db: &Db, storage_key: &str) -> Result<Option<Asset>> {
    // It comes from outside, and no text in Postgres holds this.
    if storage_key.contains('\0') {
        return Ok(None);
    }
    let row = db
        .first(
            &format!(
                "SELECT {COLUMNS} FROM assets a WHERE a.storage_key = $1 AND a.deleted_at IS NULL"
            ),
            &[&storage_key],
        )
        .await?;
    read_row(row.as_ref(), read)
}

pub(super) async fn by_upload_key(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    upload_key: &str,
) -> Result<Option<Asset>> {
    let row = db
        .first(
            &format!(
                "SELECT {COLUMNS} FROM assets a
                 WHERE a.upload_key = $1 AND a.org_id = $2 AND a.mode = $3 AND a.deleted_at IS NULL"
            ),
            &[&upload_key, &org.as_str(), &mode.as_str()],
        )
        .await?;
    read_row(row.as_ref(), read)
}

pub(super) async fn job_input(db: &Db, job: &JobId, id: &AssetId) -> Result<Option<Asset>> {
    let row = db
        .first(
            &format!(
                "SELECT {COLUMNS} FROM job_inputs i JOIN assets a ON a.id = i.asset_id
                 WHERE i.job_id = $1 AND i.asset_id = $2"
            ),
            &[&job.as_str(), &id.as_str()],
        )
        .await?;
    read_row(row.as_ref(), read)
}

pub(super) async fn listed(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    id: &AssetId,
) -> Result<Option<ListedAsset>> {
    let row = db
        .first(
            &format!(
                "SELECT {COLUMNS}, coalesce(j.workflow, a.workflow) FROM assets a LEFT JOIN jobs j ON j.id = a.job_id
                 WHERE a.id = $1 AND a.org_id = $2 AND a.mode = $3 AND {LISTED}"
            ),
            &[&id.as_str(), &org.as_str(), &mode.as_str()],
        )
        .await?;
    read_row(row.as_ref(), read_listed)
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
            "assets a LEFT JOIN jobs w ON w.id = a.job_id WHERE coalesce(w.workflow, a.workflow) = $3"
        } else {
            "assets a WHERE $3::text IS NULL"
        };
        let found = format!("{found} AND a.org_id = $1 AND a.mode = $2 AND {LISTED}");
        Self {
            count: format!("SELECT count(*) FROM {found}"),
            page: format!(
                "SELECT {COLUMNS}, coalesce(j.workflow, a.workflow) FROM (
                     SELECT a.id FROM {found} AND (a.created_at, a.id) < ($4, $5)
                     ORDER BY a.created_at DESC, a.id DESC LIMIT $6 OFFSET $7) p
                 JOIN assets a ON a.id = p.id LEFT JOIN jobs j ON j.id = a.job_id
                 ORDER BY a.created_at DESC, a.id DESC"
            ),
        }
    }
}

pub(super) async fn list(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    filter: &AssetFilter,
) -> Result<Option<AssetPage>> {
    let (org, mode) = (org.as_str(), mode.as_str());
    // Nothing is made later than the end of time, so that the first page needs no statement of its own.
    let before = match &filter.after {
        None => (i64::MAX, ""),
        Some(after) => {
            let found = db
                .first(
                    "SELECT created_at FROM assets
                     WHERE id = $1 AND org_id = $2 AND mode = $3 AND role IN ('output', 'upload')",
                    &[&after.as_str(), &org, &mode],
                )
                .await?;
            match read_row(found.as_ref(), Columns::take)? {
                Some(created_at) => (created_at, after.as_str()),
                None => return Ok(None),
            }
        }
    };
    let sql = ListSql::new(filter.workflow.is_some());
    let count = db.one(&sql.count, &[&org, &mode, &filter.workflow]).await?;
    let page = db
        .all(
            &sql.page,
            &[
                &org,
                &mode,
                &filter.workflow,
                &before.0,
                &before.1,
                &i64::from(filter.limit),
                &i64::from(filter.offset),
            ],
        )
        .await?;
    Ok(Some(AssetPage {
        assets: collect(&page, read_listed)?,
        count: Columns::of(&count).number()?,
    }))
}

pub(super) async fn delete(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    id: &AssetId,
    now: Timestamp,
) -> Result<Option<Deleted>> {
    let changed = db
        .run(
            &format!(
                "UPDATE assets AS a SET deleted_at = $4 WHERE a.id = $1 AND a.org_id = $2 AND a.mode = $3 AND {LISTED}"
            ),
            &[&id.as_str(), &org.as_str(), &mode.as_str(), &now.as_micros()],
        )
        .await?;
    if changed == 0 {
        return Ok(None);
    }
    // A statement of its own, because it must see the jobs for which the one before had to wait.
    let row = db
        .first(
            &format!("SELECT {COLUMNS}, {NEEDED} FROM assets a WHERE a.id = $1"),
            &[&id.as_str()],
        )
        .await?;
    read_row(row.as_ref(), |row| {
        Ok(Deleted {
            asset: read(row)?,
            is_needed: row.take()?,
        })
    })
}

/// Both modes of each organization that has a term: no other is looked at. What somebody else is at comes next time, so
/// that this waits for nobody; and nobody changes a term while it is carried out.
pub(super) async fn expire(db: &Db, now: Timestamp, limit: u32) -> Result<u64> {
    let rows = db
        .all(
            &format!(
                "SELECT a.id FROM organizations o
                     JOIN assets a ON a.org_id = o.id AND a.mode IN ('live', 'test') AND a.created_at <= $1 - o.keep_assets
                 WHERE o.keep_assets IS NOT NULL AND a.deleted_at IS NULL AND a.role <> 'late' AND NOT {NEEDED}
                 LIMIT $2 FOR NO KEY UPDATE OF a SKIP LOCKED FOR SHARE OF o SKIP LOCKED"
            ),
            &[&now.as_micros(), &i64::from(limit)],
        )
        .await?;
    let ids: Vec<String> = collect(&rows, Columns::take)?;
    // A job may have taken one in just before it was locked: from then on none does, so that what is looked at now holds.
    db.run(
        &format!("UPDATE assets AS a SET deleted_at = $1 WHERE a.id = ANY($2) AND NOT {NEEDED}"),
        &[&now.as_micros(), &ids],
    )
    .await
}

pub(super) async fn erasable(db: &Db, after: &str, limit: u32) -> Result<Vec<Asset>> {
    let rows = db
        .all(
            &format!(
                "SELECT {COLUMNS} FROM assets a
                 WHERE a.deleted_at IS NOT NULL AND a.erased_at IS NULL AND NOT {NEEDED}
                     AND (a.deleted_at, a.id) > (coalesce((SELECT deleted_at FROM assets WHERE id = $1), 0), $1)
                 ORDER BY a.deleted_at, a.id LIMIT $2"
            ),
            &[&after, &i64::from(limit)],
        )
        .await?;
    collect(&rows, read)
}

pub(super) async fn record_erased(db: &Db, ids: &[AssetId], now: Timestamp) -> Result<()> {
    let ids: Vec<&str> = ids.iter().map(AssetId::as_str).collect();
    db.run(
        "UPDATE assets SET erased_at = $2 WHERE id = ANY($1) AND deleted_at IS NOT NULL AND erased_at IS NULL",
        &[&ids, &now.as_micros()],
    )
    .await?;
    Ok(())
}

pub(super) async fn no_thumbnail(db: &Db, id: &AssetId) -> Result<()> {
    db.run(
        "UPDATE assets SET has_thumbnail = false WHERE id = $1",
        &[&id.as_str()],
    )
    .await?;
    Ok(())
}

pub(super) async fn unnamed(db: &Db, storage_keys: &[String]) -> Result<Vec<String>> {
    let rows = db
        .all(
            "SELECT k.value FROM unnest($1::text[]) WITH ORDINALITY AS k (value, place)
             WHERE NOT EXISTS (SELECT 1 FROM assets WHERE storage_key = k.value AND erased_at IS NULL)
             ORDER BY k.place",
            &[&storage_keys],
        )
        .await?;
    collect(&rows, Columns::take)
}

pub(super) async fn kept(db: &Db, after: &str, limit: u32) -> Result<Vec<Asset>> {
    let rows = db
        .all(
            &format!(
                "SELECT {COLUMNS} FROM assets a WHERE a.id > $1 AND a.deleted_at IS NULL ORDER BY a.id LIMIT $2"
            ),
            &[&after, &i64::from(limit)],
        )
        .await?;
    collect(&rows, read)
}

#[async_trait]
impl AssetStore for PostgresStore {
    async fn record_asset(&self, asset: &Asset) -> Result<Recording> {
        let whose = asset.org_id.as_str().to_owned();
        let asset = asset.clone();
        self.write(&whose, async move |db: &Db| {
            insert(db, &asset, None, 0).await
        })
        .await
    }

    async fn asset(&self, org: &OrgId, mode: Mode, id: &AssetId) -> Result<Option<Asset>> {
        get(self.pool.get().await?.db(), org, mode, id).await
    }

    async fn asset_by_storage_key(&self, storage_key: &str) -> Result<Option<Asset>> {
        by_storage_key(self.pool.get().await?.db(), storage_key).await
    }

    async fn asset_by_upload_key(
        &self,
        org: &OrgId,
        mode: Mode,
        upload_key: &str,
    ) -> Result<Option<Asset>> {
        by_upload_key(self.pool.get().await?.db(), org, mode, upload_key).await
    }

    async fn job_input(&self, job: &JobId, id: &AssetId) -> Result<Option<Asset>> {
        job_input(self.pool.get().await?.db(), job, id).await
    }

    async fn listed_asset(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &AssetId,
    ) -> Result<Option<ListedAsset>> {
        listed(self.pool.get().await?.db(), org, mode, id).await
    }

    async fn listed_assets(
        &self,
        org: &OrgId,
        mode: Mode,
        filter: AssetFilter,
    ) -> Result<Option<AssetPage>> {
        let snapshot = self.pool.snapshot().await?;
        let found = list(&snapshot, org, mode, &filter).await;
        snapshot.end(found).await
    }

    async fn delete_asset(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &AssetId,
        now: Timestamp,
    ) -> Result<Option<Deleted>> {
        let whose = org.as_str().to_owned();
        let (org, id) = (org.clone(), id.clone());
        self.write(&whose, async move |db: &Db| {
            delete(db, &org, mode, &id, now).await
        })
        .await
    }

    async fn set_retention(
        &self,
        org: &OrgId,
        keep_assets: Option<Duration>,
        now: Timestamp,
    ) -> Result<Option<Organization>> {
        let whose = org.as_str().to_owned();
        let org = org.clone();
        self.write(&whose, async move |db: &Db| {
            organizations::set_retention(db, &org, keep_assets, now).await
        })
        .await
    }

    async fn expire_assets(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.write("~2 assets", async move |db: &Db| {
            expire(db, now, limit).await
        })
        .await
    }

    async fn erasable_assets(&self, after: Option<&AssetId>, limit: u32) -> Result<Vec<Asset>> {
        let after = after.map(|id| id.as_str().to_owned()).unwrap_or_default();
        let snapshot = self.pool.snapshot().await?;
        let found = erasable(&snapshot, &after, limit).await;
        snapshot.end(found).await
    }

    async fn record_no_thumbnail(&self, id: &AssetId) -> Result<()> {
        let whose = id.as_str().to_owned();
        let id = id.clone();
        self.write(&whose, async move |db: &Db| no_thumbnail(db, &id).await)
            .await
    }

    async fn unnamed_files(&self, storage_keys: Vec<String>) -> Result<Vec<String>> {
        let snapshot = self.pool.snapshot().await?;
        let found = unnamed(&snapshot, &storage_keys).await;
        snapshot.end(found).await
    }

    async fn kept_assets(&self, after: Option<&AssetId>, limit: u32) -> Result<Vec<Asset>> {
        let after = after.map(|id| id.as_str().to_owned()).unwrap_or_default();
        let snapshot = self.pool.snapshot().await?;
        let found = kept(&snapshot, &after, limit).await;
        snapshot.end(found).await
    }

    async fn record_erased(&self, ids: &[AssetId], now: Timestamp) -> Result<()> {
        let ids = ids.to_vec();
        self.write("~2 erased", async move |db: &Db| {
            record_erased(db, &ids, now).await
        })
        .await
    }
}
