//! The rivals that are programs of their own.

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::bench::Bench;
use crate::child::{self, Listening};
use crate::{Result, signers};

/// Starts `@uppy/companion`; its URLs lead to AWS, and nothing is ever sent there.
///
/// # Errors
/// When it does not start.
pub async fn companion(bench: &Bench) -> Result<Listening> {
    let mut command = child::command("node");
    command.arg(bench.rivals.join("companion.mjs")).env("NODE_ENV", "production").stderr(Stdio::null());
    Listening::start(command).await
}

/// A script that signs as many URLs as it is told and answers with the CPU seconds they took.
#[derive(Debug)]
pub struct Signing {
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Signing {
    /// The AWS SDK for JavaScript.
    ///
    /// # Errors
    /// When it does not start.
    pub fn javascript(bench: &Bench) -> Result<Signing> {
        let mut command = child::command("node");
        command.arg(bench.rivals.join("presign.mjs"));
        Signing::start(command)
    }

    /// boto3.
    ///
    /// # Errors
    /// When it does not start.
    pub fn python(bench: &Bench) -> Result<Signing> {
        let mut command = child::command(&bench.python);
        command.arg(bench.rivals.join("presign.py"));
        Signing::start(command)
    }

    fn start(mut command: tokio::process::Command) -> Result<Signing> {
        let given = json!({
            "accessKey": signers::ACCESS_KEY, "secretKey": signers::SECRET_KEY, "region": signers::REGION,
            "bucket": signers::BUCKET, "key": signers::KEY, "uploadId": signers::UPLOAD_ID,
            "partSize": signers::PART_SIZE,
        });
        // Node warns of its own age.
        command.arg(given.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a script without stdin or stdout".into());
        };
        Ok(Signing { stdin, stdout: BufReader::new(stdout).lines(), _child: child })
    }

    /// CPU seconds of signing this many.
    ///
    /// # Errors
    /// When the script has ended.
    pub async fn sign(&mut self, count: u32) -> Result<f64> {
        self.stdin.write_all(format!("{count}\n").as_bytes()).await?;
        let line = self.stdout.next_line().await?.ok_or("a script that signs has ended")?;
        Ok(line.trim().parse()?)
    }
}
