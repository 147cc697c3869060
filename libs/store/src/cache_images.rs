//! Images that a project pushed earlier, for a builder that has none of its layers.

use slipway_domain::agent::PushedImage;
use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, ProjectId};
use sqlx::types::Json;

use crate::Db;
use crate::db::on_db;
use crate::error::Result;

impl Db {
    /// What the newest build of a project pushed that was made before this one and succeeded: of this ref, or of any.
    pub async fn pushed_before(
        &self,
        project: ProjectId,
        git_ref: Option<&GitRef>,
        before: BuildId,
    ) -> Result<Vec<PushedImage>> {
        const PUSHED: &str = "select a.images from builds b join jobs j on j.build_id = b.id \
            join attempts a on a.job_id = j.id and a.epoch = j.epoch where b.project_id = $1 and b.id < $2 \
            and b.state = $3 and ($4 is null or b.ref = $4) and a.images <> '[]' order by b.id desc limit 1";
        let images: Option<Json<Vec<PushedImage>>> = on_db!(self, conn => sqlx::query_scalar(PUSHED)
            .bind(project)
            .bind(before)
            .bind(BuildState::Succeeded)
            .bind(git_ref)
            .fetch_optional(conn)
            .await?);
        Ok(images.map(|Json(images)| images).unwrap_or_default())
    }
}
