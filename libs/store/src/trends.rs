//! How the builds of a project went, in the few numbers that are drawn.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use slipway_domain::agent::PushedImage;
use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, ProjectId};
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::db::on_db;
use crate::error::Result;

/// Most builds of a trend.
pub const MOST: i64 = 50;

/// One build of a trend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrendBuild {
    /// Its row, as far as it is drawn.
    pub build: TrendRow,
    /// What it pushed, each image once; `None` where it pushed nothing.
    pub image_bytes: Option<i64>,
}

/// A build's times, and its steps.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct TrendRow {
    /// The build.
    pub id: BuildId,
    /// How it stands.
    pub state: BuildState,
    /// The ref it is for.
    #[sqlx(rename = "ref")]
    pub git_ref: Option<GitRef>,
    /// When its first job was claimed.
    pub started_at: Option<DateTime<Utc>>,
    /// When it became terminal.
    pub finished_at: Option<DateTime<Utc>>,
    /// Steps of its newest attempts that succeeded.
    pub steps: i64,
    /// Those of them that came from the cache.
    pub cached: i64,
}

impl Db {
    /// The last builds of a project, at most [`MOST`], newest first; only of the branch or tag of this name if one is
    /// given. The caller sees the project.
    pub async fn project_trend(&self, project: ProjectId, ref_name: Option<&str>) -> Result<Vec<TrendBuild>> {
        const BUILDS: &str = "select b.id, b.state, b.ref, b.started_at, b.finished_at, \
            (select count(*) from jobs j join steps s on s.job_id = j.id and s.epoch = j.epoch \
            where j.build_id = b.id and s.state = 'succeeded') as steps, \
            (select count(*) from jobs j join steps s on s.job_id = j.id and s.epoch = j.epoch \
            where j.build_id = b.id and s.state = 'succeeded' and s.cached) as cached \
            from builds b where b.project_id = $1 and ($2 is null \
            or b.ref in ($2, 'refs/heads/' || $2, 'refs/tags/' || $2)) order by b.id desc limit $3";
        const IMAGES: &str = "select j.build_id, a.images from jobs j \
            join attempts a on a.job_id = j.id and a.epoch = j.epoch where j.build_id in (select b.id from builds b \
            where b.project_id = $1 and ($2 is null or b.ref in ($2, 'refs/heads/' || $2, 'refs/tags/' || $2)) \
            order by b.id desc limit $3)";
        let rows: Vec<TrendRow> = on_db!(self, conn => sqlx::query_as(BUILDS)
            .bind(project)
            .bind(ref_name)
            .bind(MOST)
            .fetch_all(conn)
            .await?);
        let images: Vec<(BuildId, Json<Vec<PushedImage>>)> = on_db!(self, conn => sqlx::query_as(IMAGES)
            .bind(project)
            .bind(ref_name)
            .bind(MOST)
            .fetch_all(conn)
            .await?);
        // One image may have many tags.
        let mut pushed: BTreeMap<BuildId, BTreeSet<(String, i64)>> = BTreeMap::new();
        for (build, Json(images)) in images {
            pushed.entry(build).or_default().extend(images.into_iter().map(|image| (image.digest, image.size_bytes)));
        }
        let image_bytes = |build| {
            let images = pushed.get(&build).filter(|images| !images.is_empty())?;
            Some(images.iter().map(|(_, size_bytes)| size_bytes).sum())
        };
        Ok(rows.into_iter().map(|build| TrendBuild { image_bytes: image_bytes(build.id), build }).collect())
    }
}
