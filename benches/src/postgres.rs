//! A PostgreSQL cluster of the run's own, with the settings that PostgreSQL comes with: fsync above all.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database};
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::measure::{Cpu, children_of};
use crate::{Result, child, machine};

/// A running cluster.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    id: u32,
    _child: Child,
}

impl Postgres {
    /// Makes a cluster in this folder and starts it; as the user postgres if we are root, whom PostgreSQL refuses to run as.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start(folder: &Path) -> Result<Postgres> {
        let bin = bin()?;
        let data = folder.join("postgres");
        let root = rustix::process::geteuid().is_root();
        let user: &[&str] = if root { &["--reuid=postgres", "--regid=postgres", "--init-groups"] } else { &[] };
        let owner: &[&str] = if root { &["-o", "postgres", "-g", "postgres"] } else { &[] };
        run(Command::new("install").args(["-d", "-m", "700"]).args(owner).arg(&data)).await?;
        let initdb = bin.join("initdb");
        let made = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"];
        run(Command::new("setpriv").args(user).arg("--").arg(initdb).arg("-D").arg(&data).args(made).current_dir("/"))
            .await?;
        let port = child::free_port()?;
        let log = std::fs::File::create(folder.join("postgres.log"))?;
        let mut child = Command::new("setpriv")
            // SIGQUIT takes PostgreSQL's children along.
            .args(user)
            .args(["--pdeathsig=QUIT", "--"])
            .arg(bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let id = child.id().ok_or("PostgreSQL ended")?;
        let postgres = url(port, "postgres");
        child::wait_until(&mut child, Duration::from_millis(50), async || Database::connect(&postgres).await.is_ok())
            .await?;
        Ok(Postgres { port, id, _child: child })
    }

    /// A new, empty database; its URL.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn database(&self) -> Result<String> {
        let name = format!("bench_{}", Uuid::new_v4().simple());
        let db = Database::connect(url(self.port, "postgres")).await?;
        db.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
        db.close().await?;
        Ok(url(self.port, &name))
    }

    /// The CPU time of the postmaster and all its children: sessions, the writers, autovacuum.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn cpu(&self) -> Result<Cpu> {
        let mut processes = children_of(self.id);
        processes.push(self.id);
        Ok(Cpu::of(&processes)?)
    }
}

/// What version it is, for the report.
pub fn version() -> String {
    let program = bin().map(|bin| bin.join("postgres").display().to_string()).unwrap_or_default();
    machine::first_line(&program, &["--version"])
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

/// The newest that Debian has installed.
fn bin() -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    versions.sort_unstable();
    versions.pop().map(|(_, bin)| bin).ok_or_else(|| "no PostgreSQL in /usr/lib/postgresql".into())
}

async fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().await?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
}
