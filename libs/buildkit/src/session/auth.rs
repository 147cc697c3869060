//! `moby.filesync.v1.Auth`: logins of registries. An engine that has a login takes it to whatever token service a
//! registry names, so where there is one the engine gets no login for that: it is told that this side has the authority
//! over tokens, and asks for a token. It gets the login itself only for a registry that wants it by Basic, which is the
//! registry's own host (`util/resolver/authorizer.go` of moby/buildkit).

use bollard_buildkit_proto::moby::filesync::v1::auth_server::Auth;
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use slipway_domain::agent::{Login, RegistryLogin};
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::random_bytes;
use tonic::{Request, Response, Status, async_trait};

use crate::tokens::{TokenAsked, TokenGiven, Tokens};

/// All names of Docker Hub mean one registry.
const DOCKER_HUB: [&str; 4] = ["docker.io", "index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"];

/// The logins of one build.
pub struct Logins {
    logins: Vec<RegistryLogin>,
    tokens: Tokens,
    /// By it an engine tells whose tokens it holds. Nobody else has this one, so no build gets another's.
    authority: [u8; 32],
}

impl Logins {
    /// Serves these.
    pub fn new(logins: Vec<RegistryLogin>, tokens: Tokens) -> Self {
        Self { logins, tokens, authority: random_bytes() }
    }

    fn of(&self, host: &str) -> Option<&Login> {
        self.logins.iter().find(|entry| same_registry(&entry.host, host)).map(|entry| &entry.login)
    }
}

#[async_trait]
impl Auth for Logins {
    async fn credentials(&self, request: Request<CredentialsRequest>) -> Result<Response<CredentialsResponse>, Status> {
        // Without a name the engine asks as anybody.
        let login = self.of(&request.get_ref().host);
        Ok(Response::new(login.map_or_else(CredentialsResponse::default, |login| CredentialsResponse {
            username: login.user.clone(),
            secret: login.password.clone(),
        })))
    }

    async fn fetch_token(&self, request: Request<FetchTokenRequest>) -> Result<Response<FetchTokenResponse>, Status> {
        let FetchTokenRequest { host, realm, service, scopes, .. } = request.into_inner();
        let Some(login) = self.of(&host).cloned() else {
            return Err(Status::unavailable("the engine fetches tokens for what there is no login for"));
        };
        let given = self.tokens.fetch(TokenAsked { host, realm, service, scopes, login }).await;
        let TokenGiven { token, expires_in } = given.map_err(Status::permission_denied)?;
        let issued_at = Clock::system().now().timestamp();
        Ok(Response::new(FetchTokenResponse { token, expires_in: expires_in.unwrap_or(60), issued_at }))
    }

    async fn get_token_authority(
        &self,
        request: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        match self.of(&request.get_ref().host) {
            Some(_) => Ok(Response::new(GetTokenAuthorityResponse { public_key: self.authority.to_vec() })),
            // This code makes the engine fetch tokens by itself, as anybody.
            None => Err(Status::unavailable("the engine fetches tokens")),
        }
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        // Then the engine holds no token of another session for ours.
        Err(Status::unavailable("no session shares its tokens"))
    }
}

fn same_registry(one: &str, other: &str) -> bool {
    one == other || (DOCKER_HUB.contains(&one) && DOCKER_HUB.contains(&other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(tokens: Tokens) -> Logins {
        let entry = |host: &str, user: &str| RegistryLogin {
            host: host.to_owned(),
            login: Login { user: user.to_owned(), password: "pw".to_owned() },
        };
        Logins::new(vec![entry("docker.io", "hub"), entry("r.example:5000", "own")], tokens)
    }

    fn asked(host: &str) -> Request<FetchTokenRequest> {
        let (host, realm) = (host.to_owned(), "https://evil.example/token".to_owned());
        Request::new(FetchTokenRequest { host, realm, scopes: vec!["s".to_owned()], ..FetchTokenRequest::default() })
    }

    #[tokio::test]
    async fn a_login_goes_to_its_registry_only() {
        let logins = logins(Tokens::default());
        for (host, user) in [
            ("registry-1.docker.io", "hub"),
            ("https://index.docker.io/v1/", "hub"),
            ("r.example:5000", "own"),
            ("r.example", ""),
            ("evil.example", ""),
        ] {
            let request = CredentialsRequest { host: host.to_owned() };
            let answer = logins.credentials(Request::new(request)).await.expect("an answer").into_inner();
            assert_eq!((answer.username.as_str(), answer.secret.is_empty()), (user, user.is_empty()), "{host}");
            // Who has a login never fetches a token with it.
            let request = GetTokenAuthorityRequest { host: host.to_owned(), salt: vec![1] };
            let authority = logins.get_token_authority(Request::new(request)).await;
            assert_eq!(
                authority.is_ok_and(|answer| answer.get_ref().public_key.len() == 32),
                !user.is_empty(),
                "{host}"
            );
        }
    }

    #[tokio::test]
    async fn tokens_are_fetched_here_and_only_for_logins() {
        let refused = logins(Tokens::default()).fetch_token(asked("r.example:5000")).await.expect_err("nobody fetches");
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
        let tokens = Tokens::by(|asked| {
            Box::pin(async move {
                let token = format!("{} {} {}", asked.login.user, asked.realm, asked.scopes.join(","));
                Ok(TokenGiven { token, expires_in: None })
            })
        });
        let logins = logins(tokens);
        let given = logins.fetch_token(asked("r.example:5000")).await.expect("a token").into_inner();
        assert_eq!((given.token.as_str(), given.expires_in), ("own https://evil.example/token s", 60));
        assert!(given.issued_at > 0);
        assert_eq!(
            logins.fetch_token(asked("evil.example")).await.expect_err("no login").code(),
            tonic::Code::Unavailable
        );
    }
}
