//! A page of builds with everything that a list shows, in as many statements for a hundred as for one.

use std::collections::HashMap;

use slipway_domain::ids::{BuildId, JobId, ProjectId};
use slipway_domain::tenant::Visibility;
use sqlx::FromRow;

use crate::Db;
use crate::attempts::{Attempt, Step};
use crate::batches;
use crate::builds::{Build, BuildFilter, BuildView, JobView};
use crate::error::{Result, StoreError};
use crate::jobs::Job;
use crate::projects::Project;
use crate::scope::Scope;
use crate::statuses::StatusView;

/// A step with its job.
#[derive(Debug, FromRow)]
pub(crate) struct StepRow {
    job_id: JobId,
    #[sqlx(flatten)]
    step: Step,
}

/// A status with its build.
#[derive(Debug, FromRow)]
pub(crate) struct StatusRow {
    build_id: BuildId,
    #[sqlx(flatten)]
    status: StatusView,
}

impl Db {
    /// Builds that the caller may see, newest first, each with its jobs, attempts and steps.
    pub async fn list_build_views(&self, scope: &Scope, filter: &BuildFilter) -> Result<Vec<BuildView>> {
        let builds = self.list_builds(scope, filter).await?;
        let ids: Vec<BuildId> = builds.iter().map(|build| build.id).collect();
        let project_ids: Vec<ProjectId> = builds.iter().map(|build| build.project_id).collect();
        // Whose build is seen, whose project is.
        let projects = batches::projects(self, &Scope::Operator, &project_ids).await?;
        let projects: HashMap<ProjectId, Project> = projects.into_iter().map(|row| (row.id, row)).collect();
        let jobs = batches::jobs_of_builds(self, &ids).await?;
        let job_ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let mut attempts = by(batches::attempts_of_jobs(self, &job_ids).await?, |attempt: &Attempt| attempt.job_id);
        let mut steps = by(batches::newest_steps_of_jobs(self, &job_ids).await?, |row: &StepRow| row.job_id);
        let mut views = by(jobs, |job: &Job| job.build_id);
        let view = |build: Build| {
            let project = projects.get(&build.project_id).ok_or(StoreError::NotFound("project"))?;
            let jobs = views.remove(&build.id).unwrap_or_default().into_iter().map(|job| JobView {
                attempts: attempts.remove(&job.id).unwrap_or_default(),
                steps: steps.remove(&job.id).unwrap_or_default().into_iter().map(|row| row.step).collect(),
                job,
            });
            let (project_name, public) = (project.name.clone(), project.visibility == Visibility::Public);
            Ok(BuildView { jobs: jobs.collect(), build, project_name, public })
        };
        builds.into_iter().map(view).collect()
    }

    /// How the statuses of these builds stand. The caller has checked that the builds may be seen.
    pub async fn statuses_of_builds(&self, builds: &[BuildId]) -> Result<HashMap<BuildId, Vec<StatusView>>> {
        let rows = by(batches::statuses_of_builds(self, builds).await?, |row: &StatusRow| row.build_id);
        let statuses = |rows: Vec<StatusRow>| rows.into_iter().map(|row| row.status).collect();
        Ok(rows.into_iter().map(|(build, rows)| (build, statuses(rows))).collect())
    }
}

/// The rows of each owner, in the order in which they were.
fn by<K: Eq + std::hash::Hash, T>(rows: Vec<T>, owner: impl Fn(&T) -> K) -> HashMap<K, Vec<T>> {
    let mut owned: HashMap<K, Vec<T>> = HashMap::new();
    for row in rows {
        owned.entry(owner(&row)).or_default().push(row);
    }
    owned
}
