//! What becomes of a completed upload: a file that can be had again.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Coordinator, Error};
use crate::bucket::Download;
use crate::upload::names::{Disposition, content_disposition, may_be_inline};
use crate::upload::{Object, Owner, State, Status, Upload};

/// How a download is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct DownloadRequest {
    /// How long the URL lives.
    pub ttl: Option<Duration>,
    /// Shown in place rather than saved; ignored for types that could run script.
    pub inline: bool,
    /// The same URL for every caller within a window.
    pub cacheable: bool,
}

/// A URL from which the file can be had.
#[derive(Debug, Clone)]
pub struct DownloadLink {
    /// Who has it has the file, for as long as it lives.
    pub url: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

impl Coordinator {
    /// The file, once its upload is completed.
    ///
    /// # Errors
    /// [`Error::FileNotFound`] and [`Error::NotCompleted`].
    pub async fn file(&self, owner: &Owner, id: Uuid) -> Result<(Upload, Object), Error> {
        let found = self.0.store.find(owner, id).await.map_err(Error::from);
        let upload =
            found.map_err(|error| if matches!(error, Error::UploadNotFound) { Error::FileNotFound } else { error })?;
        let upload = self.complete_if_ready(upload).await;
        match &upload.status {
            Status::Completed(object) => {
                let object = object.clone();
                Ok((upload, object))
            }
            status => Err(match status.state() {
                State::Open if upload.expires_at <= upload.seen_at => Error::FileNotFound,
                State::Creating | State::Open | State::Completing => Error::NotCompleted,
                _ => Error::FileNotFound,
            }),
        }
    }

    /// A presigned GET of the file: access is checked before anything is signed.
    ///
    /// # Errors
    /// As [`Coordinator::file`].
    pub async fn download_link(
        &self,
        owner: &Owner,
        id: Uuid,
        request: DownloadRequest,
    ) -> Result<DownloadLink, Error> {
        let (upload, object) = self.file(owner, id).await?;
        let rules = &self.0.rules;
        let now = self.0.clock.now();
        let ttl = TimeDelta::from_std(request.ttl.unwrap_or(rules.download_url_ttl)).unwrap_or(TimeDelta::MAX);
        let window = TimeDelta::from_std(rules.cacheable_window).unwrap_or(TimeDelta::MAX);
        // Within a window all URLs are signed at its beginning, and so are one and the same.
        let (from, until, cache_control) = if request.cacheable {
            let seconds = window.num_seconds().max(1);
            let from = DateTime::from_timestamp(now.timestamp() / seconds * seconds, 0).unwrap_or(now);
            (
                from,
                from + (window + ttl).min(TimeDelta::days(7)),
                Some(format!("private, max-age={seconds}, immutable")),
            )
        } else {
            (now, now + ttl, None)
        };
        let inline = request.inline && may_be_inline(&upload.content_type);
        let disposition = if inline { Disposition::Inline } else { Disposition::Attachment };
        let signer = self.0.bucket.signer(from, until, now).await?;
        let url = signer.download(&Download {
            key: &upload.key,
            version_id: object.version_id.as_deref(),
            disposition: &content_disposition(disposition, &upload.filename),
            content_type: &upload.content_type,
            cache_control: cache_control.as_deref(),
        });
        Ok(DownloadLink { url, expires_at: signer.expires_at() })
    }
}
