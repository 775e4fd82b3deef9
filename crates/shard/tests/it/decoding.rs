//! Commands from the log, damaged in every way: what decodes is applied and answered, whatever its numbers are.

use std::collections::BTreeMap;

use bytes::Bytes;
use strata_codec::damage::each;
use strata_codec::{Command, CommandBody, CommandHeader, decode_reply};
use strata_machine::{CommandContext, Machine as _, View, ViewMut};
use strata_shard::ShardMachine;
use strata_types::{ClientId, Expected, LogIndex, Mutation, Revision, SessionRequest, Term};

#[derive(Clone, Default)]
struct Rows(BTreeMap<Bytes, Bytes>);

impl View for Rows {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key).cloned()
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &Bytes) -> bool) {
        let range = self.0.range(Bytes::copy_from_slice(start)..Bytes::copy_from_slice(end));
        for (key, value) in range {
            if !visit(key, value) {
                return;
            }
        }
    }
}

impl ViewMut for Rows {
    fn put(&mut self, key: Bytes, value: Bytes) {
        self.0.insert(key, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.0.remove(&key);
    }
}

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

fn apply(rows: &mut Rows, index: u64, command: &Bytes) {
    let context = CommandContext { term: Term(1), index: LogIndex(index), position: u32::MAX };
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
