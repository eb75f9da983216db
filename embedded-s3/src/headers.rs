//! What a creator says about an object, and how a reader hears it.

use percent_encoding::percent_decode_str;
use s3s::dto;

use crate::store::{ObjectHeaders, Tags};

/// S3's type for objects whose creator named none.
const DEFAULT_TYPE: &str = "binary/octet-stream";

/// Inputs that describe a new object.
pub(crate) trait DescribesObject {
    fn object_headers(&self) -> ObjectHeaders;

    /// From the `x-amz-tagging` header.
    fn tags(&self) -> Tags;
}

/// Outputs that give the description back.
pub(crate) trait TellsHeaders {
    fn tell(&mut self, headers: &ObjectHeaders);
}

macro_rules! describes_object {
    ($($input:ident),+) => {$(
        impl DescribesObject for dto::$input {
            fn object_headers(&self) -> ObjectHeaders {
                ObjectHeaders {
                    content_type: self.content_type.clone(),
                    cache_control: self.cache_control.clone(),
                    content_disposition: self.content_disposition.clone(),
                    content_encoding: self.content_encoding.as_deref().and_then(lasting_encoding),
                    content_language: self.content_language.clone(),
                    metadata: self.metadata.clone().unwrap_or_default().into_iter().collect(),
                }
            }

            fn tags(&self) -> Tags {
                self.tagging.as_deref().map(parse_tags).unwrap_or_default()
            }
        }
    )+};
}
describes_object!(PutObjectInput, CopyObjectInput, CreateMultipartUploadInput);

macro_rules! tells_headers {
    ($($output:ident),+) => {$(
        impl TellsHeaders for dto::$output {
            fn tell(&mut self, headers: &ObjectHeaders) {
                let headers = headers.clone();
                self.content_type = Some(headers.content_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned()));
                self.cache_control = headers.cache_control;
                self.content_disposition = headers.content_disposition;
                self.content_encoding = headers.content_encoding;
                self.content_language = headers.content_language;
                self.metadata = (!headers.metadata.is_empty()).then(|| headers.metadata.into_iter().collect());
            }
        }
    )+};
}
tells_headers!(GetObjectOutput, HeadObjectOutput);

/// `aws-chunked` is how the body travelled, not what it is.
fn lasting_encoding(header: &str) -> Option<String> {
    let lasting: Vec<_> = header.split(',').map(str::trim).filter(|name| *name != "aws-chunked").collect();
    Some(lasting.join(",")).filter(|header| !header.is_empty())
}

/// Reads `a=b&c=d`, as in a query.
fn parse_tags(header: &str) -> Tags {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = header.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_a_query() {
        let tags = parse_tags("state=pending&a=b%20c&x+y=1%3D2&lone");
        let expected = [("state", "pending"), ("a", "b c"), ("x y", "1=2"), ("lone", "")];
        assert_eq!(tags, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_encoding_of_the_transfer_is_not_kept() {
        assert_eq!(lasting_encoding("aws-chunked"), None);
        assert_eq!(lasting_encoding("aws-chunked, gzip").as_deref(), Some("gzip"));
        assert_eq!(lasting_encoding("gzip").as_deref(), Some("gzip"));
    }
}
