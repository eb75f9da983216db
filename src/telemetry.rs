//! Logs: on stderr, structured, without URLs, tokens or keys. `PARTITA_LOG` filters them (`info` by default; the syntax of
//! `tracing_subscriber::EnvFilter`), `PARTITA_LOG_FORMAT=json` makes them JSON lines.

use tracing_subscriber::EnvFilter;

/// Starts logging. A second call changes nothing.
pub fn start() {
    let filter = EnvFilter::try_from_env("PARTITA_LOG").unwrap_or_else(|_| EnvFilter::new("warn,partita=info,s3s=off"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Whoever started it first has decided.
    let _ = if std::env::var("PARTITA_LOG_FORMAT").is_ok_and(|format| format == "json") {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
}
