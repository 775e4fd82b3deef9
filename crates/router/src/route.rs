//! Limits of a request, and the one shard that it concerns. Used where requests enter and again where they arrive.

use strata_types::{
    Error, ErrorCode, Mutation, Operation, Part, Result, ShardMap, ShardPlacement, Slot, SlotRange, TransactionCall,
    limits::{
        BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, KEY_BYTES_MAX, SCAN_PAGE_ITEMS_MAX, TRANSACTION_BYTES_MAX,
        TRANSACTION_READS_MAX, TRANSACTION_WRITES_MAX, VALUE_BYTES_MAX,
    },
};

/// Checks an operation against every limit that does not need a map.
pub fn check_limits(operation: &Operation) -> Result<()> {
    match operation {
        Operation::Get { key } | Operation::Delete { key } => check_key(key),
        Operation::Put { key, value } => check_key(key).and_then(|()| check_value(value)),
        Operation::CompareAndSet { key, expected, value } => {
            check_key(key)?;
            if let strata_types::Expected::Value(expected) = expected {
                check_value(expected)?;
            }
            value.as_ref().map_or(Ok(()), |value| check_value(value))?;
            // Each may be as large as any value, but a message must hold both.
            match operation.size() {
                size if size > BATCH_BYTES_MAX => Err(too_large(format!(
                    "a compare-and-set of {size} bytes is over the limit of {BATCH_BYTES_MAX} bytes: compare revisions"
                ))),
                _ => Ok(()),
            }
        }
        Operation::Batch { mutations } => check_batch(operation, mutations),
        Operation::Transact(call) => match &**call {
            TransactionCall::Commit(part) | TransactionCall::Prepare(part) => check_part(part),
            TransactionCall::Lock { key, .. } => check_key(&key.key),
            _ => Ok(()),
        },
        Operation::Scan { start, end, limit } => {
            check_bound(start)?;
            end.as_ref().map_or(Ok(()), |end| check_bound(end))?;
            match *limit {
                0 => Err(invalid("a scan page must ask for at least one item".to_owned())),
                limit if limit > SCAN_PAGE_ITEMS_MAX => {
                    Err(too_large(format!("a scan page of {limit} items is over the limit of {SCAN_PAGE_ITEMS_MAX}")))
                }
                _ => Ok(()),
            }
        }
    }
}

/// The slot of an operation's key, or of the first key of a batch; `None` for a scan, which has no slot.
pub fn slot_of(operation: &Operation) -> Option<Slot> {
    match operation {
        Operation::Get { key }
        | Operation::Put { key, .. }
        | Operation::Delete { key }
        | Operation::CompareAndSet { key, .. } => Some(Slot::of_key(key)),
        Operation::Batch { mutations } => mutations.first().map(|mutation| Slot::of_key(mutation.key())),
        Operation::Transact(call) => Some(call.slot()),
        Operation::Scan { .. } => None,
    }
}

/// Whether all keys of an operation lie in a range of slots. A scan concerns whatever shard it is sent to.
pub fn lies_in(operation: &Operation, slots: SlotRange) -> bool {
    match operation {
        Operation::Batch { mutations } => mutations.iter().all(|mutation| slots.contains(Slot::of_key(mutation.key()))),
        Operation::Scan { .. } => true,
        Operation::Transact(call) => match &**call {
            TransactionCall::Commit(part) | TransactionCall::Prepare(part) => {
                part.slots().all(|slot| slots.contains(slot))
            }
            other => slots.contains(other.slot()),
        },
        single => slot_of(single).is_some_and(|slot| slots.contains(slot)),
    }
}

/// Position in `map.shards` of the one shard that an operation concerns. `Ok(None)` if the map does not cover it.
pub(crate) fn shard_index(map: &ShardMap, operation: &Operation) -> Result<Option<usize>> {
    let Some(slot) = slot_of(operation) else {
        return Err(invalid("a scan is sent shard by shard, not as one call".to_owned()));
    };
    let Some(index) = index_of(map, slot) else { return Ok(None) };
    if let Operation::Batch { mutations } = operation {
        check_one_shard(map, &map.shards[index], slot, mutations)?;
    }
    Ok(Some(index))
}

fn index_of(map: &ShardMap, slot: Slot) -> Option<usize> {
    let index = map.shards.partition_point(|shard| shard.slots.start <= slot.number()).checked_sub(1)?;
    map.shards[index].slots.contains(slot).then_some(index)
}

fn check_one_shard(map: &ShardMap, owner: &ShardPlacement, first: Slot, mutations: &[Mutation]) -> Result<()> {
    for (position, mutation) in mutations.iter().enumerate().skip(1) {
        let slot = Slot::of_key(mutation.key());
        if !owner.slots.contains(slot) {
            let other = map.shard_of(slot).map_or_else(|| "no shard".to_owned(), |other| other.shard.to_string());
            return Err(Error::not_applied(
                ErrorCode::CrossShard,
                format!(
                    "the keys of a batch must live on one shard: key 0 has slot {first} (shard {}), key {position} has \
                     slot {slot} (shard {other}); give both the same {{hash tag}} or write them one by one",
                    owner.shard
                ),
            ));
        }
    }
    Ok(())
}

fn check_batch(operation: &Operation, mutations: &[Mutation]) -> Result<()> {
    if mutations.is_empty() {
        return Err(invalid("a batch must have at least one write".to_owned()));
    }
    if mutations.len() > BATCH_OPERATIONS_MAX {
        let count = mutations.len();
        return Err(too_large(format!("a batch of {count} writes is over the limit of {BATCH_OPERATIONS_MAX}")));
    }
    for mutation in mutations {
        check_key(mutation.key())?;
        if let Mutation::Put { value, .. } = mutation {
            check_value(value)?;
        }
    }
    match operation.size() {
        size if size > BATCH_BYTES_MAX => {
            Err(too_large(format!("a batch of {size} bytes is over the limit of {BATCH_BYTES_MAX} bytes")))
        }
        _ => Ok(()),
    }
}

fn check_part(part: &Part) -> Result<()> {
    let (reads, writes, bytes) = (part.reads.len() + part.ranges.len(), part.writes.len(), part.size());
    let over =
        |what: &str, count, limit| too_large(format!("a transaction of {count} {what} is over the limit of {limit}"));
    match () {
        () if reads > TRANSACTION_READS_MAX => return Err(over("reads", reads, TRANSACTION_READS_MAX)),
        () if writes > TRANSACTION_WRITES_MAX => return Err(over("writes", writes, TRANSACTION_WRITES_MAX)),
        () if bytes > TRANSACTION_BYTES_MAX => return Err(over("bytes", bytes, TRANSACTION_BYTES_MAX)),
        () => {}
    }
    for key in part.reads.iter().chain(part.writes.iter().map(|write| &write.key)) {
        check_key(&key.key)?;
    }
    for range in &part.ranges {
        check_bound(&range.start)?;
        range.end.as_ref().map_or(Ok(()), |end| check_bound(end))?;
    }
    part.writes.iter().filter_map(|write| write.value.as_ref()).try_for_each(|value| check_value(value))
}

fn check_key(key: &[u8]) -> Result<()> {
    match key.len() {
        length if length > KEY_BYTES_MAX => {
            Err(too_large(format!("a key of {length} bytes is over the limit of {KEY_BYTES_MAX} bytes")))
        }
        _ => Ok(()),
    }
}

/// The bound of a range may be what comes right after the longest key.
fn check_bound(bound: &[u8]) -> Result<()> {
    match bound.len() {
        length if length > KEY_BYTES_MAX + 1 => {
            Err(too_large(format!("a bound of {length} bytes is over the limit of {} bytes", KEY_BYTES_MAX + 1)))
        }
        _ => Ok(()),
    }
}

fn check_value(value: &[u8]) -> Result<()> {
    match value.len() {
        length if length > VALUE_BYTES_MAX => {
            Err(too_large(format!("a value of {length} bytes is over the limit of {VALUE_BYTES_MAX} bytes")))
        }
        _ => Ok(()),
    }
}

fn invalid(message: String) -> Error {
    Error::not_applied(ErrorCode::InvalidArgument, message)
}

fn too_large(message: String) -> Error {
    Error::not_applied(ErrorCode::TooLarge, message)
}
