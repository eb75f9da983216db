//! Answers that were cut short. The SDK takes half a document for a whole one, and half a listing would be taken for all that
//! there is.

use aws_sdk_s3::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

/// Makes no answer of half a document.
#[derive(Debug)]
pub(super) struct WholeAnswers;

impl Intercept for WholeAnswers {
    fn name(&self) -> &'static str {
        "WholeAnswers"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match context.response().body().bytes() {
            Some(body) if !is_whole(body) => Err("an answer that was cut short".into()),
            _ => Ok(()),
        }
    }
}

/// Whether a document ends with the element that it begins with. What is no XML is none of our business.
fn is_whole(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let root = text.split('<').skip(1).find(|element| element.starts_with(|c: char| c.is_ascii_alphabetic()));
    let Some(root) = root else {
        return !text.starts_with('<');
    };
    let name = root.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next().unwrap_or_default();
    text.ends_with(&format!("</{name}>")) || (text.ends_with("/>") && text.ends_with(root))
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn a_document_that_was_cut_anywhere_is_not_whole() {
        let whole = "<?xml version=\"1.0\"?>\n<R xmlns=\"x\"><IsTruncated>false</IsTruncated><Part><N>1</N></Part></R>";
        assert!(is_whole(whole.as_bytes()) && is_whole(format!("\n  {whole}\n").as_bytes()));
        for end in 1..whole.len() {
            assert!(!is_whole(&whole.as_bytes()[..end]), "{}", &whole[..end]);
        }
        assert!(is_whole(b"<R/>") && is_whole(b"<R a=\"b\"/>") && !is_whole(b"<R><N/>"));
        assert!(is_whole(b"") && is_whole(b"not found"));
    }
}
