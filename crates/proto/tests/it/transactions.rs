//! Steps of transactions and their answers.

use bytes::Bytes;
use prost::Message;
use strata_proto::{error_of, status_of, v1};
use strata_types::{
    Conflict, ConflictReason, DatabaseId, Decision, Error, ErrorCode, Item, KeySpaceId, LockWait, LogIndex, Outcome,
    Part, Prepared, Reply, Revision, Slot, Space, SpaceKey, SpaceRange, SpaceWrite, Timestamp, Transaction,
    TransactionCall, TransactionId, TransactionReply, TransactionStatus,
};

strata_codec::fuzz_targets!();

const ID: TransactionId = TransactionId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

fn transaction() -> Transaction {
    let anchor = Slot::new(16_383).expect("the last one");
    Transaction { id: ID, anchor, read_timestamp: Timestamp(1 << 40), age: Timestamp(7) }
}

fn space() -> Space {
    Space { database: DatabaseId(1), key_space: KeySpaceId(2) }
}

fn key(text: &'static str) -> SpaceKey {
    SpaceKey { space: space(), key: Bytes::from_static(text.as_bytes()) }
}

fn slot(number: u16) -> Slot {
    Slot::new(number).expect("there is one")
}

fn part() -> Part {
    Part {
        transaction: transaction(),
        slot: slot(5),
        reads: vec![key("a"), SpaceKey { space: Space::default(), key: Bytes::new() }],
        ranges: vec![
            SpaceRange { space: space(), start: Bytes::from_static(b"a"), end: Some(Bytes::new()) },
            SpaceRange { space: Space::default(), start: Bytes::new(), end: None },
        ],
        writes: vec![
            SpaceWrite { key: key("a"), value: Some(Bytes::new()) },
            SpaceWrite { key: key("b"), value: None },
        ],
        prepared: Prepared::default(),
    }
}

/// Each step, with all its fields.
pub(crate) fn calls() -> Vec<TransactionCall> {
    let transaction = transaction();
    let empty = Part { reads: Vec::new(), ranges: Vec::new(), writes: Vec::new(), ..part() };
    let prepared = Prepared { at: Timestamp(9), participants: vec![slot(0), slot(16_383)] };
    let mut calls = vec![
        TransactionCall::Commit(part()),
        TransactionCall::Commit(Part { prepared, ..part() }),
        TransactionCall::Prepare(part()),
        TransactionCall::Prepare(empty),
        TransactionCall::Abort { transaction },
        TransactionCall::Push { transaction, age: Some(Timestamp(0)) },
        TransactionCall::Push { transaction, age: None },
        TransactionCall::Status { transaction },
        TransactionCall::Resolve { transaction, slot: slot(3), decision: Decision::Committed(Timestamp(0)) },
        TransactionCall::Resolve { transaction, slot: slot(3), decision: Decision::Aborted },
        TransactionCall::Forget { transaction },
        TransactionCall::Unlock { transaction, slot: slot(4) },
    ];
    for wait in [LockWait::Wait, LockWait::NoWait, LockWait::SkipLocked] {
        calls.push(TransactionCall::Lock { transaction, key: key("k"), wait });
    }
    calls
}

/// Each answer.
pub(crate) fn replies() -> Vec<TransactionReply> {
    let item = Item {
        key: Bytes::from_static(b"k"),
        value: Bytes::from_static(b"v"),
        revision: Revision { index: LogIndex(17), position: 3 },
        timestamp: Timestamp(5),
    };
    let status = TransactionReply::Status;
    let mut replies = vec![
        TransactionReply::Committed { at: Timestamp(9) },
        TransactionReply::Prepared { at: Timestamp(0) },
        status(TransactionStatus::Pending),
        status(TransactionStatus::Decided(Decision::Committed(Timestamp(9)))),
        status(TransactionStatus::Decided(Decision::Aborted)),
        status(TransactionStatus::Unknown),
        TransactionReply::Done,
        TransactionReply::Locked { item: Some(item), changed: Timestamp(5) },
        TransactionReply::Locked { item: None, changed: Timestamp(0) },
        TransactionReply::Skipped,
    ];
    let reasons = [
        ConflictReason::Changed,
        ConflictReason::Aborted,
        ConflictReason::TooOld,
        ConflictReason::Wounded,
        ConflictReason::Locked,
    ];
    for (number, reason) in reasons.into_iter().enumerate() {
        let at = Timestamp(number as u64);
        let conflict = match number % 2 {
            0 => Conflict { reason, key: Some(key("k")), rival: None, at },
            _ => Conflict { reason, key: None, rival: Some(ID), at },
        };
        replies.push(TransactionReply::Conflict(conflict));
    }
    replies
}

fn call_of(bytes: Bytes) -> Result<TransactionCall, String> {
    let wire = v1::TransactionCall::decode(bytes).map_err(|error| error.to_string())?;
    TransactionCall::try_from(wire).map_err(|error| error.to_string())
}

fn reply_of(bytes: Bytes) -> Result<TransactionReply, String> {
    let wire = v1::TransactionReply::decode(bytes).map_err(|error| error.to_string())?;
    TransactionReply::try_from(wire).map_err(|error| error.to_string())
}

/// PROTO-1
#[test]
fn steps_and_answers_survive_the_way_and_damage_is_refused_or_means_something() {
    check_format(&calls(), |call| v1::TransactionCall::from(call.clone()).encode_to_vec().into(), call_of);
    check_format(&replies(), |reply| v1::TransactionReply::from(reply.clone()).encode_to_vec().into(), reply_of);
}

/// The numbers of the fields are for ever: nodes of different versions talk to each other.
#[test]
fn steps_and_answers_have_pinned_bytes() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let wire = |call: TransactionCall| hex(v1::TransactionCall::from(call).encode_to_vec());
    let id = "00112233445566778899aabbccddeeff";
    let whose = format!("0a10{id} 10ff7f 18808080808020 2007").replace(' ', "");
    let status = wire(TransactionCall::Status { transaction: transaction() });
    assert_eq!(status, format!("321e{whose}"), "ids are sent as they are printed");
    let decision = Decision::Committed(Timestamp(9));
    let resolve = wire(TransactionCall::Resolve { transaction: transaction(), slot: slot(3), decision });
    assert_eq!(resolve, format!("3a26 0a1e{whose} 1003 1a02 0809").replace(' ', ""));
    let alone = Part { reads: Vec::new(), ranges: Vec::new(), writes: Vec::new(), ..part() };
    let prepared = Prepared { at: Timestamp(9), participants: vec![slot(3)] };
    let last = wire(TransactionCall::Commit(Part { prepared, ..alone.clone() }));
    assert_eq!(last, format!("5a29 0a22 0a1e{whose} 1005 1009 1a0103").replace(' ', ""));
    let commit = wire(TransactionCall::Commit(alone));
    assert_eq!(commit, format!("0a22 0a1e{whose} 1005").replace(' ', ""), "of another kind than the last of several");
    let abort = v1::Decision::from(Decision::Aborted).encode_to_vec();
    assert_eq!(hex(abort), "1200", "never what an empty message says");
    let reply = v1::TransactionReply::from(TransactionReply::Status(TransactionStatus::Decided(decision)));
    assert_eq!(hex(reply.encode_to_vec()), "2204 1202 0809".replace(' ', ""));
    assert_eq!(hex(v1::TransactionReply::from(TransactionReply::Done).encode_to_vec()), "2a00");
}

/// PROTO-1
#[test]
fn steps_that_lack_something_are_refused_by_name() {
    use v1::transaction_call::{Call, CommitLast, Lock, Resolve};
    let refusal = |call: Call| {
        let error = TransactionCall::try_from(v1::TransactionCall { call: Some(call) }).expect_err("refused");
        assert_eq!((error.code, error.outcome), (ErrorCode::InvalidArgument, Outcome::NotApplied));
        error.message
    };
    let whose = || v1::Transaction::from(transaction());
    let short = v1::Transaction { id: Bytes::from_static(&[1; 15]), ..whose() };
    assert!(refusal(Call::Abort(short)).contains("16 bytes, not 15"));
    assert!(refusal(Call::Abort(v1::Transaction { anchor: 16_384, ..whose() })).contains("no slot 16384"));
    let last = |participants| CommitLast { part: Some(part().into()), prepared_at: 1, participants };
    assert!(refusal(Call::CommitLast(last(vec![1, 1 << 16]))).contains("no slot 65536"));
    assert!(refusal(Call::CommitLast(last(vec![]))).contains("say where they were"));
    assert!(refusal(Call::CommitLast(CommitLast::default())).contains("say what it is about"));
    assert!(refusal(Call::Prepare(v1::TransactionPart::default())).contains("say of which one"));
    let undecided = Resolve { transaction: Some(whose()), slot: 1, decision: None };
    assert!(refusal(Call::Resolve(undecided)).contains("committed or aborted"));
    let lock = Lock { transaction: Some(whose()), key: Some(key("k").into()), wait: 9 };
    assert!(refusal(Call::Lock(lock.clone())).contains("number 9"));
    assert!(refusal(Call::Lock(Lock { key: None, wait: 0, ..lock })).contains("name its key"));
    let nothing = TransactionCall::try_from(v1::TransactionCall { call: None }).expect_err("refused");
    assert!(nothing.message.contains("does not know"));
}

/// A reply that says nothing is not one that says "not applied" (PROTO-2).
#[test]
fn what_an_unreadable_answer_means_is_unknown() {
    use v1::transaction_reply::Reply as Wire;
    let conflict = v1::Conflict { rival: Bytes::from_static(b"x"), ..v1::Conflict::default() };
    let status = v1::TransactionStatus { status: None };
    let replies = [None, Some(Wire::Conflict(conflict)), Some(Wire::Status(status))];
    for reply in replies {
        let error = TransactionReply::try_from(v1::TransactionReply { reply }).expect_err("unreadable");
        assert_eq!((error.code, error.outcome), (ErrorCode::Internal, Outcome::Unknown));
    }
}

#[test]
fn a_conflict_of_a_reason_that_is_not_known_here_still_is_one() {
    let conflict = v1::Conflict { reason: 99, at: 4, ..v1::Conflict::default() };
    let conflict = Conflict::try_from(conflict).expect("readable");
    assert_eq!(conflict.reason, ConflictReason::Aborted, "the transaction is over, whatever the reason");
}

/// Nodes deal with it themselves; if one does not, nobody takes it for a reply.
#[test]
fn a_blocked_reply_never_leaves_as_one() {
    let wire = v1::OperationReply::from(Ok(Reply::Blocked { by: transaction() }));
    let error = Result::<Reply, Error>::from(wire).expect_err("an error");
    assert_eq!((error.code, error.outcome), (ErrorCode::Internal, Outcome::NotApplied));
    assert!(error.message.contains(&ID.to_string()), "{error}");
}

/// PROTO-2: an error keeps what the conflict was about; what cannot be read of that is in the sentence all the same.
#[test]
fn a_conflict_travels_within_its_error() {
    for reply in replies() {
        let TransactionReply::Conflict(conflict) = reply else { continue };
        let error = Error::of_conflict(conflict);
        assert_eq!(error_of(&status_of(&error)), error);
    }
    let conflict = v1::Conflict { rival: Bytes::from_static(b"short"), ..v1::Conflict::default() };
    let detail = v1::ErrorDetail { conflict: Some(conflict), ..v1::ErrorDetail::default() };
    assert_eq!(Error::from(detail).conflict, None);
}
