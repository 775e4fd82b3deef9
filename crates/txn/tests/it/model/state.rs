//! What the cluster holds, and what its leaders do with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use strata_codec::{decode_reply, encode_command};
use strata_env::Mono;
use strata_machine::{CommandContext, Machine, View, ViewMut};
use strata_router::ShardBatch;
use strata_shard::{Obstacle, ShardMachine};
use strata_types::{
    Decision, Error, ErrorCode, LogIndex, Operation, Reply, Request, RequestHeader, Result, ShardId, ShardMap, Slot,
    SpaceKey, Term, Timestamp, Transaction, TransactionCall, TransactionId, TransactionReply, TransactionStatus,
};

use super::{Fault, PATIENCE, name};

#[derive(Default)]
pub(super) struct Tablet(BTreeMap<Bytes, Bytes>);

impl View for Tablet {
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

impl ViewMut for Tablet {
    fn put(&mut self, key: Bytes, value: Bytes) {
        self.0.insert(key, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.0.remove(&key);
    }
}

#[derive(Default)]
pub(super) struct Shard {
    pub(super) tablet: Tablet,
    pub(super) clock: u64,
    pub(super) log: u64,
    pub(super) locks: BTreeMap<SpaceKey, Transaction>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) map: Arc<ShardMap>,
    pub(super) shards: BTreeMap<ShardId, Shard>,
    /// The last timestamp that was handed out.
    pub(super) counter: u64,
    pub(super) faults: VecDeque<(&'static str, Fault)>,
    pub(super) always: Option<(&'static str, Fault)>,
    pub(super) sent: Vec<(&'static str, Request)>,
    /// Since when somebody is in the way.
    pub(super) met: BTreeMap<TransactionId, Mono>,
    pub(super) holds: Vec<Timestamp>,
}

impl State {
    pub(super) fn shard(&mut self, shard: ShardId) -> &mut Shard {
        self.shards.get_mut(&shard).expect("a shard of the map")
    }

    pub(super) fn shard_at(&self, slot: Slot) -> ShardId {
        self.map.shard_of(slot).expect("the map covers all slots").shard
    }

    /// What the leader does: stamp and apply, or read behind the clock.
    pub(super) fn apply(&mut self, shard: ShardId, request: &Request) -> Result<Reply> {
        let shard = self.shard(shard);
        let header = &request.header;
        if let Some(at) = header.at {
            shard.clock = shard.clock.max(at.0 + 1);
        }
        let obstacle = |obstacle| match obstacle {
            Obstacle::Blocked(by) => Ok(Reply::Blocked { by }),
            Obstacle::TooOld { horizon } => {
                Err(Error::not_applied(ErrorCode::SnapshotTooOld, format!("nothing before {horizon} is kept")))
            }
        };
        match &request.operation {
            Operation::Get { key } => {
                let found = strata_shard::get(&shard.tablet, header, key);
                return found.map(|item| Reply::Get { item, freshness: None }).or_else(obstacle);
            }
            Operation::Scan { start, end, limit } => {
                let all = |_: &[u8]| true;
                return strata_shard::scan(&shard.tablet, header, start, end.as_deref(), *limit, &all)
                    .or_else(obstacle);
            }
            _ => {}
        }
        let not_before = match &request.operation {
            Operation::Transact(call) => match &**call {
                TransactionCall::Commit(part) | TransactionCall::Prepare(part) => {
                    part.prepared.at.0.max(part.transaction.read_timestamp.0 + 1)
                }
                TransactionCall::Resolve { decision: Decision::Committed(at), .. } => at.0,
                _ => 0,
            },
            _ => 0,
        };
        shard.clock = shard.clock.max(not_before);
        shard.log += 1;
        let (index, stamp) = (LogIndex(shard.log), Timestamp(shard.clock));
        let context = CommandContext { term: Term(1), index, position: 0, stamp };
        let reply = ShardMachine.apply(&mut shard.tablet, context, &encode_command(request)?);
        decode_reply(reply).expect("our own bytes")
    }

    fn call(&mut self, shard: ShardId, call: TransactionCall) -> Result<TransactionReply> {
        let request = Request { header: RequestHeader::default(), operation: Operation::Transact(Box::new(call)) };
        match self.apply(shard, &request)? {
            Reply::Transact(reply) => Ok(reply),
            other => panic!("a step was answered by {other:?}"),
        }
    }

    /// What a node does about a transaction that is in the way. Whether it is gone.
    pub(super) fn clear(&mut self, shard: ShardId, by: Transaction, now: Mono) -> bool {
        let anchor = self.shard_at(by.anchor);
        let since = *self.met.entry(by.id).or_insert(now);
        let decision = match strata_shard::status(&self.shards[&anchor].tablet, by.id) {
            TransactionStatus::Decided(decision) => decision,
            _ if now.since(since) < PATIENCE => return false,
            _ => match self.call(anchor, TransactionCall::Abort { transaction: by }) {
                Ok(TransactionReply::Status(TransactionStatus::Decided(decision))) => decision,
                other => panic!("an abort decides: {other:?}"),
            },
        };
        let slots = self.map.shard(shard).expect("a shard of the map").slots;
        let slot = Slot::new(slots.start).expect("a slot");
        self.call(shard, TransactionCall::Resolve { transaction: by, slot, decision }).expect("resolved");
        true
    }

    pub(super) fn fault_of(&mut self, batch: &ShardBatch) -> Option<(&'static str, Fault)> {
        let is_in = |wanted: &str| batch.requests.iter().any(|request| name(request) == wanted);
        if let Some((wanted, _)) = self.faults.front()
            && is_in(wanted)
        {
            return self.faults.pop_front();
        }
        self.always.clone().filter(|(wanted, _)| is_in(wanted))
    }
}
