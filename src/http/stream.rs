//! The bytes of a file through the service: conditions and ranges of RFC 9110, sections 13 and 14.

use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use super::problem::{Code, Problem};
use crate::coordinator::{Coordinator, FileEntry};

/// The bytes, some of them, or none.
pub(super) struct StreamFileAnswer(Response);

impl IntoResponse for StreamFileAnswer {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for StreamFileAnswer {
    fn meta() -> MetaResponses {
        let header = |name: &str, description: &str| MetaHeader {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            required: true,
            deprecated: false,
            schema: String::schema_ref(),
        };
        let bytes = || {
            let schema = poem_openapi::types::Binary::<Vec<u8>>::schema_ref();
            // The file's own type, where it is one that may be shown. Generators that read no wildcard need one they know.
            let media = |content_type| MetaMediaType { content_type, schema: schema.clone() };
            vec![media("*/*"), media("application/octet-stream")]
        };
        let response = |status, description, content, headers| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content,
            headers,
        };
        let etag = || header("ETAG", "Of the file, as S3 gave it");
        let range = header("CONTENT-RANGE", "Which bytes, of how many");
        MetaResponses {
            responses: vec![
                response(200, "The file", bytes(), vec![etag()]),
                response(206, "The bytes asked for", bytes(), vec![etag(), range]),
                response(304, "The caller has it already", vec![], vec![etag()]),
            ],
        }
    }

    fn register(_: &mut Registry) {}
}

/// The answer to who asks for the file with these headers.
pub(super) async fn stream(
    coordinator: &Coordinator,
    file: FileEntry,
    inline: bool,
    headers: &HeaderMap,
) -> poem::Result<StreamFileAnswer> {
    let (etag, size) = (file.object.etag.as_str(), file.object.size);
    let (content_type, disposition) = file.as_served(inline);
    let about = |mut response: Response, more: &[(HeaderName, String)]| {
        let own = [
            (header::ETAG, etag.to_owned()),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
            // To be kept by who may see it, and to be asked for again each time: access may be taken back.
            (header::CACHE_CONTROL, "private, no-cache".to_owned()),
            // Should a browser show it all the same: without script, and in an origin of its own.
            (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'".to_owned()),
        ];
        for (name, value) in own.iter().chain(more) {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        }
        StreamFileAnswer(response)
    };
    if is_known(headers, etag) {
        return Ok(about(StatusCode::NOT_MODIFIED.into_response(), &[]));
    }
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).filter(|_| {
        // A range of another version of the file is of no use.
        headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes())
    });
    let (status, range) = match asked.map_or(Range::Whole, |asked| Range::read(asked, size)) {
        Range::Whole => (StatusCode::OK, None),
        Range::Of(first, last) => (StatusCode::PARTIAL_CONTENT, Some((first, last))),
        Range::Beyond => {
            let problem = Problem::new(Code::RangeNotSatisfiable, format!("the file has {size} bytes"));
            return Err(problem.header("content-range", format!("bytes */{size}")).into());
        }
    };
    let length = range.map_or(size, |(first, last)| last - first + 1);
    let mut more = vec![
        (header::CONTENT_TYPE, content_type.to_owned()),
        (header::CONTENT_DISPOSITION, disposition.clone()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    more.extend(range.map(|(first, last)| (header::CONTENT_RANGE, format!("bytes {first}-{last}/{size}"))));
    let body = if length == 0 {
        poem::Body::empty()
    } else {
        poem::Body::from_bytes_stream(coordinator.read(&file, range).await?)
    };
    Ok(about(Response::builder().status(status).body(body), &more))
}

/// Whether the caller says that it has this very file (RFC 9110 section 13.1.2, which compares weakly).
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == "*" || strong(tag) == etag)
}

/// Which bytes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    /// All of them: of what is not understood nothing is asked (RFC 9110 section 14.2).
    Whole,
    /// From the first to the last.
    Of(i64, i64),
    /// None that there are.
    Beyond,
}

impl Range {
    fn read(text: &str, size: i64) -> Range {
        Range::understood(text, size).unwrap_or(Range::Whole)
    }

    fn understood(text: &str, size: i64) -> Option<Range> {
        let (unit, ranges) = text.split_once('=')?;
        let (first, last) = ranges.trim().split_once('-').filter(|_| unit.trim().eq_ignore_ascii_case("bytes"))?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // More digits than a number has are beyond every file.
            digits.then(|| text.parse().unwrap_or(i64::MAX))
        };
        let (first, last) = match (first.trim(), last.trim()) {
            ("", suffix) => match number(suffix)? {
                0 => return Some(Range::Beyond),
                suffix => ((size - suffix).max(0), size - 1),
            },
            (first, "") => (number(first)?, size - 1),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                (first, last.min(size - 1))
            }
        };
        Some(if first < size && size > 0 { Range::Of(first, last) } else { Range::Beyond })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        use Range::*;
        #[rustfmt::skip]
        let table = [
            ("bytes=0-0", Of(0, 0)), ("bytes=0-9", Of(0, 9)), ("bytes=0-10", Of(0, 9)), ("bytes=9-", Of(9, 9)), ("bytes=10-", Beyond),
            ("bytes=-1", Of(9, 9)), ("bytes=-10", Of(0, 9)), ("bytes=-11", Of(0, 9)), ("bytes=-0", Beyond), ("BYTES=1-2", Of(1, 2)),
            ("bytes=5-4", Whole), ("bytes=0-1,3-4", Whole), ("bytes=", Whole), ("bytes=-", Whole), ("bytes=a-b", Whole), ("lines=0-1", Whole),
            ("bytes=0-99999999999999999999", Of(0, 9)), ("bytes=99999999999999999999-", Beyond), ("bytes=+1-2", Whole), ("0-1", Whole), ("", Whole),
        ];
        for (text, range) in table {
            assert_eq!(Range::read(text, 10), range, "{text}");
        }
        assert_eq!(Range::read("bytes=0-", 0), Beyond);
        assert_eq!(Range::read("bytes=-1", 0), Beyond);
    }
}
