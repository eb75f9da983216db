//! Processes of the harness: each dies with it.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Result;

/// How long a server may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command whose process is killed when the harness ends, however it ends.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=KILL").arg("--").arg(program).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A process that says on stdout, in a line of digits, at which port it listens.
#[derive(Debug)]
pub struct Listening {
    /// Where.
    pub port: u16,
    /// Of the process.
    pub id: u32,
    _child: Child,
}

impl Listening {
    /// Starts it.
    ///
    /// # Errors
    /// When it ends, or does not listen within a minute.
    pub async fn start(mut command: Command) -> Result<Listening> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let (Some(stdout), Some(id)) = (child.stdout.take(), child.id()) else {
            return Err("a process without stdout".into());
        };
        let mut lines = BufReader::new(stdout).lines();
        let port = async {
            while let Some(line) = lines.next_line().await? {
                // Some have more to say.
                if let Ok(port) = line.trim().parse() {
                    return Ok(port);
                }
            }
            Err("a server ended before it listened".into())
        };
        let port: Result<u16> = tokio::time::timeout(PATIENCE, port).await?;
        // A full pipe would halt whoever goes on talking.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Listening { port: port?, id, _child: child })
    }
}

/// Asks again and again until it is so.
///
/// # Errors
/// When the process has ended, or it is not so within a minute.
pub async fn wait_until(child: &mut Child, pause: Duration, mut is_so: impl AsyncFnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if is_so().await {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            return Err(format!("a server ended before it was ready: {status}").into());
        }
        if Instant::now() > deadline {
            return Err("a server is not ready after a minute".into());
        }
        tokio::time::sleep(pause).await;
    }
}

/// A port of 127.0.0.1 that is free now.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
