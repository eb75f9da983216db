//! ListObjectsV2 and ListMultipartUploads: pages, prefixes, delimiters.

use std::collections::btree_map::Range;
use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as TOKEN;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsV2Input,
    ListObjectsV2Output, MultipartUpload, Object as Row, ObjectStorageClass, StorageClass,
};
use s3s::{S3Response, S3Result, s3_error};

use crate::store::{Object, Store, Upload, timestamp};

/// S3's largest page.
const LARGEST_PAGE: usize = 1000;

/// The page size for what was asked.
pub(crate) fn limit(asked: Option<i32>) -> S3Result<usize> {
    let asked = usize::try_from(asked.unwrap_or(1000));
    asked.map(|asked| asked.min(LARGEST_PAGE)).map_err(|_| s3_error!(InvalidArgument, "Page sizes cannot be negative."))
}

/// A page of entries and of the prefixes that stand for many.
struct Page<T> {
    entries: Vec<T>,
    prefixes: Vec<String>,
    /// Set when there is more: the last entry's key, or the last prefix.
    last: Option<String>,
}

/// Cuts a page from `rows`, which are in order and start with the first key wanted.
///
/// Keys that share what follows `prefix` up to `delimiter` become one common prefix. Prefixes up to `after`
/// were on an earlier page.
fn page<'a, T>(
    rows: impl Iterator<Item = (&'a str, T)>,
    prefix: &str,
    delimiter: Option<&str>,
    after: &str,
    max: usize,
) -> Page<T> {
    let mut page = Page { entries: vec![], prefixes: vec![], last: None };
    let mut last = None;
    for (key, entry) in rows.take_while(|(key, _)| key.starts_with(prefix)) {
        let common = common_prefix(key, prefix, delimiter);
        if common.is_some_and(|common| common <= after || page.prefixes.last().is_some_and(|seen| seen == common)) {
            continue;
        }
        if page.entries.len() + page.prefixes.len() == max {
            page.last = last;
            break;
        }
        last = Some(common.unwrap_or(key).to_owned());
        match common {
            Some(common) => page.prefixes.push(common.to_owned()),
            None => page.entries.push(entry),
        }
    }
    page
}

fn common_prefix<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let end = key[prefix.len()..].find(delimiter)?;
    Some(&key[..prefix.len() + end + delimiter.len()])
}

/// Keys as the client asked for them: as they are, or percent-encoded since XML cannot hold every character.
#[derive(Clone, Copy)]
struct Encoding {
    percent: bool,
}

impl Encoding {
    const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

    fn of(asked: Option<&EncodingType>) -> Self {
        Self { percent: asked.is_some_and(|asked| asked.as_str() == EncodingType::URL) }
    }

    fn apply(self, key: &str) -> String {
        if self.percent { utf8_percent_encode(key, &Self::KEPT).to_string() } else { key.to_owned() }
    }

    fn prefixes(self, prefixes: &[String]) -> Vec<CommonPrefix> {
        prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(self.apply(prefix)) }).collect()
    }
}

pub(crate) fn objects(store: &Store, input: ListObjectsV2Input) -> S3Result<S3Response<ListObjectsV2Output>> {
    let bucket = store.bucket(&input.bucket)?;
    let (prefix, max) = (input.prefix.as_deref().unwrap_or_default(), limit(input.max_keys)?);
    let after = match &input.continuation_token {
        Some(token) => read_token(token)?,
        None => input.start_after.clone().unwrap_or_default(),
    };
    let from = if after.as_str() < prefix { Bound::Included(prefix) } else { Bound::Excluded(after.as_str()) };
    let objects = bucket.objects();
    let rows: Range<'_, String, Arc<Object>> = objects.range::<str, _>((from, Bound::Unbounded));
    let rows = rows.map(|(key, object)| (key.as_str(), object));
    let page = page(rows, prefix, input.delimiter.as_deref(), &after, max);
    let encoding = Encoding::of(input.encoding_type.as_ref());
    let row = |object: &&Arc<Object>| Row {
        key: Some(encoding.apply(&object.record.key)),
        size: i64::try_from(object.record.size).ok(),
        e_tag: Some(ETag::Strong(object.record.etag.clone())),
        last_modified: Some(timestamp(object.record.modified_ms)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Default::default()
    };
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoding.apply(prefix)),
        delimiter: input.delimiter.as_deref().map(|delimiter| encoding.apply(delimiter)),
        max_keys: i32::try_from(max).ok(),
        key_count: i32::try_from(page.entries.len() + page.prefixes.len()).ok(),
        is_truncated: Some(page.last.is_some()),
        next_continuation_token: page.last.as_ref().map(|last| TOKEN.encode(last)),
        continuation_token: input.continuation_token,
        start_after: input.start_after.as_deref().map(|start| encoding.apply(start)),
        contents: Some(page.entries.iter().map(row).collect()),
        common_prefixes: Some(encoding.prefixes(&page.prefixes)),
        encoding_type: input.encoding_type,
        ..Default::default()
    }))
}

fn read_token(token: &str) -> S3Result<String> {
    let key = TOKEN.decode(token).ok().and_then(|key| String::from_utf8(key).ok());
    key.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

pub(crate) fn uploads(
    store: &Store,
    input: ListMultipartUploadsInput,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let bucket = store.bucket(&input.bucket)?;
    let (prefix, max) = (input.prefix.as_deref().unwrap_or_default(), limit(input.max_uploads)?);
    let key_marker = input.key_marker.as_deref().unwrap_or_default();
    // Without a key marker the id marker means nothing, as on S3.
    let id_marker = input.upload_id_marker.as_deref().filter(|id| !id.is_empty() && !key_marker.is_empty());
    let from = match id_marker {
        _ if key_marker < prefix => Bound::Included((prefix.to_owned(), String::new())),
        Some(id) => Bound::Excluded((key_marker.to_owned(), id.to_owned())),
        None => Bound::Included((key_marker.to_owned(), String::new())),
    };
    let uploads = bucket.uploads();
    let rows = uploads.range((from, Bound::Unbounded)).map(|((key, _), upload)| (key.as_str(), upload));
    let rows = rows.skip_while(|(key, _)| id_marker.is_none() && !key_marker.is_empty() && *key == key_marker);
    let page = page(rows, prefix, input.delimiter.as_deref(), key_marker, max);
    let encoding = Encoding::of(input.encoding_type.as_ref());
    let row = |upload: &&Arc<Upload>| MultipartUpload {
        key: Some(encoding.apply(&upload.record.key)),
        upload_id: Some(upload.record.id.clone()),
        initiated: Some(timestamp(upload.record.initiated_ms)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..Default::default()
    };
    // A page that ends with a prefix has no upload to go on from.
    let last_upload = page.entries.last().filter(|upload| Some(&upload.record.key) == page.last.as_ref());
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: Some(encoding.apply(prefix)),
        delimiter: input.delimiter.as_deref().map(|delimiter| encoding.apply(delimiter)),
        key_marker: Some(encoding.apply(key_marker)),
        upload_id_marker: input.upload_id_marker,
        max_uploads: i32::try_from(max).ok(),
        is_truncated: Some(page.last.is_some()),
        next_key_marker: page.last.as_deref().map(|last| encoding.apply(last)),
        next_upload_id_marker: last_upload.map(|upload| upload.record.id.clone()),
        uploads: Some(page.entries.iter().map(row).collect()),
        common_prefixes: Some(encoding.prefixes(&page.prefixes)),
        encoding_type: input.encoding_type,
        ..Default::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 7] = ["a/1", "a/2", "b", "c/x/1", "c/x/2", "c/y", "d"];

    /// Follows the pages to the end.
    fn all(prefix: &str, delimiter: Option<&str>, max: usize) -> (Vec<&'static str>, Vec<String>, usize) {
        let (mut entries, mut prefixes, mut pages, mut after) = (vec![], vec![], 0, String::new());
        loop {
            let rows = KEYS.iter().filter(|key| **key > after.as_str() && **key >= prefix).map(|key| (*key, *key));
            let page = page(rows, prefix, delimiter, &after, max);
            pages += 1;
            entries.extend(page.entries);
            prefixes.extend(page.prefixes);
            match page.last {
                Some(last) => after = last,
                None => return (entries, prefixes, pages),
            }
        }
    }

    #[test]
    fn every_key_is_on_one_page_whatever_the_page_size() {
        for max in 1..=8 {
            let (entries, prefixes, pages) = all("", None, max);
            assert_eq!(entries, KEYS);
            assert!(prefixes.is_empty());
            assert_eq!(pages, KEYS.len().div_ceil(max).max(1), "page size {max}");
        }
    }

    #[test]
    fn a_common_prefix_is_told_once_whatever_the_page_size() {
        for max in 1..=8 {
            let (entries, prefixes, _) = all("", Some("/"), max);
            assert_eq!(entries, ["b", "d"]);
            assert_eq!(prefixes, ["a/", "c/"], "page size {max}");
            let (entries, prefixes, _) = all("c/", Some("/"), max);
            assert_eq!(entries, ["c/y"]);
            assert_eq!(prefixes, ["c/x/"], "page size {max}");
        }
    }

    #[test]
    fn an_empty_page_promises_no_more() {
        let page = page(KEYS.iter().map(|key| (*key, ())), "", None, "", 0);
        assert!(page.entries.is_empty() && page.last.is_none());
    }
}
