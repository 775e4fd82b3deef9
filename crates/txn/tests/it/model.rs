//! A cluster in one map: real shards, a counter, locks in memory, and faults on the way there.

mod state;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use strata_env::Env;
use strata_env::sim::SimWorld;
use strata_router::{Link, LinkError, Router, RouterOptions, ShardBatch, ShardReply, TimestampKind, lies_in};
use strata_txn::{TransactionOptions, Transactions};
use strata_types::{
    Conflict, ConflictReason, Epoch, Error, ErrorCode, LockWait, NodeDescriptor, NodeId, Operation, ReplicaId,
    ReplicaPlacement, Reply, Request, RequestHeader, Result, ShardId, ShardMap, ShardPlacement, Slot, SlotRange,
    SpaceKey, Timestamp, Transaction, TransactionCall, TransactionReply,
};

use state::{Shard, State};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Whoever keeps others waiting for so long is aborted.
const PATIENCE: Duration = Duration::from_secs(2);
/// So long a lock is waited for in one call.
const LOCK_SLICE: Duration = Duration::from_millis(500);

/// What happens to a batch that has a request of this name (see [`name`]) in it.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is not sent.
    NotSent,
    /// It is sent and lost.
    LoseRequest,
    /// It is carried out; the reply is lost.
    LoseReply,
    /// It takes this much longer on its way there.
    Slow(Duration),
    /// It is refused so.
    Refuse(Error),
    /// It is carried out; the answer to each request of this name is another one.
    Answer(TransactionReply),
}

/// The cluster.
pub(crate) struct Model {
    env: Env,
    state: Mutex<State>,
}

/// What a request is called in these tests.
pub(crate) fn name(request: &Request) -> &'static str {
    match &request.operation {
        Operation::Get { .. } => "get",
        Operation::Scan { .. } => "scan",
        Operation::Transact(call) => match **call {
            TransactionCall::Commit(_) => "commit",
            TransactionCall::Prepare(_) => "prepare",
            TransactionCall::Abort { .. } => "abort",
            TransactionCall::Push { .. } => "push",
            TransactionCall::Status { .. } => "status",
            TransactionCall::Resolve { .. } => "resolve",
            TransactionCall::Forget { .. } => "forget",
            TransactionCall::Lock { .. } => "lock",
            TransactionCall::Unlock { .. } => "unlock",
        },
        _ => "write",
    }
}

/// Two nodes' worth of map.
fn map(shards: u32) -> Arc<ShardMap> {
    let node = |id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() };
    let placement = |shard| ShardPlacement {
        shard: ShardId(shard),
        slots: SlotRange::share(shard, shards),
        replicas: vec![ReplicaPlacement { replica: ReplicaId(u64::from(shard) + 1), node: NodeId(1) }],
        ..ShardPlacement::default()
    };
    let shards = (0..shards).map(placement).collect();
    Arc::new(ShardMap { epoch: Epoch(1), nodes: vec![node(1)], shards, ..ShardMap::default() })
}

impl Model {
    /// A cluster and transactions over it. Every message takes a millisecond.
    pub(crate) fn start(shards: u32) -> (Arc<Model>, Transactions) {
        Model::with_options(shards, TransactionOptions::default())
    }

    pub(crate) fn with_options(shards: u32, options: TransactionOptions) -> (Arc<Model>, Transactions) {
        let env = SimWorld::new(11).node(1).env();
        let map = map(shards);
        let shards = map.shards.iter().map(|placement| (placement.shard, Shard::default())).collect();
        let state = State { map: map.clone(), shards, ..State::default() };
        let model = Arc::new(Model { env: env.clone(), state: Mutex::new(state) });
        let router = Router::new(env, model.clone(), map, RouterOptions::default());
        (model, Transactions::new(router, options))
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    /// What happens to the next batches with such a request.
    pub(crate) fn script(&self, faults: impl IntoIterator<Item = (&'static str, Fault)>) {
        self.state.lock().faults.extend(faults);
    }

    /// What happens to every batch with such a request.
    pub(crate) fn always(&self, fault: Option<(&'static str, Fault)>) {
        self.state.lock().always = fault;
    }

    /// The names of all requests that were sent since the last call, but for these.
    pub(crate) fn sent_but(&self, others: &[&str]) -> Vec<&'static str> {
        let sent = std::mem::take(&mut self.state.lock().sent);
        sent.into_iter().map(|(name, _)| name).filter(|name| !others.contains(name)).collect()
    }

    /// All requests that were sent.
    pub(crate) fn sent(&self) -> Vec<Request> {
        self.state.lock().sent.iter().map(|(_, request)| request.clone()).collect()
    }

    /// A single-key write, as a client without transactions makes it.
    pub(crate) fn put(&self, key: &str, value: &str) -> Timestamp {
        let operation = Operation::Put { key: bytes(key), value: bytes(value) };
        let mut state = self.state.lock();
        let slot = Slot::of_key(key.as_bytes());
        let shard = state.shard_at(slot);
        let reply = state.carry_out(shard, &Request { header: RequestHeader::default(), operation }).expect("written");
        assert!(!matches!(reply, Reply::Blocked { .. }), "nobody is in the way of {key}: {reply:?}");
        state.shards[&shard].leader.clock()
    }

    /// The shard of a key.
    pub(crate) fn shard_of(&self, key: &str) -> ShardId {
        self.state.lock().shard_at(Slot::of_key(key.as_bytes()))
    }

    /// Transactions that are prepared, or not forgotten, on any shard.
    pub(crate) fn unfinished(&self) -> usize {
        let state = self.state.lock();
        state.shards.values().map(|shard| strata_shard::unfinished(&shard.leader.rows, 1000).len()).sum()
    }

    /// How many keys are locked.
    pub(crate) fn locked(&self) -> usize {
        self.state.lock().shards.values().map(|shard| shard.locks.len()).sum()
    }

    /// The timestamps that were held.
    pub(crate) fn holds(&self) -> Vec<Timestamp> {
        self.state.lock().holds.clone()
    }

    /// Lets everything that is under way come to its end.
    pub(crate) async fn settle(&self) {
        self.env.sleep(Duration::from_millis(400)).await;
    }

    async fn carry_out(&self, batch: &ShardBatch) -> ShardReply {
        let mut results = Vec::new();
        for request in batch.requests.iter() {
            results.push(self.answer(batch.shard, request).await);
        }
        ShardReply::Done { results, time: Timestamp(0) }
    }

    async fn answer(&self, shard: ShardId, request: &Request) -> Result<Reply> {
        if let Operation::Transact(call) = &request.operation {
            match &**call {
                TransactionCall::Lock { transaction, key, wait } => {
                    return self.lock(shard, transaction, key, *wait).await.map(Reply::Transact);
                }
                TransactionCall::Unlock { transaction, .. } => {
                    let mut state = self.state.lock();
                    state.shard(shard).locks.retain(|_, owner| owner.id != transaction.id);
                    return Ok(Reply::Transact(TransactionReply::Done));
                }
                TransactionCall::Status { transaction } => {
                    let status = strata_shard::status(&self.state.lock().shards[&shard].leader.rows, transaction.id);
                    return Ok(Reply::Transact(TransactionReply::Status(status)));
                }
                _ => {}
            }
        }
        let mut state = self.state.lock();
        let slots = state.map.shard(shard).expect("a shard of the map").slots;
        assert!(lies_in(&request.operation, slots), "routed to the wrong shard: {request:?}");
        loop {
            let by = match state.carry_out(shard, request)? {
                Reply::Blocked { by } => by,
                reply => return Ok(reply),
            };
            if !state.clear(shard, by, self.env.now()) {
                let message = format!("transaction {} is in the way; nothing was applied", by.id);
                return Err(Error::not_applied(ErrorCode::Blocked, message));
            }
        }
    }

    async fn lock(
        &self,
        shard: ShardId,
        transaction: &Transaction,
        key: &SpaceKey,
        wait: LockWait,
    ) -> Result<TransactionReply> {
        let until = self.env.now() + LOCK_SLICE;
        loop {
            {
                let mut state = self.state.lock();
                let shard = state.shard(shard);
                let owner = shard.locks.get(key).filter(|owner| owner.id != transaction.id).copied();
                let rival = owner.filter(|owner| (owner.age, owner.id) < (transaction.age, transaction.id));
                let Some(rival) = rival else {
                    shard.locks.insert(key.clone(), *transaction);
                    let changed = strata_shard::newest_change(&shard.leader.rows, key);
                    let header = RequestHeader::default();
                    let item = strata_shard::get(&shard.leader.rows, &header, &key.key).unwrap_or_default();
                    return Ok(TransactionReply::Locked { item, changed });
                };
                if wait == LockWait::SkipLocked {
                    return Ok(TransactionReply::Skipped);
                }
                if wait == LockWait::NoWait || self.env.now() >= until {
                    let (reason, rival) = (ConflictReason::Locked, Some(rival.id));
                    let conflict = Conflict { reason, key: Some(key.clone()), rival, at: Timestamp(0) };
                    return Ok(TransactionReply::Conflict(conflict));
                }
            }
            self.env.sleep(Duration::from_millis(2)).await;
        }
    }
}

#[async_trait]
impl Link for Model {
    async fn execute(
        &self,
        _node: NodeId,
        batch: ShardBatch,
        _deadline: Duration,
    ) -> std::result::Result<ShardReply, LinkError> {
        let fault = {
            let mut state = self.state.lock();
            state.sent.extend(batch.requests.iter().map(|request| (name(request), request.clone())));
            state.fault_of(&batch)
        };
        self.env.sleep(Duration::from_micros(500)).await;
        let lost = || Err(LinkError::Unknown { detail: "connection reset".to_owned() });
        let reply = match &fault {
            Some((_, Fault::NotSent)) => return Err(LinkError::NotSent { detail: "connection refused".to_owned() }),
            Some((_, Fault::LoseRequest)) => return lost(),
            Some((_, Fault::Refuse(error))) => {
                return Ok(ShardReply::failed(error, batch.requests.len()));
            }
            Some((_, Fault::Slow(time))) => {
                self.env.sleep(*time).await;
                self.carry_out(&batch).await
            }
            Some((_, Fault::LoseReply | Fault::Answer(_))) | None => self.carry_out(&batch).await,
        };
        self.env.sleep(Duration::from_micros(500)).await;
        match (fault, reply) {
            (Some((_, Fault::LoseReply)), _) => lost(),
            (Some((wanted, Fault::Answer(answer))), ShardReply::Done { results, time }) => {
                let answered = |(request, result)| match name(request) == wanted {
                    true => Ok(Reply::Transact(answer.clone())),
                    false => result,
                };
                Ok(ShardReply::Done { results: batch.requests.iter().zip(results).map(answered).collect(), time })
            }
            (_, reply) => Ok(reply),
        }
    }

    async fn fetch_map(&self, _newer_than: Epoch) -> Result<Arc<ShardMap>> {
        Ok(self.state.lock().map.clone())
    }

    async fn timestamp(&self, kind: TimestampKind, _deadline: Duration) -> Result<Timestamp> {
        self.env.sleep(Duration::from_micros(500)).await;
        let timestamp = {
            let mut state = self.state.lock();
            state.counter += u64::from(kind == TimestampKind::Begin);
            Timestamp(state.counter)
        };
        self.env.sleep(Duration::from_micros(500)).await;
        Ok(timestamp)
    }

    async fn hold(&self, at: Timestamp, _deadline: Duration) -> Result<()> {
        self.state.lock().holds.push(at);
        Ok(())
    }
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// `key=value` of items, in their order.
pub(crate) fn shown(items: &[strata_types::Item]) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    items.iter().map(|item| format!("{}={}", text(&item.key), text(&item.value))).collect::<Vec<_>>().join(" ")
}

/// The value of an item.
pub(crate) fn value(item: Option<strata_types::Item>) -> Option<String> {
    item.map(|item| String::from_utf8_lossy(&item.value).into_owned())
}
