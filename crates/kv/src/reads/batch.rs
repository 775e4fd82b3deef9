//! Reads of one batch where they may wait for the disk, as many as one answer holds.

use bytes::Bytes;
use strata_codec::data_key;
use strata_router::size_of_reply;
use strata_shard::decode_item;
use strata_storage::{Engine, Snapshot};
use strata_types::{Operation, Request, Slot, SlotRange, limits::GRPC_MESSAGE_BYTES_MAX};

use super::{ReadFailed, ReadResult, got};
use crate::snapshot_view::{EngineView, SnapshotView};

/// So many keys are looked up in one step of the engine: as many as RocksDB looks up together. That their values are large
/// is only seen then.
const LOOKUPS_MAX: usize = 32;
/// The same as long as nothing is known of the values.
const BLIND_LOOKUPS_MAX: usize = 16;

/// Pages, all of one state of the tablet.
pub(super) fn pages(
    snapshot: &dyn Snapshot,
    slots: SlotRange,
    requests: &[Request],
    positions: &[usize],
) -> Vec<(usize, ReadResult)> {
    let mut room = Room::default();
    let page = |&position: &usize| (position, room.take(|| scan(snapshot, slots, &requests[position])));
    positions.iter().map(page).collect()
}

/// Carries out the reads at `positions`, where it may wait for the disk.
pub(super) fn on_tablet(
    tablet: &dyn Engine,
    slots: SlotRange,
    requests: &[Request],
    positions: &[usize],
) -> Vec<(usize, ReadResult)> {
    // Read before the keys: what was committed before, and is not prepared any more now, is in its place.
    let state = EngineView::new(tablet);
    let is_simple = strata_shard::shard_state(&state).prepared == 0;
    let is_simple = state.finish(is_simple).unwrap_or(false);
    let (mut gets, mut results) = (Vec::new(), Vec::with_capacity(positions.len()));
    let mut room = Room::default();
    for &position in positions {
        let request = &requests[position];
        match &request.operation {
            Operation::Get { key } if is_simple && request.header.at.is_none() => gets.push((position, key)),
            Operation::Get { key } => results.push((position, room.take(|| get(tablet, request, key)))),
            Operation::Scan { .. } => {
                results.push((position, room.take(|| scan(tablet.snapshot().as_ref(), slots, request))));
            }
            _ => unreachable!("the plan put a write among the reads"),
        }
    }
    let mut left = gets.as_slice();
    while !left.is_empty() {
        let (some, others) = left.split_at(room.lookups().min(left.len()));
        left = others;
        if room.is_full() {
            results.extend(some.iter().map(|(position, _)| (*position, Err(ReadFailed::NoRoom))));
            continue;
        }
        let found = newest_of_many(tablet, requests, some);
        found.iter().for_each(|(_, result)| room.note(result));
        results.extend(found);
    }
    results
}

/// What one answer may hold. Requests are small, what they ask for is not: without it a batch of gets could ask for more
/// than the machine has.
#[derive(Default)]
struct Room {
    bytes: usize,
    /// The largest result so far.
    largest: usize,
}

impl Room {
    /// Reads, unless what was read before fills a message.
    fn take(&mut self, read: impl FnOnce() -> ReadResult) -> ReadResult {
        if self.is_full() {
            return Err(ReadFailed::NoRoom);
        }
        let result = read();
        self.note(&result);
        result
    }

    fn note(&mut self, result: &ReadResult) {
        let bytes = result.as_ref().map_or(0, size_of_reply);
        self.bytes += bytes;
        self.largest = self.largest.max(bytes);
    }

    fn is_full(&self) -> bool {
        self.bytes > GRPC_MESSAGE_BYTES_MAX
    }

    /// How many keys to look up at once: few as long as nothing is known of their values, and if these are large.
    fn lookups(&self) -> usize {
        match self.largest {
            0 => BLIND_LOOKUPS_MAX,
            largest => (GRPC_MESSAGE_BYTES_MAX.saturating_sub(self.bytes) / largest).clamp(1, LOOKUPS_MAX),
        }
    }
}

/// Several keys at once, where no transaction is in the way of any.
fn newest_of_many(tablet: &dyn Engine, requests: &[Request], gets: &[(usize, &Bytes)]) -> Vec<(usize, ReadResult)> {
    let data_key_of = |(position, key): &(usize, &Bytes)| {
        let header = &requests[*position].header;
        data_key(header.database, header.key_space, key)
    };
    let keys: Vec<Bytes> = gets.iter().map(data_key_of).collect();
    match tablet.multi_get(&keys) {
        Ok(values) => {
            let item = |((position, key), stored): (&(usize, &Bytes), Option<Bytes>)| {
                (*position, Ok(got(stored.map(|stored| decode_item((*key).clone(), stored)))))
            };
            gets.iter().zip(values).map(item).collect()
        }
        Err(error) => gets.iter().map(|(position, _)| (*position, Err(ReadFailed::Storage(error.clone())))).collect(),
    }
}

fn get(tablet: &dyn Engine, request: &Request, key: &Bytes) -> ReadResult {
    let view = EngineView::new(tablet);
    let read = strata_shard::get(&view, &request.header, key);
    view.finish(read).map_err(ReadFailed::Storage)?.map(got).map_err(ReadFailed::Met)
}

/// One page of the shard. Keys that it does not own, left behind by a split, are not shown.
fn scan(snapshot: &dyn Snapshot, slots: SlotRange, request: &Request) -> ReadResult {
    let Operation::Scan { start, end, limit } = &request.operation else {
        unreachable!("only scans are given to this function");
    };
    let view = SnapshotView::new(snapshot);
    let keep = |key: &[u8]| slots.contains(Slot::of_key(key));
    let page = strata_shard::scan(&view, &request.header, start, end.as_deref(), *limit, &keep);
    view.finish(page).map_err(ReadFailed::Storage)?.map_err(ReadFailed::Met)
}
