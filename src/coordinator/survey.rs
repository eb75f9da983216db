//! What is open at S3 under our prefix and not what the ledger says: told, and aborted only when the operator asks.

use std::fmt;
use std::time::Duration;

use chrono::TimeDelta;

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
    /// Where our objects are: no place lies within another.
    pub fn places(&self) -> &[Place] {
        &self.0.rules.places
    }

    /// A page of the strangers among the uploads that are open at one of our places, and where the next one begins.
    ///
    /// # Errors
    /// When S3 or the ledger does not answer.
    pub async fn strangers(&self, place: &Place, from: Marker) -> Result<(Vec<Stranger>, Option<Marker>), Error> {
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

    /// How many strangers there are.
    ///
    /// # Errors
    /// When S3 or the ledger does not answer.
    pub async fn count_strangers(&self) -> Result<usize, Error> {
        let mut count = 0;
        for place in self.places() {
            let mut from = Some(Marker::default());
            while let Some(marker) = from {
                let (page, next) = self.strangers(place, marker).await?;
                count += page.len();
                from = next;
            }
        }
        Ok(count)
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
