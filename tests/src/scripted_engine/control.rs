//! BuildKit's control service, as far as builders use it: `Solve` and `Status`.

use std::pin::Pin;

use bollard_buildkit_proto::moby::buildkit::v1::control_server::{Control, ControlServer};
use bollard_buildkit_proto::moby::buildkit::v1::{
    BuildHistoryEvent, BuildHistoryRequest, BytesMessage, DiskUsageRequest, DiskUsageResponse, InfoRequest,
    InfoResponse, ListWorkersRequest, ListWorkersResponse, PruneRequest, SolveRequest, SolveResponse, StatusRequest,
    UpdateBuildHistoryRequest, UpdateBuildHistoryResponse, UsageRecord,
};
use futures_util::Stream;
use hyper::server::conn::http2;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioExecutor;
use hyper_util::service::TowerToHyperService;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::build;
use super::jobs::Told;
use super::server::Server;

type Nothing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves a connection until its client lets go, which ends the builds on it.
pub async fn serve(server: Server, connection: Upgraded) {
    let routes = Routes::new(ControlServer::new(server)).prepare();
    let serving = http2::Builder::new(TokioExecutor::new());
    let _ = serving.serve_connection(connection, TowerToHyperService::new(routes)).await;
}

fn absent<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not scripted"))
}

#[async_trait]
impl Control for Server {
    type PruneStream = Nothing<UsageRecord>;
    type StatusStream = Told;
    type SessionStream = Nothing<BytesMessage>;
    type ListenBuildHistoryStream = Nothing<BuildHistoryEvent>;

    async fn solve(&self, request: Request<SolveRequest>) -> Result<Response<SolveResponse>, Status> {
        build::run(self, request.into_inner()).await.map(Response::new)
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<Told>, Status> {
        self.jobs.follow(&request.get_ref().r#ref).await.map(Response::new)
    }

    async fn disk_usage(&self, _: Request<DiskUsageRequest>) -> Result<Response<DiskUsageResponse>, Status> {
        absent()
    }

    async fn prune(&self, _: Request<PruneRequest>) -> Result<Response<Self::PruneStream>, Status> {
        absent()
    }

    async fn session(&self, _: Request<Streaming<BytesMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        absent()
    }

    async fn list_workers(&self, _: Request<ListWorkersRequest>) -> Result<Response<ListWorkersResponse>, Status> {
        absent()
    }

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        absent()
    }

    async fn listen_build_history(
        &self,
        _: Request<BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        absent()
    }

    async fn update_build_history(
        &self,
        _: Request<UpdateBuildHistoryRequest>,
    ) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
        absent()
    }
}
