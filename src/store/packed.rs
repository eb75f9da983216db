//! The parts of a completed upload, packed: history takes seventeen bytes a part rather than a row. Numbers and sizes are the
//! plan's, so only ETags are kept.
//!
//! A byte for the format, then of each part from the first to the last: a byte that tells how its ETag is written, and the
//! ETag. Nearly all are 32 hexadecimal digits, within quotes, and take 16 bytes; others a byte for their length and themselves.

use super::Error;
use crate::upload::{ETag, Part, Plan, Upload};

const FORMAT: u8 = 1;
const QUOTED_DIGITS: u8 = 0;
const BARE_DIGITS: u8 = 1;
const TEXT: u8 = 2;

/// Packs numbers and ETags, ascending, if they are all the parts of the plan and nothing else.
pub(super) fn pack(parts: &[(i32, String)], plan: Plan) -> Option<Vec<u8>> {
    let count = plan.part_count()?;
    if !parts.iter().map(|(number, _)| *number).eq(1..=count) {
        return None;
    }
    let mut packed = Vec::with_capacity(1 + 17 * parts.len());
    packed.push(FORMAT);
    for (_, etag) in parts {
        let bare = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match digest(bare.unwrap_or(etag)) {
            Some(digest) => {
                packed.push(if bare.is_some() { QUOTED_DIGITS } else { BARE_DIGITS });
                packed.extend_from_slice(&digest);
            }
            None => packed.extend_from_slice(&[&[TEXT, u8::try_from(etag.len()).ok()?], etag.as_bytes()].concat()),
        }
    }
    Some(packed)
}

/// Sixteen bytes, if the text is what [`hex::encode`] makes of them.
fn digest(text: &str) -> Option<[u8; 16]> {
    let mut digest = [0; 16];
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    (is_lower && hex::decode_to_slice(text, &mut digest).is_ok()).then_some(digest)
}

/// The parts after number `after`, at most `limit`.
pub(super) fn unpack(packed: &[u8], upload: &Upload, after: i32, limit: u64) -> Result<Vec<Part>, Error> {
    let broken = || Error::Inconsistent { id: upload.id, what: "its packed parts cannot be read" };
    let plan = upload.status.object().map_or(upload.plan, |object| upload.plan.of_size(object.size));
    let Some((&FORMAT, mut rest)) = packed.split_first() else { return Err(broken()) };
    let mut parts = Vec::new();
    for number in 1..=plan.part_count().unwrap_or_default() {
        if parts.len() as u64 >= limit {
            break;
        }
        let etag = next(&mut rest).ok_or_else(broken)?;
        if number > after {
            let size = plan.part(number).ok().map(|slice| slice.size);
            parts.push(Part {
                number,
                etag: ETag::new(etag).map_err(|_| broken())?,
                size,
                checksum: None,
                recorded_at: None,
            });
        }
    }
    Ok(parts)
}

fn next(rest: &mut &[u8]) -> Option<String> {
    let (&kind, after) = rest.split_first()?;
    let (length, after) = if kind == TEXT {
        after.split_first().map(|(length, after)| (usize::from(*length), after))?
    } else {
        (16, after)
    };
    let (etag, after) = after.split_at_checked(length)?;
    *rest = after;
    match kind {
        QUOTED_DIGITS => Some(format!("\"{}\"", hex::encode(etag))),
        BARE_DIGITS => Some(hex::encode(etag)),
        TEXT => String::from_utf8(etag.to_vec()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upload::MIB;

    /// Unpacked as text, without an upload around it.
    fn etags(packed: &[u8]) -> Vec<String> {
        let mut rest = &packed[1..];
        std::iter::from_fn(|| next(&mut rest)).collect()
    }

    proptest! {
        #[test]
        fn every_etag_comes_back_as_it_was(etags in prop::collection::vec("\"?([0-9a-f]{32}|[0-9A-F]{32}|[!#-;=?-~]{1,126})\"?", 1..40)) {
            let plan = Plan::stored(Some(etags.len() as i64 * 5 * MIB), 5 * MIB);
            let parts: Vec<_> = (1..).zip(etags.clone()).collect();
            prop_assert_eq!(super::tests::etags(&pack(&parts, plan).expect("packed")), etags);
        }
    }

    #[test]
    fn a_part_takes_seventeen_bytes() {
        let parts: Vec<_> = (1..=10_000).map(|number| (number, format!("\"{number:032x}\""))).collect();
        assert_eq!(pack(&parts, Plan::stored(Some(10_000 * 5 * MIB), 5 * MIB)).expect("packed").len(), 1 + 17 * 10_000);
    }

    #[test]
    fn what_is_not_the_whole_plan_is_not_packed() {
        let plan = Plan::stored(Some(3 * 5 * MIB), 5 * MIB);
        let parts = |numbers: &[i32]| numbers.iter().map(|number| (*number, "x".to_owned())).collect::<Vec<_>>();
        assert!(pack(&parts(&[1, 2, 3]), plan).is_some());
        for numbers in [&[][..], &[1, 2], &[1, 3], &[2, 3], &[1, 2, 3, 4]] {
            assert!(pack(&parts(numbers), plan).is_none(), "{numbers:?}");
        }
    }
}
