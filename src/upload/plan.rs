//! The plan: how a file of some size is cut into parts. Pure arithmetic under S3's limits.
//!
//! Parts are equal but for the last, which is shorter (Cloudflare R2 demands it). Limits are those of
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>.

use super::Invalid;

/// One mebibyte, in bytes.
pub const MIB: i64 = 1 << 20;
/// The smallest part S3 takes, but for the last one: 5 MiB.
const MIN_PART_SIZE: i64 = 5 * MIB;
/// The largest part S3 takes: 5 GiB.
const MAX_PART_SIZE: i64 = 5 << 30;
/// The most parts an upload may have.
pub const MAX_PARTS: i32 = 10_000;

/// The part size of a file whose size is unknown, unless another is asked for: 64 MiB.
const STREAM_PART_SIZE: i64 = 64 * MIB;

/// How a file is cut into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    size: Option<i64>,
    part_size: i64,
}

/// The bytes of one part: `[offset, offset + size)` of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// First byte in the file.
    pub offset: i64,
    /// Bytes.
    pub size: i64,
}

impl Plan {
    /// Plans a file of `size` bytes (`None`: not known yet) with parts of `part_size` bytes (`None`: the planner chooses)
    /// for a store whose largest object has `max_object_size` bytes.
    ///
    /// # Errors
    /// [`Invalid::Size`], [`Invalid::FileTooLarge`] and [`Invalid::PartSize`].
    pub fn new(size: Option<i64>, part_size: Option<i64>, max_object_size: i64) -> Result<Plan, Invalid> {
        if let Some(size) = size {
            if size < 0 {
                return Err(Invalid::Size("a size is 0 or more bytes"));
            }
            if size > max_object_size {
                return Err(Invalid::FileTooLarge { max_size: max_object_size });
            }
        }
        let part_size = match part_size {
            Some(asked) => {
                if !(MIN_PART_SIZE..=MAX_PART_SIZE).contains(&asked) || asked % MIB != 0 {
                    return Err(Invalid::PartSize("a part has 5 MiB to 5 GiB, in whole MiB"));
                }
                if size.is_some_and(|size| parts(size, asked) > i64::from(MAX_PARTS)) {
                    return Err(Invalid::PartSize("an upload has at most 10,000 parts; ask for larger ones"));
                }
                asked
            }
            None => size.map_or(STREAM_PART_SIZE, choose),
        };
        Ok(Plan { size, part_size })
    }

    /// A plan made earlier, as it is stored.
    pub const fn stored(size: Option<i64>, part_size: i64) -> Plan {
        Plan { size, part_size }
    }

    /// The same cut of a file that turned out to have `size` bytes.
    pub const fn of_size(&self, size: i64) -> Plan {
        Plan { size: Some(size), ..*self }
    }

    /// Bytes of the file, if known.
    pub const fn size(&self) -> Option<i64> {
        self.size
    }

    /// Bytes of every part but the last.
    pub const fn part_size(&self) -> i64 {
        self.part_size
    }

    /// Parts of the file, if its size is known; 0 for an empty one.
    pub fn part_count(&self) -> Option<i32> {
        self.size.map(|size| i32::try_from(parts(size, self.part_size)).unwrap_or(MAX_PARTS))
    }

    /// The bytes of part `number`. While the size is unknown each part counts as a whole one.
    ///
    /// # Errors
    /// [`Invalid::PartNumber`] outside the plan.
    pub fn part(&self, number: i32) -> Result<Slice, Invalid> {
        let last = self.part_count().unwrap_or(MAX_PARTS);
        if !(1..=last).contains(&number) {
            return Err(Invalid::PartNumber { part_count: last });
        }
        let offset = i64::from(number - 1) * self.part_size;
        let size = self.size.map_or(self.part_size, |size| self.part_size.min(size - offset));
        Ok(Slice { offset, size })
    }
}

const fn parts(size: i64, part_size: i64) -> i64 {
    size / part_size + (size % part_size != 0) as i64
}

/// max(8 MiB, min(size / 1,000, 64 MiB), size / 10,000), rounded up to whole MiB: about a thousand parts for large files,
/// neither tiny nor huge, and never more than 10,000.
const fn choose(size: i64) -> i64 {
    const fn max(a: i64, b: i64) -> i64 {
        if a > b { a } else { b }
    }
    const fn whole_mib(size: i64, parts: i64) -> i64 {
        let unit = parts * MIB;
        (size / unit + (size % unit != 0) as i64) * MIB
    }
    let thousandth = whole_mib(size, 1_000);
    let wanted = if thousandth < 64 * MIB { thousandth } else { 64 * MIB };
    max(max(8 * MIB, wanted), whole_mib(size, MAX_PARTS as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AWS_LARGEST: i64 = MAX_PARTS as i64 * MAX_PART_SIZE;
    const FIVE_TIB: i64 = 5 << 40;

    #[test]
    fn sizes_at_every_border_have_the_right_plan() {
        #[rustfmt::skip]
        let table = [
            // size, part size asked, part size, parts, last part
            (0, None, 8 * MIB, 0, 0),
            (1, None, 8 * MIB, 1, 1),
            (MIN_PART_SIZE - 1, None, 8 * MIB, 1, MIN_PART_SIZE - 1),
            (MIN_PART_SIZE, None, 8 * MIB, 1, MIN_PART_SIZE),
            (MIN_PART_SIZE + 1, None, 8 * MIB, 1, MIN_PART_SIZE + 1),
            (8 * MIB, None, 8 * MIB, 1, 8 * MIB),
            (8 * MIB + 1, None, 8 * MIB, 2, 1),
            (8_000 * MIB, None, 8 * MIB, 1_000, 8 * MIB),
            (8_000 * MIB + 1, None, 9 * MIB, 889, 8 * MIB + 1),
            (64_000 * MIB, None, 64 * MIB, 1_000, 64 * MIB),
            (640_000 * MIB, None, 64 * MIB, 10_000, 64 * MIB),
            (640_000 * MIB + 1, None, 65 * MIB, 9_847, 10 * MIB + 1),
            (FIVE_TIB, None, 525 * MIB, 9_987, 230 * MIB),
            (AWS_LARGEST, None, MAX_PART_SIZE, 10_000, MAX_PART_SIZE),
            (MIN_PART_SIZE, Some(MIN_PART_SIZE), MIN_PART_SIZE, 1, MIN_PART_SIZE),
            (MIN_PART_SIZE + 1, Some(MIN_PART_SIZE), MIN_PART_SIZE, 2, 1),
            (10_000 * MIN_PART_SIZE, Some(MIN_PART_SIZE), MIN_PART_SIZE, 10_000, MIN_PART_SIZE),
            (10_000 * MIN_PART_SIZE - 1, Some(MIN_PART_SIZE), MIN_PART_SIZE, 10_000, MIN_PART_SIZE - 1),
        ];
        for (size, asked, part_size, count, last) in table {
            let plan = Plan::new(Some(size), asked, AWS_LARGEST).expect("a plan");
            assert_eq!((plan.part_size(), plan.part_count()), (part_size, Some(count)), "size {size}");
            if count > 0 {
                assert_eq!(plan.part(count).expect("last part").size, last, "size {size}");
            }
        }
    }

    #[test]
    fn what_no_plan_fits_is_refused() {
        let refused = |size, asked, max| Plan::new(size, asked, max).expect_err("a refusal");
        assert!(matches!(refused(Some(-1), None, AWS_LARGEST), Invalid::Size(_)));
        assert_eq!(refused(Some(AWS_LARGEST + 1), None, AWS_LARGEST), Invalid::FileTooLarge { max_size: AWS_LARGEST });
        assert_eq!(refused(Some(FIVE_TIB + 1), None, FIVE_TIB), Invalid::FileTooLarge { max_size: FIVE_TIB });
        for asked in [0, -1, 1, MIN_PART_SIZE - 1, MIN_PART_SIZE + 1, MAX_PART_SIZE + 1, MAX_PART_SIZE + MIB, i64::MAX]
        {
            assert!(matches!(refused(Some(1), Some(asked), AWS_LARGEST), Invalid::PartSize(_)), "{asked}");
        }
        assert!(matches!(
            refused(Some(10_000 * MIN_PART_SIZE + 1), Some(MIN_PART_SIZE), AWS_LARGEST),
            Invalid::PartSize(_)
        ));
    }

    #[test]
    fn a_part_outside_the_plan_is_refused() {
        let plan = Plan::new(Some(20 * MIB), None, AWS_LARGEST).expect("a plan");
        for number in [i32::MIN, -1, 0, 4, 10_001, i32::MAX] {
            assert_eq!(plan.part(number), Err(Invalid::PartNumber { part_count: 3 }));
        }
        let empty = Plan::new(Some(0), None, AWS_LARGEST).expect("a plan");
        assert_eq!(empty.part(1), Err(Invalid::PartNumber { part_count: 0 }));
    }

    #[test]
    fn a_stream_has_whole_parts_up_to_the_limit() {
        let plan = Plan::new(None, None, AWS_LARGEST).expect("a plan");
        assert_eq!((plan.part_count(), plan.part_size()), (None, 64 * MIB));
        assert_eq!(plan.part(10_000), Ok(Slice { offset: 9_999 * 64 * MIB, size: 64 * MIB }));
        assert_eq!(plan.part(10_001), Err(Invalid::PartNumber { part_count: MAX_PARTS }));
    }

    proptest! {
        #[test]
        fn parts_cover_the_file_exactly_none_too_small_all_equal_but_the_last(
            size in prop_oneof![0..=AWS_LARGEST, 0..=100 * MIB],
            asked in prop::option::of((5..=5_120_i64).prop_map(|mib| mib * MIB)),
        ) {
            let Ok(plan) = Plan::new(Some(size), asked, AWS_LARGEST) else {
                prop_assert!(parts(size, asked.expect("only an asked part size is ever refused")) > i64::from(MAX_PARTS));
                return Ok(());
            };
            let count = plan.part_count().expect("the size is known");
            prop_assert!(count <= MAX_PARTS);
            prop_assert!((MIN_PART_SIZE..=MAX_PART_SIZE).contains(&plan.part_size()) && plan.part_size() % MIB == 0);
            prop_assert_eq!(asked.unwrap_or(plan.part_size()), plan.part_size());
            let mut end = 0;
            for number in 1..=count {
                let slice = plan.part(number).expect("within the plan");
                prop_assert_eq!(slice.offset, end);
                prop_assert!(slice.size > 0 && (slice.size == plan.part_size() || number == count));
                end += slice.size;
            }
            prop_assert_eq!(end, size);
        }
    }
}
