//! Logging: to stderr, as text or JSON, filtered by `SLIPWAY_LOG`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// bollard prints request bodies and build arguments below `warn`; sqlx prints statements.
const DEFAULT_FILTER: &str = "info,bollard=warn,sqlx=warn,hyper=warn,h2=warn,rustls=warn,lapin=off";

/// Sets up logging for the process. Called once by `main`; an unreadable filter falls back to the default.
pub fn init() {
    let filter = std::env::var("SLIPWAY_LOG")
        .ok()
        .and_then(|text| EnvFilter::try_new(format!("{DEFAULT_FILTER},{text}")).ok())
        .unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // Somebody may have set one up before, in tests; theirs stays.
    let _ = if std::env::var("SLIPWAY_LOG_FORMAT").is_ok_and(|format| format == "json") {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
}
