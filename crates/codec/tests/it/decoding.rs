//! What comes off the disk or from other nodes, damaged in every way (CODEC-3). Random values of each format are in
//! `properties.rs`; here are few values and much damage.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use strata_codec::{
    AppliedState, Command, Decoder, EntryPayload, KeyKind, KeyLocks, Participant, RangeLocks, ResolvedParticipant,
    SessionRow, SessionSummary, ShardState, StoredValue, TransactionRecord, Version, decode_reply, encode_reply,
    history_entry, history_key, session_use_client, session_use_key,
};
use strata_types::{ClientId, DatabaseId, KeySpaceId, Space, SpaceKey, Timestamp};

use crate::any;

strata_codec::fuzz_targets!();

/// Some values, the same in each run.
fn some<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..6).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn values_and_rows() {
    check_format(&some(any::value()), StoredValue::encode, StoredValue::decode);
    check_format(&some(any::session_row()), SessionRow::encode, SessionRow::decode);
    check_format(&some(any::session_summary()), SessionSummary::encode, SessionSummary::decode);
    check_format(&some(any::applied()), AppliedState::encode, AppliedState::decode);
}

#[test]
fn rows_of_transactions() {
    check_format(&some(any::version()), Version::encode, Version::decode);
    check_format(&some(any::key_locks()), KeyLocks::encode, KeyLocks::decode);
    check_format(&some(any::range_locks()), RangeLocks::encode, RangeLocks::decode);
    check_format(&some(any::record()), TransactionRecord::encode, TransactionRecord::decode);
    check_format(&some(any::participant()), Participant::encode, Participant::decode);
    check_format(&some(any::resolved_participant()), ResolvedParticipant::encode, ResolvedParticipant::decode);
    check_format(&some(any::shard_state()), ShardState::encode, ShardState::decode);
}

#[test]
fn history_keys() {
    let key = |text: &'static [u8]| {
        let space = Space { database: DatabaseId(1), key_space: KeySpaceId(2) };
        (SpaceKey { space, key: Bytes::from_static(text) }, Timestamp(3))
    };
    let keys = [key(b""), key(b"key"), key(b"\x00"), key(b"a\x00\x00b\x00\x01\xff")];
    check_format(&keys, |(key, at)| history_key(key, *at), |key| history_entry(&key));
}

#[test]
fn commands_and_entries() {
    check_format(&some(any::command()), Command::encode, Command::decode);
    check_format(&some(any::entry()), EntryPayload::encode, EntryPayload::decode);
    each(&some(any::entry().prop_map(|entry| entry.encode())), |bytes| {
        assert_eq!(EntryPayload::check(bytes.clone()), EntryPayload::decode(bytes).map(drop));
    });
}

#[test]
fn replies() {
    check_format(&some(any::reply()), encode_reply, decode_reply);
}

#[test]
fn keys() {
    let keys = some((any::revision(), any::<u64>()));
    check_format(
        &keys,
        |(used, client)| session_use_key(*used, ClientId(*client)),
        |key| session_use_client(&key).map(|(used, client)| (used, client.0)),
    );
    each(&keys.iter().map(|(used, client)| session_use_key(*used, ClientId(*client))).collect::<Vec<_>>(), |key| {
        let _ = KeyKind::of(&key);
    });
}

#[test]
fn the_primitives_take_any_bytes_in_any_order() {
    each(&[Bytes::from_static(&[0, 0, 0, 2, 7, 7, 1, 0, 0, 0, 1, 9, 0, 0, 0, 3])], |bytes| {
        for first in 0..9 {
            let mut input = Decoder::new(bytes.clone());
            // Which field comes next depends on what the one before held.
            let mut kind = first;
            while input.remaining() > 0 {
                let before = input.remaining();
                let ended = match kind % 9 {
                    0 => input.u8("f").is_err(),
                    1 => input.u16("f").is_err(),
                    2 => input.u32("f").is_err(),
                    3 => input.u64("f").is_err(),
                    4 => input.u128("f").is_err(),
                    5 => input.bytes("f").is_err(),
                    6 => input.string("f").is_err(),
                    7 => input.optional_bytes("f").is_err(),
                    _ => input.count(1, "f").map_or(true, |count| count > input.remaining()),
                };
                assert!(input.remaining() <= before);
                if ended {
                    break;
                }
                kind += input.remaining() + 1;
            }
        }
    });
}
