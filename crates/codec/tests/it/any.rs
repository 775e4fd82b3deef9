//! Strategies for any value of each format.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use strata_codec::{
    AppliedState, Command, CommandBody, CommandHeader, EntryPayload, Intent, KeyLocks, Participant, RangeLocks,
    RecordState, ResolvedParticipant, SessionResult, SessionRow, SessionSummary, ShardState, StoredValue,
    TransactionRecord, Version,
};
use strata_types::{
    ClientId, Conflict, ConflictReason, DatabaseId, Decision, Durability, Error, ErrorCode, Expected, Item, KeySpaceId,
    LogIndex, Mutation, Outcome, Part, Prepared, Reply, Revision, SLOT_COUNT, SchemaVersion, SessionRequest, Slot,
    Space, SpaceKey, SpaceRange, SpaceWrite, Term, Timestamp, Transaction, TransactionId, TransactionReply,
    TransactionStatus,
};

/// The same cases in every run.
pub(crate) fn config() -> Config {
    Config { cases: 512, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..Config::default() }
}

pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

pub(crate) fn revision() -> impl Strategy<Value = Revision> {
    (any::<u64>(), any::<u32>()).prop_map(|(index, position)| Revision { index: LogIndex(index), position })
}

pub(crate) fn value() -> impl Strategy<Value = StoredValue> {
    (any::<u8>(), any::<u64>(), revision(), any::<u64>(), bytes()).prop_map(
        |(flags, timestamp, revision, expiry_millis, payload)| StoredValue {
            flags,
            timestamp: Timestamp(timestamp),
            revision,
            expiry_millis,
            payload,
        },
    )
}

fn session_request() -> impl Strategy<Value = SessionRequest> {
    let opened = prop_oneof![Just(0), any::<u64>()];
    (any::<(u64, u64, u64)>(), opened).prop_map(|((client, sequence, floor), opened)| SessionRequest {
        client: ClientId(client),
        sequence,
        floor,
        opened: LogIndex(opened),
    })
}

fn header() -> impl Strategy<Value = CommandHeader> {
    let numbers = any::<(u32, u32, u64, u32)>();
    (numbers, option::of(session_request())).prop_map(|((database, key_space, seen, schema), session)| CommandHeader {
        database: DatabaseId(database),
        key_space: KeySpaceId(key_space),
        session,
        seen: Timestamp(seen),
        durability: Durability::Majority,
        schema: SchemaVersion(schema),
    })
}

fn expected() -> impl Strategy<Value = Expected> {
    prop_oneof![Just(Expected::Absent), bytes().prop_map(Expected::Value), revision().prop_map(Expected::Revision),]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (bytes(), bytes()).prop_map(|(key, value)| Mutation::Put { key, value }),
        bytes().prop_map(|key| Mutation::Delete { key }),
    ]
}

fn body() -> impl Strategy<Value = CommandBody> {
    prop_oneof![
        Just(CommandBody::Noop),
        (bytes(), bytes()).prop_map(|(key, value)| CommandBody::Put { key, value }),
        bytes().prop_map(|key| CommandBody::Delete { key }),
        (bytes(), expected(), option::of(bytes())).prop_map(|(key, expected, value)| CommandBody::CompareAndSet {
            key,
            expected,
            value
        }),
        vec(mutation(), 0..4).prop_map(|mutations| CommandBody::Batch { mutations }),
        part().prop_map(CommandBody::Commit),
        (part(), prepared()).prop_map(|(part, prepared)| CommandBody::Commit(Part { prepared, ..part })),
        part().prop_map(CommandBody::Prepare),
        transaction().prop_map(|transaction| CommandBody::Abort { transaction }),
        (transaction(), slot(), decision()).prop_map(|(transaction, slot, decision)| CommandBody::Resolve {
            transaction,
            slot,
            decision
        }),
        transaction().prop_map(|transaction| CommandBody::Forget { transaction }),
        (timestamp(), vec(bytes(), 0..4)).prop_map(|(horizon, rows)| CommandBody::Collect { horizon, rows }),
    ]
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn slot() -> impl Strategy<Value = Slot> {
    (0..SLOT_COUNT).prop_map(|number| Slot::new(number).unwrap())
}

pub(crate) fn transaction() -> impl Strategy<Value = Transaction> {
    (any::<u128>(), slot(), timestamp(), timestamp()).prop_map(|(id, anchor, read_timestamp, age)| Transaction {
        id: TransactionId(id),
        anchor,
        read_timestamp,
        age,
    })
}

fn space() -> impl Strategy<Value = Space> {
    any::<(u32, u32)>()
        .prop_map(|(database, key_space)| Space { database: DatabaseId(database), key_space: KeySpaceId(key_space) })
}

fn space_key() -> impl Strategy<Value = SpaceKey> {
    (space(), bytes()).prop_map(|(space, key)| SpaceKey { space, key })
}

fn space_range() -> impl Strategy<Value = SpaceRange> {
    (space(), bytes(), option::of(bytes())).prop_map(|(space, start, end)| SpaceRange { space, start, end })
}

fn part() -> impl Strategy<Value = Part> {
    let write = (space_key(), option::of(bytes())).prop_map(|(key, value)| SpaceWrite { key, value });
    (transaction(), slot(), vec(space_key(), 0..3), vec(space_range(), 0..3), vec(write, 0..3)).prop_map(
        |(transaction, slot, reads, ranges, writes)| Part {
            transaction,
            slot,
            reads,
            ranges,
            writes,
            prepared: Prepared::default(),
        },
    )
}

fn prepared() -> impl Strategy<Value = Prepared> {
    (timestamp(), vec(slot(), 1..4)).prop_map(|(at, participants)| Prepared { at, participants })
}

fn decision() -> impl Strategy<Value = Decision> {
    prop_oneof![Just(Decision::Aborted), timestamp().prop_map(Decision::Committed)]
}

fn transaction_reply() -> impl Strategy<Value = TransactionReply> {
    let reason = prop_oneof![
        Just(ConflictReason::Changed),
        Just(ConflictReason::Aborted),
        Just(ConflictReason::TooOld),
        Just(ConflictReason::Wounded),
        Just(ConflictReason::Locked),
    ];
    let rival = option::of(any::<u128>().prop_map(TransactionId));
    let conflict = (reason, option::of(space_key()), rival, timestamp())
        .prop_map(|(reason, key, rival, at)| TransactionReply::Conflict(Conflict { reason, key, rival, at }));
    let status = prop_oneof![
        Just(TransactionStatus::Pending),
        Just(TransactionStatus::Unknown),
        decision().prop_map(TransactionStatus::Decided),
    ];
    prop_oneof![
        timestamp().prop_map(|at| TransactionReply::Committed { at }),
        timestamp().prop_map(|at| TransactionReply::Prepared { at }),
        conflict,
        status.prop_map(TransactionReply::Status),
        Just(TransactionReply::Done),
        (option::of(item()), timestamp()).prop_map(|(item, changed)| TransactionReply::Locked { item, changed }),
        Just(TransactionReply::Skipped),
    ]
}

pub(crate) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![4 => value().prop_map(Version::Value), 1 => Just(Version::Tombstone)]
}

pub(crate) fn key_locks() -> impl Strategy<Value = KeyLocks> {
    let writer = (transaction(), timestamp(), option::of(bytes())).prop_map(|(transaction, stamp, value)| Intent {
        transaction,
        stamp,
        value,
    });
    (option::of(writer), vec(transaction(), 0..3)).prop_map(|(writer, readers)| KeyLocks { writer, readers })
}

pub(crate) fn record() -> impl Strategy<Value = TransactionRecord> {
    let committed = (timestamp(), any::<bool>(), vec(slot(), 0..3))
        .prop_map(|(at, acknowledged, participants)| RecordState::Committed { at, acknowledged, participants });
    let state = prop_oneof![Just(RecordState::Aborted), committed];
    (transaction(), state).prop_map(|(transaction, state)| TransactionRecord { transaction, state })
}

pub(crate) fn participant() -> impl Strategy<Value = Participant> {
    (transaction(), timestamp(), any::<bool>(), vec(space_key(), 0..3))
        .prop_map(|(transaction, stamp, has_ranges, keys)| Participant { transaction, stamp, has_ranges, keys })
}

pub(crate) fn resolved_participant() -> impl Strategy<Value = ResolvedParticipant> {
    transaction().prop_map(|transaction| ResolvedParticipant { transaction })
}

pub(crate) fn range_locks() -> impl Strategy<Value = RangeLocks> {
    (transaction(), vec(space_range(), 0..3)).prop_map(|(transaction, ranges)| RangeLocks { transaction, ranges })
}

pub(crate) fn shard_state() -> impl Strategy<Value = ShardState> {
    (timestamp(), any::<(u64, u64)>()).prop_map(|(horizon, (prepared, ranged))| ShardState {
        horizon,
        prepared,
        ranged,
    })
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    (header(), body()).prop_map(|(header, body)| Command { header, body })
}

fn item() -> impl Strategy<Value = Item> {
    (bytes(), bytes(), revision(), any::<u64>()).prop_map(|(key, value, revision, timestamp)| Item {
        key,
        value,
        revision,
        timestamp: Timestamp(timestamp),
    })
}

fn error() -> impl Strategy<Value = Error> {
    let outcome = prop_oneof![Just(Outcome::Applied), Just(Outcome::NotApplied), Just(Outcome::Unknown)];
    let code = (0..ErrorCode::ALL.len()).prop_map(|at| ErrorCode::ALL[at]);
    let message = vec(any::<char>(), 0..10).prop_map(String::from_iter);
    let position = option::of(any::<u64>().prop_map(LogIndex));
    (code, outcome, message, position)
        .prop_map(|(code, outcome, message, position)| Error { position, ..Error::new(code, outcome, message) })
}

pub(crate) fn reply() -> impl Strategy<Value = Result<Reply, Error>> {
    let done = prop_oneof![
        option::of(item()).prop_map(|item| Reply::Get { item, freshness: None }),
        revision().prop_map(|revision| Reply::Put { revision }),
        (any::<bool>(), revision()).prop_map(|(existed, revision)| Reply::Delete { existed, revision }),
        (any::<bool>(), revision(), option::of(item()))
            .prop_map(|(succeeded, revision, current)| { Reply::CompareAndSet { succeeded, revision, current } }),
        revision().prop_map(|revision| Reply::Batch { revision }),
        (vec(item(), 0..4), option::of(bytes())).prop_map(|(items, resume)| Reply::Scan {
            items,
            resume,
            freshness: None
        }),
        transaction_reply().prop_map(Reply::Transact),
        transaction().prop_map(|by| Reply::Blocked { by }),
    ];
    prop_oneof![4 => done.prop_map(Ok), 1 => error().prop_map(Err)]
}

pub(crate) fn entry() -> impl Strategy<Value = EntryPayload> {
    (any::<u64>(), any::<u64>(), vec(bytes(), 0..5)).prop_map(|(stamp, term, commands)| EntryPayload {
        stamp: Timestamp(stamp),
        stamped_term: Term(term),
        commands,
    })
}

pub(crate) fn session_row() -> impl Strategy<Value = SessionRow> {
    let result = (any::<u64>(), bytes()).prop_map(|(sequence, reply)| SessionResult { sequence, reply });
    (revision(), revision(), any::<u64>(), vec(result, 0..5)).prop_map(|(used, indexed, floor, results)| SessionRow {
        used,
        indexed,
        floor,
        results,
    })
}

pub(crate) fn session_summary() -> impl Strategy<Value = SessionSummary> {
    (any::<u32>(), revision()).prop_map(|(count, oldest)| SessionSummary { count, oldest })
}

pub(crate) fn applied() -> impl Strategy<Value = AppliedState> {
    let stamp = prop_oneof![Just(0), any::<u64>()].prop_map(Timestamp);
    (bytes(), bytes(), any::<u64>(), stamp).prop_map(|(log_id, membership, chain, stamp)| AppliedState {
        log_id,
        membership,
        chain,
        stamp,
    })
}
