//! A run: what to measure, how large, and with which programs.

use std::path::PathBuf;

use crate::child::{self, Listening};
use crate::postgres::Postgres;
use crate::service::{Callers, Service};
use crate::{Result, rivals};

/// What every section is given.
#[derive(Debug)]
pub struct Bench {
    /// Small sizes: to see that everything works, not to measure.
    pub quick: bool,
    /// The release build of `partita`.
    pub partita: PathBuf,
    /// The folder with the rivals' scripts and `node_modules`.
    pub rivals: PathBuf,
    /// A Python that has boto3.
    pub python: PathBuf,
    /// PostgreSQL with its own settings.
    pub postgres: Postgres,
    /// The S3 that holds nothing.
    pub null_s3: Listening,
    /// All data of the run.
    pub folder: PathBuf,
}

/// The databases that everything is measured on.
pub const DATABASES: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file, WAL and synchronous FULL.
    Sqlite,
    /// A server, fsync on.
    Postgres,
}

impl Kind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Sqlite => "SQLite",
            Kind::Postgres => "PostgreSQL",
        }
    }
}

impl Bench {
    /// Starts what every section needs; where things are is told by `benches/run` in the environment.
    ///
    /// # Errors
    /// When something is not there.
    pub async fn start(quick: bool) -> Result<Bench> {
        let folder = path("BENCHES_FOLDER")?;
        let mut null_s3 = child::command(std::env::current_exe()?);
        null_s3.arg("null-s3");
        Ok(Bench {
            quick,
            partita: path("BENCHES_PARTITA")?,
            rivals: path("BENCHES_RIVALS")?,
            python: path("BENCHES_PYTHON")?,
            postgres: Postgres::start(&folder).await?,
            null_s3: Listening::start(null_s3).await?,
            folder,
        })
    }

    /// One size for a measurement, another for a look whether it works.
    pub const fn pick<T: Copy>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// The URL of a new, empty database.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn database(&self, kind: Kind) -> Result<String> {
        match kind {
            Kind::Sqlite => {
                let folder = tempfile::Builder::new().prefix("sqlite.").tempdir_in(&self.folder)?.keep();
                Ok(format!("sqlite://{}", folder.join("partita.sqlite").display()))
            }
            Kind::Postgres => self.postgres.database().await,
        }
    }

    /// A service on a new database of this kind.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn service(&self, kind: Kind, callers: Callers) -> Result<Service> {
        Service::start(self, &self.database(kind).await?, callers).await
    }

    /// `@uppy/companion`.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn companion(&self) -> Result<Listening> {
        rivals::companion(self).await
    }
}

fn path(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).ok_or_else(|| format!("{variable} is not set: start this by benches/run"))?;
    Ok(PathBuf::from(path))
}
