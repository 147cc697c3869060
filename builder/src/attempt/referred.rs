//! What a checkout only refers to, where the build's options want it: submodules, and the content of files that lie in
//! LFS. What strangers wrote names both freely, so their builds show no credential for them. `slipway.yml` is written by
//! whoever may push, which is not whoever may read all that the connection's token opens: only the project's own options
//! lend the token to submodules.

use slipway_domain::agent::Login;
use slipway_domain::attempt::Phase;
use slipway_domain::failure::Failure;
use slipway_domain::spec::BuildOptions;
use tokio::sync::mpsc;

use super::flow::{FETCH_SILENCE, Flow, QUEUE, beside};
use crate::work::lfs::{LfsRequest, fetch_lfs};
use crate::work::source::submodules::{Whole, fetch_submodules};
use crate::work::source::{Checkout, SourceRequest};

impl Flow {
    /// Fetches it into the checkout.
    pub(super) async fn fetch_referred(&self, checkout: &Checkout, options: &BuildOptions) -> Result<(), Failure> {
        let (submodules, lfs) = (options.submodules == Some(true), options.lfs == Some(true));
        if !submodules && checkout.submodules() > 0 {
            let count = checkout.submodules();
            let what = if count == 1 { "submodule is" } else { "submodules are" };
            let line = format!("{count} {what} left empty; `submodules: true` under `build` has them fetched.");
            self.log.meta(0, &line)?;
        }
        if !submodules && !lfs {
            return Ok(());
        }
        let credentials = self.credentials(Phase::Fetching, &[], false).await?;
        let login = credentials.source.as_ref().filter(|_| self.spec.is_trusted());
        let mut whole = Whole::without_submodules(checkout, &self.spec.clone_url);
        if submodules {
            whole = self.fetch_submodules(checkout, login.filter(|_| self.lends())).await?;
        }
        if lfs { self.fetch_lfs(&whole, login).await } else { Ok(()) }
    }

    fn lends(&self) -> bool {
        self.spec.project_options.submodules == Some(true)
    }

    async fn fetch_submodules(&self, checkout: &Checkout, login: Option<&Login>) -> Result<Whole, Failure> {
        let step = self.begin("slipway:submodules", "[slipway] fetch submodules");
        let request = SourceRequest { login, ..self.source_request() };
        let stop = self.reins.halted().child_token();
        let (said, heard) = mpsc::channel(QUEUE);
        let fetching = async {
            let fetched = fetch_submodules(&self.agent.egress, request, checkout, (&said, &stop)).await;
            drop(said);
            fetched
        };
        let fetched = beside(fetching, self.log.pour(step.number, heard), &stop).await;
        self.end(step, fetched)
    }

    async fn fetch_lfs(&self, whole: &Whole, login: Option<&Login>) -> Result<(), Failure> {
        let step = self.begin("slipway:lfs", "[slipway] fetch files from LFS");
        let SourceRequest { clone_url, timeout, max_bytes, .. } = self.source_request();
        let request =
            LfsRequest { whole, clone_url, login, lends: self.lends(), timeout, silence: FETCH_SILENCE, max_bytes };
        let stop = self.reins.halted().child_token();
        let (said, heard) = mpsc::channel(QUEUE);
        let fetching = async {
            let fetched = fetch_lfs(&self.agent.life, &self.agent.egress, request, (&said, &stop)).await;
            drop(said);
            fetched
        };
        let fetched = beside(fetching, self.log.pour(step.number, heard), &stop).await;
        self.end(step, fetched)
    }
}
