//! A transaction, cut into what concerns each shard.

use std::collections::BTreeMap;

use strata_types::{Error, ErrorCode, Part, Prepared, Result, ShardId, ShardMap, Slot, SpaceKey, Transaction};

use crate::reads::ReadSet;
use crate::writes::WriteBuffer;

/// What of a transaction concerns each shard.
pub(crate) struct Parts {
    /// That of the anchor's shard. Nothing is in it but the record if what was written there was taken back.
    pub(crate) anchors: Part,
    pub(crate) others: Vec<Part>,
}

/// One part for each shard that was read or is written (COORD-1). A range was read on every shard.
pub(crate) fn split(map: &ShardMap, transaction: Transaction, reads: &ReadSet, writes: &WriteBuffer) -> Result<Parts> {
    let anchor = shard_of(map, transaction.anchor)?;
    let mut parts = BTreeMap::from([(anchor, empty(transaction, transaction.anchor))]);
    for (key, _) in reads.keys() {
        part_of(map, transaction, &mut parts, key)?.reads.push(key.clone());
    }
    for write in writes.writes() {
        part_of(map, transaction, &mut parts, &write.key)?.writes.push(write);
    }
    if reads.has_ranges() {
        for placement in &map.shards {
            let Some(start) = Slot::new(placement.slots.start) else { continue };
            let part = parts.entry(placement.shard).or_insert_with(|| empty(transaction, start));
            part.ranges = reads.ranges().collect();
        }
    }
    let anchors = parts.remove(&anchor).expect("it is the first one");
    Ok(Parts { anchors, others: parts.into_values().collect() })
}

fn part_of<'p>(
    map: &ShardMap,
    transaction: Transaction,
    parts: &'p mut BTreeMap<ShardId, Part>,
    key: &SpaceKey,
) -> Result<&'p mut Part> {
    let slot = key.slot();
    Ok(parts.entry(shard_of(map, slot)?).or_insert_with(|| empty(transaction, slot)))
}

fn shard_of(map: &ShardMap, slot: Slot) -> Result<ShardId> {
    let placement = map.shard_of(slot).ok_or_else(|| {
        Error::not_applied(ErrorCode::NotReady, format!("the shard map {} has no shard for slot {slot}", map.epoch))
    })?;
    Ok(placement.shard)
}

fn empty(transaction: Transaction, slot: Slot) -> Part {
    Part { transaction, slot, reads: Vec::new(), ranges: Vec::new(), writes: Vec::new(), prepared: Prepared::default() }
}
