//! What holds for any value and any bytes (CODEC-3, CODEC-4): values survive the round trip; a decoder takes any bytes
//! without panicking; and whatever it accepts encodes to exactly the bytes it was given, so no damage is overlooked.

use std::fmt::Debug;

use bytes::Bytes;
use proptest::prelude::*;
use strata_codec::{
    AppliedState, Command, DecodeError, EntryPayload, KeyLocks, Participant, RangeLocks, ResolvedParticipant,
    SessionRow, SessionSummary, ShardState, StoredValue, TransactionRecord, Version, decode_reply, encode_reply,
};

use crate::any;

fn check_format<T: PartialEq + Debug>(
    value: &T,
    noise: &Bytes,
    encode: impl Fn(&T) -> Bytes,
    decode: impl Fn(Bytes) -> Result<T, DecodeError>,
) {
    let encoded = encode(value);
    assert_eq!(decode(encoded.clone()).as_ref(), Ok(value));

    let check_canonical = |input: Bytes| {
        if let Ok(value) = decode(input.clone()) {
            assert_eq!(encode(&value), input, "accepted bytes are the value's only encoding");
        }
    };
    for length in 0..encoded.len() {
        check_canonical(encoded.slice(..length));
    }
    for bit in 0..encoded.len() * 8 {
        let mut damaged = encoded.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        check_canonical(Bytes::from(damaged));
    }
    check_canonical([&encoded[..], noise].concat().into());
    check_canonical(noise.clone());
    // With the right first byte, noise gets further.
    check_canonical([&encoded[..1], noise].concat().into());
    check_canonical([&encoded[..encoded.len().min(2)], noise].concat().into());
}

proptest! {
    #![proptest_config(any::config())]

    #[test]
    fn values(value in any::value(), noise in any::bytes()) {
        check_format(&value, &noise, StoredValue::encode, StoredValue::decode);
    }

    #[test]
    fn commands(command in any::command(), noise in any::bytes()) {
        check_format(&command, &noise, Command::encode, Command::decode);
    }

    #[test]
    fn replies(reply in any::reply(), noise in any::bytes()) {
        check_format(&reply, &noise, encode_reply, decode_reply);
    }

    #[test]
    fn entries(entry in any::entry(), noise in any::bytes()) {
        check_format(&entry, &noise, EntryPayload::encode, EntryPayload::decode);
        prop_assert_eq!(entry.encode().len(), entry.encoded_size());
    }

    #[test]
    fn session_rows(row in any::session_row(), noise in any::bytes()) {
        check_format(&row, &noise, SessionRow::encode, SessionRow::decode);
    }

    #[test]
    fn session_summaries(summary in any::session_summary(), noise in any::bytes()) {
        check_format(&summary, &noise, SessionSummary::encode, SessionSummary::decode);
    }

    #[test]
    fn versions(version in any::version(), noise in any::bytes()) {
        check_format(&version, &noise, Version::encode, Version::decode);
    }

    #[test]
    fn locks(locks in any::key_locks(), ranges in any::range_locks(), noise in any::bytes()) {
        check_format(&locks, &noise, KeyLocks::encode, KeyLocks::decode);
        check_format(&ranges, &noise, RangeLocks::encode, RangeLocks::decode);
    }

    #[test]
    fn records(record in any::record(), noise in any::bytes()) {
        check_format(&record, &noise, TransactionRecord::encode, TransactionRecord::decode);
    }

    #[test]
    fn participants(
        participant in any::participant(),
        resolved in any::resolved_participant(),
        noise in any::bytes(),
    ) {
        check_format(&participant, &noise, Participant::encode, Participant::decode);
        check_format(&resolved, &noise, ResolvedParticipant::encode, ResolvedParticipant::decode);
    }

    #[test]
    fn shard_states(state in any::shard_state(), noise in any::bytes()) {
        check_format(&state, &noise, ShardState::encode, ShardState::decode);
    }

    #[test]
    fn applied_states(state in any::applied(), noise in any::bytes()) {
        check_format(&state, &noise, AppliedState::encode, AppliedState::decode);
    }
}

#[test]
fn a_command_inside_an_entry_decodes_without_a_copy() {
    let value = Bytes::from(vec![7; 4096]);
    let header = strata_types::RequestHeader::default();
    let operation = strata_types::Operation::Put { key: Bytes::from_static(b"key"), value: value.clone() };
    let command = strata_codec::encode_command(&strata_types::Request { header, operation }).unwrap();
    let entry = EntryPayload { commands: vec![command], ..EntryPayload::default() }.encode();
    let within = |part: &Bytes| entry.as_ptr_range().contains(&part.as_ptr());

    let commands = EntryPayload::decode(entry.clone()).unwrap().commands;
    assert!(within(&commands[0]));
    let strata_codec::CommandBody::Put { value: decoded, .. } = Command::decode(commands[0].clone()).unwrap().body
    else {
        panic!("it was a put");
    };
    assert_eq!(decoded, value);
    assert!(within(&decoded));
}

#[test]
fn a_damaged_count_is_refused_before_memory_is_reserved() {
    let mut entry = EntryPayload::default().encode().to_vec();
    let at = entry.len() - 4;
    entry[at..].copy_from_slice(&u32::MAX.to_be_bytes());
    let error = EntryPayload::decode(Bytes::from(entry)).unwrap_err();
    assert_eq!(error, DecodeError::Truncated { field: "entry command count" });
}
