//! What becomes of a completed upload: a file that can be had again, shared and deleted. Access is checked before anything
//! is signed.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Coordinator, Error};
use crate::bucket::{self, Body, Download};
use crate::store;
use crate::upload::names::{DEFAULT_CONTENT_TYPE, Disposition, content_disposition, may_be_inline};
use crate::upload::{Invalid, Object, Owner, Status, Upload, Visibility, Whose};

/// With how many subjects a file may be shared.
const MAX_SHARES: usize = 1_000;

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

/// What files have in common whose links are signed alike: their bucket, how long a link lives, and for how many seconds it
/// stays the same.
type Alike<'a> = (&'a str, Duration, i64);

/// A URL from which the file can be had.
#[derive(Debug, Clone)]
pub struct DownloadLink {
    /// Who has it has the file, for as long as it lives.
    pub url: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// A completed upload.
#[derive(Debug, Clone)]
pub struct FileEntry {
    /// The upload.
    pub upload: Upload,
    /// Its object.
    pub object: Object,
    /// With whom it is shared; told to its owner alone.
    pub shared_with: Vec<String>,
    /// Where everybody has it, if it is public.
    pub public_url: Option<String>,
}

impl Coordinator {
    /// The file, once its upload is completed: the caller's, or one that is shared with it.
    ///
    /// # Errors
    /// [`Error::FileNotFound`] and [`Error::NotCompleted`].
    pub async fn file(&self, whose: &Whose, id: Uuid) -> Result<FileEntry, Error> {
        let (upload, object) = self.readable(whose, id).await?;
        let mut entries = self.entries(whose, vec![(upload, object)]).await?;
        entries.pop().ok_or(Error::FileNotFound)
    }

    /// The owner's files and those shared with it, newest first: at most `limit`, those before `before`. However many there
    /// are, two queries.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn files(&self, owner: &Owner, before: Option<Uuid>, limit: u64) -> Result<Vec<FileEntry>, Error> {
        let uploads = self.0.store.files(owner, before, limit).await?;
        let files = uploads.into_iter().filter_map(|upload| completed(upload).ok()).collect();
        self.entries(&Whose::Of(owner.clone()), files).await
    }

    /// A presigned GET of the file.
    ///
    /// # Errors
    /// As [`Coordinator::file`].
    pub async fn download_link(
        &self,
        whose: &Whose,
        id: Uuid,
        request: DownloadRequest,
    ) -> Result<DownloadLink, Error> {
        let (upload, object) = self.readable(whose, id).await?;
        let mut links = self.sign_downloads(&[(&upload, &object)], request).await?;
        links.remove(&id).ok_or(Error::FileNotFound)
    }

    /// Presigned GETs of these files, by id: one query, and one pass of signing. What is no file of the caller's, or not yet,
    /// is left out.
    ///
    /// # Errors
    /// When the database does not answer, or no credentials are to be had.
    pub async fn download_links(
        &self,
        whose: &Whose,
        ids: &[Uuid],
        request: DownloadRequest,
    ) -> Result<HashMap<Uuid, DownloadLink>, Error> {
        let uploads = self.0.store.find_all_readable(whose, ids).await?;
        let files: Vec<_> = uploads.into_iter().filter_map(|upload| completed(upload).ok()).collect();
        let files: Vec<_> = files.iter().map(|(upload, object)| (upload, object)).collect();
        self.sign_downloads(&files, request).await
    }

    /// The same for files that were found already.
    ///
    /// # Errors
    /// When no credentials are to be had.
    pub async fn links_of(
        &self,
        files: &[FileEntry],
        request: DownloadRequest,
    ) -> Result<HashMap<Uuid, DownloadLink>, Error> {
        let files: Vec<_> = files.iter().map(|file| (&file.upload, &file.object)).collect();
        self.sign_downloads(&files, request).await
    }

    /// The bytes `first` to `last` of a file that was found before, as they come from S3; all of them without a range.
    ///
    /// # Errors
    /// [`Error::FileNotFound`] when S3 has that version of it no more.
    pub async fn read(&self, file: &FileEntry, range: Option<(i64, i64)>) -> Result<Body, Error> {
        let bytes = self.bucket(&file.upload).read(&file.upload.key, &file.object, range).await;
        bytes.map_err(|error| match error {
            bucket::Error::NotFound { .. } => Error::FileNotFound,
            error => error.into(),
        })
    }

    /// Deletes a file, for good. When it returns the intent is durable: no link to it is handed out any more, and S3 is rid
    /// of it as far as S3 answered; the sweeper does the rest. Repeating it tries again.
    ///
    /// # Errors
    /// [`Error::OwnerOnly`], [`Error::NotCompleted`], [`Error::FileNotFound`].
    pub async fn delete_file(&self, whose: &Whose, id: Uuid) -> Result<(), Error> {
        let (this, whose) = (self.clone(), whose.clone());
        self.to_the_end(async move { this.delete_to_the_end(&whose, id).await }).await
    }

    async fn delete_to_the_end(&self, whose: &Whose, id: Uuid) -> Result<(), Error> {
        let mut upload = self.0.store.find_readable(whose, id).await.map_err(no_file)?;
        loop {
            let deleting = match &upload.status {
                _ if !owns(whose, &upload) => return Err(not_its_owner(&upload)),
                Status::Completed(_) => match self.0.store.delete(&upload).await {
                    // Somebody moved it meanwhile: look where it is now.
                    Err(store::Error::Moved(moved)) => {
                        upload = *moved;
                        continue;
                    }
                    outcome => outcome?,
                },
                Status::Deleting(_) => upload,
                Status::Deleted(_) => return Ok(()),
                _ => return Err(no_file_yet(&upload)),
            };
            return self.finish_delete(deleting).await.map(drop);
        }
    }

    /// Lets a subject have the file, too; repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::OwnerOnly`], [`Error::NotCompleted`], [`Error::FileNotFound`]; [`Error::Invalid`] when it is shared with too
    /// many.
    pub async fn share(&self, whose: &Whose, id: Uuid, subject: &str) -> Result<(), Error> {
        let upload = self.owned_file(whose, id).await?;
        if upload.owner.0 == subject || self.0.store.share(id, subject, MAX_SHARES).await? {
            return Ok(());
        }
        let detail = "a file is shared with at most 1,000";
        Err(Invalid::Request { field: "subject".into(), detail }.into())
    }

    /// Takes a share back; repeating it changes nothing. Links that were handed out before live as long as they say.
    ///
    /// # Errors
    /// [`Error::OwnerOnly`], [`Error::NotCompleted`], [`Error::FileNotFound`].
    pub async fn unshare(&self, whose: &Whose, id: Uuid, subject: &str) -> Result<(), Error> {
        self.owned_file(whose, id).await?;
        Ok(self.0.store.unshare(id, subject).await?)
    }

    async fn owned_file(&self, whose: &Whose, id: Uuid) -> Result<Upload, Error> {
        let (upload, _) = self.readable(whose, id).await?;
        if owns(whose, &upload) { Ok(upload) } else { Err(Error::OwnerOnly) }
    }

    async fn readable(&self, whose: &Whose, id: Uuid) -> Result<(Upload, Object), Error> {
        let upload = self.0.store.find_readable(whose, id).await.map_err(no_file)?;
        completed(self.complete_if_ready(upload).await)
    }

    async fn entries(&self, whose: &Whose, files: Vec<(Upload, Object)>) -> Result<Vec<FileEntry>, Error> {
        let owned: Vec<Uuid> =
            files.iter().filter(|(upload, _)| owns(whose, upload)).map(|(upload, _)| upload.id).collect();
        let mut shares = self.0.store.shares(&owned).await?;
        let entry = |(upload, object): (Upload, Object)| FileEntry {
            shared_with: shares.remove(&upload.id).unwrap_or_default(),
            public_url: (upload.visibility == Visibility::Public).then(|| self.bucket(&upload).public_url(&upload.key)),
            upload,
            object,
        };
        Ok(files.into_iter().map(entry).collect())
    }

    /// One reading of the credentials and of the clock for all that live equally long in one bucket.
    async fn sign_downloads(
        &self,
        files: &[(&Upload, &Object)],
        request: DownloadRequest,
    ) -> Result<HashMap<Uuid, DownloadLink>, Error> {
        let mut groups: HashMap<Alike<'_>, Vec<(&Upload, &Object)>> = HashMap::new();
        for &(upload, object) in files {
            let rules = self.0.rules.of(upload);
            let life = rules.url_life(request.ttl, rules.download_url_ttl)?;
            let window = if request.cacheable { self.0.rules.cacheable_window } else { Duration::ZERO };
            let window = i64::try_from(rules.window(window, life).as_secs()).unwrap_or(i64::MAX);
            groups.entry((upload.bucket.as_str(), life, window)).or_default().push((upload, object));
        }
        let now = self.0.clock.now();
        let mut links = HashMap::with_capacity(files.len());
        for ((bucket, life, window), files) in groups {
            let life = TimeDelta::from_std(life).unwrap_or(TimeDelta::MAX);
            // Within a window all URLs are signed at its beginning, and so are one and the same.
            let (from, until, cache_control) = if window > 0 {
                let from = DateTime::from_timestamp(now.timestamp() / window * window, 0).unwrap_or(now);
                let cached = format!("private, max-age={window}, immutable");
                (from, from + TimeDelta::seconds(window) + life, Some(cached))
            } else {
                (now, now + life, None)
            };
            let bucket = self.bucket_named(bucket);
            let signer = bucket.signer(from, until, now).await?;
            for (upload, object) in files {
                let url = signer.download(&Download {
                    key: &upload.key,
                    version_id: object.version_id.as_deref(),
                    disposition: &disposition(upload, request.inline),
                    content_type: &upload.content_type,
                    cache_control: cache_control.as_deref(),
                });
                links.insert(upload.id, DownloadLink { url, expires_at: signer.expires_at() });
            }
        }
        Ok(links)
    }
}

impl FileEntry {
    /// The media type and the disposition under which our own origin may serve the file: what could run script there is
    /// saved, as bytes that are nothing in particular.
    pub fn as_served(&self, inline: bool) -> (&str, String) {
        let content_type = self.upload.content_type.as_str();
        let content_type = if may_be_inline(content_type) { content_type } else { DEFAULT_CONTENT_TYPE };
        (content_type, disposition(&self.upload, inline))
    }
}

/// Shown in place if that is wanted, and the type cannot run script.
fn disposition(upload: &Upload, inline: bool) -> String {
    let inline = inline && may_be_inline(&upload.content_type);
    content_disposition(if inline { Disposition::Inline } else { Disposition::Attachment }, &upload.filename)
}

/// The upload with its object, once it is completed.
fn completed(upload: Upload) -> Result<(Upload, Object), Error> {
    match upload.status.clone() {
        Status::Completed(object) => Ok((upload, object)),
        _ => Err(no_file_yet(&upload)),
    }
}

fn owns(whose: &Whose, upload: &Upload) -> bool {
    match whose {
        Whose::Of(owner) => *owner == upload.owner,
        Whose::Anyones => true,
    }
}

/// Those with whom a file is shared know that it is there; of what is no file they know nothing.
fn not_its_owner(upload: &Upload) -> Error {
    if matches!(upload.status, Status::Completed(_)) { Error::OwnerOnly } else { Error::FileNotFound }
}

fn no_file(error: store::Error) -> Error {
    match error {
        store::Error::NotFound => Error::FileNotFound,
        error => error.into(),
    }
}

fn no_file_yet(upload: &Upload) -> Error {
    let may_become_one = matches!(upload.status, Status::Creating { .. } | Status::Completing { .. });
    if upload.is_alive() || may_become_one { Error::NotCompleted } else { Error::FileNotFound }
}
