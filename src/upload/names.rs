//! Names: of files, of their types, of their objects. Checked once, at the border.

use chrono::NaiveDate;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Invalid;

/// The longest file name, in bytes of UTF-8.
const MAX_FILENAME: usize = 255;
/// The longest content type, in bytes.
const MAX_CONTENT_TYPE: usize = 255;
/// The longest slug of a file name within an object key, in bytes.
const MAX_SLUG: usize = 100;

/// The type of a file when its sender names none.
pub const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// Types that a browser may show in place: none of them can run script.
const INLINE_TYPES: [&str; 14] = [
    "audio/aac",
    "audio/flac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/webm",
    "image/avif",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/plain",
    "video/mp4",
    "video/webm",
];

/// Accepts a file name as people have them, in any language, and refuses what could act as a path or hide what it is.
///
/// # Errors
/// [`Invalid::Filename`] when it is empty, longer than 255 bytes, `.` or `..`, or holds a slash, a backslash, a control
/// character, a line separator or a control of text direction.
pub fn check_filename(name: &str) -> Result<(), Invalid> {
    let refuse = |reason| Err(Invalid::Filename(reason));
    if name.is_empty() || name.len() > MAX_FILENAME {
        return refuse("a file name has 1 to 255 bytes");
    }
    if name.contains(['/', '\\']) || name == "." || name == ".." {
        return refuse("a file name is not a path");
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return refuse("a file name has no control characters");
    }
    // Direction controls make `gpj.exe` look like `exe.jpg`; joiners stay, for many scripts need them.
    if name.chars().any(|c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')) {
        return refuse("a file name has no controls of text direction");
    }
    Ok(())
}

/// Accepts a media type of RFC 9110 section 8.3.1, such as `text/plain; charset=utf-8`.
///
/// # Errors
/// [`Invalid::ContentType`] for wildcards, bad syntax, over 255 bytes, or anything but printable ASCII.
pub fn check_content_type(value: &str) -> Result<(), Invalid> {
    let refuse = |reason| Err(Invalid::ContentType(reason));
    if value.len() > MAX_CONTENT_TYPE {
        return refuse("a content type has at most 255 bytes");
    }
    if !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return refuse("a content type is printable ASCII");
    }
    match value.parse::<mime::Mime>() {
        Ok(mime) if mime.type_() != mime::STAR && mime.subtype() != mime::STAR && mime.subtype() != "" => Ok(()),
        _ => refuse("not a media type such as text/plain"),
    }
}

/// Whether a browser may be told to show this type in place.
pub fn may_be_inline(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    INLINE_TYPES.contains(&essence.as_str())
}

/// How the keys of objects are made, after their prefix: literals and placeholders. The id is always in it, so that no two
/// uploads share a key: on some stores they would destroy each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    text: String,
    /// Segments of the path; which of them holds the id.
    segments: usize,
    id_at: usize,
}

/// What a key is made of.
#[derive(Debug, Clone, Copy)]
pub struct KeyParts<'a> {
    /// The upload's.
    pub id: Uuid,
    /// Whose it is.
    pub owner: &'a str,
    /// The file's name.
    pub filename: &'a str,
    /// When the upload began.
    pub date: NaiveDate,
}

impl KeyTemplate {
    /// Reads a template: path segments of letters, digits, `-`, `_`, `.` and placeholders.
    ///
    /// # Errors
    /// Without `{id}`, or with a second one; with an unknown placeholder; with `{owner}` or `{name}` in the segment of `{id}`,
    /// from which the id could not be read again.
    pub fn new(text: &str) -> Result<KeyTemplate, &'static str> {
        let segments: Vec<&str> = text.split('/').collect();
        let mut id_at = None;
        for (index, segment) in segments.iter().enumerate() {
            let mut literal = (*segment).to_owned();
            for placeholder in ["{id}", "{shard}", "{name}", "{ext}", "{owner}", "{date}"] {
                literal = literal.replace(placeholder, "");
            }
            if literal.contains(['{', '}']) {
                return Err("a key is made of {id}, {shard}, {name}, {ext}, {owner} and {date}");
            }
            if !literal.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
                return Err("beside placeholders a key has letters, digits and - _ . / only");
            }
            if segment.is_empty() || matches!(*segment, "." | "..") {
                return Err("a key has no empty segments, nor . or ..");
            }
            match segment.matches("{id}").count() {
                0 => {}
                1 if id_at.is_none() && !segment.contains("{owner}") && !segment.contains("{name}") => {
                    id_at = Some(index);
                }
                _ => return Err("{id} stands once in a key, and not in one segment with {owner} or {name}"),
            }
        }
        let id_at = id_at.ok_or("a key without {id} would be that of two uploads")?;
        Ok(KeyTemplate { text: text.to_owned(), segments: segments.len(), id_at })
    }

    /// The key of an upload's object, after the prefix.
    pub fn key(&self, parts: KeyParts<'_>) -> String {
        let name = slug(parts.filename);
        let extension = name.rfind('.').map_or("", |dot| &name[dot + 1..]);
        let id = parts.id.to_string();
        self.text
            .replace("{id}", &id)
            .replace("{shard}", &id[ID_LENGTH - SHARD_LENGTH..])
            .replace("{date}", &parts.date.to_string())
            .replace("{ext}", if extension.len() > 16 || extension.is_empty() { "bin" } else { extension })
            .replace("{name}", &name)
            .replace("{owner}", &owner_segment(parts.owner))
    }

    /// The id of the upload that a key of this form belongs to; `None` for any other key.
    pub fn id_in(&self, key: &str) -> Option<Uuid> {
        let segments: Vec<&str> = key.split('/').collect();
        if segments.len() != self.segments || segments.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let text = segments[self.id_at];
        (0..text.len().checked_sub(ID_LENGTH)? + 1).find_map(|at| {
            let candidate = text.get(at..at + ID_LENGTH)?;
            let id = Uuid::try_parse(candidate).ok()?;
            // Other spellings of an id are not ours.
            (id.to_string() == candidate).then_some(id)
        })
    }
}

/// Of an id as text.
const ID_LENGTH: usize = 36;
/// The last of its digits, which are random: 256 shards.
const SHARD_LENGTH: usize = 2;

/// Ids ascend with time. S3 gives requests to each range of keys, and moves ranges apart only as it sees them used: without
/// a shard in front all new keys would be in the same one.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html>
impl Default for KeyTemplate {
    fn default() -> Self {
        KeyTemplate { text: "{shard}/{id}/{name}".to_owned(), segments: 3, id_at: 1 }
    }
}

impl<'de> serde::Deserialize<'de> for KeyTemplate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        KeyTemplate::new(&text).map_err(serde::de::Error::custom)
    }
}

/// An owner as a segment of a key: another owner's is always another one.
fn owner_segment(owner: &str) -> String {
    let mut segment = String::with_capacity(owner.len());
    for (index, byte) in owner.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || b"-_@".contains(&byte) || (byte == b'.' && index > 0) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("={byte:02X}"));
        }
    }
    if segment.len() <= MAX_SLUG { segment } else { format!("=sha256-{}", hex::encode(Sha256::digest(owner))) }
}

/// An ASCII form of a file name, of at most 100 bytes, that keeps its extension.
fn slug(filename: &str) -> String {
    let mut plain = String::with_capacity(filename.len());
    for c in filename.chars() {
        let c = if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
        if !(matches!(c, '-' | '.') && plain.ends_with(c)) {
            plain.push(c);
        }
    }
    let plain = plain.trim_start_matches(['.', '-']).trim_end_matches(['.', '-']);
    if plain.is_empty() {
        return "file".to_owned();
    }
    if plain.len() <= MAX_SLUG {
        return plain.to_owned();
    }
    let extension =
        plain.rfind('.').map(|dot| &plain[dot..]).filter(|extension| extension.len() <= 16).unwrap_or_default();
    format!("{}{extension}", plain[..MAX_SLUG - extension.len()].trim_end_matches(['.', '-']))
}

/// How a browser is to treat a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Save it.
    Attachment,
    /// Show it in place.
    Inline,
}

/// The value of `Content-Disposition` (RFC 6266) that gives a download its name, whatever language it is in.
pub fn content_disposition(disposition: Disposition, filename: &str) -> String {
    let kind = match disposition {
        Disposition::Attachment => "attachment",
        Disposition::Inline => "inline",
    };
    // Percent and quotes are read differently by different browsers within a quoted string, so they never stand there.
    let fallback: String = filename
        .chars()
        .map(|c| if c == ' ' || (c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%')) { c } else { '_' })
        .collect();
    if fallback == filename {
        format!("{kind}; filename=\"{fallback}\"")
    } else {
        format!("{kind}; filename=\"{fallback}\"; filename*=UTF-8''{}", extended_value(filename))
    }
}

/// RFC 8187: percent-encodes all but `attr-char`.
fn extended_value(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// An ETag as S3 gave it, kept verbatim. Stores quote it or not, so two are compared without their quotes.
#[derive(Debug, Clone)]
pub struct ETag(String);

impl ETag {
    /// Accepts up to 128 printable ASCII characters, optionally within one pair of quotes.
    ///
    /// # Errors
    /// [`Invalid::ETag`] for anything that no store would send, markup above all.
    pub fn new(value: impl Into<String>) -> Result<ETag, Invalid> {
        let value = value.into();
        let bare = unquoted(&value);
        let sound = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>&\\".contains(&byte);
        if bare.is_empty() || bare.len() > 128 || !bare.bytes().all(sound) {
            return Err(Invalid::ETag);
        }
        Ok(ETag(value))
    }

    /// The value, as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for ETag {
    fn eq(&self, other: &Self) -> bool {
        unquoted(&self.0) == unquoted(&other.0)
    }
}

impl Eq for ETag {}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_in_any_language_are_kept() {
        for name in [
            "a",
            "holiday.mov",
            "Ferien – Süd.pdf",
            "旅行.mp4",
            "👩‍👩‍👧.png",
            "می‌خواهم.txt",
            "a b (1).tar.gz",
            "\"quoted\"; x=1",
            "100%.txt",
        ] {
            assert_eq!(check_filename(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn controls_paths_and_disguises_are_refused() {
        let long = "x".repeat(256);
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "a\0b",
            "a\r\nb",
            "a\u{7f}",
            "a\u{85}b",
            "exe\u{202e}gpj.",
            "a\u{2028}b",
            &long,
        ] {
            assert!(matches!(check_filename(name), Err(Invalid::Filename(_))), "{name:?}");
        }
    }

    #[test]
    fn media_types_are_checked() {
        for good in
            ["text/plain", "video/quicktime", "text/html; charset=utf-8", "application/vnd.oasis.opendocument.text"]
        {
            assert_eq!(check_content_type(good), Ok(()), "{good}");
        }
        let long = format!("text/{}", "x".repeat(300));
        for bad in
            ["", "text", "text/", "/plain", "*/*", "image/*", "text/plain\r\nX-Evil: 1", "text/plä", "a b/c", &long]
        {
            assert!(matches!(check_content_type(bad), Err(Invalid::ContentType(_))), "{bad:?}");
        }
    }

    #[test]
    fn slugs_keep_the_extension() {
        let long = format!("{}.mov", "x".repeat(200));
        #[rustfmt::skip]
        let table = [
            ("holiday.mov", "holiday.mov"), ("Ferien – Süd.pdf", "Ferien-S-d.pdf"), ("旅行.mp4", "mp4"), (".htaccess", "htaccess"),
            ("...", "file"), ("日本", "file"), ("a   b", "a-b"), ("-rf", "rf"), ("a..b", "a.b"),
        ];
        for (name, expected) in table {
            assert_eq!(slug(name), expected, "{name}");
        }
        assert_eq!((slug(&long).len(), slug(&long).ends_with(".mov")), (100, true));
    }

    #[test]
    fn only_types_that_cannot_run_script_are_shown_in_place() {
        assert!(may_be_inline("image/png") && may_be_inline("Text/Plain; charset=utf-8"));
        assert!(!may_be_inline("text/html") && !may_be_inline("image/svg+xml") && !may_be_inline("application/xml"));
    }

    #[test]
    fn etags_are_compared_without_their_quotes() {
        let etag = |text: &str| ETag::new(text).expect("an ETag");
        assert_eq!(etag("\"abc-2\""), etag("abc-2"));
        assert_ne!(etag("abc"), etag("ABC"));
        for bad in ["", "\"\"", "\"", "a\"b", "</ETag><PartNumber>", "a b", "ä", "a\n", &"x".repeat(129)] {
            assert_eq!(ETag::new(bad).err(), Some(Invalid::ETag), "{bad:?}");
        }
    }

    #[test]
    fn a_template_that_could_make_one_key_twice_is_refused() {
        for good in ["{id}/{name}", "{id}", "{owner}/{date}/{id}.{ext}", "a-{id}/{owner}-{name}", "{date}-{id}"] {
            assert!(KeyTemplate::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "{name}",
            "{id}{id}",
            "{id}/{id}",
            "{owner}{id}",
            "{id}-{name}",
            "{id}/{x}",
            "{id}/{",
            "/{id}",
            "{id}/",
            "{id}//a",
            "../{id}",
            "./{id}",
            "{id}/a b",
            "{id}/ä",
            "{ID}",
        ] {
            assert!(KeyTemplate::new(bad).is_err(), "{bad}");
        }
        assert_eq!(KeyTemplate::new("{shard}/{id}/{name}"), Ok(KeyTemplate::default()));
    }

    #[test]
    fn keys_of_uploads_made_one_after_the_other_are_spread() {
        let date = NaiveDate::from_ymd_opt(2026, 11, 22).expect("a date");
        let key = |id| KeyTemplate::default().key(KeyParts { id, owner: "a", filename: "x.bin", date });
        let shards: std::collections::HashSet<String> =
            (0..4_000).map(|_| key(Uuid::now_v7())[..3].to_owned()).collect();
        assert_eq!(shards.len(), 256, "each of two digits and a slash: {shards:?}");
    }

    #[test]
    fn owners_never_share_a_segment() {
        #[rustfmt::skip]
        let table = [
            ("alice", "alice"), ("a@b.example", "a@b.example"), ("..", "=2E."), ("a/b", "a=2Fb"), ("a=2Fb", "a=3D2Fb"), ("ä", "=C3=A4"),
        ];
        for (owner, segment) in table {
            assert_eq!(owner_segment(owner), segment);
        }
        let long = "x".repeat(255);
        assert!(owner_segment(&long).starts_with("=sha256-") && owner_segment(&long).len() < MAX_SLUG);
    }

    proptest! {
        #[test]
        fn a_key_is_short_and_tells_its_upload(
            owner in "\\PC{1,255}", filename in "\\PC{1,255}", random in any::<u128>(),
            template in proptest::sample::select(vec!["{shard}/{id}/{name}", "{id}/{name}", "{owner}/{date}/{id}.{ext}", "x-{id}", "{owner}/{id}/{owner}/{name}"]),
        ) {
            let id = uuid::Builder::from_u128(random).with_version(uuid::Version::SortRand).into_uuid();
            let template = KeyTemplate::new(template).expect("a template");
            let date = NaiveDate::from_ymd_opt(2026, 11, 22).expect("a date");
            let key = template.key(KeyParts { id, owner: &owner, filename: &filename, date });
            prop_assert_eq!(template.id_in(&key), Some(id), "{}", key);
            prop_assert!(key.len() <= 500 && key.is_ascii() && !key.split('/').any(|part| part.is_empty() || part == ".."));
            prop_assert_eq!(template.id_in(&format!("{key}/x")), None);
        }

        #[test]
        fn a_slug_is_short_plain_and_never_a_path(name in "\\PC{1,255}") {
            let slug = slug(&name);
            prop_assert!(!slug.is_empty() && slug.len() <= MAX_SLUG);
            prop_assert!(slug.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
            prop_assert!(!slug.starts_with('.') && !slug.contains(".."));
        }

        #[test]
        fn a_disposition_carries_the_name_and_nothing_else(name in "\\PC{1,80}") {
            let value = content_disposition(Disposition::Attachment, &name);
            prop_assert!(value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
            let quoted = value.strip_prefix("attachment; filename=\"").expect("a quoted name");
            let (fallback, rest) = quoted.split_once('"').expect("a closing quote");
            let read = match rest.strip_prefix("; filename*=UTF-8''") {
                Some(extended) => percent_encoding::percent_decode_str(extended).decode_utf8().expect("UTF-8").into_owned(),
                None => { prop_assert_eq!(rest, ""); fallback.to_owned() }
            };
            prop_assert_eq!(read, name);
        }
    }
}
