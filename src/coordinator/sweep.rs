//! What is done for an upload whose time has come, whoever's it is, without anybody asking.

use super::create::CREATE_LEASE;
use super::{Coordinator, Error};
use crate::failpoint::boundary;
use crate::store;
use crate::upload::{AbortReason, Ending, Status, Upload};

/// An upload that is due: nobody else works at it for a while. Dropping it undoes nothing: it comes again.
#[derive(Debug)]
pub struct Due(Upload);

impl Due {
    /// The upload as it was when it was claimed.
    pub fn upload(&self) -> &Upload {
        &self.0
    }
}

impl Coordinator {
    /// Claims at most `limit` uploads that need something done. Returns them, and how many rows were claimed in all: those
    /// that contradict themselves are logged, and come again like the others.
    ///
    /// # Errors
    /// [`store::Error::Restored`] while the database is not to be trusted.
    pub async fn claim_due(&self, limit: usize) -> Result<(Vec<Due>, usize), Error> {
        let claimed = self.0.store.claim_due(limit as u64).await.map_err(Error::Store)?;
        boundary!("sweep-claimed");
        let rows = claimed.len();
        let sound = claimed.into_iter().filter_map(|claimed| {
            claimed.inspect_err(|error| tracing::error!(%error, "a row cannot be swept")).ok().map(Due)
        });
        Ok((sound.collect(), rows))
    }

    /// Does what is due for the upload. Returns it as it is then, in whatever state.
    ///
    /// # Errors
    /// When it could not be done; it comes again.
    pub async fn settle(&self, due: Due) -> Result<Upload, Error> {
        let this = self.clone();
        self.to_the_end(async move { this.settle_to_the_end(due.0).await }).await
    }

    async fn settle_to_the_end(&self, upload: Upload) -> Result<Upload, Error> {
        match &upload.status {
            Status::Creating { lease_until } if *lease_until >= upload.seen_at => Ok(upload),
            Status::Creating { .. } if upload.expires_at <= upload.seen_at => {
                let aborting = self.0.store.abort(&upload, Ending::Abort(AbortReason::Expired)).await?;
                self.finish_abort(aborting).await
            }
            Status::Creating { .. } => {
                let lease = self.0.store.take_over_creation(&upload, CREATE_LEASE).await?;
                boundary!("sweep-creation-taken-over");
                self.adopt_or_begin(lease).await
            }
            Status::Open if !upload.is_alive() => {
                boundary!("sweep-before-expiry");
                match self.0.store.expire(&upload).await {
                    // It was kept alive, or moved, meanwhile.
                    Err(store::Error::Moved(moved)) => Ok(*moved),
                    outcome => self.finish_abort(outcome?).await,
                }
            }
            Status::Open if upload.auto_complete => self.try_complete(upload).await,
            Status::Open => Ok(upload),
            Status::Completing { .. } => self.go_on(upload).await,
            Status::Completed(_) => {
                self.abort_strays(&upload).await?;
                Ok(self.0.store.rest(&upload).await?)
            }
            Status::Deleting(_) => self.finish_delete(upload).await,
            Status::Aborting { .. } => self.finish_abort(upload).await,
            Status::Aborted(_) | Status::Failed(_) | Status::Deleted(_) => {
                self.0.store.forget(&upload).await?;
                Ok(upload)
            }
        }
    }
}
