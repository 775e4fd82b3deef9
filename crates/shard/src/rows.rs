//! The rows of a shard as values.
//!
//! A row that does not decode was not written by apply, or was damaged behind the engine's back: a broken invariant, which
//! stops the node. A row that is *missing* though another one promises it proves nothing: a view that may not wait for the
//! disk shows what it does not have in memory as missing, and what was made of that is thrown away (`Machine`).

use bytes::Bytes;
use strata_codec::{
    DecodeError, KeyLocks, Participant, SHARD_STATE_KEY, ShardState, StoredValue, TransactionRecord, Version,
    closed_record_key, data_key, history_entry, intent_key, participant_key, record_key, resolved_participant_key,
};
use strata_machine::View;
use strata_types::{SpaceKey, Timestamp, TransactionId, TransactionStatus};

/// What every command and every read must know.
pub fn shard_state(view: &dyn View) -> ShardState {
    view.get(SHARD_STATE_KEY).map_or(ShardState::default(), |row| decoded("shard state", ShardState::decode(row)))
}

/// What became of a transaction, as far as this shard has its record.
pub fn status(view: &dyn View, id: TransactionId) -> TransactionStatus {
    record(view, id).map_or(TransactionStatus::Unknown, |record| record.status())
}

/// The record of a transaction, settled or not.
pub(crate) fn record(view: &dyn View, id: TransactionId) -> Option<TransactionRecord> {
    let row = view.get(&record_key(id)).or_else(|| view.get(&closed_record_key(id)))?;
    Some(decode_record(row))
}

pub(crate) fn decode_record(row: Bytes) -> TransactionRecord {
    decoded("transaction record", TransactionRecord::decode(row))
}

pub(crate) fn participant(view: &dyn View, id: TransactionId) -> Option<Participant> {
    view.get(&participant_key(id)).map(decode_participant)
}

pub(crate) fn decode_participant(row: Bytes) -> Participant {
    decoded("participant", Participant::decode(row))
}

pub(crate) fn is_resolved(view: &dyn View, id: TransactionId) -> bool {
    view.get(&resolved_participant_key(id)).is_some()
}

/// The newest value of a key, as its bytes are stored, and its timestamp.
pub(crate) fn newest_value(view: &dyn View, key: &SpaceKey) -> Option<(Bytes, Timestamp)> {
    let stored = view.get(&data_key(key.space.database, key.space.key_space, &key.key))?;
    let at = decode_value(stored.clone()).timestamp;
    Some((stored, at))
}

pub(crate) fn decode_value(stored: Bytes) -> StoredValue {
    decoded("stored value", StoredValue::decode(stored))
}

pub(crate) fn decode_version(stored: Bytes) -> Version {
    decoded("version", Version::decode(stored))
}

pub(crate) fn decode_history_key(key: &[u8]) -> (SpaceKey, Timestamp) {
    decoded("history key", history_entry(key))
}

pub(crate) fn key_locks(view: &dyn View, key: &SpaceKey) -> KeyLocks {
    view.get(&intent_key(key)).map_or_else(KeyLocks::default, decode_locks)
}

pub(crate) fn decode_locks(row: Bytes) -> KeyLocks {
    decoded("key locks", KeyLocks::decode(row))
}

pub(crate) fn decoded<T>(what: &str, row: Result<T, DecodeError>) -> T {
    row.unwrap_or_else(|error| panic!("a {what} must decode: {error}"))
}
