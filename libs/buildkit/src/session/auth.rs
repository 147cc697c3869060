//! `moby.filesync.v1.Auth`: logins of registries. Tokens are fetched by the engine, with the login that it gets
//! here: a fetch from here would have to follow a realm that a stranger's registry names.

use bollard_buildkit_proto::moby::filesync::v1::auth_server::Auth;
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use slipway_domain::agent::RegistryLogin;
use tonic::{Request, Response, Status, async_trait};

/// All names of Docker Hub mean one registry.
const DOCKER_HUB: [&str; 4] = ["docker.io", "index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"];

/// The logins of one build.
pub struct Logins(Vec<RegistryLogin>);

impl Logins {
    /// Serves these.
    pub fn new(logins: Vec<RegistryLogin>) -> Self {
        Self(logins)
    }

    fn of(&self, host: &str) -> CredentialsResponse {
        let is = |entry: &&RegistryLogin| same_registry(&entry.host, host);
        let login = self.0.iter().find(is).map(|entry| &entry.login);
        // Without a name the engine asks as anybody.
        login.map_or_else(CredentialsResponse::default, |login| CredentialsResponse {
            username: login.user.clone(),
            secret: login.password.clone(),
        })
    }
}

#[async_trait]
impl Auth for Logins {
    async fn credentials(&self, request: Request<CredentialsRequest>) -> Result<Response<CredentialsResponse>, Status> {
        Ok(Response::new(self.of(&request.get_ref().host)))
    }

    async fn fetch_token(&self, _: Request<FetchTokenRequest>) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unavailable("the engine fetches tokens"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        // This code makes the engine fetch tokens by itself.
        Err(Status::unavailable("the engine fetches tokens"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unavailable("the engine fetches tokens"))
    }
}

fn same_registry(one: &str, other: &str) -> bool {
    one == other || (DOCKER_HUB.contains(&one) && DOCKER_HUB.contains(&other))
}

#[cfg(test)]
mod tests {
    use slipway_domain::agent::Login;

    use super::*;

    #[test]
    fn a_login_goes_to_its_registry_only() {
        let entry = |host: &str, user: &str| RegistryLogin {
            host: host.to_owned(),
            login: Login { user: user.to_owned(), password: "pw".to_owned() },
        };
        let logins = Logins::new(vec![entry("docker.io", "hub"), entry("r.example:5000", "own")]);
        for (host, user) in [
            ("registry-1.docker.io", "hub"),
            ("https://index.docker.io/v1/", "hub"),
            ("r.example:5000", "own"),
            ("r.example", ""),
            ("evil.example", ""),
        ] {
            let answer = logins.of(host);
            assert_eq!((answer.username.as_str(), answer.secret.is_empty()), (user, user.is_empty()), "{host}");
        }
    }
}
