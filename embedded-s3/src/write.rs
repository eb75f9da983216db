//! PutObject, CopyObject, deletions and tags.

use std::sync::Arc;

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag,
    Error, GetObjectTaggingInput, GetObjectTaggingOutput, MetadataDirective, PutObjectInput, PutObjectOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, Tag, TaggingDirective,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::checksum::{self, Algorithm, ChecksumFields as _, Kind, ObjectChecksum};
use crate::conditions::{ReadConditions, check_write};
use crate::headers::DescribesObject as _;
use crate::read;
use crate::receive::{Claims, receive};
use crate::store::{Bucket, ObjectHeaders, ObjectRecord, Origin, Store, StoredPart, Tags, blocking, timestamp};

/// The one part is the object.
fn single(key: String, part: &StoredPart, headers: ObjectHeaders, tags: Tags) -> ObjectRecord {
    ObjectRecord {
        key,
        etag: part.record.md5.clone(),
        size: part.record.size,
        modified_ms: part.record.modified_ms,
        origin: Origin::Single,
        headers,
        tags,
        checksum: ObjectChecksum::full(part.record.checksum.clone()),
        parts: vec![part.record.clone()],
    }
}

pub(crate) async fn put(store: &Store, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    let mut input = request.input;
    let bucket = store.bucket(&input.bucket)?;
    let claimed = input.take_checksum()?;
    let asked = input.checksum_algorithm.as_ref().map(|name| Algorithm::parse(name.as_str())).transpose()?;
    let algorithm = match &claimed {
        Some(checksum) => checksum.algorithm,
        None => checksum::announced(&request.headers)?.or(asked).unwrap_or(Algorithm::Crc64Nvme),
    };
    let (headers, tags) = (input.object_headers(), input.tags());
    let claims = Claims {
        length: input.content_length,
        md5: input.content_md5,
        algorithm,
        checksum: claimed,
        trailers: request.trailing_headers,
    };
    let part = receive(&bucket, 1, input.body, claims).await?;
    let record = single(input.key, &part, headers, tags);
    let mut output = PutObjectOutput {
        e_tag: Some(ETag::Strong(record.etag.clone())),
        checksum_type: Some(Kind::FullObject.dto()),
        ..Default::default()
    };
    output.set_checksum(&part.record.checksum);
    let (if_match, if_none_match) = (input.if_match, input.if_none_match);
    blocking(move || {
        bucket.put_object(record, part.file, |current| check_write(current, if_match.as_ref(), if_none_match.as_ref()))
    })
    .await?;
    Ok(S3Response::new(output))
}

pub(crate) async fn copy(store: &Store, input: CopyObjectInput) -> S3Result<S3Response<CopyObjectOutput>> {
    let (source_bucket, source_key) = source(&input.copy_source)?;
    let source = store.bucket(source_bucket)?.object(source_key)?;
    let bucket = store.bucket(&input.bucket)?;
    let conditions = ReadConditions {
        if_match: input.copy_source_if_match.clone(),
        if_none_match: input.copy_source_if_none_match.clone(),
        if_modified_since: input.copy_source_if_modified_since.clone(),
        if_unmodified_since: input.copy_source_if_unmodified_since.clone(),
    };
    conditions.check_source(&source.record)?;
    let replaces = |directive: Option<&str>| directive == Some("REPLACE");
    let new_headers = replaces(input.metadata_directive.as_ref().map(MetadataDirective::as_str));
    let new_tags = replaces(input.tagging_directive.as_ref().map(TaggingDirective::as_str));
    if !new_headers && source_bucket == input.bucket && source_key == input.key {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata."
        ));
    }
    let algorithm = match &input.checksum_algorithm {
        Some(name) => Algorithm::parse(name.as_str())?,
        None => source.record.checksum.checksum.algorithm,
    };
    let bytes = read::stream(Arc::clone(&source), 0, source.record.size);
    let part = receive(&bucket, 1, Some(bytes), Claims::none(algorithm)).await?;
    let headers = if new_headers { input.object_headers() } else { source.record.headers.clone() };
    let tags = if new_tags { input.tags() } else { source.record.tags.clone() };
    let record = single(input.key, &part, headers, tags);
    let mut result = CopyObjectResult {
        e_tag: Some(ETag::Strong(record.etag.clone())),
        last_modified: Some(timestamp(record.modified_ms)),
        checksum_type: Some(Kind::FullObject.dto()),
        ..Default::default()
    };
    result.set_checksum(&part.record.checksum);
    blocking(move || bucket.put_object(record, part.file, |_| Ok(()))).await?;
    Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
}

/// Bucket and key of `x-amz-copy-source`.
pub(crate) fn source(source: &CopySource) -> S3Result<(&str, &str)> {
    match source {
        CopySource::Bucket { bucket, key, version_id: None } => Ok((bucket, key)),
        _ => Err(s3_error!(NotImplemented, "Only bucket and key can be copied from.")),
    }
}

pub(crate) async fn delete(store: &Store, input: DeleteObjectInput) -> S3Result<S3Response<DeleteObjectOutput>> {
    let bucket = store.bucket(&input.bucket)?;
    blocking(move || bucket.delete_object(&input.key, |current| check_write(current, input.if_match.as_ref(), None)))
        .await?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

pub(crate) async fn delete_many(store: &Store, input: DeleteObjectsInput) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let bucket = store.bucket(&input.bucket)?;
    let quiet = input.delete.quiet.unwrap_or(false);
    let keys: Vec<_> = input.delete.objects.into_iter().map(|object| object.key).collect();
    let outcomes = blocking(move || Ok(delete_all(&bucket, keys))).await?;
    let mut output = DeleteObjectsOutput::default();
    for (key, outcome) in outcomes {
        match outcome {
            Ok(()) if quiet => {}
            Ok(()) => {
                output.deleted.get_or_insert_default().push(DeletedObject { key: Some(key), ..Default::default() })
            }
            Err(error) => output.errors.get_or_insert_default().push(Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(key),
                message: error.message().map(str::to_owned),
                version_id: None,
            }),
        }
    }
    Ok(S3Response::new(output))
}

fn delete_all(bucket: &Bucket, keys: Vec<String>) -> Vec<(String, S3Result<()>)> {
    let delete = |key: String| {
        let outcome = bucket.delete_object(&key, |_| Ok(()));
        (key, outcome)
    };
    keys.into_iter().map(delete).collect()
}

pub(crate) fn get_tags(store: &Store, input: &GetObjectTaggingInput) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let object = store.bucket(&input.bucket)?.object(&input.key)?;
    let tag = |(name, value): &(String, String)| Tag { key: Some(name.clone()), value: Some(value.clone()) };
    let tag_set = object.record.tags.iter().map(tag).collect();
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, ..Default::default() }))
}

pub(crate) async fn put_tags(
    store: &Store,
    input: PutObjectTaggingInput,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let bucket = store.bucket(&input.bucket)?;
    let tag = |tag: Tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
    let tags = input.tagging.tag_set.into_iter().map(tag).collect();
    blocking(move || bucket.retag_object(&input.key, tags)).await?;
    Ok(S3Response::new(PutObjectTaggingOutput::default()))
}

pub(crate) async fn delete_tags(
    store: &Store,
    input: DeleteObjectTaggingInput,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let bucket = store.bucket(&input.bucket)?;
    blocking(move || bucket.retag_object(&input.key, vec![])).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
}
