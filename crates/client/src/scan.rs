//! Ranges of keys in order.

use std::ops::{Bound, RangeBounds};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use strata_types::{Item, ReadLevel, Result};

/// Which keys to scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    pub(crate) start: Bytes,
    pub(crate) end: Option<Bytes>,
    pub(crate) limit: Option<u64>,
}

impl KeyRange {
    /// All keys.
    pub fn all() -> KeyRange {
        KeyRange::default()
    }

    /// The keys of a range, such as `"a".."b"`.
    pub fn of<K: AsRef<[u8]>>(range: impl RangeBounds<K>) -> KeyRange {
        let start = match range.start_bound() {
            Bound::Included(key) => Bytes::copy_from_slice(key.as_ref()),
            Bound::Excluded(key) => successor(key.as_ref()),
            Bound::Unbounded => Bytes::new(),
        };
        let end = match range.end_bound() {
            Bound::Included(key) => Some(successor(key.as_ref())),
            Bound::Excluded(key) => Some(Bytes::copy_from_slice(key.as_ref())),
            Bound::Unbounded => None,
        };
        KeyRange { start, end, limit: None }
    }

    /// The keys that begin with these bytes.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> KeyRange {
        let start = Bytes::copy_from_slice(prefix.as_ref());
        // The first key after all that begin so: the last byte that can rise does, what follows it goes.
        let rising = start.iter().rposition(|&byte| byte != u8::MAX);
        let end = rising.map(|at| {
            let mut end = BytesMut::from(&start[..=at]);
            end[at] += 1;
            end.freeze()
        });
        KeyRange { start, end, limit: None }
    }

    /// At most so many items.
    pub fn limit(mut self, items: u64) -> KeyRange {
        self.limit = Some(items);
        self
    }
}

/// A running scan: items in key order over all shards. Each shard's part is linearizable; together they are not one
/// point in time.
pub struct Scan(pub(crate) strata_router::Scan);

impl Scan {
    /// The next items; `None` after the last one. After an error it may be asked again and goes on where it was.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Item>>> {
        self.0.next_page().await
    }

    /// The level that all shards kept which were asked so far; `None` if that is not known.
    pub fn level(&self) -> Option<ReadLevel> {
        self.0.level()
    }

    /// The pages as a stream, which ends after the first error.
    pub fn into_pages(self) -> impl Stream<Item = Result<Vec<Item>>> + Send {
        self.0.into_pages()
    }
}

fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(range: &KeyRange, key: &[u8]) -> bool {
        range.start <= key && range.end.as_ref().is_none_or(|end| key < end)
    }

    #[test]
    fn a_prefix_covers_exactly_the_keys_that_begin_with_it() {
        for prefix in [&b"a"[..], b"a\xff", b"\xff\xff", b"", b"a\xfe"] {
            let range = KeyRange::prefix(prefix);
            for key in
                [&b""[..], b"a", b"a\xfe\xff", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x01"]
            {
                assert_eq!(contains(&range, key), key.starts_with(prefix), "prefix {prefix:?} key {key:?}");
            }
        }
    }

    #[test]
    fn bounds_mean_what_they_say() {
        let range = KeyRange::of("b".."d");
        assert!(
            !contains(&range, b"a") && contains(&range, b"b") && contains(&range, b"c\xff") && !contains(&range, b"d")
        );
        let range = KeyRange::of("b"..="d");
        assert!(contains(&range, b"d") && !contains(&range, b"d\0"));
        let range = KeyRange::of::<&str>((Bound::Excluded("b"), Bound::Unbounded));
        assert!(!contains(&range, b"b") && contains(&range, b"b\0") && contains(&range, b"\xff"));
    }
}
