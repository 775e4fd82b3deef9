//! What the cluster holds, and what its leaders do with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use strata_env::Mono;
use strata_router::ShardBatch;
use strata_shard::testing::Leader;
use strata_types::{
    Operation, Reply, Request, RequestHeader, Result, ShardId, ShardMap, Slot, SpaceKey, Timestamp, Transaction,
    TransactionCall, TransactionId, TransactionReply, TransactionStatus,
};

use super::{Fault, PATIENCE, name};

#[derive(Default)]
pub(super) struct Shard {
    pub(super) leader: Leader,
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

    pub(super) fn carry_out(&mut self, shard: ShardId, request: &Request) -> Result<Reply> {
        self.shard(shard).leader.carry_out(request)
    }

    fn call(&mut self, shard: ShardId, call: TransactionCall) -> Result<TransactionReply> {
        let request = Request { header: RequestHeader::default(), operation: Operation::Transact(Box::new(call)) };
        match self.carry_out(shard, &request)? {
            Reply::Transact(reply) => Ok(reply),
            other => panic!("a step was answered by {other:?}"),
        }
    }

    /// What a node does about a transaction that is in the way. Whether it is gone.
    pub(super) fn clear(&mut self, shard: ShardId, by: Transaction, now: Mono) -> bool {
        let anchor = self.shard_at(by.anchor);
        let since = *self.met.entry(by.id).or_insert(now);
        let decision = match strata_shard::status(&self.shards[&anchor].leader.rows, by.id) {
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
