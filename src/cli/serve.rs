//! `partita serve`: runs the service until Ctrl-C or SIGTERM.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::app::App;
use crate::config::{self, Settings};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Where the service listens [setting listen; default 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Folder of the SQLite file and of the embedded S3 [setting data_dir; default ./partita-data]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Where the embedded S3 listens [setting embedded_s3.listen; default 127.0.0.1:9000]
    #[arg(long, value_name = "ADDRESS")]
    embedded_s3_listen: Option<SocketAddr>,
    /// Ask nobody who they are, wherever the service listens: whoever reaches the port may read, write and delete everything
    /// [setting insecure_no_auth; default only for the zero-setup start on loopback]
    #[arg(long)]
    insecure_no_auth: bool,
}

impl Flags {
    fn settings(&self) -> Vec<(&'static str, String)> {
        let listen = self.listen.map(|address| ("listen", address.to_string()));
        let data_dir = self.data_dir.as_ref().map(|folder| ("data_dir", folder.display().to_string()));
        let embedded = self.embedded_s3_listen.map(|address| ("embedded_s3.listen", address.to_string()));
        let open = self.insecure_no_auth.then(|| ("insecure_no_auth", "true".to_owned()));
        [listen, data_dir, embedded, open].into_iter().flatten().collect()
    }
}

pub(super) async fn run(
    load: impl FnOnce(&[(&str, String)]) -> Result<Settings, config::Error>,
    flags: Flags,
) -> Result<(), Box<dyn Error>> {
    crate::telemetry::start();
    let settings = load(&flags.settings())?;
    let ended = signal()?;
    let app = App::start(&settings).await?;
    print!("{}", welcome(&app, &settings));
    ended.await;
    println!("Stopping: requests in flight are answered first.");
    app.stop().await;
    Ok(())
}

/// Resolves at the next Ctrl-C or SIGTERM.
pub(super) fn signal() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}

fn welcome(app: &App, settings: &Settings) -> String {
    let base = format!("http://{}", app.address);
    let mut text = String::from("\n  Partita is ready.\n\n");
    if settings.serves_demo() {
        text += &format!("  Demo      {base}/\n");
    }
    text += &format!("  API docs  {base}/docs\n  OpenAPI   {base}/openapi.json\n");
    match (app.embedded_s3, &settings.s3.bucket) {
        (Some(address), _) => {
            text += &format!("  Storage   embedded S3 at http://{address}, in {}\n", settings.data_dir.display())
        }
        (None, Some(bucket)) => text += &format!("  Storage   bucket {bucket}\n"),
        (None, None) => {}
    }
    if !settings.is_without_auth() {
        return text
            + "  Callers   need an API key or a token: partita keys create --owner NAME --scope uploads:write --scope files:read\n\n";
    }
    if !settings.listen.ip().is_loopback() {
        text += "  Danger    nobody is asked who they are, and the service listens beyond this machine\n";
    }
    text + &from_a_shell(&base)
}

/// One part covers the file, and the upload completes by itself once it is there: asking for the file notices.
fn from_a_shell(base: &str) -> String {
    format!(
        r#"
  Upload a file from a shell:

    f=README.md; u=$(curl -sS {base}/v1/uploads -H 'Content-Type: application/json' \
      -d "{{\"filename\":\"$(basename "$f")\",\"size\":$(($(wc -c <"$f"))),\"autoComplete\":true,\"partSize\":5368709120}}")
    curl -sS -T "$f" "$(echo "$u" | grep -o '"url":"[^"]*' | cut -c8-)" &&
      curl -sS "{base}/v1/files/$(echo "$u" | grep -o '"id":"[^"]*' | head -1 | cut -c7-)"

"#
    )
}
