//! Tokens of registries that an engine asks for in its session.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use slipway_domain::agent::Login;

/// A token that an engine wants for a registry there is a login for.
pub struct TokenAsked {
    /// The registry, `host[:port]`.
    pub host: String,
    /// The address of the token service, as the registry names it: a stranger's word.
    pub realm: String,
    /// The registry, as that service knows it.
    pub service: String,
    /// What the token is for.
    pub scopes: Vec<String>,
    /// The registry's login.
    pub login: Login,
}

/// A token.
pub struct TokenGiven {
    /// The token.
    pub token: String,
    /// Seconds that it is good for; a minute if nobody knows.
    pub expires_in: Option<i64>,
}

/// Who fetches tokens: the caller, because only it knows what may be contacted. An error is a sentence for the user.
#[derive(Clone)]
pub struct Tokens(Arc<Fetching>);

type Fetching = dyn Fn(TokenAsked) -> BoxFuture<'static, Result<TokenGiven, String>> + Send + Sync;

impl Tokens {
    /// By this function.
    pub fn by(
        fetch: impl Fn(TokenAsked) -> BoxFuture<'static, Result<TokenGiven, String>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(fetch))
    }

    pub(crate) async fn fetch(&self, asked: TokenAsked) -> Result<TokenGiven, String> {
        (self.0)(asked).await
    }
}

impl Default for Tokens {
    /// By nobody: with a registry that wants tokens, logins are of no use then.
    fn default() -> Self {
        Self::by(|asked| Box::pin(async move { Err(format!("no token is fetched for the registry {}", asked.host)) }))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}
