//! Strategies for any value of each format.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use strata_codec::{
    AppliedState, Command, CommandBody, CommandHeader, EntryPayload, SessionResult, SessionRow, SessionSummary,
    StoredValue,
};
use strata_types::{
    ClientId, DatabaseId, Durability, Error, ErrorCode, Expected, Item, KeySpaceId, LogIndex, Mutation, Outcome, Reply,
    Revision, SchemaVersion, SessionRequest, Term, Timestamp,
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
    ]
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
    (bytes(), bytes(), any::<u64>()).prop_map(|(log_id, membership, chain)| AppliedState { log_id, membership, chain })
}
