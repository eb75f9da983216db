//! The command line as people and programs meet it: the real binary, against the service and an S3 that can be made to fail.

mod conventions;
mod integrity;
mod network;
mod resuming;
mod uploading;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{Service, file};

/// A machine with the binary on it and a folder to work in.
pub(crate) struct Machine {
    pub(crate) folder: TempDir,
    server: String,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Machine {
    pub(crate) fn at(service: &Service) -> Machine {
        Machine::before(&service.api.base)
    }

    /// Whose server this is.
    pub(crate) fn before(server: &str) -> Machine {
        Machine { folder: tempfile::tempdir().expect("a folder"), server: server.to_owned() }
    }

    /// A file of this many bytes, which differ from place to place.
    pub(crate) fn file(&self, name: &str, size: i64) -> Vec<u8> {
        let bytes = file(size);
        self.write(name, &bytes);
        bytes
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// With nothing of this process's environment but what is given.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_partita"));
        command.env_clear().env("HOME", self.folder.path()).env("PARTITA_SERVER", &self.server);
        command.current_dir(self.folder.path()).kill_on_drop(true).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        ended(self.command(arguments).spawn().expect("started")).await
    }

    /// The same with these bytes on standard input.
    pub(crate) async fn feed(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("started");
        let mut stdin = child.stdin.take().expect("standard input");
        let input = input.to_vec();
        let feeding = tokio::spawn(async move {
            // It may have seen enough.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, &input).await;
        });
        let ran = ended(child).await;
        feeding.await.expect("no panic");
        ran
    }
}

pub(crate) async fn ended(child: Child) -> Ran {
    let output = tokio::time::timeout(Duration::from_secs(120), child.wait_with_output()).await;
    let Output { status, stdout, stderr } = output.expect("it ends").expect("it ran");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

impl Ran {
    /// It went well.
    #[track_caller]
    pub(crate) fn ok(self) -> Ran {
        self.with_code(0)
    }

    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// The id that a line of results begins with.
    #[track_caller]
    pub(crate) fn id(&self) -> String {
        let id = self.out.split_whitespace().next().unwrap_or_default();
        uuid::Uuid::parse_str(id).unwrap_or_else(|_| panic!("no id: {self:?}"));
        id.to_owned()
    }

    /// Every line of standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    #[track_caller]
    pub(crate) fn tells(self, what: &str) -> Ran {
        assert!(self.err.contains(what), "{what:?} is not in\n{}", self.err);
        self
    }
}
