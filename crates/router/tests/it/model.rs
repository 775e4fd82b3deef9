//! A cluster in a map: shards with leaders that move, nodes that are away, and faults by script.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use strata_env::Env;
use strata_env::sim::SimWorld;
use strata_router::{Link, LinkError, Router, RouterOptions, ShardBatch, ShardReply, TimestampKind, lies_in};
use strata_types::{
    ClientId, Epoch, Error, ErrorCode, Item, LogIndex, NodeDescriptor, NodeId, Operation, ReadPreference, ReplicaId,
    ReplicaPlacement, Reply, Request, RequestHeader, Result, Revision, ShardId, ShardMap, ShardPlacement, Slot,
    SlotRange, Timestamp, TransactionReply,
};

/// What happens to the next batch.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It never leaves.
    NotSent,
    /// It is lost on the way; the sender cannot tell.
    LoseRequest,
    /// It is carried out; the reply is lost.
    LoseReply,
    /// It is carried out; the reply never comes and the connection stays.
    Hang,
    /// It is not carried out, the reply never comes and the connection stays.
    Swallow,
    /// Every request of it fails so.
    Refuse(Error),
    /// It takes this much longer.
    Slow(Duration),
    /// One result too few.
    Short,
    /// The answers of the first ones take all the room.
    Full(usize),
}

/// One batch that arrived at the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) at: Duration,
    pub(crate) node: NodeId,
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) count: usize,
}

#[derive(Default)]
struct State {
    map: Arc<ShardMap>,
    leaders: BTreeMap<ShardId, NodeId>,
    /// Shards without a leader, because one node hands over to another, and each of the two says that the other leads.
    handovers: BTreeMap<ShardId, (NodeId, NodeId)>,
    /// What the followers say about the leader.
    hints: bool,
    items: BTreeMap<Bytes, Item>,
    log: u64,
    /// Every write that was applied, in order.
    applied: Vec<Operation>,
    /// The sessions that are remembered, and their results.
    sessions: BTreeSet<ClientId>,
    results: BTreeMap<(ClientId, u64), Reply>,
    /// The last use of the session that was forgotten last.
    oldest: LogIndex,
    faults: VecDeque<Fault>,
    always: Option<Fault>,
    /// Nodes that nobody reaches.
    down: Vec<NodeId>,
    /// Nodes that are stopped: what is sent to them is not answered.
    stopped: Vec<NodeId>,
    /// Nodes that are gone, and at whose addresses another one answers that has nothing.
    replaced: Vec<NodeId>,
    /// The node that the router is on, if it is on one.
    own: Option<NodeId>,
    sent: Vec<Sent>,
    requests: Vec<Request>,
    maps_fetched: u32,
    /// How much longer a map takes.
    map_delay: Duration,
    /// The timestamps that were asked for, and when.
    asked: Vec<(TimestampKind, Duration)>,
    timestamp: u64,
    /// Logical time of shards that have one.
    times: BTreeMap<ShardId, Timestamp>,
    clock_faults: VecDeque<Fault>,
}

/// The cluster.
pub(crate) struct Model {
    env: Env,
    state: Mutex<State>,
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A map of three nodes; shard `i` prefers node `i mod 3 + 1`.
pub(crate) fn map(epoch: u64, shards: u32) -> Arc<ShardMap> {
    let node = |id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() };
    let replica = |shard: u32, n: u32| ReplicaPlacement {
        replica: ReplicaId(u64::from(shard * 3 + n) + 1),
        node: NodeId(u64::from((shard + n) % 3) + 1),
    };
    let placement = |shard| ShardPlacement {
        shard: ShardId(shard),
        slots: SlotRange::share(shard, shards),
        replicas: (0..3).map(|n| replica(shard, n)).collect(),
        ..ShardPlacement::default()
    };
    Arc::new(ShardMap {
        epoch: Epoch(epoch),
        nodes: vec![node(1), node(2), node(3)],
        shards: (0..shards).map(placement).collect(),
        ..ShardMap::default()
    })
}

impl Model {
    /// A cluster and a router that has its map. Every batch takes a millisecond.
    pub(crate) fn start(shards: u32, options: RouterOptions) -> (Arc<Model>, Arc<Router>) {
        let env = SimWorld::new(7).node(1).env();
        let map = map(1, shards);
        let leaders = map.shards.iter().map(|shard| (shard.shard, shard.replicas[0].node)).collect();
        let state = State { map: map.clone(), leaders, hints: true, ..State::default() };
        let model = Arc::new(Model { env: env.clone(), state: Mutex::new(state) });
        let router = Router::new(env, model.clone(), map, options);
        (model, router)
    }

    pub(crate) fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().faults.extend(faults);
    }

    /// Forgets the faults that were not used.
    pub(crate) fn clear_script(&self) {
        self.state.lock().faults.clear();
    }

    /// What happens to every batch for which nothing else is scripted.
    pub(crate) fn always(&self, fault: Option<Fault>) {
        self.state.lock().always = fault;
    }

    pub(crate) fn set_leader(&self, shard: u32, node: Option<u64>) {
        let mut state = self.state.lock();
        match node {
            Some(node) => state.leaders.insert(ShardId(shard), NodeId(node)),
            None => state.leaders.remove(&ShardId(shard)),
        };
    }

    /// The leader of a shard begins to hand over to another node, which leads when it is told so.
    pub(crate) fn begin_handover(&self, shard: u32, to: u64) {
        let mut state = self.state.lock();
        let from = state.leaders.remove(&ShardId(shard)).expect("it has a leader");
        state.handovers.insert(ShardId(shard), (from, NodeId(to)));
    }

    /// The other node leads.
    pub(crate) fn end_handover(&self, shard: u32) {
        let mut state = self.state.lock();
        let (_, to) = state.handovers.remove(&ShardId(shard)).expect("it was begun");
        state.leaders.insert(ShardId(shard), to);
    }

    pub(crate) fn set_down<const N: usize>(&self, nodes: [u64; N]) {
        self.state.lock().down = nodes.map(NodeId).to_vec();
    }

    pub(crate) fn set_stopped<const N: usize>(&self, nodes: [u64; N]) {
        self.state.lock().stopped = nodes.map(NodeId).to_vec();
    }

    pub(crate) fn set_replaced<const N: usize>(&self, nodes: [u64; N]) {
        self.state.lock().replaced = nodes.map(NodeId).to_vec();
    }

    pub(crate) fn set_own(&self, node: u64) {
        self.state.lock().own = Some(NodeId(node));
    }

    pub(crate) fn forget_sent(&self) {
        let mut state = self.state.lock();
        state.sent.clear();
        state.requests.clear();
    }

    pub(crate) fn set_hints(&self, hints: bool) {
        self.state.lock().hints = hints;
    }

    pub(crate) fn set_map(&self, map: Arc<ShardMap>) {
        let mut state = self.state.lock();
        state.leaders = map.shards.iter().map(|shard| (shard.shard, shard.replicas[0].node)).collect();
        state.map = map;
    }

    /// Forgets all sessions, the last of which was used just now. Returns how far the log is.
    pub(crate) fn forget_sessions(&self) -> LogIndex {
        let mut state = self.state.lock();
        state.sessions.clear();
        state.results.clear();
        state.oldest = LogIndex(state.log);
        state.oldest
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.state.lock().sent.clone()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().requests.clone()
    }

    pub(crate) fn applied(&self) -> usize {
        self.state.lock().applied.len()
    }

    /// What happens to the next questions for a timestamp.
    pub(crate) fn script_clock(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().clock_faults.extend(faults);
    }

    /// The timestamps that were asked for, and when.
    pub(crate) fn asked(&self) -> Vec<(TimestampKind, Duration)> {
        self.state.lock().asked.clone()
    }

    pub(crate) fn set_time(&self, shard: ShardId, time: Timestamp) {
        self.state.lock().times.insert(shard, time);
    }

    pub(crate) fn set_map_delay(&self, delay: Duration) {
        self.state.lock().map_delay = delay;
    }

    pub(crate) fn maps_fetched(&self) -> u32 {
        self.state.lock().maps_fetched
    }

    pub(crate) fn insert(&self, key: &[u8], value: &[u8]) {
        let mut state = self.state.lock();
        state.put(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    }

    fn carry_out(&self, node: NodeId, batch: &ShardBatch) -> ShardReply {
        let mut state = self.state.lock();
        if batch.epoch < state.map.epoch || state.replaced.contains(&node) {
            return ShardReply::StaleRoute(state.map.clone());
        }
        if let Some((from, to)) = state.handovers.get(&batch.shard).copied() {
            return ShardReply::NotLeader { leader: Some(if node == from { to } else { from }) };
        }
        let leader = state.leaders.get(&batch.shard).copied();
        if leader != Some(node) && !batch.requests.iter().all(is_for_any) {
            return ShardReply::NotLeader { leader: leader.filter(|_| state.hints) };
        }
        let slots = state.map.shard(batch.shard).expect("a shard of the map").slots;
        let results = batch.requests.iter().map(|request| state.apply(request, slots)).collect();
        let seen = batch.requests.iter().map(|request| request.header.seen).max().unwrap_or_default();
        let time = state.times.entry(batch.shard).or_default();
        *time = seen.max(*time);
        ShardReply::Done { results, time: *time }
    }
}

/// What a replica that follows carries out.
fn is_for_any(request: &Request) -> bool {
    let header = &request.header;
    let is_for_any = header.prefer == ReadPreference::Any || header.level.is_for_any_replica();
    request.operation.is_read() && is_for_any
}

impl State {
    fn apply(&mut self, request: &Request, slots: SlotRange) -> Result<Reply> {
        assert!(lies_in(&request.operation, slots), "routed to the wrong shard: {request:?}");
        if request.operation.is_read() {
            return Ok(self.read(&request.operation, slots));
        }
        if let Some(session) = request.header.session
            && !self.sessions.contains(&session.client)
        {
            if session.floor > 1 || session.opened < self.oldest {
                let forgotten = Error::unknown(ErrorCode::SessionExpired, "the session was forgotten");
                return Err(forgotten.at(LogIndex(self.log)));
            }
            self.sessions.insert(session.client);
        }
        let id = request.header.session.map(|session| (session.client, session.sequence));
        if let Some(reply) = id.and_then(|id| self.results.get(&id)) {
            return Ok(reply.clone());
        }
        let reply = self.write(&request.operation);
        self.applied.push(request.operation.clone());
        if let Some(id) = id {
            self.results.insert(id, reply.clone());
        }
        Ok(reply)
    }

    fn read(&self, operation: &Operation, slots: SlotRange) -> Reply {
        match operation {
            Operation::Get { key } => Reply::Get { item: self.items.get(key).cloned(), freshness: None },
            Operation::Scan { start, end, limit } => {
                let mut here = self
                    .items
                    .range(start.clone()..)
                    .take_while(|(key, _)| end.as_ref().is_none_or(|end| *key < end))
                    .filter(|(key, _)| slots.contains(Slot::of_key(key)))
                    .map(|(_, item)| item.clone());
                let items: Vec<Item> = here.by_ref().take(*limit as usize).collect();
                Reply::Scan { items, resume: here.next().map(|item| item.key), freshness: None }
            }
            other => panic!("not a read: {other:?}"),
        }
    }

    fn write(&mut self, operation: &Operation) -> Reply {
        match operation {
            Operation::Put { key, value } => Reply::Put { revision: self.put(key.clone(), value.clone()) },
            Operation::Delete { key } => {
                let existed = self.items.remove(key).is_some();
                self.log += 1;
                Reply::Delete { existed, revision: Revision { index: LogIndex(self.log), position: 0 } }
            }
            Operation::Transact(_) => Reply::Transact(TransactionReply::Done),
            other => panic!("the model has no {other:?}"),
        }
    }

    fn put(&mut self, key: Bytes, value: Bytes) -> Revision {
        self.log += 1;
        let revision = Revision { index: LogIndex(self.log), position: 0 };
        self.items.insert(key.clone(), Item { key, value, revision, timestamp: Timestamp(0) });
        revision
    }
}

#[async_trait]
impl Link for Model {
    async fn execute(
        &self,
        node: NodeId,
        batch: ShardBatch,
        deadline: Duration,
    ) -> std::result::Result<ShardReply, LinkError> {
        let fault = {
            let mut state = self.state.lock();
            let (shard, epoch, count) = (batch.shard, batch.epoch, batch.requests.len());
            state.sent.push(Sent { at: self.env.now().0, node, shard, epoch, count });
            state.requests.extend(batch.requests.iter().cloned());
            let is_down = state.down.contains(&node);
            let is_stopped = state.stopped.contains(&node);
            let standing = is_down.then_some(Fault::NotSent).or(is_stopped.then_some(Fault::Swallow));
            state.faults.pop_front().or(standing).or_else(|| state.always.clone())
        };
        self.env.sleep(Duration::from_millis(1)).await;
        let lost = |detail: &str| Err(LinkError::Unknown { detail: detail.to_owned() });
        match fault {
            None => Ok(self.carry_out(node, &batch)),
            Some(Fault::NotSent) => Err(LinkError::NotSent { detail: "connection refused".to_owned() }),
            Some(Fault::LoseRequest) => lost("connection reset"),
            Some(Fault::LoseReply) => {
                self.carry_out(node, &batch);
                lost("connection reset")
            }
            Some(Fault::Swallow) => match self.env.timeout(deadline, pending::<()>()).await {
                Ok(()) => unreachable!("nothing is pending for ever and then ready"),
                Err(_) => lost("no answer in time"),
            },
            Some(Fault::Hang) => {
                self.carry_out(node, &batch);
                match self.env.timeout(deadline, pending::<()>()).await {
                    Ok(()) => unreachable!("nothing is pending for ever and then ready"),
                    Err(_) => lost("no answer in time"),
                }
            }
            Some(Fault::Refuse(error)) => Ok(ShardReply::failed(&error, batch.requests.len())),
            Some(Fault::Slow(time)) => {
                self.env.sleep(time).await;
                Ok(self.carry_out(node, &batch))
            }
            Some(Fault::Full(count)) => {
                let fitting = batch.requests[..count.min(batch.requests.len())].to_vec();
                let ShardReply::Done { mut results, time } =
                    self.carry_out(node, &ShardBatch { requests: Arc::new(fitting), ..batch.clone() })
                else {
                    panic!("the first ones are carried out");
                };
                results.resize_with(batch.requests.len(), || Err(Error::without_room()));
                Ok(ShardReply::Done { results, time })
            }
            Some(Fault::Short) => Ok(ShardReply::Done { results: Vec::new(), time: Timestamp(0) }),
        }
    }

    async fn fetch_map(&self, _newer_than: Epoch) -> Result<Arc<ShardMap>> {
        let delay = self.state.lock().map_delay;
        self.env.sleep(Duration::from_millis(1) + delay).await;
        let mut state = self.state.lock();
        state.maps_fetched += 1;
        Ok(state.map.clone())
    }

    async fn timestamp(&self, kind: TimestampKind, deadline: Duration) -> Result<Timestamp> {
        let fault = {
            let mut state = self.state.lock();
            state.asked.push((kind, self.env.now().0));
            state.clock_faults.pop_front()
        };
        self.env.sleep(Duration::from_millis(1)).await;
        match fault {
            None => {}
            Some(Fault::Refuse(error)) => return Err(error),
            Some(Fault::Slow(time)) => self.env.sleep(time).await,
            Some(_) => self.env.sleep(deadline * 2).await,
        }
        let mut state = self.state.lock();
        state.timestamp += u64::from(kind == TimestampKind::Begin);
        Ok(Timestamp(state.timestamp))
    }

    fn own_node(&self) -> Option<NodeId> {
        self.state.lock().own
    }
}

pub(crate) fn put(key: &str) -> Request {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::from_static(b"v"));
    Request { header: RequestHeader::default(), operation: Operation::Put { key, value } }
}

pub(crate) fn get(key: &str) -> Request {
    let key = Bytes::copy_from_slice(key.as_bytes());
    Request { header: RequestHeader::default(), operation: Operation::Get { key } }
}
