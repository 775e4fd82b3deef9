//! For tests, here and above: a tablet that is nothing but its rows, and a leader that has nobody to ask.

use std::collections::BTreeMap;

use bytes::Bytes;
use strata_codec::{decode_reply, encode_command};
use strata_machine::{CommandContext, Machine, View, ViewMut};
use strata_types::{
    Decision, Error, ErrorCode, LogIndex, Operation, Reply, Request, Result, Term, Timestamp, TransactionCall,
};

use crate::ShardMachine;
use crate::reads::{Obstacle, get, scan};

/// A tablet in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows(pub BTreeMap<Bytes, Bytes>);

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

/// The leader of a shard with one replica and no log: it stamps and applies at once, or reads behind its clock.
#[derive(Debug)]
pub struct Leader {
    /// What it holds.
    pub rows: Rows,
    clock: Timestamp,
    last: LogIndex,
}

impl Default for Leader {
    /// Nothing is stamped zero: that is from before there were transactions.
    fn default() -> Leader {
        Leader { rows: Rows::default(), clock: Timestamp(1), last: LogIndex(0) }
    }
}

impl Leader {
    /// The stamp of the last entry, or a later one that the next entry must have at least.
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// Carries out a request that is for the log, or reads. What is in the way is the reply, and nothing was done.
    ///
    /// # Errors
    /// What the machine refuses, a read from below the horizon, and what no command can be made of.
    ///
    /// # Panics
    /// When a reply of the machine does not decode.
    pub fn carry_out(&mut self, request: &Request) -> Result<Reply> {
        let header = &request.header;
        if let Some(at) = header.at {
            self.clock = self.clock.max(at.next());
        }
        match &request.operation {
            Operation::Get { key } => {
                let found = get(&self.rows, header, key);
                found.map(|item| Reply::Get { item, freshness: None }).or_else(obstructed)
            }
            Operation::Scan { start, end, limit } => {
                scan(&self.rows, header, start, end.as_deref(), *limit, &|_| true).or_else(obstructed)
            }
            operation => {
                self.clock = self.clock.max(not_before(operation));
                self.last = self.last.next();
                let context = CommandContext { term: Term(1), index: self.last, position: 0, stamp: self.clock };
                let reply = ShardMachine.apply(&mut self.rows, context, &encode_command(request)?);
                decode_reply(reply).expect("our own bytes")
            }
        }
    }
}

/// Not before this may the entry be stamped.
fn not_before(operation: &Operation) -> Timestamp {
    let Operation::Transact(call) = operation else { return Timestamp(0) };
    match &**call {
        TransactionCall::Commit(part) | TransactionCall::Prepare(part) => {
            part.prepared.at.max(part.transaction.read_timestamp.next())
        }
        TransactionCall::Resolve { decision: Decision::Committed(at), .. } => *at,
        _ => Timestamp(0),
    }
}

/// What a read is answered that meets something.
fn obstructed(obstacle: Obstacle) -> Result<Reply> {
    match obstacle {
        Obstacle::Blocked(by) => Ok(Reply::Blocked { by }),
        Obstacle::TooOld { horizon } => {
            Err(Error::not_applied(ErrorCode::SnapshotTooOld, format!("nothing before {horizon} is kept")))
        }
    }
}
