//! What builds built: images with their layers, which only a build's own page and answer show.

use std::collections::BTreeMap;

use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, JobId, ProjectId};
use slipway_domain::image::BuiltImage;
use sqlx::types::Json;

use crate::Db;
use crate::db::on_db;
use crate::error::Result;
use crate::scope::Scope;

impl Db {
    /// What the newest attempts of a build's jobs built, if the caller may see the build.
    pub async fn built_images(&self, scope: &Scope, build: BuildId) -> Result<BTreeMap<JobId, Vec<BuiltImage>>> {
        const BUILT: &str = "select j.id, a.built from jobs j \
            join attempts a on a.job_id = j.id and a.epoch = j.epoch \
            join projects p on p.id = j.project_id \
            where j.build_id = $1 and ($2 or j.tenant_id = $3 or p.visibility = 'public')";
        let sight = scope.sight();
        let rows: Vec<(JobId, Json<Vec<BuiltImage>>)> = on_db!(self, conn => sqlx::query_as(BUILT)
            .bind(build)
            .bind(sight.all)
            .bind(sight.tenant)
            .fetch_all(conn)
            .await?);
        Ok(rows.into_iter().map(|(job, Json(built))| (job, built)).collect())
    }

    /// The newest build of a project that was made before this one, succeeded and built images, of this ref. The caller
    /// sees the project.
    pub async fn earlier_built(
        &self,
        project: ProjectId,
        git_ref: &GitRef,
        before: BuildId,
    ) -> Result<Option<BuildId>> {
        const EARLIER: &str = "select b.id from builds b where b.project_id = $1 and b.id < $2 and b.state = $3 \
            and b.ref = $4 and exists (select 1 from jobs j join attempts a on a.job_id = j.id and a.epoch = j.epoch \
            where j.build_id = b.id and a.built <> '[]') order by b.id desc limit 1";
        Ok(on_db!(self, conn => sqlx::query_scalar(EARLIER)
            .bind(project)
            .bind(before)
            .bind(BuildState::Succeeded)
            .bind(git_ref)
            .fetch_optional(conn)
            .await?))
    }
}
