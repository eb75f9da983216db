//! What `upload` and `resume` have in common: how bytes are sent, how that is told, and how Ctrl-C is taken.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connection::{Connection, Preferences, quoted};
use super::ending::{Failure, Format, show};
use super::progress::{FileProgress, Progress, Telling};
use crate::client::{Error, Gate, Kind, Sent, Service, Store, Transfer};

/// How bytes are sent.
#[derive(Debug, Args)]
pub(super) struct How {
    #[command(flatten)]
    pub(super) connection: Connection,
    /// Parts on their way at once, over all files [default: as many as pay, 1 to 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: Option<u16>,
    #[command(flatten)]
    persistence: Persistence,
    /// On Ctrl-C, give the uploads up instead of keeping them
    #[arg(long)]
    abort_on_interrupt: bool,
    /// How results are printed on standard output
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub(super) output: Format,
    #[command(flatten)]
    telling: Telling,
}

/// How long a network that fails is put up with.
#[derive(Debug, Args)]
pub(super) struct Persistence {
    /// Give up a connection on which nothing moves for this long, and go on with another
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = stall_timeout)]
    pub(super) stall_timeout: Duration,
    /// Try a step that fails again for this long in all, before giving up
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime_serde::re::humantime::parse_duration)]
    pub(super) patience: Duration,
}

/// Sends the files of one run of the program.
pub(super) struct Sending {
    service: Service,
    store: Store,
    pub(super) gate: Arc<Gate>,
    stop: CancellationToken,
    patience: Duration,
    claimed: Arc<Mutex<HashSet<Uuid>>>,
    files: usize,
    pub(super) progress: Arc<Progress>,
    pub(super) preferences: Preferences,
    flags: How,
}

impl Sending {
    /// Of so many files, and bytes where they are known.
    pub(super) fn begin(flags: How, files: usize, size: Option<u64>) -> Result<Sending, Failure> {
        let progress = Progress::new(flags.telling.mode(), files, size);
        let told = progress.clone();
        let (service, preferences) = flags.connection.open(Arc::new(move |error, pause| told.retry(error, pause)))?;
        let parallel = flags.parallel.map(usize::from).or(preferences.parallel.map(|parallel| parallel.min(256)));
        let now = Instant::now();
        let gate = Arc::new(parallel.map_or_else(|| Gate::adaptive(now), |parallel| Gate::fixed(parallel, now)));
        let store = Store::new(flags.persistence.stall_timeout).map_err(Failure::usage)?;
        let service = service.with_patience(flags.persistence.patience);
        let (stop, patience) = (stopped_by_signals(&progress), flags.persistence.patience);
        Ok(Sending {
            service,
            store,
            gate,
            stop,
            patience,
            claimed: Arc::default(),
            files,
            progress,
            preferences,
            flags,
        })
    }

    /// A transfer that tells of this file.
    pub(super) fn of(&self, file: &Arc<FileProgress>) -> Transfer {
        let Sending { service, store, gate, stop, patience, .. } = self;
        let (service, store, gate, stop) = (service.clone(), store.clone(), gate.clone(), stop.clone());
        Transfer { service, store, gate, watch: file.clone(), stop, patience: *patience, claimed: self.claimed.clone() }
    }

    /// Prints the result of a file, and tells how it ended. `path` is how it was named, for the command that goes on.
    pub(super) async fn end(
        &self,
        file: &FileProgress,
        path: &Path,
        is_stream: bool,
        outcome: Result<Sent, Error>,
    ) -> Result<(), Error> {
        match outcome {
            Ok(sent) => {
                file.end(json!({ "event": "completed", "id": sent.upload.known.id, "verifiedBy": sent.verified_by }));
                self.print(path, &sent);
                Ok(())
            }
            Err(error) => {
                let failed = json!({ "event": "failed", "code": error.code, "detail": error.message, "id": file.id() });
                file.end(failed);
                self.tell_failure(file, path, is_stream, &error).await;
                Err(error)
            }
        }
    }

    fn print(&self, path: &Path, sent: &Sent) {
        let path = &path.display().to_string();
        let upload = &sent.upload.known;
        let json = json!({
            "path": path, "resumed": sent.is_resumed, "verifiedBy": sent.verified_by, "checksum": sent.checksum,
            "upload": sent.upload.json,
        });
        self.progress
            .above(|| show(self.flags.output, &json, || format!("{}  {}", upload.id, super::ending::word(path))));
        let size = HumanBytes(upload.object.as_ref().map_or(0, |object| object.size.unsigned_abs()));
        let how = if sent.checksum.is_some() { "uploaded" } else { "uploaded before" };
        let proof = match sent.verified_by {
            Some("object") => "S3's checksum is that of the file",
            Some(_) => "S3 checked every part",
            None => "nothing but the size was verified: this store tells no checksum",
        };
        self.progress.note(&format!("{path}: {size} {how}; {proof}"));
    }

    async fn tell_failure(&self, file: &FileProgress, path: &Path, is_stream: bool, error: &Error) {
        let id = file.id();
        if id.is_none() && error.kind == Kind::Interrupted && self.files > 1 {
            // It was not begun with: all of these are told together.
            return;
        }
        let name = path.display().to_string();
        let mut text = format!("{name}: {error}");
        if let Some(id) = id {
            // Of what is over nothing is left to go on with.
            let is_over = error.kind == Kind::NotFound || error.code == "checksum-mismatch";
            let is_other = matches!(error.code.as_str(), "file-differs" | "file-changed");
            if error.kind == Kind::Interrupted && self.flags.abort_on_interrupt {
                let aborting = self.service.clone().with_patience(Duration::from_secs(3));
                text = match aborting.abort(&id.to_string()).await {
                    Ok(()) => format!("{name}: stopped, and upload {id} is given up"),
                    Err(error) => format!("{name}: stopped; upload {id} could not be given up: {error}"),
                };
            } else if is_over {
                // The message says all there is.
            } else if is_stream || is_other {
                text += &format!("\n  give it up: partita abort{} {id}", self.reach());
            } else {
                // A name is not to be taken for a flag.
                let path = if name.starts_with('-') { &Path::new(".").join(path) } else { path };
                text += &format!("\n  go on with it: partita resume{} {id} {}", self.reach(), quoted(path));
            }
        }
        let json = json!({ "event": "message", "path": name, "id": id, "text": text });
        self.progress.warn(&text, json);
    }

    fn reach(&self) -> String {
        self.flags.connection.as_flags()
    }
}

/// Less than a second is shorter than stores take to answer at times.
fn stall_timeout(text: &str) -> Result<Duration, String> {
    let duration = humantime_serde::re::humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration < Duration::from_secs(1) { Err("at least 1s".to_owned()) } else { Ok(duration) }
}

/// Fires at the first Ctrl-C or SIGTERM; the second ends the program there and then.
pub(super) fn stopped_by_signals(progress: &Arc<Progress>) -> CancellationToken {
    let stop = CancellationToken::new();
    let (fired, progress) = (stop.clone(), progress.clone());
    tokio::spawn(async move {
        loop {
            let Ok(signal) = super::serve::signal() else { return };
            signal.await;
            if fired.is_cancelled() {
                std::process::exit(130);
            }
            progress.note("partita: stopping; once more to leave at once");
            fired.cancel();
        }
    });
    stop
}
