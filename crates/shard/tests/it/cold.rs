//! What a tablet shows that must not wait for the disk, and what it is left with.

use std::collections::BTreeMap;

use bytes::Bytes;
use strata_codec::StoredValue;
use strata_codec::{
    SESSION_SUMMARY_KEY, SessionSummary, Version, data_key, encode_collect, encode_command, history_key,
};
use strata_machine::{CommandContext, Machine, View, ViewMut};
use strata_shard::ShardMachine;
use strata_types::{
    ClientId, DatabaseId, KeySpaceId, LogIndex, Operation, Request, RequestHeader, Revision, SessionRequest, Space,
    SpaceKey, Term, Timestamp, limits::SESSIONS_PER_SHARD_MAX,
};

/// Single rows are in memory, and no range is.
#[derive(Default)]
struct Cold {
    rows: BTreeMap<Bytes, Bytes>,
    deleted: Vec<Bytes>,
}

impl View for Cold {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.rows.get(key).cloned()
    }

    fn scan(&self, _start: &[u8], _end: &[u8], _visit: &mut dyn FnMut(&[u8], &Bytes) -> bool) {}
}

impl ViewMut for Cold {
    fn put(&mut self, key: Bytes, value: Bytes) {
        self.rows.insert(key, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.deleted.push(key);
    }
}

const CONTEXT: CommandContext = CommandContext { term: Term(1), index: LogIndex(9), position: 0, stamp: Timestamp(9) };

/// Whoever applies finds out later that the view did not show everything, and does it again where it may wait. A panic in
/// between would look like damage in the log of the node.
#[test]
fn a_new_session_too_many_finds_none_to_forget_where_nothing_is_shown() {
    let mut view = Cold::default();
    let summary = SessionSummary { count: SESSIONS_PER_SHARD_MAX as u32, oldest: Revision::default() };
    view.put(Bytes::from_static(SESSION_SUMMARY_KEY), summary.encode());
    let session = SessionRequest { client: ClientId(7), sequence: 1, floor: 1, opened: LogIndex(8) };
    let header = RequestHeader { session: Some(session), ..RequestHeader::default() };
    let operation = Operation::Put { key: "k".into(), value: "v".into() };
    let command = encode_command(&Request { header, operation }).expect("a write");
    ShardMachine.apply(&mut view, CONTEXT, &command);
}

/// A row's key that shared memory with the command would keep the whole log entry in memory.
#[test]
fn what_is_collected_leaves_nothing_of_its_command() {
    let key = SpaceKey { space: Space::default(), key: "k".into() };
    let mut view = Cold::default();
    let old = history_key(&key, Timestamp(1));
    view.put(old.clone(), Version::TOMBSTONE.to_vec().into());
    let newest = StoredValue::encode_plain(Timestamp(2), Revision::default(), b"v");
    view.put(data_key(DatabaseId(0), KeySpaceId(0), &key.key), newest);
    let command = encode_collect(Timestamp(5), &[old]);
    ShardMachine.apply(&mut view, CONTEXT, &command);
    let [deleted] = &view.deleted[..] else { panic!("{:?}", view.deleted) };
    assert!(!command.as_ptr_range().contains(&deleted.as_ptr()), "a part of the command");
}
