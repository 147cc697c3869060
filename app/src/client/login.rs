//! `slipway login`: checks a token with the server and keeps it for later commands.

use std::io::{self, BufRead, IsTerminal};

use serde_json::json;

use crate::client::api::{Api, parse_server};
use crate::client::exit::{Exit, Failed};
use crate::client::screen::Screen;
use crate::client::token::Token;
use crate::client::{DEFAULT_SERVER, SERVER_VARIABLE, Setting};

/// Longest token that is read; ours are far shorter.
const MAX_TOKEN: u64 = 4096;

/// Reads the token from the terminal without showing it, or from standard input.
pub async fn run(setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    // Before the user types anything: is there a server to log in to at all?
    let server = parse_server(&setting.connection.server)?;
    let token = if io::stdin().is_terminal() {
        rpassword::prompt_password(format!("Token for {server} (it is not shown): "))
    } else {
        let mut line = String::new();
        io::Read::take(io::stdin().lock(), MAX_TOKEN).read_line(&mut line).map(|_| line)
    };
    let token = token.map_err(|error| Failed::usage(format!("The token cannot be read: {error}.")))?;
    keep(&token, setting, screen).await
}

/// Keeps the token if the server takes it.
pub async fn keep(token: &str, setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    let token = token.trim();
    if token.is_empty() {
        return Err(Failed::usage(
            "No token came in: paste one at the prompt, or pipe it, `slipway login < token-file`. The first `slipway \
             serve` prints one.",
        ));
    }
    let server = parse_server(&setting.connection.server)?;
    let origin = "what you typed".to_owned();
    let api =
        Api::new(server.clone(), Some(Token { secret: token.to_owned(), origin }), &setting.environment.trust()?)?;
    if api.exposes_token() {
        screen.say(&format!("slipway: your token goes to {server} in clear text; use https."));
    }
    api.get(&["projects"], &[("limit", "1".to_owned())]).await?;
    let path = setting.environment.save(&server, token)?;
    if screen.wants_json() {
        screen.object(&json!({ "server": server, "credentials": path }))?;
    } else {
        screen.say(&format!("Logged in to {server}; the token is kept in {}.", path.display()));
    }
    let is_usual = server.as_str().trim_end_matches('/') == DEFAULT_SERVER;
    if !is_usual && std::env::var_os(SERVER_VARIABLE).is_none() {
        screen.say(&format!("So that every command asks this server: export SLIPWAY_SERVER_URL={server}"));
    }
    if setting.environment.token.is_some() || setting.environment.token_file.is_some() {
        screen
            .say("SLIPWAY_TOKEN or SLIPWAY_TOKEN_FILE is set and wins over the kept token; unset it to use this one.");
    }
    Ok(Exit::Fine)
}
