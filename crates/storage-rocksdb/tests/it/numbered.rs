//! Batches with numbers: whoever reads a tablet knows which of them was the last, and so all that must be there.

use std::collections::BTreeMap;

use bytes::Bytes;
use strata_storage::{StorageResult, WriteBatch, WriteOp};

/// Keys that each batch writes. Others lie between them.
pub(crate) const MARKS: [&[u8]; 4] = [b"\0", b"f", b"p", b"\xff"];

/// Ranges that begin with a mark, the whole tablet first.
pub(crate) const RANGES: [(&[u8], &[u8]); 5] =
    [(b"", b""), (MARKS[0], MARKS[1]), (MARKS[1], MARKS[2]), (MARKS[2], MARKS[3]), (MARKS[3], b"")];

/// What a batch wrote is written again or removed by one of so many that come after it.
const LIFE: u32 = 32;

/// The keys of rows that are removed are so many: they come back later.
const ROWS: u32 = LIFE + 8;

pub(crate) type Items = Vec<(Bytes, Bytes)>;

fn slot(number: u32) -> Bytes {
    key(b's', number % LIFE)
}

fn row(number: u32) -> Bytes {
    key(b'r', number % ROWS)
}

/// Keys of a kind have several first bytes.
fn key(kind: u8, number: u32) -> Bytes {
    let number = u8::try_from(number).unwrap();
    Bytes::from(vec![b'a' + number % 23, kind, number])
}

/// The keys of all rows that are never removed.
pub(crate) fn lasting() -> impl Iterator<Item = Bytes> {
    MARKS.into_iter().map(Bytes::from_static).chain((0..LIFE).map(slot))
}

/// All keys that there may be.
pub(crate) fn keys() -> impl Iterator<Item = Bytes> {
    lasting().chain((0..ROWS).map(row))
}

fn value(number: u32) -> Bytes {
    let padding = vec![number as u8; (number % 5 * 60) as usize];
    Bytes::from([&number.to_be_bytes()[..], &padding[..]].concat())
}

/// Which batch wrote a value; 0 if there is none.
pub(crate) fn number(value: Option<&[u8]>) -> u32 {
    value.map_or(0, |value| u32::from_be_bytes(value[..4].try_into().unwrap()))
}

/// The batch of a number. The first one is 1.
pub(crate) fn batch(number: u32) -> WriteBatch {
    let mut batch = WriteBatch::new();
    // That of the batch which was `LIFE` before.
    let old_row = row(number + ROWS - LIFE);
    // Of several writes of a key the last one counts.
    batch.put(slot(number), value(number - 1));
    batch.delete(row(number));
    batch.put(old_row.clone(), value(number));
    for other in [number, number * 7, number * 11 + 5] {
        batch.put(slot(other), value(number));
    }
    batch.put(row(number), value(number));
    batch.delete(old_row);
    for mark in MARKS {
        batch.put(Bytes::from_static(mark), value(number));
    }
    batch
}

/// All that is there after the batch of a number.
pub(crate) fn state(number: u32) -> BTreeMap<Bytes, Bytes> {
    let mut state = BTreeMap::new();
    for number in number.saturating_sub(LIFE) + 1..=number {
        for op in batch(number).ops() {
            match op {
                WriteOp::Put(key, value) => state.insert(key.clone(), value.clone()),
                WriteOp::Delete(key) => state.remove(key),
            };
        }
    }
    state
}

/// What a scan shows.
pub(crate) fn items(scan: impl FnOnce(&mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()>) -> Items {
    let mut items = Vec::new();
    scan(&mut |key, value| {
        items.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        true
    })
    .unwrap();
    items
}

/// Which batch was the last one before what is seen of one of the [`RANGES`]: it must be all that was there then.
pub(crate) fn last_of(seen: &[(Bytes, Bytes)], (start, end): (&[u8], &[u8])) -> u32 {
    let last = number(seen.first().map(|(_, value)| &value[..]));
    let is_inside = |key: &[u8]| key >= start && (end.is_empty() || key < end);
    let expected: Items = state(last).into_iter().filter(|(key, _)| is_inside(key)).collect();
    assert_eq!(seen, expected, "not what batch {last} left of {start:?}..{end:?}");
    last
}
