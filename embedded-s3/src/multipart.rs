//! Multipart uploads: create, put parts, list them, complete, abort.

use std::ops::Bound;

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CopyPartResult,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, ListPartsInput, ListPartsOutput, Part, Range,
    StorageClass, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use uuid::Uuid;

use crate::checksum::{self, Checksum, ChecksumFields as _, Kind, Plan};
use crate::conditions::{ReadConditions, check_write};
use crate::headers::DescribesObject as _;
use crate::listing;
use crate::read;
use crate::receive::{Claims, receive};
use crate::store::{
    Object, ObjectRecord, Origin, PartRecord, Store, Upload, UploadRecord, blocking, now_ms, timestamp,
};
use crate::write;

/// Every part but the last has at least this many bytes.
const SMALLEST_PART: u64 = 5 << 20;

fn check_number(number: i32) -> S3Result<()> {
    if (1..=10_000).contains(&number) {
        return Ok(());
    }
    Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"))
}

pub(crate) async fn create(
    store: &Store,
    input: CreateMultipartUploadInput,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let bucket = store.bucket(&input.bucket)?;
    let algorithm = input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str);
    let kind = input.checksum_type.as_ref().map(ChecksumType::as_str);
    let plan = Plan::of(algorithm, kind)?;
    let record = UploadRecord {
        id: Uuid::now_v7().simple().to_string(),
        key: input.key.clone(),
        initiated_ms: now_ms(),
        headers: input.object_headers(),
        tags: input.tags(),
        checksum: plan,
    };
    let output = CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(record.id.clone()),
        checksum_algorithm: plan.named.then(|| algorithm_dto(plan)),
        checksum_type: plan.named.then(|| plan.kind.dto()),
        ..Default::default()
    };
    blocking(move || bucket.create_upload(record)).await?;
    Ok(S3Response::new(output))
}

fn algorithm_dto(plan: Plan) -> ChecksumAlgorithm {
    ChecksumAlgorithm::from_static(plan.algorithm.name())
}

pub(crate) async fn put_part(
    store: &Store,
    request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let mut input = request.input;
    check_number(input.part_number)?;
    let bucket = store.bucket(&input.bucket)?;
    let upload = bucket.upload(&input.key, &input.upload_id)?;
    let claimed = input.take_checksum()?;
    let announced = checksum::announced(&request.headers)?;
    let plan = upload.record.checksum;
    plan.check_part(claimed.as_ref().map(|checksum| checksum.algorithm).or(announced))?;
    let claims = Claims {
        length: input.content_length,
        md5: input.content_md5,
        algorithm: plan.algorithm,
        checksum: claimed,
        trailers: request.trailing_headers,
    };
    let part = receive(&bucket, input.part_number, input.body, claims).await?;
    let mut output = UploadPartOutput { e_tag: Some(ETag::Strong(part.record.md5.clone())), ..Default::default() };
    output.set_checksum(&part.record.checksum);
    blocking(move || bucket.put_part(&upload, part)).await?;
    Ok(S3Response::new(output))
}

pub(crate) async fn copy_part(store: &Store, input: UploadPartCopyInput) -> S3Result<S3Response<UploadPartCopyOutput>> {
    check_number(input.part_number)?;
    let (source_bucket, source_key) = write::source(&input.copy_source)?;
    let source = store.bucket(source_bucket)?.object(source_key)?;
    let bucket = store.bucket(&input.bucket)?;
    let upload = bucket.upload(&input.key, &input.upload_id)?;
    let conditions = ReadConditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    conditions.check_source(&source.record)?;
    let range = match &input.copy_source_range {
        Some(range) => Range::parse(range).map_err(|_| s3_error!(InvalidArgument))?.check(source.record.size)?,
        None => 0..source.record.size,
    };
    let bytes = read::stream(source, range.start, range.end - range.start);
    let claims = Claims::none(upload.record.checksum.algorithm);
    let part = receive(&bucket, input.part_number, Some(bytes), claims).await?;
    let mut result = CopyPartResult {
        e_tag: Some(ETag::Strong(part.record.md5.clone())),
        last_modified: Some(timestamp(part.record.modified_ms)),
        ..Default::default()
    };
    result.set_checksum(&part.record.checksum);
    blocking(move || bucket.put_part(&upload, part)).await?;
    Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() }))
}

pub(crate) fn list_parts(store: &Store, input: ListPartsInput) -> S3Result<S3Response<ListPartsOutput>> {
    let upload = store.bucket(&input.bucket)?.upload(&input.key, &input.upload_id)?;
    let plan = upload.record.checksum;
    let (max, after) = (listing::limit(input.max_parts)?, input.part_number_marker.unwrap_or(0));
    let row = |part: &PartRecord| {
        let mut row = Part {
            part_number: Some(part.number),
            size: i64::try_from(part.size).ok(),
            e_tag: Some(ETag::Strong(part.md5.clone())),
            last_modified: Some(timestamp(part.modified_ms)),
            ..Default::default()
        };
        row.set_checksum(&part.checksum);
        row
    };
    let parts = upload.parts();
    let mut rest = parts.range((Bound::Excluded(after), Bound::Unbounded));
    let page: Vec<_> = rest.by_ref().take(max).map(|(_, part)| row(&part.record)).collect();
    let truncated = max > 0 && rest.next().is_some();
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: Some(after),
        next_part_number_marker: page.last().and_then(|part| part.part_number),
        max_parts: i32::try_from(max).ok(),
        is_truncated: Some(truncated),
        checksum_algorithm: Some(algorithm_dto(plan)),
        checksum_type: Some(plan.kind.dto()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        parts: Some(page),
        ..Default::default()
    }))
}

/// What a Complete says, apart from where.
struct Completion {
    parts: Vec<CompletedPart>,
    checksum: Option<Checksum>,
    checksum_type: Option<ChecksumType>,
    size: Option<i64>,
}

pub(crate) async fn complete(
    store: &Store,
    mut input: CompleteMultipartUploadInput,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let bucket = store.bucket(&input.bucket)?;
    let completion = Completion {
        checksum: input.take_checksum()?,
        parts: input.multipart_upload.take().and_then(|list| list.parts).unwrap_or_default(),
        checksum_type: input.checksum_type.take(),
        size: input.mpu_object_size,
    };
    let (key, id) = (input.key.clone(), input.upload_id.clone());
    let (if_match, if_none_match) = (input.if_match, input.if_none_match);
    let object = blocking(move || {
        bucket.complete_upload(&key, &id, |upload, current| {
            let record = completion.assemble(upload)?;
            check_write(current, if_match.as_ref(), if_none_match.as_ref())?;
            Ok(record)
        })
    })
    .await?;
    Ok(S3Response::new(completed(input.bucket, input.key, &object)))
}

fn completed(bucket: String, key: String, object: &Object) -> CompleteMultipartUploadOutput {
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{bucket}/{key}")),
        bucket: Some(bucket),
        key: Some(key),
        e_tag: Some(ETag::Strong(object.record.etag.clone())),
        checksum_type: Some(object.record.checksum.kind.dto()),
        ..Default::default()
    };
    output.set_checksum(&object.record.checksum.checksum);
    output
}

impl Completion {
    /// The object these parts make, or why they do not.
    fn assemble(self, upload: &Upload) -> S3Result<ObjectRecord> {
        let plan = upload.record.checksum;
        let parts = self.pick_parts(upload)?;
        let size = parts.iter().map(|part| part.size).sum();
        if self.size.is_some_and(|claimed| u64::try_from(claimed) != Ok(size)) {
            return Err(s3_error!(
                InvalidRequest,
                "The provided 'x-amz-mp-object-size' header does not match the size of the parts: {size}"
            ));
        }
        if self.checksum_type.as_ref().is_some_and(|kind| *kind != plan.kind.dto()) {
            let kind = plan.kind.dto();
            return Err(s3_error!(
                InvalidRequest,
                "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
                kind.as_str()
            ));
        }
        let checksum = plan.combine(&parts)?;
        if let Some(claimed) = &self.checksum {
            checksum.check(claimed)?;
        }
        let record = &upload.record;
        Ok(ObjectRecord {
            key: record.key.clone(),
            etag: checksum::multipart_etag(&parts)?,
            size,
            modified_ms: now_ms(),
            origin: Origin::Multipart { upload_id: record.id.clone() },
            headers: record.headers.clone(),
            tags: record.tags.clone(),
            checksum,
            parts,
        })
    }

    fn pick_parts(&self, upload: &Upload) -> S3Result<Vec<PartRecord>> {
        if self.parts.is_empty() {
            return Err(s3_error!(MalformedXML, "You must specify at least one part"));
        }
        let stored = upload.parts();
        let mut parts: Vec<PartRecord> = Vec::with_capacity(self.parts.len());
        for asked in &self.parts {
            let number = asked.part_number.ok_or_else(|| s3_error!(MalformedXML))?;
            if parts.last().is_some_and(|before| before.number >= number) {
                return Err(s3_error!(
                    InvalidPartOrder,
                    "The list of parts was not in ascending order. Parts must be ordered by part number."
                ));
            }
            if parts.last().is_some_and(|before| before.size < SMALLEST_PART) {
                return Err(s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"));
            }
            let part = stored.get(&number).map(|stored| &stored.record);
            let part = part.filter(|part| asked.e_tag.as_ref().is_some_and(|etag| etag.value() == part.md5));
            let part = part.ok_or_else(|| invalid_part(number))?;
            check_claimed(upload.record.checksum, part, asked.clone())?;
            parts.push(part.clone());
        }
        Ok(parts)
    }
}

fn invalid_part(number: i32) -> S3Error {
    let message = format!(
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified \
         entity tag may not match the part's entity tag. (part {number})"
    );
    S3Error::with_message(S3ErrorCode::InvalidPart, message)
}

/// Checks the checksum a Complete gives for one part.
fn check_claimed(plan: Plan, part: &PartRecord, mut asked: CompletedPart) -> S3Result<()> {
    match asked.take_checksum()? {
        Some(claimed) if claimed != part.checksum => Err(invalid_part(part.number)),
        None if plan.named && plan.kind == Kind::Composite => {
            let name = plan.algorithm.name().to_ascii_lowercase();
            Err(s3_error!(
                InvalidRequest,
                "The upload was created using a {name} checksum. The complete request must include the checksum for each part. It was missing for part {} in the request.",
                part.number
            ))
        }
        _ => Ok(()),
    }
}

pub(crate) async fn abort(
    store: &Store,
    input: AbortMultipartUploadInput,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let bucket = store.bucket(&input.bucket)?;
    blocking(move || bucket.abort_upload(&input.key, &input.upload_id)).await?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_numbers_are_1_to_10_000() {
        for (number, allowed) in [(-1, false), (0, false), (1, true), (10_000, true), (10_001, false)] {
            assert_eq!(check_number(number).is_ok(), allowed, "{number}");
        }
    }

    #[test]
    fn upload_ids_sort_by_age() {
        let ids: Vec<_> = (0..1000).map(|_| Uuid::now_v7().simple().to_string()).collect();
        assert!(ids.is_sorted());
    }
}
