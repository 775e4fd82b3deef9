//! Commands from the log, damaged in every way: what decodes is applied and answered, whatever its numbers are.

use bytes::Bytes;
use strata_codec::{Command, CommandBody, CommandHeader, decode_reply};
use strata_machine::{CommandContext, Machine as _};
use strata_shard::ShardMachine;
use strata_shard::testing::Rows;
use strata_types::{
    ClientId, Decision, Expected, LogIndex, Mutation, Part, Prepared, Revision, SessionRequest, Slot, Space, SpaceKey,
    SpaceRange, SpaceWrite, Term, Timestamp, Transaction, TransactionId,
};

strata_codec::fuzz_targets!();

fn commands() -> Vec<Bytes> {
    let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"v"));
    let expected = [Expected::Absent, Expected::Value(value.clone()), Expected::Revision(Revision::default())];
    let compare = |expected| CommandBody::CompareAndSet { key: key.clone(), expected, value: Some(value.clone()) };
    let mutations =
        vec![Mutation::Put { key: key.clone(), value: value.clone() }, Mutation::Delete { key: value.clone() }];
    let mut bodies = vec![
        CommandBody::Noop,
        CommandBody::Put { key: key.clone(), value: value.clone() },
        CommandBody::Delete { key: key.clone() },
        CommandBody::Batch { mutations },
    ];
    bodies.extend(expected.map(compare));
    let numbers = [0, 1, 2, u64::MAX];
    let session = |at: usize| SessionRequest {
        client: ClientId(numbers[at % 2]),
        sequence: numbers[at % 4],
        floor: numbers[(at / 2) % 4],
        opened: LogIndex(numbers[(at + 3) % 4]),
    };
    let with = |(at, body)| {
        let session = (at > 0).then(|| session(at));
        Command { header: CommandHeader { session, ..CommandHeader::default() }, body }.encode()
    };
    bodies.into_iter().cycle().take(21).enumerate().map(with).collect()
}

/// Two transactions that are begun, and all that can come of them.
fn steps() -> Vec<Bytes> {
    let slot = Slot::of_key(b"k");
    let transaction = |id| {
        let (id, at) = (TransactionId(id), Timestamp(id as u64));
        Transaction { id, anchor: slot, read_timestamp: at, age: at }
    };
    let key = |text: &'static [u8]| SpaceKey { space: Space::default(), key: Bytes::from_static(text) };
    let part = |id, of: &'static [u8]| Part {
        transaction: transaction(id),
        slot,
        reads: vec![key(b"read")],
        ranges: vec![SpaceRange { space: Space::default(), start: Bytes::from_static(b"x"), end: None }],
        writes: vec![SpaceWrite { key: key(of), value: Some(Bytes::from_static(b"v")) }],
        prepared: Prepared::default(),
    };
    let resolve = |id, decision| CommandBody::Resolve { transaction: transaction(id), slot, decision };
    let prepared = Prepared { at: Timestamp(5), participants: vec![slot] };
    let bodies = [
        CommandBody::Prepare(part(1, b"k")),
        CommandBody::Prepare(part(2, b"l")),
        CommandBody::Commit(part(3, b"m")),
        CommandBody::Commit(Part { prepared, ..part(4, b"n") }),
        resolve(1, Decision::Committed(Timestamp(9))),
        CommandBody::Forget { transaction: transaction(4) },
        CommandBody::Abort { transaction: transaction(2) },
        resolve(2, Decision::Aborted),
        CommandBody::Collect { horizon: Timestamp(2), rows: vec![strata_codec::closed_record_key(TransactionId(2))] },
    ];
    bodies.map(|body| Command { header: CommandHeader::default(), body }.encode()).to_vec()
}

fn apply(rows: &mut Rows, index: u64, command: &Bytes) {
    apply_at(rows, index, command, 0);
}

fn apply_at(rows: &mut Rows, index: u64, command: &Bytes, stamp: u64) {
    let (term, index) = (Term(1), LogIndex(index));
    let context = CommandContext { term, index, position: u32::MAX, stamp: Timestamp(stamp) };
    let reply = ShardMachine.apply(rows, context, command);
    assert!(decode_reply(reply).is_ok(), "our own reply");
}

/// MACHINE-2
#[test]
fn whatever_decodes_is_applied() {
    let commands = commands();
    let mut before = Rows::default();
    for (index, command) in (1..).zip(&commands) {
        apply(&mut before, index, command);
    }
    each(&commands, |command| {
        if Command::decode(command.clone()).is_ok() {
            let mut rows = before.clone();
            apply(&mut rows, 100, &command);
            // Once more: it is answered from the session, or applied anew.
            apply(&mut rows, u64::MAX, &command);
        }
    });
}

/// MACHINE-2: with timestamps, and while transactions are prepared.
#[test]
fn whatever_decodes_is_applied_among_transactions() {
    let (commands, steps) = (commands(), steps());
    let mut before = Rows::default();
    for (index, command) in (1..).zip(commands.iter().chain(&steps[..2])) {
        apply_at(&mut before, index, command, 5);
    }
    each(&[steps, commands].concat(), |command| {
        if Command::decode(command.clone()).is_ok() {
            for stamp in [0, 9, u64::MAX] {
                let mut rows = before.clone();
                apply_at(&mut rows, 100, &command, stamp);
                apply_at(&mut rows, u64::MAX, &command, stamp);
            }
        }
    });
}
