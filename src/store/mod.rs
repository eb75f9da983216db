//! The ledger: the only module that knows sea-orm.
//!
//! Every change of state is one guarded statement; the guard comes from [`State::predecessors`]. Every query of a client
//! starts from its owner. No transaction outlives a method, so none is ever open across a network call.
//! After a crash the ledger holds all that a method has returned `Ok` for (SQLite: WAL with synchronous FULL;
//! PostgreSQL: as `synchronous_commit` says, `on` by default).

mod bounded;
mod creation;
mod entity;
mod files;
mod group;
mod keys;
mod list;
mod lookup;
mod packed;
mod parts;
mod record;
mod row;
mod rows;
mod sweep;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, SimpleExpr};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    FromQueryResult, RuntimeErr, SqliteTransactionMode, SqlxError, Statement, TransactionOptions,
};
use uuid::Uuid;

pub use creation::{Created, IdempotencyKey, NewUpload, Quota};
pub use keys::{ApiKey, Holder};
pub use parts::{Recorded, Tally};
pub use sweep::{Counts, Known};
pub use uploads::{Filter, Lease, MAX_TRANSFER};

use bounded::Bounded;
use group::Groups;
use lookup::{Found, Lookup};
use rows::Report;

use crate::clock::Clock;
use crate::upload::Upload;

/// How long a statement may wait for a connection, or for SQLite's one writer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that nobody has used for this long is asked whether it is still there.
const PING_AFTER: Duration = Duration::from_secs(1);

/// A connection to the ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    /// On SQLite a pool of one, for it has one writer; on PostgreSQL the same pool as `read`.
    write: Bounded<DatabaseConnection>,
    read: Bounded<DatabaseConnection>,
    clock: Clock,
    groups: Arc<Kinds>,
}

/// What is asked so often that it is answered in groups.
#[derive(Debug)]
struct Kinds {
    reports: Arc<Groups<Report, bool>>,
    lookups: Arc<Groups<Lookup, Found>>,
}

/// What the ledger may answer besides what was asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// This owner has no upload of this id.
    #[error("no such upload")]
    NotFound,
    /// The guard of the statement did not hold: the upload, as it is now, is elsewhere.
    #[error("the upload is {}", .0.status.state())]
    Moved(Box<Upload>),
    /// The owner has as many open uploads as it may.
    #[error("the owner has as many open uploads as it may")]
    TooManyUploads,
    /// The owner would hold more bytes than it may.
    #[error("the owner would hold more bytes than it may")]
    TooManyBytes,
    /// A row that contradicts itself; it is never acted upon.
    #[error("the row of upload {id} is inconsistent: {what}")]
    Inconsistent {
        /// Which.
        id: Uuid,
        /// In what respect.
        what: &'static str,
    },
    /// The database came from a backup, and was not yet checked against the bucket.
    #[error("the database was restored from a backup and not yet checked: run `partita fsck --repair`")]
    Restored,
    /// The URL leads to no database; it may hold a password, so its text is not repeated.
    #[error("its URL cannot be read")]
    Address,
    /// The database is away, full or overloaded. Nothing has changed, or the change was not confirmed.
    #[error("the database is unavailable")]
    Unavailable(#[source] DbErr),
    /// The database refuses what we ask: a fault of ours.
    #[error("the database failed")]
    Database(#[source] DbErr),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::Conn(RuntimeErr::Internal(_)) => Error::Address,
            DbErr::Conn(RuntimeErr::SqlxError(sqlx)) if matches!(**sqlx, SqlxError::Configuration(_)) => Error::Address,
            _ if is_transient(&error) => Error::Unavailable(error),
            _ => Error::Database(error),
        }
    }
}

/// Whether waiting may help: connection lost, pool empty, disk full, server shutting down, lock held too long.
fn is_transient(error: &DbErr) -> bool {
    let sqlx = match error {
        DbErr::ConnectionAcquire(_) => return true,
        DbErr::Conn(RuntimeErr::SqlxError(sqlx)) | DbErr::Exec(RuntimeErr::SqlxError(sqlx)) => sqlx,
        DbErr::Query(RuntimeErr::SqlxError(sqlx)) => sqlx,
        _ => return false,
    };
    match &**sqlx {
        SqlxError::Database(database) => {
            let code = database.code().unwrap_or_default();
            // PostgreSQL classes 08 connection, 40 rollback, 53 resources, 55 lock, 57 intervention, 58 system.
            let postgres = code.len() == 5 && ["08", "40", "53", "55", "57", "58"].contains(&&code[..2]);
            // SQLite primary codes BUSY, LOCKED, IOERR, FULL, CANTOPEN; extended ones hold them in the low byte.
            let sqlite =
                code.len() < 5 && code.parse::<u32>().is_ok_and(|code| [5, 6, 10, 13, 14].contains(&(code & 0xff)));
            postgres || sqlite
        }
        SqlxError::Io(_) | SqlxError::Tls(_) | SqlxError::Protocol(_) => true,
        SqlxError::PoolTimedOut | SqlxError::PoolClosed | SqlxError::WorkerCrashed => true,
        _ => false,
    }
}

impl Store {
    /// Connects to `sqlite://…`, a file that is created when it is not there, or to `postgres://…` with up to so many
    /// connections.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database does not answer within a few seconds.
    pub async fn connect(url: &str, connections: u32, clock: Clock) -> Result<Store, Error> {
        let options = |connections: u32| {
            let mut options = ConnectOptions::new(url);
            options
                .max_connections(connections)
                .connect_timeout(PATIENCE)
                .acquire_timeout(PATIENCE)
                // One that was at work just now needs no question whether it is there.
                .test_before_acquire_if_idle_for(PING_AFTER)
                .sqlx_logging(false);
            options
        };
        let groups = Arc::new(Kinds { reports: Groups::new(), lookups: Groups::new() });
        if !url.starts_with("sqlite:") {
            let pool = Bounded(Database::connect(options(connections)).await?);
            return Ok(Store { write: pool.clone(), read: pool, clock, groups });
        }
        let sqlite = |connections: u32| {
            let mut options = options(connections);
            options.map_sqlx_sqlite_opts(|sqlite| {
                sqlite
                    .create_if_missing(true)
                    .foreign_keys(true)
                    .busy_timeout(PATIENCE)
                    .pragma("journal_mode", "WAL")
                    .pragma("synchronous", "FULL")
            });
            options
        };
        // The writer first: it creates the file.
        let write = Bounded(Database::connect(sqlite(1)).await?);
        let read = Bounded(Database::connect(sqlite(4)).await?);
        Ok(Store { write, read, clock, groups })
    }

    /// Brings the schema up to date; processes that start together wait for each other.
    ///
    /// # Errors
    /// Then nothing has changed.
    pub async fn migrate(&self) -> Result<(), Error> {
        Ok(migrations::run(&self.write.0).await?)
    }

    /// Whether the database answers and has the schema of this version.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`] when it does not answer.
    pub async fn is_ready(&self) -> Result<bool, Error> {
        self.now().await?;
        Ok(!migrations::is_pending(&self.read.0).await?)
    }

    /// Whether this is SQLite, whose schema the service brings up to date by itself when it starts.
    pub fn is_sqlite(&self) -> bool {
        self.backend() == DbBackend::Sqlite
    }

    fn backend(&self) -> DbBackend {
        self.write.get_database_backend()
    }

    /// Closes every connection; what was acknowledged is on disk already.
    pub async fn close(self) {
        for pool in [self.read, self.write] {
            if let Err(error) = pool.0.close().await {
                tracing::warn!(%error, "a database connection did not close");
            }
        }
    }

    /// Each pool: its name, connections in use, connections idle.
    pub fn connections(&self) -> Vec<(&'static str, u32, u32)> {
        let count = |size: u32, idle: usize| {
            let idle = std::cmp::min(size, u32::try_from(idle).unwrap_or(u32::MAX));
            (size - idle, idle)
        };
        let pool = |name, Bounded(db): &Bounded<DatabaseConnection>| {
            let (used, idle) = if self.is_sqlite() {
                let pool = db.get_sqlite_connection_pool();
                count(pool.size(), pool.num_idle())
            } else {
                let pool = db.get_postgres_connection_pool();
                count(pool.size(), pool.num_idle())
            };
            (name, used, idle)
        };
        if self.is_sqlite() {
            vec![pool("write", &self.write), pool("read", &self.read)]
        } else {
            vec![pool("all", &self.write)]
        }
    }

    /// The database's clock.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn now(&self) -> Result<DateTime<Utc>, Error> {
        self.now_in(&self.read).await
    }

    async fn now_in(&self, db: &impl ConnectionTrait) -> Result<DateTime<Utc>, Error> {
        #[derive(FromQueryResult)]
        struct Now {
            now: i64,
        }
        let statement = Statement::from_string(db.get_database_backend(), format!("SELECT {} AS now", self.now_sql()));
        match Now::find_by_statement(statement).one(db).await? {
            Some(row) => Ok(row::moment(row.now)),
            None => Err(Error::Database(DbErr::RecordNotFound("SELECT without a row".into()))),
        }
    }

    /// The database's clock in milliseconds, within a statement.
    fn now_sql(&self) -> String {
        let ahead = self.clock.ahead().num_milliseconds();
        match self.backend() {
            DbBackend::Sqlite => format!("(CAST(unixepoch('subsec') * 1000 AS INTEGER) + {ahead})"),
            _ => format!("((extract(epoch FROM clock_timestamp()) * 1000)::bigint + {ahead})"),
        }
    }

    fn now_expr(&self) -> SimpleExpr {
        Expr::cust(self.now_sql())
    }

    /// The database's clock some time from now.
    fn in_expr(&self, ahead: Duration) -> SimpleExpr {
        Expr::cust(format!("({} + {})", self.now_sql(), milliseconds(ahead)))
    }

    /// A transaction that may write. On SQLite it takes the write lock at once: one that asks for it half-way is refused
    /// without waiting.
    async fn begin(&self) -> Result<Bounded<DatabaseTransaction>, Error> {
        let mode = Some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode: mode, ..Default::default() };
        Ok(self.write.begin(options).await?)
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn null() -> SimpleExpr {
    Expr::cust("NULL")
}

/// The later of two moments, within a statement.
fn later(left: SimpleExpr, right: SimpleExpr) -> SimpleExpr {
    CaseStatement::new().case(left.clone().lt(right.clone()), right).finally(left).into()
}

/// The sooner of two moments, within a statement.
fn sooner(left: SimpleExpr, right: SimpleExpr) -> SimpleExpr {
    CaseStatement::new().case(left.clone().gt(right.clone()), right).finally(left).into()
}
