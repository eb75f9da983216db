//! The service under measurement: a release build of `partita serve`, as a process of its own, against the S3 that holds nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::bench::Bench;
use crate::load::{Call, Connection};
use crate::measure::{self, Cpu};
use crate::signers::{ACCESS_KEY, BUCKET, REGION, SECRET_KEY};
use crate::{Result, child};

/// Whether callers are asked who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// By an API key, which is looked up in the database with every request.
    WithKeys,
    /// No.
    Unasked,
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    /// The API key to call it with, where callers are asked.
    pub key: Option<String>,
    /// Of its process.
    pub id: u32,
    child: Child,
}

impl Service {
    /// Brings the database up to date and starts a service on it; returns once that is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(bench: &Bench, database_url: &str, callers: Callers) -> Result<Service> {
        let log = bench.folder.join("partita.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let folder = tempfile::Builder::new().prefix("data.").tempdir_in(&bench.folder)?.keep();
        let settings = |command: &mut Command| {
            set(command, bench, database_url, callers, &folder);
        };
        let mut migrate = child::command(&bench.partita);
        settings(&mut migrate);
        verb(migrate.arg("migrate")).await?;
        let key = match callers {
            Callers::Unasked => None,
            Callers::WithKeys => {
                let mut create = child::command(&bench.partita);
                settings(&mut create);
                create.args(["keys", "create", "--owner", "bench", "--scope", "uploads:write", "--name", "bench"]);
                Some(verb(&mut create).await?)
            }
        };
        let address = SocketAddr::from(([127, 0, 0, 1], child::free_port()?));
        let mut serve = child::command(&bench.partita);
        settings(&mut serve);
        serve.arg("serve").env("PARTITA_LISTEN", address.to_string()).stdout(log.try_clone()?).stderr(log);
        let mut child = serve.spawn()?;
        let id = child.id().ok_or("the service ended")?;
        child::wait_until(&mut child, Duration::from_millis(20), async || is_ready(address).await).await?;
        Ok(Service { address, key, id, child })
    }

    /// Another connection to it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connect(&self) -> Result<Connection> {
        Connection::open(self.address, self.key.as_deref()).await
    }

    /// The CPU time that it has had.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn cpu(&self) -> Result<Cpu> {
        Ok(Cpu::of(&[self.id])?)
    }

    /// The most memory that it has had resident, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn peak(&self) -> Result<f64> {
        Ok(measure::peak_resident(self.id)?)
    }

    /// Ends it as an operator would, so that nothing is left in its journals.
    ///
    /// # Errors
    /// When it cannot be told to.
    pub async fn stop(mut self) -> Result<()> {
        let id =
            i32::try_from(self.id).ok().and_then(rustix::process::Pid::from_raw).ok_or("a process without an id")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        self.child.wait().await?;
        Ok(())
    }

    /// Begins uploads; their ids.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn begin_uploads(&self, count: usize, parts: i64, part_size: i64) -> Result<Vec<String>> {
        let mut connection = self.connect().await?;
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            let begun = connection.json(&begin(parts, part_size)).await?;
            ids.push(text(&begun["upload"]["id"])?);
        }
        Ok(ids)
    }
}

/// The call that begins an upload of this plan, without part URLs.
pub fn begin(parts: i64, part_size: i64) -> Call {
    let wanted = json!({
        "filename": "raw footage.mov", "contentType": "video/quicktime", "size": parts * part_size,
        "partSize": part_size, "partUrls": {"count": 0},
    });
    Call::new(Method::POST, "/v1/uploads", &wanted)
}

/// The call that signs parts (`1-100,205`).
pub fn sign(id: &str, parts: &str) -> Call {
    Call::new(Method::POST, format!("/v1/uploads/{id}/part-urls"), &json!({"parts": parts}))
}

/// The call that records one part.
pub fn record_one(id: &str, number: usize) -> Call {
    Call::new(Method::PUT, format!("/v1/uploads/{id}/parts/{number}"), &json!({"etag": etag(number)}))
}

/// The call that records these parts.
pub fn record(id: &str, numbers: impl Iterator<Item = usize>) -> Call {
    let parts: Vec<Value> = numbers.map(|number| json!({"partNumber": number, "etag": etag(number)})).collect();
    Call::new(Method::PUT, format!("/v1/uploads/{id}/parts"), &json!({"parts": parts}))
}

/// An ETag as S3 gives it: 32 hexadecimal digits in quotes.
pub fn etag(number: usize) -> String {
    format!("\"{:032x}\"", (number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// The text that a JSON value is.
///
/// # Errors
/// When it is none.
pub fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| "an answer without what was asked for".into())
}

/// From the start of a process, with the settings it comes with, to its first `200` of `/readyz`.
///
/// # Errors
/// When it does not get there.
pub async fn seconds_to_ready(mut serve: Command) -> Result<(f64, Child)> {
    let address = SocketAddr::from(([127, 0, 0, 1], child::free_port()?));
    serve.arg("serve").env("PARTITA_LISTEN", address.to_string());
    let began = Instant::now();
    let mut child = serve.spawn()?;
    child::wait_until(&mut child, Duration::from_millis(1), async || is_ready(address).await).await?;
    Ok((began.elapsed().as_secs_f64(), child))
}

/// Gives a command every setting of a service on this database.
pub fn set(command: &mut Command, bench: &Bench, database_url: &str, callers: Callers, folder: &Path) {
    command
        .env("PARTITA_DATABASE_URL", database_url)
        .env("PARTITA_DATA_DIR", folder)
        .env("PARTITA_INSECURE_NO_AUTH", (callers == Callers::Unasked).to_string())
        // One caller makes all the load.
        .env("PARTITA_LIMITS_REQUESTS_PER_MINUTE", "0")
        .env("PARTITA_LIMITS_OPEN_UPLOADS", "0")
        .env("PARTITA_S3_BUCKET", BUCKET)
        .env("PARTITA_S3_REGION", REGION)
        .env("PARTITA_S3_ENDPOINT", format!("http://127.0.0.1:{}", bench.null_s3.port))
        .env("PARTITA_S3_PATH_STYLE", "true")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("PARTITA_CONFIG")
        .current_dir(&bench.folder);
}

/// Whether it answers that it is ready.
pub async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut connection) = Connection::open(address, None).await else { return false };
    connection.call(&Call::get("/readyz")).await.is_ok()
}

/// Runs it to its end; what it printed.
async fn verb(command: &mut Command) -> Result<String> {
    let output = command.output().await?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
