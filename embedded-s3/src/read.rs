//! GetObject, HeadObject, GetObjectAttributes, and the stream behind every read.

use std::io::{self, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use http::StatusCode;
use http_body_util::StreamBody;
use hyper::body::Frame;
use s3s::dto::{
    self, ETag, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, GetObjectInput,
    GetObjectOutput, HeadObjectInput, HeadObjectOutput, ObjectPart, StreamingBlob,
};
use s3s::{Body, S3Error, S3ErrorCode, S3Response, S3Result, s3_error};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::checksum::ChecksumFields as _;
use crate::conditions::ReadConditions;
use crate::headers::TellsHeaders as _;
use crate::listing;
use crate::store::{Object, ObjectRecord, Origin, Store, timestamp};

const READ_BUFFER: usize = 256 << 10;

/// The bytes of an object that are asked for.
struct Span {
    start: u64,
    length: u64,
    /// Whether the answer is a 206 with a `Content-Range`.
    partial: bool,
}

impl Span {
    fn of(object: &ObjectRecord, part: Option<i32>, range: Option<&dto::Range>) -> S3Result<Self> {
        match (part, range) {
            (Some(_), Some(_)) => {
                Err(s3_error!(InvalidRequest, "Cannot specify both Range header and partNumber query parameter"))
            }
            (Some(number), None) => Self::of_part(object, number),
            (None, Some(range)) => {
                let range = range.check(object.size)?;
                Ok(Self { start: range.start, length: range.end - range.start, partial: true })
            }
            (None, None) => Ok(Self { start: 0, length: object.size, partial: false }),
        }
    }

    fn of_part(object: &ObjectRecord, number: i32) -> S3Result<Self> {
        let mut start = 0;
        for part in &object.parts {
            if part.number == number {
                return Ok(Self { start, length: part.size, partial: object.origin != Origin::Single });
            }
            start += part.size;
        }
        let code = S3ErrorCode::Custom("InvalidPartNumber".into());
        let mut error = S3Error::with_message(code, "The requested partnumber is not satisfiable");
        error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
        Err(error)
    }

    fn content_range(&self, size: u64) -> Option<String> {
        let last = (self.start + self.length).saturating_sub(1);
        self.partial.then(|| format!("bytes {}-{last}/{size}", self.start))
    }
}

/// The object's bytes from `start` on. The stream holds the object, so neither a deletion nor an overwrite ends it.
pub(crate) fn stream(object: Arc<Object>, start: u64, length: u64) -> StreamingBlob {
    let pieces = futures::stream::iter(pieces(&object.record, start, length).into_iter().map(io::Result::Ok));
    let bytes = pieces.and_then(move |piece| open(Arc::clone(&object), piece)).try_flatten();
    let frames =
        bytes.map_ok(Frame::data).inspect_err(|error| tracing::error!(%error, "an object's bytes cannot be read"));
    StreamingBlob::from(Body::http_body_unsync(StreamBody::new(frames)))
}

async fn open(object: Arc<Object>, piece: Piece) -> io::Result<impl Stream<Item = io::Result<Bytes>>> {
    let mut file = File::open(object.files[piece.part].path()).await?;
    file.seek(SeekFrom::Start(piece.offset)).await?;
    Ok(ReaderStream::with_capacity(file.take(piece.length), READ_BUFFER))
}

struct Piece {
    part: usize,
    offset: u64,
    length: u64,
}

/// Where in which parts the bytes asked for are.
fn pieces(object: &ObjectRecord, start: u64, length: u64) -> Vec<Piece> {
    let end = start + length;
    let (mut position, mut pieces) = (0, vec![]);
    for (part, record) in object.parts.iter().enumerate() {
        let (from, to) = (start.max(position), end.min(position + record.size));
        if from < to {
            pieces.push(Piece { part, offset: from - position, length: to - from });
        }
        position += record.size;
    }
    pieces
}

pub(crate) fn get(store: &Store, input: GetObjectInput) -> S3Result<S3Response<GetObjectOutput>> {
    let object = store.bucket(&input.bucket)?.object(&input.key)?;
    let record = &object.record;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    conditions.check(record)?;
    let span = Span::of(record, input.part_number, input.range.as_ref())?;
    let mut output = GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: i64::try_from(span.length).ok(),
        content_range: span.content_range(record.size),
        e_tag: Some(ETag::Strong(record.etag.clone())),
        last_modified: Some(timestamp(record.modified_ms)),
        parts_count: parts_count(record, input.part_number),
        tag_count: tag_count(record),
        body: Some(stream(Arc::clone(&object), span.start, span.length)),
        ..Default::default()
    };
    // The `response-*` overrides of the query are applied by the protocol layer.
    output.tell(&record.headers);
    if input.checksum_mode.is_some() && !span.partial {
        output.set_checksum(&record.checksum.checksum);
        output.checksum_type = Some(record.checksum.kind.dto());
    }
    Ok(S3Response::new(output))
}

pub(crate) fn head(store: &Store, input: HeadObjectInput) -> S3Result<S3Response<HeadObjectOutput>> {
    let object = store.bucket(&input.bucket)?.object(&input.key)?;
    let record = &object.record;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    conditions.check(record)?;
    let span = Span::of(record, input.part_number, input.range.as_ref())?;
    let mut output = HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: i64::try_from(span.length).ok(),
        content_range: span.content_range(record.size),
        e_tag: Some(ETag::Strong(record.etag.clone())),
        last_modified: Some(timestamp(record.modified_ms)),
        parts_count: parts_count(record, input.part_number),
        ..Default::default()
    };
    output.tell(&record.headers);
    if let Some(content_type) = input.response_content_type {
        output.content_type = Some(content_type);
    }
    if let Some(disposition) = input.response_content_disposition {
        output.content_disposition = Some(disposition);
    }
    if let Some(cache_control) = input.response_cache_control {
        output.cache_control = Some(cache_control);
    }
    if input.checksum_mode.is_some() && !span.partial {
        output.set_checksum(&record.checksum.checksum);
        output.checksum_type = Some(record.checksum.kind.dto());
    }
    Ok(S3Response::new(output))
}

/// S3 tells the number of parts only to those who ask for one.
fn parts_count(object: &ObjectRecord, asked: Option<i32>) -> Option<i32> {
    match object.origin {
        Origin::Multipart { .. } if asked.is_some() => i32::try_from(object.parts.len()).ok(),
        _ => None,
    }
}

fn tag_count(object: &ObjectRecord) -> Option<i32> {
    i32::try_from(object.tags.len()).ok().filter(|count| *count > 0)
}

pub(crate) fn attributes(
    store: &Store,
    input: GetObjectAttributesInput,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let object = store.bucket(&input.bucket)?.object(&input.key)?;
    let record = &object.record;
    // Clients may send the list as one header.
    let lists = input.object_attributes.iter().map(|list| list.as_str());
    let names: Vec<_> = lists.flat_map(|list| list.split(',')).map(str::trim).collect();
    let asked = |name: &str| names.contains(&name);
    let mut output =
        GetObjectAttributesOutput { last_modified: Some(timestamp(record.modified_ms)), ..Default::default() };
    if asked(dto::ObjectAttributes::ETAG) {
        output.e_tag = Some(ETag::Strong(record.etag.clone()));
    }
    if asked(dto::ObjectAttributes::OBJECT_SIZE) {
        output.object_size = i64::try_from(record.size).ok();
    }
    if asked(dto::ObjectAttributes::STORAGE_CLASS) {
        output.storage_class = Some(dto::StorageClass::from_static(dto::StorageClass::STANDARD));
    }
    if asked(dto::ObjectAttributes::CHECKSUM) {
        let mut checksum = dto::Checksum { checksum_type: Some(record.checksum.kind.dto()), ..Default::default() };
        checksum.set_checksum(&record.checksum.checksum);
        output.checksum = Some(checksum);
    }
    if asked(dto::ObjectAttributes::OBJECT_PARTS) && record.origin != Origin::Single {
        output.object_parts = Some(object_parts(record, input.max_parts, input.part_number_marker)?);
    }
    Ok(S3Response::new(output))
}

fn object_parts(object: &ObjectRecord, max: Option<i32>, marker: Option<i32>) -> S3Result<GetObjectAttributesParts> {
    let (max, after) = (listing::limit(max)?, marker.unwrap_or(0));
    let mut rest = object.parts.iter().filter(|part| part.number > after);
    let page: Vec<_> = rest.by_ref().take(max).collect();
    let truncated = rest.next().is_some();
    let row = |part: &&crate::store::PartRecord| {
        let mut row =
            ObjectPart { part_number: Some(part.number), size: i64::try_from(part.size).ok(), ..Default::default() };
        row.set_checksum(&part.checksum);
        row
    };
    Ok(GetObjectAttributesParts {
        is_truncated: Some(truncated),
        max_parts: i32::try_from(max).ok(),
        part_number_marker: Some(after),
        next_part_number_marker: page.last().map(|part| part.number),
        parts: Some(page.iter().map(row).collect()),
        total_parts_count: i32::try_from(object.parts.len()).ok(),
    })
}
