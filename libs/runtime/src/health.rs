//! What a process depends on and how that is, for `/readyz` and the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

/// Longest time that one look may take.
const LOOK: Duration = Duration::from_secs(2);

/// What becomes of a process whose dependency is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing useful can be done without it: not ready.
    Required,
    /// Work goes on, later or slower: ready, and said so.
    Helpful,
}

/// How one dependency is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its name, `database`.
    pub name: &'static str,
    /// What becomes of us without it.
    pub need: Need,
    /// What is wrong with it, in words; `None` when nothing is.
    pub problem: Option<String>,
}

type Look = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

type Remark = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Everything a process depends on. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Watched>>);

#[derive(Default)]
struct Watched {
    dependencies: Vec<Dependency>,
    remarks: Vec<Remark>,
}

#[derive(Clone)]
struct Dependency {
    name: &'static str,
    need: Need,
    look: Look,
}

impl Health {
    /// Adds a dependency, or looks at it in another way from now on. The error is shown to operators.
    pub fn watch<F>(&self, name: &'static str, need: Need, look: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let look: Look = Arc::new(move || Box::pin(look()));
        let dependencies = &mut self.lock().dependencies;
        dependencies.retain(|dependency| dependency.name != name);
        dependencies.push(Dependency { name, need, look });
    }

    /// Adds lines about what the process can do without, such as strangers' servers. Anybody may read them.
    pub fn remark(&self, tell: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        self.lock().remarks.push(Arc::new(tell));
    }

    /// What there is to say now.
    pub fn remarks(&self) -> Vec<String> {
        let remarks = self.lock().remarks.clone();
        remarks.iter().flat_map(|tell| tell()).collect()
    }

    /// Looks at all of them at once, each for 2 s at most.
    pub async fn examine(&self) -> Vec<Finding> {
        let dependencies = self.lock().dependencies.clone();
        let looks = dependencies.into_iter().map(|dependency| async move {
            let problem = match tokio::time::timeout(LOOK, (dependency.look)()).await {
                Ok(result) => result.err(),
                Err(_) => Some(format!("no answer within {} s", LOOK.as_secs())),
            };
            Finding { name: dependency.name, need: dependency.need, problem }
        });
        join_all(looks).await
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // The lists are whole after every operation.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.lock().dependencies.iter().map(|dependency| dependency.name)).finish()
    }
}

/// Whether a process can do its work.
pub fn is_ready(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.problem.is_none() || finding.need == Need::Helpful)
}

/// A line per dependency, for people and for scripts.
pub fn report(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(|finding| match (&finding.problem, finding.need) {
            (None, _) => format!("{} ok\n", finding.name),
            (Some(problem), Need::Required) => format!("{} failed: {problem}\n", finding.name),
            (Some(problem), Need::Helpful) => format!("{} degraded: {problem}\n", finding.name),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_required_decides_and_everything_is_named() {
        let health = Health::default();
        health.watch("database", Need::Required, || async { Ok(()) });
        health.watch("bus", Need::Helpful, || async { Err("blocked".to_owned()) });
        let findings = health.examine().await;
        assert!(is_ready(&findings));
        assert_eq!(report(&findings), "database ok\nbus degraded: blocked\n");
        health.watch("database", Need::Required, || async { Err("password refused".to_owned()) });
        let findings = health.examine().await;
        assert!(!is_ready(&findings));
        assert_eq!(report(&findings), "bus degraded: blocked\ndatabase failed: password refused\n");
    }
}
