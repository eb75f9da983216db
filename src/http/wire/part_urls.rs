//! Part URLs on the wire, written while they are sent: ten thousand of them are five megabytes, and take no more memory
//! here than one piece. By hand, for a serializer would look at each byte of a URL again for what must be escaped.

use std::iter;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream;
use poem::Body;

use crate::coordinator::{PartToSend, PartUrls};
use crate::upload::Slice;

/// Bytes that are written before they are sent.
const PIECE: usize = 64 << 10;
/// Bytes of a part with its URL; more are taken where they are needed.
const ROUGHLY: usize = 1 << 10;

/// An answer whose last member is the list `partUrls`.
pub(in crate::http) struct PartUrlsAnswer {
    /// Written and not sent yet.
    text: String,
    /// What follows; `None` once the answer is written to its end.
    urls: Option<PartUrls>,
    /// What every part URL ends with.
    end: String,
    is_first: bool,
}

impl PartUrlsAnswer {
    /// Follows `before`: the members before the list, each with its comma.
    pub(in crate::http) fn new(before: &str, urls: Option<PartUrls>) -> PartUrlsAnswer {
        let mut text = format!("{{{before}\"partUrls\":[");
        let end = urls.as_ref().map(|urls| end(urls.expires_at(), urls.expires_in_seconds())).unwrap_or_default();
        if urls.is_none() {
            text.push_str("]}");
        }
        PartUrlsAnswer { text, urls, end, is_first: true }
    }

    /// A short answer is sent whole, with its length.
    pub(in crate::http) fn into_body(mut self) -> Body {
        self.write();
        if self.urls.is_none() {
            return Body::from_string(self.text);
        }
        let pieces = iter::from_fn(move || {
            if self.text.is_empty() {
                self.write();
            }
            let piece = std::mem::take(&mut self.text);
            (!piece.is_empty()).then(|| Ok::<_, std::io::Error>(Bytes::from(piece)))
        });
        Body::from_bytes_stream(stream::iter(pieces))
    }

    /// The next piece.
    fn write(&mut self) {
        let Some(urls) = &mut self.urls else { return };
        // Most answers hold few URLs, and need no more than they are long.
        let (left, _) = urls.size_hint();
        self.text.reserve((left * ROUGHLY).min(PIECE + PIECE / 16));
        while self.text.len() < PIECE {
            let Some(part) = urls.next() else {
                self.text.push_str("]}");
                self.urls = None;
                return;
            };
            if !std::mem::take(&mut self.is_first) {
                self.text.push(',');
            }
            let checksum = urls.checksum_header().map(|name| (name, part.checksum.as_str()));
            write_part(&mut self.text, &part, checksum, |text| urls.write_url(&part, text), &self.end);
        }
    }
}

fn end(expires_at: DateTime<Utc>, expires_in_seconds: i64) -> String {
    let expires_at = serde_json::to_string(&expires_at).unwrap_or_default();
    format!(",\"expiresAt\":{expires_at},\"expiresInSeconds\":{expires_in_seconds}}}")
}

/// As `WirePartUrl` is written: nothing in a URL, in the name of a header or in base64 needs to be escaped.
fn write_part(
    text: &mut String,
    part: &PartToSend,
    checksum: Option<(&str, &str)>,
    write_url: impl FnOnce(&mut String),
    end: &str,
) {
    let Slice { offset, size } = part.slice;
    let mut digits = itoa::Buffer::new();
    text.push_str("{\"partNumber\":");
    text.push_str(digits.format(part.number));
    text.push_str(",\"method\":\"PUT\",\"url\":\"");
    write_url(text);
    text.push_str("\",\"headers\":{");
    if let Some((name, value)) = checksum {
        for piece in ["\"", name, "\":\"", value, "\""] {
            text.push_str(piece);
        }
    }
    text.push_str("},\"offset\":");
    text.push_str(digits.format(offset));
    text.push_str(",\"size\":");
    text.push_str(digits.format(size));
    text.push_str(end);
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::http::wire::parts::WirePartUrl;

    #[test]
    fn a_part_url_is_written_as_the_document_has_it() {
        let url = "https://media.example/uploads/a%22b/c.mov?X-Amz-Algorithm=AWS4-HMAC-SHA256&partNumber=7";
        let checksum = ("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        let expires_at = DateTime::from_timestamp(1_795_313_820, 0).expect("a moment");
        for checksum in [None, Some(checksum)] {
            let headers = checksum.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let (part_number, offset, size, expires_in_seconds) = (7, 50_331_648, 8_388_608, 899);
            let wire = WirePartUrl {
                part_number,
                method: "PUT".into(),
                url: url.into(),
                headers: HashMap::from_iter(headers),
                offset,
                size,
                expires_at,
                expires_in_seconds,
            };
            let part = PartToSend { number: part_number, slice: Slice { offset, size }, checksum: String::new() };
            let mut text = String::new();
            let end = end(expires_at, expires_in_seconds);
            write_part(&mut text, &part, checksum, |text| text.push_str(url), &end);
            assert_eq!(text, serde_json::to_string(&wire).expect("JSON"));
        }
    }
}
