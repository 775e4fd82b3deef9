//! What a transaction has read: what must not have changed when it commits.

use std::collections::BTreeMap;

use bytes::Bytes;
use strata_types::{
    Error, ErrorCode, Item, Result, Revision, Space, SpaceKey, SpaceRange, Timestamp, limits::TRANSACTION_READS_MAX,
};

/// Which version of a key was read; `None` if there was none.
pub(crate) type Version = Option<(Timestamp, Revision)>;

/// The version that an item is.
pub(crate) fn version_of(item: Option<&Item>) -> Version {
    item.map(|item| (item.timestamp, item.revision))
}

/// Keys and ranges, each recorded once.
#[derive(Debug, Default)]
pub(crate) struct ReadSet {
    keys: BTreeMap<SpaceKey, Version>,
    /// Ends by starts. Ranges neither overlap nor touch.
    ranges: BTreeMap<(Space, Bytes), Option<Bytes>>,
    /// Reads that were not recorded because there were too many: such a transaction cannot write.
    dropped: usize,
}

impl ReadSet {
    /// A key was read.
    pub(crate) fn note_key(&mut self, key: &SpaceKey, version: Version) {
        if self.keys.contains_key(key) {
            return;
        }
        if self.count() >= TRANSACTION_READS_MAX {
            self.dropped += 1;
            return;
        }
        self.keys.insert(key.detached(), version);
    }

    /// All keys of a range were read.
    pub(crate) fn note_range(&mut self, space: Space, start: Bytes, end: Option<Bytes>) {
        if end.as_ref().is_some_and(|end| *end <= start) {
            return;
        }
        let (mut start, mut end) = (start, end);
        let before = self.ranges.range(..=(space, start.clone())).next_back();
        let touching =
            before.filter(|((other, _), stop)| *other == space && stop.as_ref().is_none_or(|stop| *stop >= start));
        if let Some((place, stop)) = touching.map(|(place, stop)| (place.clone(), stop.clone())) {
            self.ranges.remove(&place);
            start = place.1;
            end = later(end, stop);
        }
        while let Some((place, stop)) = self.ranges.range((space, start.clone())..).next() {
            if place.0 != space || end.as_ref().is_some_and(|end| *end < place.1) {
                break;
            }
            end = later(end, stop.clone());
            let place = place.clone();
            self.ranges.remove(&place);
        }
        if self.count() >= TRANSACTION_READS_MAX {
            self.dropped += 1;
        } else {
            // As keys are: copies, not slices of a request or of a page.
            let detached = |bound: Bytes| Bytes::copy_from_slice(&bound);
            self.ranges.insert((space, detached(start)), end.map(detached));
        }
    }

    /// Keys and ranges.
    pub(crate) fn count(&self) -> usize {
        self.keys.len() + self.ranges.len()
    }

    /// Whether ranges were read.
    pub(crate) fn has_ranges(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// The keys, and what was found.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&SpaceKey, &Version)> {
        self.keys.iter()
    }

    /// The ranges.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = SpaceRange> {
        let range = |((space, start), end): (&(Space, Bytes), &Option<Bytes>)| SpaceRange {
            space: *space,
            start: start.clone(),
            end: end.clone(),
        };
        self.ranges.iter().map(range)
    }

    /// Bytes of all keys and bounds.
    pub(crate) fn size(&self) -> usize {
        let keys: usize = self.keys.keys().map(|key| key.key.len()).sum();
        let ranges = self.ranges.iter().map(|((_, start), end)| start.len() + end.as_ref().map_or(0, Bytes::len));
        keys + ranges.sum::<usize>()
    }

    /// Whether a transaction that writes may have read so much.
    pub(crate) fn check_limits(&self) -> Result<()> {
        if self.dropped == 0 {
            return Ok(());
        }
        let count = self.count() + self.dropped;
        let message = format!(
            "the transaction has read {count} keys and ranges; one that writes may read {TRANSACTION_READS_MAX} at \
             most; nothing was written; read ranges instead of keys, or read what need not be checked through a snapshot"
        );
        Err(Error::not_applied(ErrorCode::TooLarge, message))
    }
}

/// The later one of two ends of ranges.
fn later(one: Option<Bytes>, other: Option<Bytes>) -> Option<Bytes> {
    Some(one?.max(other?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn bytes(number: u8) -> Bytes {
        Bytes::from(vec![number])
    }

    fn key(number: u8) -> SpaceKey {
        SpaceKey { space: Space::default(), key: bytes(number) }
    }

    #[test]
    fn pages_of_one_scan_are_one_range() {
        let mut reads = ReadSet::default();
        for number in 0..9 {
            reads.note_range(Space::default(), bytes(number), Some(bytes(number + 1)));
        }
        let all = SpaceRange { space: Space::default(), start: bytes(0), end: Some(bytes(9)) };
        assert_eq!(reads.ranges().collect::<Vec<_>>(), [all]);
        reads.note_range(Space::default(), bytes(20), None);
        assert_eq!(reads.ranges().count(), 2);
        reads.note_range(Space::default(), bytes(9), Some(bytes(21)));
        let whole = SpaceRange { space: Space::default(), start: bytes(0), end: None };
        assert_eq!(reads.ranges().collect::<Vec<_>>(), [whole]);
    }

    #[test]
    fn the_first_read_of_a_key_counts_and_too_many_are_told() {
        let mut reads = ReadSet::default();
        for number in 0..TRANSACTION_READS_MAX {
            let key = SpaceKey { space: Space::default(), key: Bytes::from(number.to_be_bytes().to_vec()) };
            reads.note_key(&key, None);
            reads.note_key(&key, Some((Timestamp(1), Revision::default())));
        }
        assert_eq!(reads.check_limits(), Ok(()));
        assert!(reads.keys().all(|(_, version)| version.is_none()));
        reads.note_key(&key(1), None);
        let error = reads.check_limits().expect_err("one too many");
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert!(error.message.contains("10001") && error.message.contains("10000"), "{error}");
    }

    #[test]
    fn what_is_noted_keeps_no_message_in_memory() {
        let message: Arc<[u8]> = vec![7; 64 * 1024].into();
        let arrived = Bytes::from_owner(message.clone());
        let mut reads = ReadSet::default();
        let space = Space::default();
        reads.note_key(&SpaceKey { space, key: arrived.slice(..9) }, None);
        reads.note_range(space, arrived.slice(..20), Some(arrived.slice(..30)));
        reads.note_range(space, arrived.slice(..25), Some(arrived.slice(..40)));
        drop(arrived);
        assert_eq!(Arc::strong_count(&message), 1, "nobody else has the message");
        assert_eq!((reads.count(), reads.size()), (2, 9 + 20 + 40));
    }

    proptest! {
        /// Recorded ranges cover exactly what was read, and none of them touches another.
        #[test]
        fn ranges_cover_what_was_read(
            read in proptest::collection::vec((0..30u8, proptest::option::of(0..32u8), 0..2u32), 0..12),
        ) {
            let mut reads = ReadSet::default();
            let space = |number| Space { database: strata_types::DatabaseId(number), ..Space::default() };
            for (start, end, number) in &read {
                reads.note_range(space(*number), bytes(*start), end.map(bytes));
            }
            let ranges: Vec<SpaceRange> = reads.ranges().collect();
            for (number, probe) in (0..2u32).flat_map(|number| (0..40u8).map(move |probe| (number, probe))) {
                let within = |(start, end, other): &(u8, Option<u8>, u32)| {
                    *other == number && *start <= probe && end.is_none_or(|end| probe < end)
                };
                let key = SpaceKey { space: space(number), key: bytes(probe) };
                let covering = ranges.iter().filter(|range| range.contains(&key)).count();
                prop_assert_eq!(covering, usize::from(read.iter().any(within)));
            }
            for pair in ranges.windows(2) {
                let is_apart = pair[0].end.as_ref().is_some_and(|end| *end < pair[1].start);
                prop_assert!(is_apart || pair[0].space != pair[1].space);
            }
        }
    }
}
