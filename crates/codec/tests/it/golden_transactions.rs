//! Pins the bytes of what transactions leave in the log and in the tablet (CODEC-1).

use bytes::Bytes;
use strata_codec::{
    Command, CommandBody, CommandHeader, DecodeError, Intent, KeyLocks, Participant, RangeLocks, RecordState,
    ResolvedParticipant, SHARD_STATE_KEY, ShardState, StoredValue, TransactionRecord, Version, closed_record_key,
    decode_reply, encode_collect, encode_command, encode_reply, history_after_key, history_key, intent_key,
    participant_key, range_locks_key, record_key, resolved_participant_key,
};
use strata_types::{
    Conflict, ConflictReason, DatabaseId, Decision, ErrorCode, KeySpaceId, LockWait, Operation, Part, Prepared, Reply,
    Slot, Space, SpaceKey, SpaceRange, SpaceWrite, Timestamp, Transaction, TransactionCall, TransactionId,
    TransactionReply, TransactionStatus,
};

use crate::golden::{Golden, RoundTrip, item, request, revision};

const TRANSACTION: &str = "id:16 anchor:2 read_timestamp:8 age:8";
const KEY: &str = "database:4 key_space:4 key_length:4 key:3";
const RANGES: &str = "ranges:4 database:4 key_space:4 length:4 start:4 has_end:1 length:4 end:2 \
                      database:4 key_space:4 length:4 start:4 has_end:1";

fn transaction() -> Transaction {
    Transaction {
        id: TransactionId(0x0123_4567_89ab_cdef_0011_2233_4455_6677),
        anchor: slot(12_539),
        read_timestamp: Timestamp(20),
        age: Timestamp(19),
    }
}

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

fn key() -> SpaceKey {
    let space = Space { database: DatabaseId(1), key_space: KeySpaceId(2) };
    SpaceKey { space, key: Bytes::from_static(b"key") }
}

fn ranges() -> Vec<SpaceRange> {
    let range = |end| SpaceRange { space: key().space, start: Bytes::from_static(b"from"), end };
    vec![range(Some(Bytes::from_static(b"to"))), range(None)]
}

fn part() -> Part {
    let write = |value| SpaceWrite { key: key(), value };
    Part {
        transaction: transaction(),
        slot: slot(5),
        reads: vec![key()],
        ranges: ranges(),
        writes: vec![write(Some(Bytes::from_static(b"value"))), write(None)],
        prepared: Prepared::default(),
    }
}

#[test]
fn keys() {
    let escaped = SpaceKey { key: Bytes::from_static(b"a\x00\xff"), ..key() };
    let space = "kind:1 database:4 key_space:4";
    let id = transaction().id;
    Golden::new("transaction_key.golden", Ok)
        .example("version", &history_key(&key(), Timestamp(9)), &format!("{space} key:3 end:2 timestamp:8"))
        .example("escaped", &history_key(&escaped, Timestamp(9)), &format!("{space} key:4 end:2 timestamp:8"))
        .example("after all versions", &history_after_key(&key()), &format!("{space} key:3 after:2"))
        .example("locks", &intent_key(&key()), &format!("{space} key:3"))
        .example("record", &record_key(id), "kind:1 id:16")
        .example("settled record", &closed_record_key(id), "kind:1 id:16")
        .example("participant", &participant_key(id), "kind:1 id:16")
        .example("resolved participant", &resolved_participant_key(id), "kind:1 id:16")
        .example("range locks", &range_locks_key(id), "kind:1 id:16")
        .example("shard state", SHARD_STATE_KEY, "kind:1")
        .check();
}

#[test]
fn commands() {
    const HEAD: &str = "version:1 tag:1 length:4 database:4 key_space:4 seen:8 schema:4 durability:1 has_session:1";
    let mut golden = Golden::new("transaction_command.golden", |bytes| Command::decode(bytes).map(|c| c.encode()));
    let mut add = |name: &str, call: TransactionCall, body: &str| {
        let bytes = encode_command(&request(None, Operation::Transact(Box::new(call)))).unwrap();
        golden.example(name, &bytes, &format!("{HEAD} {TRANSACTION} {body}"));
    };
    let transaction = transaction();
    let part_body =
        format!("slot:2 reads:4 {KEY} {RANGES} writes:4 {KEY} has_value:1 value_length:4 value:5 {KEY} has_value:1");
    add("commit", TransactionCall::Commit(part()), &part_body);
    add("prepare", TransactionCall::Prepare(part()), &part_body);
    add("abort", TransactionCall::Abort { transaction }, "");
    let resolve = |decision| TransactionCall::Resolve { transaction, slot: slot(5), decision };
    add("resolve, committed", resolve(Decision::Committed(Timestamp(21))), "slot:2 committed:1 commit_at:8");
    add("resolve, aborted", resolve(Decision::Aborted), "slot:2 committed:1");
    add("forget", TransactionCall::Forget { transaction }, "");
    let rows = [Bytes::from_static(b"row"), Bytes::from_static(b"other")];
    let collect = encode_collect(Timestamp(22), &rows);
    golden.example("collect", &collect, &format!("{HEAD} horizon:8 count:4 length:4 row:3 length:4 row:5"));
    let body = CommandBody::Collect { horizon: Timestamp(22), rows: rows.to_vec() };
    assert_eq!(collect, Command { header: CommandHeader::default(), body }.encode());
    let prepared = Prepared { at: Timestamp(21), participants: vec![slot(5), slot(16_383)] };
    let last = TransactionCall::Commit(Part { prepared, ..part() });
    let last = encode_command(&request(None, Operation::Transact(Box::new(last)))).unwrap();
    let layout = format!("{HEAD} {TRANSACTION} {part_body} prepared_at:8 participants:4 slot:2 slot:2");
    golden.example("commit, prepared elsewhere", &last, &layout);
    golden.check();
}

/// Tag 7 was a decision apart from the commits, and state 0 a record that is not decided.
#[test]
fn what_is_not_written_any_more_is_refused() {
    let commit =
        encode_command(&request(None, Operation::Transact(Box::new(TransactionCall::Commit(part()))))).unwrap();
    let mut decide = commit.to_vec();
    decide[1] = 7;
    let refused = Command::decode(decide.into()).unwrap_err();
    assert_eq!(refused, DecodeError::BadValue { field: "command tag", value: 7 });
    let aborted = TransactionRecord { transaction: transaction(), state: RecordState::Aborted }.encode();
    let mut pending = aborted.to_vec();
    *pending.last_mut().unwrap() = 0;
    let refused = TransactionRecord::decode(pending.into()).unwrap_err();
    assert_eq!(refused, DecodeError::BadValue { field: "record state", value: 0 });
}

#[test]
fn steps_that_change_nothing_durable_are_no_commands() {
    let transaction = transaction();
    for call in [
        TransactionCall::Push { transaction, age: None },
        TransactionCall::Status { transaction },
        TransactionCall::Lock { transaction, key: key(), wait: LockWait::Wait },
        TransactionCall::Unlock { transaction, slot: slot(5) },
    ] {
        let refused = encode_command(&request(None, Operation::Transact(Box::new(call)))).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidArgument);
    }
}

#[test]
fn replies() {
    let mut golden =
        Golden::new("transaction_reply.golden", |bytes| decode_reply(bytes).map(|reply| encode_reply(&reply)));
    let mut add = |name: &str, reply: TransactionReply, body: &str| {
        golden.example(name, &encode_reply(&Ok(Reply::Transact(reply))), &format!("version:1 tag:1 kind:1 {body}"));
    };
    add("committed", TransactionReply::Committed { at: Timestamp(21) }, "at:8");
    add("prepared", TransactionReply::Prepared { at: Timestamp(21) }, "at:8");
    for reason in [
        ConflictReason::Changed,
        ConflictReason::Aborted,
        ConflictReason::TooOld,
        ConflictReason::Wounded,
        ConflictReason::Locked,
    ] {
        let conflict = Conflict { reason, key: None, rival: None, at: Timestamp(21) };
        add(
            &format!("conflict: {reason:?}"),
            TransactionReply::Conflict(conflict),
            "reason:1 has_key:1 has_rival:1 at:8",
        );
    }
    let conflict = Conflict {
        reason: ConflictReason::Changed,
        key: Some(key()),
        rival: Some(transaction().id),
        at: Timestamp(21),
    };
    let layout = format!("reason:1 has_key:1 {KEY} has_rival:1 rival:16 at:8");
    add("conflict with all fields", TransactionReply::Conflict(conflict), &layout);
    for (name, status, body) in [
        ("pending", TransactionStatus::Pending, "status:1"),
        ("committed", TransactionStatus::Decided(Decision::Committed(Timestamp(21))), "status:1 at:8"),
        ("aborted", TransactionStatus::Decided(Decision::Aborted), "status:1"),
        ("unknown", TransactionStatus::Unknown, "status:1"),
    ] {
        add(&format!("status: {name}"), TransactionReply::Status(status), body);
    }
    add("done", TransactionReply::Done, "");
    let locked = |item| TransactionReply::Locked { item, changed: Timestamp(9) };
    add("locked, absent", locked(None), "changed:8 has_item:1");
    let item_layout = "index:8 position:4 timestamp:8 key_length:4 key:3 value_length:4 value:5";
    add("locked", locked(Some(item())), &format!("changed:8 has_item:1 {item_layout}"));
    add("skipped", TransactionReply::Skipped, "");
    let blocked = encode_reply(&Ok(Reply::Blocked { by: transaction() }));
    golden.example("blocked", &blocked, &format!("version:1 tag:1 {TRANSACTION}"));
    golden.check();
}

#[test]
fn versions() {
    let round_trip: RoundTrip = |bytes| Version::decode(bytes).map(|version| version.encode());
    let value = StoredValue {
        timestamp: Timestamp(9),
        revision: revision(17, 2),
        payload: Bytes::from_static(b"value"),
        ..StoredValue::default()
    };
    let layout = "format:1 flags:1 timestamp:8 index:8 position:4 expiry:8 payload:*";
    Golden::new("version.golden", round_trip)
        .example("a value", &Version::Value(value).encode(), layout)
        .example("removed", &Version::Tombstone.encode(), "format:1")
        .check();
}

#[test]
fn key_locks() {
    let round_trip: RoundTrip = |bytes| KeyLocks::decode(bytes).map(|locks| locks.encode());
    let other = Transaction { id: TransactionId(7), ..transaction() };
    let intent = |value| Some(Intent { transaction: transaction(), stamp: Timestamp(21), value });
    let writes = KeyLocks { writer: intent(Some(Bytes::from_static(b"value"))), readers: Vec::new() };
    let removes = KeyLocks { writer: intent(None), readers: Vec::new() };
    let read = KeyLocks { writer: None, readers: vec![other, transaction()] };
    let head = format!("format:1 has_writer:1 {TRANSACTION} stamp:8 has_value:1");
    Golden::new("key_locks.golden", round_trip)
        .example("to be written", &writes.encode(), &format!("{head} value_length:4 value:5 readers:4"))
        .example("to be removed", &removes.encode(), &format!("{head} readers:4"))
        .example("read", &read.encode(), &format!("format:1 has_writer:1 readers:4 {TRANSACTION} {TRANSACTION}"))
        .check();
}

#[test]
fn records() {
    let round_trip: RoundTrip = |bytes| TransactionRecord::decode(bytes).map(|record| record.encode());
    let row = |state| TransactionRecord { transaction: transaction(), state }.encode();
    let committed =
        |acknowledged, participants| row(RecordState::Committed { at: Timestamp(21), acknowledged, participants });
    let head = format!("format:1 {TRANSACTION} state:1");
    Golden::new("record.golden", round_trip)
        .example("aborted", &row(RecordState::Aborted), &head)
        .example(
            "committed",
            &committed(false, vec![slot(5), slot(6)]),
            &format!("{head} at:8 acknowledged:1 participants:4 slot:2 slot:2"),
        )
        .example("on one shard", &committed(true, vec![]), &format!("{head} at:8 acknowledged:1 participants:4"))
        .check();
}

#[test]
fn participants() {
    let round_trip: RoundTrip = |bytes| Participant::decode(bytes).map(|row| row.encode());
    let row =
        Participant { transaction: transaction(), stamp: Timestamp(21), has_ranges: true, keys: vec![key(), key()] };
    Golden::new("participant.golden", round_trip)
        .example("prepared", &row.encode(), &format!("format:1 {TRANSACTION} stamp:8 has_ranges:1 count:4 {KEY} {KEY}"))
        .check();
    let round_trip: RoundTrip = |bytes| ResolvedParticipant::decode(bytes).map(|row| row.encode());
    Golden::new("resolved_participant.golden", round_trip)
        .example(
            "resolved",
            &ResolvedParticipant { transaction: transaction() }.encode(),
            &format!("format:1 {TRANSACTION}"),
        )
        .check();
}

#[test]
fn range_locks() {
    let round_trip: RoundTrip = |bytes| RangeLocks::decode(bytes).map(|locks| locks.encode());
    let locks = RangeLocks { transaction: transaction(), ranges: ranges() };
    Golden::new("range_locks.golden", round_trip)
        .example("two ranges", &locks.encode(), &format!("format:1 {TRANSACTION} {RANGES}"))
        .check();
}

#[test]
fn shard_state() {
    let round_trip: RoundTrip = |bytes| ShardState::decode(bytes).map(|state| state.encode());
    let state = ShardState { horizon: Timestamp(20), prepared: 3, ranged: 1 };
    Golden::new("shard_state.golden", round_trip)
        .example("all fields", &state.encode(), "format:1 horizon:8 prepared:8 ranged:8")
        .check();
}
