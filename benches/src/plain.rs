//! The plain way to record a part: one statement for each, durable by itself, through the ORM; and the same behind a route of the
//! framework. The table has the shape of ours.

use std::sync::Arc;
use std::time::Duration;

use poem::listener::{Acceptor, TcpAcceptor};
use poem::web::{Data, Path};
use poem::{EndpointExt, IntoResponse, Route, handler, put};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectOptions, Database, DatabaseConnection};

use crate::{Result, service};

/// The table of [`Entity`].
pub const TABLE: &str = "plain_parts";

/// The row of one recorded part.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "plain_parts")]
pub struct Model {
    /// Whose.
    #[sea_orm(primary_key, auto_increment = false)]
    pub upload_id: Uuid,
    /// 1 to 10,000.
    #[sea_orm(primary_key, auto_increment = false)]
    pub part_number: i32,
    /// As S3 gave it.
    pub etag: String,
    /// Bytes.
    pub size: Option<i64>,
    /// Base64.
    pub checksum: Option<String>,
    /// Milliseconds since 1970.
    pub recorded_at: i64,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Connects as one would: on SQLite, which has one writer, with one connection, so that nobody waits by polling; on PostgreSQL with
/// sixteen. Makes the table if it is not there.
///
/// # Errors
/// When the database does not answer.
pub async fn connect(url: &str) -> Result<DatabaseConnection> {
    let is_sqlite = url.starts_with("sqlite:");
    let mut options = ConnectOptions::new(url);
    options.max_connections(if is_sqlite { 1 } else { 16 }).sqlx_logging(false);
    options.acquire_timeout(Duration::from_secs(60));
    options.map_sqlx_sqlite_opts(|sqlite| {
        let sqlite = sqlite.create_if_missing(true).busy_timeout(Duration::from_secs(60));
        sqlite.pragma("journal_mode", "WAL").pragma("synchronous", "FULL")
    });
    let db = Database::connect(options).await?;
    db.execute_unprepared(&table(TABLE, is_sqlite)).await?;
    Ok(db)
}

/// A table of the shape that ours has, but for what it refers to.
pub fn table(name: &str, is_sqlite: bool) -> String {
    let (uuid, without_rowid) = if is_sqlite { ("blob", "WITHOUT ROWID") } else { ("uuid", "") };
    format!(
        "CREATE TABLE IF NOT EXISTS {name} (upload_id {uuid} NOT NULL, \
         part_number integer NOT NULL CHECK (part_number BETWEEN 1 AND 10000), etag text NOT NULL, \
         size bigint CHECK (size > 0), checksum text, recorded_at bigint NOT NULL, \
         PRIMARY KEY (upload_id, part_number)) {without_rowid}"
    )
}

/// Records one part in one statement.
///
/// # Errors
/// When the database does not answer.
pub async fn record(db: &DatabaseConnection, upload_id: Uuid, number: i32) -> Result<()> {
    let mut replace = OnConflict::columns([Column::UploadId, Column::PartNumber]);
    replace.update_columns([Column::Etag, Column::Size, Column::Checksum, Column::RecordedAt]);
    let row = ActiveModel {
        upload_id: Set(upload_id),
        part_number: Set(number),
        etag: Set(service::etag(number.unsigned_abs() as usize)),
        size: Set(Some(8 << 20)),
        checksum: Set(None),
        recorded_at: Set(1_795_313_820_000),
    };
    Entity::insert(row).on_conflict(replace).exec_without_returning(db).await?;
    Ok(())
}

/// Serves `PUT /{uploadId}/{partNumber}` at a free port, which it prints.
///
/// # Errors
/// When the database does not answer, or no port is free.
pub async fn serve(url: &str) -> Result<()> {
    let db = Arc::new(connect(url).await?);
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let acceptor = TcpAcceptor::from_std(listener)?;
    for address in acceptor.local_addr() {
        if let Some(address) = address.as_socket_addr() {
            println!("{}", address.port());
        }
    }
    let app = Route::new().at("/:upload_id/:part_number", put(record_part)).data(db);
    Ok(poem::Server::new_with_acceptor(acceptor).run(app).await?)
}

#[handler]
async fn record_part(
    Path((upload_id, number)): Path<(Uuid, i32)>,
    Data(db): Data<&Arc<DatabaseConnection>>,
) -> poem::Result<impl IntoResponse> {
    let failed = |_| poem::Error::from_status(poem::http::StatusCode::INTERNAL_SERVER_ERROR);
    record(db, upload_id, number).await.map_err(failed)?;
    Ok("{}")
}
