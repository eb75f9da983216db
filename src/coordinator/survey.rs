//! What is open at S3 under our prefix and not what the ledger says: told, and aborted only when the operator asks.

use std::fmt;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use super::{Coordinator, Error, Place};
use crate::bucket::{Marker, OpenUpload};
use crate::upload::State;

/// An open upload at S3 that no upload of the ledger answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// Where it is.
    pub bucket: String,
    /// What S3 says of it.
    pub open: OpenUpload,
    /// What it is to us.
    pub kind: Kind,
}

/// What an open upload at S3 is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its key is not of our form: somebody else's.
    Foreign,
    /// Its key is of our form, but the ledger has no such upload.
    Unknown,
    /// The ledger has the upload, and knows it by another of S3's ids, or as one that has ended.
    Stray,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Foreign => "foreign",
            Kind::Unknown => "unknown",
            Kind::Stray => "stray",
        })
    }
}

impl Coordinator {
    /// The strangers among the uploads that are open where ours are. Read page by page, as they are asked for.
    pub fn strangers(&self) -> impl Stream<Item = Result<Stranger, Error>> + Send {
        self.everywhere(|place, from| self.strangers_at(place, from))
    }

    /// All that `page` finds, place by place and page by page.
    pub(super) fn everywhere<'a, T, F>(
        &'a self,
        page: impl Fn(&'a Place, Marker) -> F + Copy + Send + 'a,
    ) -> impl Stream<Item = Result<T, Error>> + Send + 'a
    where
        T: Send + 'a,
        F: Future<Output = Result<(Vec<T>, Option<Marker>), Error>> + Send + 'a,
    {
        let pages_at = move |place| {
            stream::try_unfold(Some(Marker::default()), move |from| async move {
                let Some(from) = from else { return Ok::<_, Error>(None) };
                let (found, next) = page(place, from).await?;
                Ok(Some((stream::iter(found.into_iter().map(Ok)), next)))
            })
        };
        stream::iter(&self.0.rules.places).flat_map(move |place| pages_at(place).try_flatten())
    }

    async fn strangers_at(&self, place: &Place, from: Marker) -> Result<(Vec<Stranger>, Option<Marker>), Error> {
        let (page, next) = self.bucket_named(&place.bucket).open_uploads_under(&place.prefix, from).await?;
        let id_in = |key: &str| self.0.rules.id_in(&place.bucket, key);
        let ids: Vec<_> = page.iter().filter_map(|open| id_in(&open.key)).collect();
        let known = self.0.store.known(&ids).await.map_err(Error::Store)?;
        let strangers = page.into_iter().filter_map(|open| {
            let kind = match id_in(&open.key).map(|id| known.get(&id)) {
                None => Kind::Foreign,
                Some(None) => Kind::Unknown,
                Some(Some(known)) => match known.state {
                    // Not told its id yet, or about to look for whatever is there.
                    State::Creating | State::Aborting => return None,
                    State::Open | State::Completing if known.s3_upload_id.as_ref() == Some(&open.s3_upload_id) => {
                        return None;
                    }
                    _ => Kind::Stray,
                },
            };
            Some(Stranger { bucket: place.bucket.clone(), open, kind })
        });
        Ok((strangers.collect(), next))
    }

    /// Aborts a stranger at S3, if S3 says that it is older than `grace`. Whether it did.
    ///
    /// # Errors
    /// When S3 refused or did not answer.
    pub async fn abort_stranger(&self, stranger: &Stranger, grace: Duration) -> Result<bool, Error> {
        let grace = TimeDelta::from_std(grace).unwrap_or(TimeDelta::MAX);
        let old = stranger
            .open
            .begun_at
            .and_then(|at| at.checked_add_signed(grace))
            .is_some_and(|at| at <= self.0.clock.now());
        if old {
            self.bucket_named(&stranger.bucket).abort_open(&stranger.open).await?;
        }
        Ok(old)
    }
}
