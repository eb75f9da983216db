//! Sets of part numbers, written the way people write them: `1-100,205`.

use std::fmt;
use std::iter::FlatMap;
use std::ops::RangeInclusive;
use std::vec;

/// A sorted set of part numbers, kept as ranges that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartSet(Vec<(i32, i32)>);

/// The text is not a list of part numbers and ranges such as `1-100,205`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a list of part numbers and ranges such as 1-100,205")]
pub struct MalformedRanges;

impl PartSet {
    /// Reads `1-100,205`. Order does not matter and repetition is harmless; numbers are not checked against any plan.
    ///
    /// # Errors
    /// [`MalformedRanges`] for anything else: empty text, spaces, signs, a range that runs backwards, over nine digits.
    pub fn parse(text: &str) -> Result<PartSet, MalformedRanges> {
        fn number(text: &str) -> Result<i32, MalformedRanges> {
            let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
            if digits { text.parse().map_err(|_| MalformedRanges) } else { Err(MalformedRanges) }
        }
        let mut ranges = Vec::new();
        for item in text.split(',') {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let range = (number(first)?, number(last)?);
            if range.0 > range.1 {
                return Err(MalformedRanges);
            }
            ranges.push(range);
        }
        Ok(PartSet::from_ranges(ranges))
    }

    /// The planned numbers `1..=count` that are not among `present` (sorted ascending).
    pub fn missing(count: i32, present: impl IntoIterator<Item = i32>) -> PartSet {
        let mut ranges = Vec::new();
        let mut next = 1;
        for number in present {
            if number > count {
                break;
            }
            if number > next {
                ranges.push((next, number - 1));
            }
            next = next.max(number + 1);
        }
        if next <= count {
            ranges.push((next, count));
        }
        PartSet(ranges)
    }

    /// Ranges that ascend, and neither touch nor overlap.
    pub fn from_runs(runs: impl IntoIterator<Item = (i32, i32)>) -> PartSet {
        PartSet::from_ranges(runs.into_iter().collect())
    }

    /// Whether these are `1..=count`, all of them and no others.
    pub fn is_whole(&self, count: i32) -> bool {
        PartSet::missing(count, []) == *self
    }

    /// How many numbers there are.
    pub fn len(&self) -> i64 {
        self.0.iter().map(|(first, last)| i64::from(*last) - i64::from(*first) + 1).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    fn from_ranges(mut ranges: Vec<(i32, i32)>) -> PartSet {
        ranges.sort_unstable();
        let mut merged: Vec<(i32, i32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        PartSet(merged)
    }
}

impl IntoIterator for PartSet {
    type Item = i32;
    type IntoIter = FlatMap<vec::IntoIter<(i32, i32)>, RangeInclusive<i32>, fn((i32, i32)) -> RangeInclusive<i32>>;

    /// The numbers, ascending; no more is kept than the ranges.
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flat_map(|(first, last)| first..=last)
    }
}

impl FromIterator<i32> for PartSet {
    fn from_iter<T: IntoIterator<Item = i32>>(numbers: T) -> Self {
        PartSet::from_ranges(numbers.into_iter().map(|number| (number, number)).collect())
    }
}

impl fmt::Display for PartSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            if first == last {
                write!(f, "{first}")?;
            } else {
                write!(f, "{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn malformed_ranges_are_refused() {
        for text in ["", ",", "1,", "-1", "1-", "2-1", "1 - 2", " 1", "+1", "1e3", "0x1", "1-2-3", "1000000000", "१"]
        {
            assert_eq!(PartSet::parse(text), Err(MalformedRanges), "{text:?}");
        }
    }

    #[test]
    fn overlap_and_order_do_not_matter() {
        let set = PartSet::parse("7,1-3,3-5,7,6").expect("ranges");
        assert_eq!((set.to_string().as_str(), set.len()), ("1-7", 7));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(numbers in prop::collection::btree_set(0..200_i32, 1..60)) {
            let set: PartSet = numbers.iter().copied().collect();
            prop_assert_eq!(&PartSet::parse(&set.to_string()).expect("ranges"), &set);
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), numbers);
        }

        #[test]
        fn present_and_missing_make_the_whole(count in 0..150_i32, present in prop::collection::btree_set(1..200_i32, 0..100)) {
            let missing: BTreeSet<i32> = PartSet::missing(count, present.iter().copied()).iter().collect();
            prop_assert!(missing.is_disjoint(&present));
            let all: BTreeSet<i32> = missing.union(&present).copied().filter(|n| *n <= count).collect();
            prop_assert_eq!(all, (1..=count).collect::<BTreeSet<_>>());
        }
    }
}
