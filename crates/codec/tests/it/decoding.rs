//! What comes off the disk or from other nodes, damaged in every way (CODEC-3). Random values of each format are in
//! `properties.rs`; here are few values and much damage.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use strata_codec::damage::{check_format, each};
use strata_codec::{
    AppliedState, Command, Decoder, EntryPayload, KeyKind, SessionRow, SessionSummary, StoredValue, decode_reply,
    encode_reply, session_use_client, session_use_key,
};
use strata_types::ClientId;

use crate::any;

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
