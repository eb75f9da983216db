//! Handing out part URLs.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Coordinator, Error};
use crate::upload::{Algorithm, Invalid, MAX_PARTS, PartSet, Slice, Upload, Whose};

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

/// A URL to which one part is to be sent.
#[derive(Debug, Clone)]
pub struct PartUrl {
    /// 1 to 10,000.
    pub number: i32,
    /// Who has it may send the part, for as long as it lives.
    pub url: String,
    /// Headers to send exactly so.
    pub headers: BTreeMap<String, String>,
    /// The bytes of the file to send.
    pub slice: Slice,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// The same, from now, in whole seconds.
    pub expires_in_seconds: i64,
}

/// One part, checked against the plan.
struct Checked<'a> {
    number: i32,
    slice: Slice,
    checksum: Option<(Algorithm, &'a str)>,
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
    ) -> Result<Vec<PartUrl>, Error> {
        let upload = self.open_upload(whose, id).await?;
        Ok(self.sign_parts(upload, &parts, ttl).await?.1)
    }

    /// The upload, kept alive for as long as the URLs live, and the URLs.
    pub(super) async fn sign_parts(
        &self,
        upload: Upload,
        parts: &PartsRequest,
        ttl: Option<Duration>,
    ) -> Result<(Upload, Vec<PartUrl>), Error> {
        let checked = self.check_parts(&upload, parts)?;
        let Some(s3_upload_id) = upload.s3_upload_id.clone() else {
            return Ok((upload, Vec::new()));
        };
        // No URL outlives the upload's hard cap, which the database's clock tells; URLs are signed by ours.
        let rules = self.0.rules.of(&upload);
        let wanted = TimeDelta::from_std(rules.url_life(ttl, rules.part_url_ttl)?).unwrap_or(TimeDelta::MAX);
        let life = wanted.min(upload.hard_expires_at - upload.seen_at);
        if life < TimeDelta::seconds(1) {
            return Err(Error::Expired);
        }
        let urls_expire_at = upload.seen_at + life;
        let end = checked.iter().map(|part| part.slice.offset + part.slice.size).max();
        let reserve = end.filter(|_| upload.plan.size().is_none());
        let upload = self.keep_alive(upload, Some(urls_expire_at), reserve).await?;
        let now = self.0.clock.now();
        let bucket = self.bucket(&upload);
        let signer = bucket.signer(now, now + life, now).await?;
        let (expires_at, sign) = (signer.expires_at(), signer.parts(&upload.key, &s3_upload_id));
        let expires_in_seconds = (expires_at - now).num_seconds();
        let urls = checked.into_iter().map(|Checked { number, slice, checksum }| {
            let signed = sign(number, slice.size, checksum);
            PartUrl { number, url: signed.url, headers: signed.headers, slice, expires_at, expires_in_seconds }
        });
        let urls = urls.collect();
        drop(sign);
        drop(signer);
        drop(bucket);
        Ok((upload, urls))
    }

    fn check_parts<'a>(&self, upload: &Upload, parts: &'a PartsRequest) -> Result<Vec<Checked<'a>>, Error> {
        let count = match parts {
            PartsRequest::Numbers(numbers) => numbers.len(),
            PartsRequest::Items(items) => i64::try_from(items.len()).unwrap_or(i64::MAX),
        };
        if count > i64::from(MAX_PARTS) {
            return Err(Invalid::BatchTooLarge(MAX_PARTS.into()).into());
        }
        match parts {
            PartsRequest::Numbers(numbers) => {
                numbers.iter().map(|number| self.check_part(upload, number, None, None)).collect()
            }
            PartsRequest::Items(items) => items
                .iter()
                .map(|item| self.check_part(upload, item.number, item.size, item.checksum.as_deref()))
                .collect(),
        }
    }

    fn check_part<'a>(
        &self,
        upload: &Upload,
        number: i32,
        size: Option<i64>,
        checksum: Option<&'a str>,
    ) -> Result<Checked<'a>, Error> {
        let planned = upload.plan.part(number)?;
        let slice = Slice { size: fit(upload, planned, size)?, ..planned };
        let max_size = self.0.rules.of(upload).max_size;
        if slice.offset + slice.size > max_size {
            return Err(Invalid::FileTooLarge { max_size }.into());
        }
        let checksum = match (upload.part_checksum, checksum) {
            (None, None) => None,
            (Some(algorithm), Some(value)) => {
                algorithm.check(value)?;
                Some((algorithm, value))
            }
            (Some(_), None) => return Err(Invalid::ChecksumRequired.into()),
            (None, Some(_)) => return Err(Invalid::Checksum("this upload was created without partChecksum").into()),
        };
        Ok(Checked { number, slice, checksum })
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
