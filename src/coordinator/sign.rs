//! Handing out part URLs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Coordinator, Error};
use crate::bucket::PartSigner;
use crate::upload::{Invalid, MAX_PARTS, PartSet, Plan, Slice, Upload, Whose};

/// The parts to sign.
#[derive(Debug, Clone)]
pub enum PartsRequest {
    /// These, as planned.
    Numbers(PartSet),
    /// These, each with what is known of it.
    Items(Vec<PartRequest>),
}

/// A part to sign.
#[derive(Debug, Clone)]
pub struct PartRequest {
    /// 1 to 10,000.
    pub number: i32,
    /// Bytes, if they are not the planned ones: the last part of a stream.
    pub size: Option<i64>,
    /// Base64, in the upload's algorithm.
    pub checksum: Option<String>,
}

/// Part URLs in the order of the request, each signed when it is written: many of them take no more memory than one.
pub struct PartUrls {
    plan: Plan,
    parts: Box<dyn Iterator<Item = PartRequest> + Send>,
    /// How many of them are to come: a list of ranges does not tell.
    left: usize,
    signer: PartSigner,
    expires_at: DateTime<Utc>,
    expires_in_seconds: i64,
}

/// A part whose URL is wanted, checked against the plan.
#[derive(Debug)]
pub struct PartToSend {
    /// 1 to 10,000.
    pub number: i32,
    /// The bytes of the file to send.
    pub slice: Slice,
    /// Base64, in the upload's algorithm; empty if it has none.
    pub checksum: String,
}

impl PartUrls {
    /// When they end.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }

    /// The same, from the moment they were asked for, in whole seconds.
    pub fn expires_in_seconds(&self) -> i64 {
        self.expires_in_seconds
    }

    /// The header in which the checksum is to be sent, if there is one.
    pub fn checksum_header(&self) -> Option<&'static str> {
        self.signer.header()
    }

    /// Appends the URL to which a part is to be sent: ASCII, without a quotation mark or a backslash. Who has it may send
    /// the part, for as long as it lives.
    pub fn write_url(&self, part: &PartToSend, text: &mut String) {
        self.signer.sign_into(text, part.number, part.slice.size, &part.checksum);
    }
}

impl Iterator for PartUrls {
    type Item = PartToSend;

    fn next(&mut self) -> Option<PartToSend> {
        let PartRequest { number, size, checksum } = self.parts.next()?;
        self.left = self.left.saturating_sub(1);
        // Checked before: it is in the plan, and its size fits.
        let planned = self.plan.part(number).ok()?;
        let slice = Slice { size: size.unwrap_or(planned.size), ..planned };
        Some(PartToSend { number, slice, checksum: checksum.unwrap_or_default() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl fmt::Debug for PartUrls {
    /// What signs is not shown.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PartUrls").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl PartsRequest {
    fn len(&self) -> usize {
        match self {
            PartsRequest::Numbers(numbers) => usize::try_from(numbers.len()).unwrap_or(usize::MAX),
            PartsRequest::Items(items) => items.len(),
        }
    }

    /// The parts, one by one.
    fn into_parts(self) -> Box<dyn Iterator<Item = PartRequest> + Send> {
        let planned = |number| PartRequest { number, size: None, checksum: None };
        match self {
            PartsRequest::Numbers(numbers) => Box::new(numbers.into_iter().map(planned)),
            PartsRequest::Items(items) => Box::new(items.into_iter()),
        }
    }
}

impl Coordinator {
    /// Signs part URLs; a part can be signed any number of times.
    ///
    /// # Errors
    /// [`Error::Invalid`], and the refusals of an upload that is not open.
    pub async fn sign(
        &self,
        whose: &Whose,
        id: Uuid,
        parts: PartsRequest,
        ttl: Option<Duration>,
    ) -> Result<PartUrls, Error> {
        let upload = self.open_upload(whose, id).await?;
        Ok(self.sign_parts(upload, parts, ttl).await?.1)
    }

    /// The upload, kept alive for as long as the URLs live, and the URLs.
    pub(super) async fn sign_parts(
        &self,
        upload: Arc<Upload>,
        parts: PartsRequest,
        ttl: Option<Duration>,
    ) -> Result<(Arc<Upload>, PartUrls), Error> {
        let end = self.check_parts(&upload, &parts)?;
        let Some(s3_upload_id) = upload.s3_upload_id.clone() else {
            // An empty file has none.
            return Err(Invalid::PartNumber { part_count: 0 }.into());
        };
        // No URL outlives the upload's hard cap, which the database's clock tells; URLs are signed by ours.
        let rules = self.0.rules.of(&upload);
        let wanted = TimeDelta::from_std(rules.url_life(ttl, rules.part_url_ttl)?).unwrap_or(TimeDelta::MAX);
        let life = wanted.min(upload.hard_expires_at - upload.seen_at);
        if life < TimeDelta::seconds(1) {
            return Err(Error::Expired);
        }
        let urls_expire_at = upload.seen_at + life;
        let reserve = Some(end).filter(|_| upload.plan.size().is_none());
        let upload = self.keep_alive(upload, Some(urls_expire_at), reserve).await?;
        let now = self.0.clock.now();
        let signer = self.bucket(&upload).signer(now, now + life, now).await?;
        let expires_at = signer.expires_at();
        let urls = PartUrls {
            plan: upload.plan,
            left: parts.len(),
            parts: parts.into_parts(),
            signer: signer.parts(&upload.key, &s3_upload_id, upload.part_checksum),
            expires_at,
            expires_in_seconds: (expires_at - now).num_seconds(),
        };
        Ok((upload, urls))
    }

    /// Checks every part, and returns where the furthest one ends in the file.
    fn check_parts(&self, upload: &Upload, parts: &PartsRequest) -> Result<i64, Error> {
        if parts.len() > MAX_PARTS as usize {
            return Err(Invalid::BatchTooLarge(MAX_PARTS.into()).into());
        }
        let max_size = self.0.rules.of(upload).max_size;
        let check = |number, size, checksum| check_part(upload, max_size, number, size, checksum);
        match parts {
            PartsRequest::Numbers(numbers) => {
                numbers.iter().try_fold(0, |end, number| Ok(check(number, None, None)?.max(end)))
            }
            PartsRequest::Items(items) => items
                .iter()
                .try_fold(0, |end, item| Ok(check(item.number, item.size, item.checksum.as_deref())?.max(end))),
        }
    }
}

/// Where the part ends in the file, if it may be sent.
fn check_part(
    upload: &Upload,
    max_size: i64,
    number: i32,
    size: Option<i64>,
    checksum: Option<&str>,
) -> Result<i64, Error> {
    let planned = upload.plan.part(number)?;
    let end = planned.offset + fit(upload, planned, size)?;
    if end > max_size {
        return Err(Invalid::FileTooLarge { max_size }.into());
    }
    match (upload.part_checksum, checksum) {
        (None, None) => Ok(end),
        (Some(algorithm), Some(value)) => Ok(algorithm.check(value).map(|()| end)?),
        (Some(_), None) => Err(Invalid::ChecksumRequired.into()),
        (None, Some(_)) => Err(Invalid::Checksum("this upload was created without partChecksum").into()),
    }
}

/// The bytes of a part: the planned ones, or what the client says of a stream's part, which is never more.
pub(super) fn fit(upload: &Upload, planned: Slice, size: Option<i64>) -> Result<i64, Invalid> {
    match size {
        None => Ok(planned.size),
        Some(size) if size == planned.size => Ok(size),
        Some(size) if upload.plan.size().is_none() && (1..planned.size).contains(&size) => Ok(size),
        Some(_) => Err(Invalid::SizeMismatch("the part has another size in the plan")),
    }
}
