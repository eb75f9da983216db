//! Processes of the real binary on one database and one S3.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use partita::clock::Clock;
use partita::config::Settings;
use rustix::process::{Pid, Signal, kill_process};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::history::Told;
use crate::support::new_database;
use crate::support::observed_s3::ObservedS3;

/// How long what must come may take, on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than every lease and pause, and shorter than an upload's life without activity.
pub(crate) const LEASES_END: Duration = Duration::from_secs(120);
/// Longer than an upload's life, its URLs and the last transfer: the next look at it is the last.
pub(crate) const ALL_ENDS: Duration = Duration::from_secs(2 * 3600);

pub(crate) struct World {
    pub(crate) s3: Arc<ObservedS3>,
    /// The database as the test sees it.
    pub(crate) database: DatabaseConnection,
    pub(crate) database_url: String,
    pub(crate) told: Arc<Told>,
    /// Where each process listens, while it does.
    pub(crate) bases: Arc<watch::Sender<Vec<Option<String>>>>,
    folder: TempDir,
}

/// A running process of the binary.
pub(crate) struct Process {
    child: Child,
    pub(crate) base: String,
}

impl World {
    pub(crate) async fn new(postgres: bool, processes: usize) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let sqlite = format!("sqlite://{}", folder.path().join("partita.sqlite").display());
        let database_url = if postgres { new_database().await } else { sqlite };
        let settings = Settings {
            data_dir: folder.path().into(),
            database_url: Some(database_url.clone().into()),
            ..Settings::default()
        };
        let store = partita::app::open_store(&settings, Clock::default()).await.expect("a database");
        store.migrate().await.expect("migrated");
        store.close().await;
        let database = Database::connect(&database_url).await.expect("the database");
        let world = World {
            s3: Arc::new(ObservedS3::start(processes).await),
            database,
            database_url,
            told: Arc::default(),
            bases: Arc::new(watch::Sender::new(vec![None; processes])),
            folder,
        };
        world.watch_moves().await;
        world
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.database_url.starts_with("sqlite")
    }

    /// Starts a process; `None` if it died before it was ready. Clients hear of it at once.
    pub(crate) async fn launch(&self, number: usize, failpoints: &str, database_url: &str) -> Option<Process> {
        let log = OpenOptions::new().create(true).append(true).open(self.log(number)).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_partita"));
        command.env_clear().current_dir(self.folder.path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::from(log));
        let folder = self.folder.path().join(format!("data-{number}"));
        command.env("PARTITA_DATA_DIR", folder).env("PARTITA_DATABASE_URL", database_url);
        command.envs(self.s3.environment(number)).env("FAILPOINTS", failpoints);
        command.envs([
            ("PARTITA_LISTEN", "127.0.0.1:0"),
            ("PARTITA_INSECURE_NO_AUTH", "true"),
            ("PARTITA_SWEEP_INTERVAL", "1s"),
            ("PARTITA_COMPLETE_WAIT", "1s"),
            ("PARTITA_UPLOAD_IDLE_TTL", "30m"),
            ("PARTITA_UPLOAD_MAX_TTL", "100m"),
        ]);
        let mut child = command.spawn().expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let mut base = None;
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some((_, rest)) = line.split_once("API docs  ") {
                base = rest.strip_suffix("/docs").map(str::to_owned);
                break;
            }
        }
        tokio::spawn(async move { while lines.next_line().await.is_ok_and(|line| line.is_some()) {} });
        let Some(base) = base else {
            let status = child.wait().await.expect("ended");
            self.died(number, status);
            return None;
        };
        self.bases.send_modify(|bases| bases[number] = Some(base.clone()));
        Some(Process { child, base })
    }

    fn log(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("{number}.log"))
    }

    /// The only way to die is to be killed: a panic or an exit is a violation.
    pub(crate) fn died(&self, number: usize, status: ExitStatus) {
        use std::os::unix::process::ExitStatusExt;
        if status.signal() != Some(Signal::KILL.as_raw()) {
            let log = std::fs::read_to_string(self.log(number)).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(5).collect();
            self.told.violation(format!("a process ended by itself: {status}: {end:?}"));
        }
    }

    /// Waits until the process dies by itself, kills it when it has not after this time. Whether it died by itself.
    pub(crate) async fn outlive(&self, number: usize, process: Process, patience: Duration) -> bool {
        let mut child = process.child;
        let died = tokio::time::timeout(patience, child.wait()).await;
        let by_itself = died.is_ok();
        if !by_itself {
            child.start_kill().expect("killed");
        }
        let status = child.wait().await.expect("ended");
        self.bases.send_modify(|bases| bases[number] = None);
        self.died(number, status);
        by_itself
    }

    /// Ends the process politely: it finishes what it has begun.
    pub(crate) async fn stop(&self, number: usize, process: Process) {
        process.signal(Signal::TERM);
        let mut child = process.child;
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends").expect("a status");
        self.bases.send_modify(|bases| bases[number] = None);
        if !status.success() {
            self.told.violation(format!("a process did not end well: {status}"));
        }
    }

    /// Runs a statement, and says how many rows it changed.
    pub(crate) async fn sql(&self, statement: &str) -> u64 {
        match self.database.execute_unprepared(statement).await {
            Ok(done) => done.rows_affected(),
            Err(error) => panic!("{statement}: {error}"),
        }
    }

    /// What a statement counts.
    pub(crate) async fn count(&self, condition: &str) -> i64 {
        let sql = format!("SELECT count(*) AS found FROM uploads WHERE {condition}");
        let backend = self.database.get_database_backend();
        let row = self.database.query_one_raw(Statement::from_string(backend, sql)).await;
        row.expect("counted").expect("a row").try_get("", "found").expect("a number")
    }

    /// Moves time on while no process runs: every moment in the database comes to lie that much longer ago. What a dead process
    /// had asked of S3 is done before.
    pub(crate) async fn pass(&self, time: Duration) {
        self.s3.idle().await;
        // What has ended is left, to be there for the audit.
        let alive = "SELECT id FROM uploads WHERE state NOT IN ('aborted', 'failed', 'deleted')";
        self.pass_for(time, alive).await;
    }

    /// The same for these uploads. Returns their keys.
    pub(crate) async fn pass_for(&self, time: Duration, uploads: &str) -> Vec<String> {
        const MOMENTS: [&str; 9] = [
            "lease_until",
            "due_at",
            "asked_at",
            "begun_at",
            "overdue_at",
            "created_at",
            "expires_at",
            "hard_expires_at",
            "urls_expire_at",
        ];
        let back = MOMENTS.map(|moment| format!("{moment} = {moment} - {}", time.as_millis())).join(", ");
        let sql = format!("UPDATE uploads SET {back} WHERE id IN ({uploads}) RETURNING object_key");
        let backend = self.database.get_database_backend();
        let rows = self.database.query_all_raw(Statement::from_string(backend, sql)).await.expect("moved on");
        rows.into_iter().map(|row| row.try_get("", "object_key").expect("a key")).collect()
    }

    /// The database's clock, in a statement.
    pub(crate) fn now(&self) -> &'static str {
        if self.is_sqlite() {
            "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
        } else {
            "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
        }
    }

    /// Has one process settle everything, by letting all the time pass that it takes. What is not at its end then never will be.
    pub(crate) async fn settle(&self) {
        const OPEN: &str = "state NOT IN ('completed', 'aborted', 'failed', 'deleted')";
        for _ in 0..8 {
            let Some(process) = self.launch(0, "", &self.database_url).await else { return };
            let due = format!("due_at <= {}", self.now());
            let settled = async {
                while self.count(&due).await > 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            if tokio::time::timeout(PATIENCE * 5, settled).await.is_err() {
                self.told.violation("what is due is not claimed".into());
            }
            self.stop(0, process).await;
            if self.count(OPEN).await == 0 {
                return;
            }
            self.pass(ALL_ENDS).await;
        }
    }
}

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id as i32)) {
            kill_process(pid, signal).expect("signalled");
        }
    }
}
