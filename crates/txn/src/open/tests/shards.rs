//! A cluster in memory: two real shards, a counter, locks that nobody waits for, and nodes that keep transactions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use strata_env::Env;
use strata_router::{
    Keeper, Keepers, KeptElsewhere, KeptTransaction, Link, LinkError, Router, RouterOptions, ShardBatch, ShardReply,
    TimestampKind,
};
use strata_shard::testing::Leader;
use strata_types::{
    ClusterId, Conflict, ConflictReason, Epoch, Error, ErrorCode, NodeDescriptor, NodeId, Operation, ReplicaId,
    ReplicaPlacement, Reply, Request, RequestHeader, Result, ShardId, ShardMap, ShardPlacement, Slot, SlotRange,
    SpaceKey, Timestamp, TransactionCall, TransactionId, TransactionReply,
};

#[derive(Default)]
struct State {
    shards: BTreeMap<ShardId, Leader>,
    locks: BTreeMap<SpaceKey, TransactionId>,
    counter: u64,
    holds: Vec<Timestamp>,
    /// Replies to commits and decisions are lost.
    is_mute: bool,
    /// Commits and decisions take so long.
    delay: Duration,
    /// What every request is answered.
    refusal: Option<Error>,
    /// Nobody gives timestamps, and says so after this time.
    timeless: Option<Duration>,
}

pub(crate) const CLUSTER: ClusterId = ClusterId(77);

/// The cluster.
pub(crate) struct Shards {
    env: Env,
    map: Arc<ShardMap>,
    state: Mutex<State>,
}

impl Shards {
    /// The cluster and a router to it.
    pub(crate) fn start(env: Env) -> (Arc<Shards>, Arc<Router>) {
        let placement = |shard: u32| ShardPlacement {
            shard: ShardId(shard),
            slots: SlotRange::share(shard, 2),
            replicas: vec![ReplicaPlacement { replica: ReplicaId(u64::from(shard) + 1), node: NodeId(1) }],
            ..ShardPlacement::default()
        };
        let nodes = vec![NodeDescriptor { id: NodeId(1), ..NodeDescriptor::default() }];
        let shards = vec![placement(0), placement(1)];
        let map = Arc::new(ShardMap { cluster: CLUSTER, epoch: Epoch(1), nodes, shards, ..ShardMap::default() });
        let fresh = |shard| (ShardId(shard), Leader::default());
        let state = State { shards: [fresh(0), fresh(1)].into(), ..State::default() };
        let shards = Arc::new(Shards { env: env.clone(), map: map.clone(), state: Mutex::new(state) });
        let router = Router::new(env, shards.clone(), map, RouterOptions::default());
        (shards, router)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked")
    }

    /// From now on, or no more, the replies to commits and decisions are lost.
    pub(crate) fn mute(&self, is_mute: bool) {
        self.state().is_mute = is_mute;
    }

    /// From now on, or no more, every request is refused.
    pub(crate) fn refuse(&self, refusal: Option<Error>) {
        self.state().refusal = refusal;
    }

    /// How long commits and decisions take from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// From now on, or no more, whoever asks for a timestamp waits this long and gets none.
    pub(crate) fn stop_time(&self, patience: Option<Duration>) {
        self.state().timeless = patience;
    }

    /// The timestamps that were held.
    pub(crate) fn holds(&self) -> Vec<Timestamp> {
        self.state().holds.clone()
    }

    /// How many keys are locked.
    pub(crate) fn locked(&self) -> usize {
        self.state().locks.len()
    }

    fn carry_out(&self, shard: ShardId, request: &Request) -> Result<Reply> {
        let mut state = self.state();
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        if let Operation::Transact(call) = &request.operation
            && let Some(reply) = state.answer(shard, call)
        {
            return Ok(Reply::Transact(reply));
        }
        match state.shards.get_mut(&shard).expect("a shard of the map").carry_out(request)? {
            // Whoever asks again finds it resolved.
            Reply::Blocked { by } => Err(Error::not_applied(ErrorCode::Blocked, format!("{} is in the way", by.id))),
            reply => Ok(reply),
        }
    }
}

impl State {
    /// What never comes into the log.
    fn answer(&mut self, shard: ShardId, call: &TransactionCall) -> Option<TransactionReply> {
        match call {
            TransactionCall::Lock { transaction, key, .. } => {
                let owner = *self.locks.entry(key.clone()).or_insert(transaction.id);
                let rows = &self.shards[&shard].rows;
                Some(match owner == transaction.id {
                    true => TransactionReply::Locked {
                        item: strata_shard::get(rows, &RequestHeader::default(), &key.key).unwrap_or_default(),
                        changed: strata_shard::newest_change(rows, key),
                    },
                    false => TransactionReply::Conflict(Conflict {
                        reason: ConflictReason::Locked,
                        key: Some(key.clone()),
                        rival: Some(owner),
                        at: Timestamp(0),
                    }),
                })
            }
            TransactionCall::Unlock { transaction, .. } => {
                self.locks.retain(|_, owner| *owner != transaction.id);
                Some(TransactionReply::Done)
            }
            TransactionCall::Status { transaction } => {
                let status = strata_shard::status(&self.shards[&shard].rows, transaction.id);
                Some(TransactionReply::Status(status))
            }
            _ => None,
        }
    }
}

fn no_time() -> Error {
    Error::not_applied(ErrorCode::Unavailable, "no majority of the meta group answers")
}

fn is_end(request: &Request) -> bool {
    let Operation::Transact(call) = &request.operation else { return false };
    matches!(**call, TransactionCall::Commit(_))
}

#[async_trait]
impl Link for Shards {
    async fn execute(
        &self,
        _node: NodeId,
        batch: ShardBatch,
        _deadline: Duration,
    ) -> std::result::Result<ShardReply, LinkError> {
        let (is_mute, delay, timeless) = {
            let state = self.state();
            (state.is_mute, state.delay, state.timeless)
        };
        if let Some(patience) = timeless.filter(|_| batch.requests.iter().any(|request| request.header.begins)) {
            self.env.sleep(patience).await;
            let results = batch.requests.iter().map(|_| Err(no_time())).collect();
            return Ok(ShardReply::Done { results, time: Timestamp(0) });
        }
        let ends = batch.requests.iter().any(is_end);
        self.env.sleep(Duration::from_millis(1) + if ends { delay } else { Duration::ZERO }).await;
        let results = batch.requests.iter().map(|request| self.carry_out(batch.shard, request)).collect();
        if ends && is_mute {
            return Err(LinkError::Unknown { detail: "connection reset".to_owned() });
        }
        Ok(ShardReply::Done { results, time: Timestamp(0) })
    }

    async fn fetch_map(&self, _newer_than: Epoch) -> Result<Arc<ShardMap>> {
        Ok(self.map.clone())
    }

    async fn timestamp(&self, kind: TimestampKind, _deadline: Duration) -> Result<Timestamp> {
        let timeless = self.state().timeless;
        if let Some(patience) = timeless {
            self.env.sleep(patience).await;
            return Err(no_time());
        }
        let mut state = self.state();
        state.counter += u64::from(kind == TimestampKind::Begin);
        Ok(Timestamp(state.counter))
    }

    async fn hold(&self, at: Timestamp, _deadline: Duration) -> Result<()> {
        self.state().holds.push(at);
        Ok(())
    }
}

/// Keys of different shards: the slots of the first one are below 8192.
pub(crate) fn keys() -> (Bytes, Bytes) {
    let key = |wanted: bool| {
        let mut keys = (0..).map(|number: u32| Bytes::from(format!("key{number}")));
        keys.find(|key| (Slot::of_key(key).number() < 8_192) == wanted).expect("half of all keys")
    };
    (key(true), key(false))
}

/// All nodes but one: one that answers, and one that does not.
pub(crate) struct Others(pub(crate) Weak<dyn Keeper>);

/// Who does not answer.
pub(crate) const SILENT: NodeId = NodeId(3);

impl Others {
    fn told(kept: Option<KeptTransaction>) -> KeptElsewhere {
        let silent = if kept.is_some() { Vec::new() } else { vec![SILENT] };
        KeptElsewhere { kept, silent }
    }
}

#[async_trait]
impl Keepers for Others {
    async fn find(&self, id: TransactionId, _deadline: Duration) -> KeptElsewhere {
        Others::told(self.0.upgrade().and_then(|keeper| keeper.find(id)))
    }

    async fn abort(&self, id: TransactionId, deadline: Duration) -> KeptElsewhere {
        match self.0.upgrade() {
            Some(keeper) => Others::told(keeper.abort(id, deadline).await),
            None => Others::told(None),
        }
    }
}
