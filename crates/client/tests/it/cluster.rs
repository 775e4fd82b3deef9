//! Nodes with real gRPC servers over shards in one map.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use strata_client::{Client, ClientBuilder};
use strata_env::real;
use strata_grpc::{ClusterOverview, ClusterView, HealthSwitch, NodeOverview, Parts, ReplicaOverview, ShardOverview};
use strata_meta::{MetaCommand, MetaReply};
use strata_router::{
    Link, LinkError, Router, RouterOptions, ShardBatch, ShardExecutor, ShardReply, check_limits, lies_in,
};
use strata_types::{
    ClusterId, Epoch, Error, ErrorCode, Expected, Freshness, Item, LogIndex, Mutation, NodeDescriptor, NodeId,
    Operation, ReadPreference, ReplicaId, ReplicaPlacement, Reply, Request, Result, Revision, ShardId, ShardMap,
    ShardPlacement, Slot, SlotRange, Term, Timestamp,
};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};

use crate::counted::Counted;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// What all nodes share: the map, the leaders and the data.
pub(crate) struct Cluster {
    state: Mutex<State>,
    /// While it is closed, batches are carried out but not answered.
    gate: watch::Sender<bool>,
    pub(crate) started: watch::Sender<usize>,
    under_way: AtomicUsize,
    pub(crate) under_way_max: AtomicUsize,
}

#[derive(Default)]
struct State {
    map: Arc<ShardMap>,
    leaders: BTreeMap<ShardId, NodeId>,
    items: BTreeMap<Bytes, Item>,
    results: BTreeMap<(u64, u64), Reply>,
    log: u64,
    applied: usize,
    /// What answers say that the time is, and what the last write said that its session had seen.
    time: Timestamp,
    seen: Timestamp,
    batches: usize,
    readers: BTreeSet<u64>,
}

struct Node {
    cluster: Arc<Cluster>,
    id: NodeId,
}

/// A node has a runtime of its own, so that a kill ends its connections too.
struct Running {
    runtime: Option<Runtime>,
    health: HealthSwitch,
    heard: watch::Sender<usize>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The nodes. Dropped, they stop.
pub(crate) struct Nodes {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) addresses: Vec<String>,
    running: Vec<Running>,
}

impl Nodes {
    /// Three nodes; shard `i` is led by node `i mod 3 + 1`.
    pub(crate) async fn start(shards: u32) -> Nodes {
        let mut listeners = Vec::new();
        for _ in 0..3 {
            listeners.push(std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"));
        }
        let addresses: Vec<String> =
            listeners.iter().map(|listener| listener.local_addr().expect("bound").to_string()).collect();
        let cluster = Arc::new(Cluster::new(map(shards, &addresses)));
        let mut running = Vec::new();
        for (listener, id) in listeners.into_iter().zip(1..) {
            running.push(serve(cluster.clone(), NodeId(id), listener).await);
        }
        Nodes { cluster, addresses, running }
    }

    pub(crate) async fn client(&self, settings: ClientBuilder) -> Client {
        settings.connect(self.addresses.clone()).await.expect("connected")
    }

    /// A connection as any other gRPC client has it.
    pub(crate) async fn channel(&self, node: usize) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.addresses[node - 1])).expect("an address");
        endpoint.connect().await.expect("connected")
    }

    /// Ends a node at once, with all its connections.
    pub(crate) fn kill(&mut self, node: usize) {
        self.running[node - 1].runtime.take().expect("not killed yet").shutdown_background();
    }

    pub(crate) fn health(&self, node: usize) -> &HealthSwitch {
        &self.running[node - 1].health
    }

    /// Bytes that came to a node so far, whether it wanted them or not.
    pub(crate) fn heard(&self, node: usize) -> watch::Receiver<usize> {
        self.running[node - 1].heard.subscribe()
    }
}

async fn serve(cluster: Arc<Cluster>, id: NodeId, listener: std::net::TcpListener) -> Running {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let heard = watch::Sender::new(0);
    let count = heard.clone();
    let health = runtime.spawn(async move {
        let env = real::env();
        let node = Arc::new(Node { cluster: cluster.clone(), id });
        let router = Router::new(env.clone(), node.clone(), cluster.map(), RouterOptions::default());
        let parts = Parts { env, kv: router, executor: node.clone(), view: node, transactions: None };
        let (routes, health) = strata_grpc::routes(parts).await.expect("routes");
        listener.set_nonblocking(true).expect("a listener");
        let incoming = TcpListenerStream::new(TcpListener::from_std(listener).expect("a listener"));
        let incoming = incoming.map(move |accepted| accepted.map(|stream| Counted { stream, heard: count.clone() }));
        tokio::spawn(async move { Server::builder().add_routes(routes).serve_with_incoming(incoming).await });
        health
    });
    let health = health.await.expect("started");
    Running { runtime: Some(runtime), health, heard }
}

fn map(shards: u32, addresses: &[String]) -> Arc<ShardMap> {
    let node = |(address, id): (&String, u64)| NodeDescriptor {
        id: NodeId(id),
        client_address: address.clone(),
        ..NodeDescriptor::default()
    };
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
        cluster: ClusterId(77),
        epoch: Epoch(1),
        nodes: addresses.iter().zip(1..).map(node).collect(),
        shards: (0..shards).map(placement).collect(),
        ..ShardMap::default()
    })
}

impl Cluster {
    fn new(map: Arc<ShardMap>) -> Cluster {
        let leaders = map.shards.iter().map(|shard| (shard.shard, shard.replicas[0].node)).collect();
        Cluster {
            state: Mutex::new(State { map, leaders, ..State::default() }),
            gate: watch::Sender::new(true),
            started: watch::Sender::new(0),
            under_way: AtomicUsize::new(0),
            under_way_max: AtomicUsize::new(0),
        }
    }

    pub(crate) fn map(&self) -> Arc<ShardMap> {
        self.state.lock().map.clone()
    }

    pub(crate) fn set_leader(&self, shard: ShardId, node: u64) {
        self.state.lock().leaders.insert(shard, NodeId(node));
    }

    /// A later epoch of the same map.
    pub(crate) fn raise_epoch(&self) {
        let mut state = self.state.lock();
        let mut map = state.map.as_ref().clone();
        map.epoch.0 += 1;
        state.map = Arc::new(map);
    }

    pub(crate) fn set_gate(&self, is_open: bool) {
        self.gate.send_replace(is_open);
    }

    pub(crate) fn set_time(&self, time: Timestamp) {
        self.state.lock().time = time;
    }

    /// What the session of the last write had seen, as it said.
    pub(crate) fn last_seen(&self) -> Timestamp {
        self.state.lock().seen
    }

    pub(crate) fn applied(&self) -> usize {
        self.state.lock().applied
    }

    /// The nodes that carried out reads.
    pub(crate) fn readers(&self) -> BTreeSet<u64> {
        self.state.lock().readers.clone()
    }

    pub(crate) fn batches(&self) -> usize {
        self.state.lock().batches
    }

    /// The shard of a key, and the node (from 1) that leads it.
    pub(crate) fn leader_of(&self, key: &str) -> (ShardId, usize) {
        let state = self.state.lock();
        let shard = state.map.shard_of(Slot::of_key(key.as_bytes())).expect("covered").shard;
        (shard, state.leaders[&shard].0 as usize)
    }

    fn carry_out(&self, node: NodeId, batch: &ShardBatch) -> ShardReply {
        let mut state = self.state.lock();
        if batch.epoch < state.map.epoch {
            return ShardReply::StaleRoute(state.map.clone());
        }
        let Some(slots) = state.map.shard(batch.shard).map(|shard| shard.slots) else {
            return ShardReply::StaleRoute(state.map.clone());
        };
        let leader = state.leaders.get(&batch.shard).copied();
        if leader != Some(node) && !batch.requests.iter().all(is_for_any) {
            return ShardReply::NotLeader { leader };
        }
        state.readers.extend(batch.requests.iter().any(|request| request.operation.is_read()).then_some(node.0));
        state.batches += 1;
        ShardReply::Done {
            results: batch.requests.iter().map(|request| state.carry_out(request, slots)).collect(),
            time: state.time,
        }
    }
}

/// What a replica that follows carries out.
fn is_for_any(request: &Request) -> bool {
    let header = &request.header;
    let is_for_any = header.prefer == ReadPreference::Any || header.level.is_for_any_replica();
    request.operation.is_read() && is_for_any
}

impl State {
    fn carry_out(&mut self, request: &Request, slots: SlotRange) -> Result<Reply> {
        check_limits(&request.operation)?;
        assert!(lies_in(&request.operation, slots), "routed to the wrong shard: {request:?}");
        let id = request.header.session.map(|session| (session.client.0, session.sequence));
        if let Some(reply) = id.and_then(|id| self.results.get(&id)) {
            return Ok(reply.clone());
        }
        let fresh = Some(Freshness { level: request.header.level, applied: LogIndex(self.log), at: request.header.at });
        let reply = match self.apply(&request.operation, slots) {
            Reply::Get { item, .. } => Reply::Get { item, freshness: fresh },
            Reply::Scan { items, resume, .. } => Reply::Scan { items, resume, freshness: fresh },
            written => written,
        };
        self.applied += usize::from(!request.operation.is_read());
        if !request.operation.is_read() {
            self.seen = request.header.seen;
        }
        if let Some(id) = id {
            self.results.insert(id, reply.clone());
        }
        Ok(reply)
    }

    fn apply(&mut self, operation: &Operation, slots: SlotRange) -> Reply {
        self.log += u64::from(!operation.is_read());
        let revision = Revision { index: LogIndex(self.log), position: 0 };
        match operation {
            Operation::Get { key } => Reply::Get { item: self.items.get(key).cloned(), freshness: None },
            Operation::Put { key, value } => {
                self.put(key, value, revision);
                Reply::Put { revision }
            }
            Operation::Delete { key } => Reply::Delete { existed: self.items.remove(key).is_some(), revision },
            Operation::CompareAndSet { key, expected, value } => {
                let current = self.items.get(key).cloned();
                let succeeded = match expected {
                    Expected::Absent => current.is_none(),
                    Expected::Value(value) => current.as_ref().is_some_and(|item| item.value == *value),
                    Expected::Revision(revision) => current.as_ref().is_some_and(|item| item.revision == *revision),
                };
                match value {
                    Some(value) if succeeded => self.put(key, value, revision),
                    None if succeeded => drop(self.items.remove(key)),
                    Some(_) | None => {}
                }
                Reply::CompareAndSet { succeeded, revision, current: current.filter(|_| !succeeded) }
            }
            Operation::Batch { mutations } => {
                for mutation in mutations {
                    match mutation {
                        Mutation::Put { key, value } => self.put(key, value, revision),
                        Mutation::Delete { key } => drop(self.items.remove(key)),
                    }
                }
                Reply::Batch { revision }
            }
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
            Operation::Transact(call) => panic!("no shard here takes part in transactions: {call:?}"),
        }
    }

    fn put(&mut self, key: &Bytes, value: &Bytes, revision: Revision) {
        let item = Item { key: key.clone(), value: value.clone(), revision, timestamp: Timestamp(0) };
        self.items.insert(key.clone(), item);
    }
}

#[async_trait]
impl ShardExecutor for Node {
    async fn execute(&self, batch: ShardBatch) -> ShardReply {
        let cluster = &self.cluster;
        let now = cluster.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        cluster.under_way_max.fetch_max(now, Ordering::SeqCst);
        let reply = cluster.carry_out(self.id, &batch);
        cluster.started.send_modify(|started| *started += 1);
        cluster.gate.subscribe().wait_for(|is_open| *is_open).await.expect("the cluster outlives its nodes");
        cluster.under_way.fetch_sub(1, Ordering::SeqCst);
        reply
    }
}

/// The link of a node's own router, without a network.
#[async_trait]
impl Link for Node {
    async fn execute(
        &self,
        node: NodeId,
        batch: ShardBatch,
        _deadline: Duration,
    ) -> std::result::Result<ShardReply, LinkError> {
        Ok(self.cluster.carry_out(node, &batch))
    }

    async fn fetch_map(&self, _newer_than: Epoch) -> Result<Arc<ShardMap>> {
        Ok(self.cluster.map())
    }
}

#[async_trait]
impl ClusterView for Node {
    async fn overview(&self) -> Result<ClusterOverview> {
        let map = self.cluster.map();
        let leaders = self.cluster.state.lock().leaders.clone();
        let node = |node: &NodeDescriptor| NodeOverview {
            node: node.clone(),
            is_up: node.id != NodeId(3),
            version: "1.2.3".to_owned(),
            replicas: 4,
            leaders: 1,
            uptime: SECOND,
            is_full: false,
            problems: Vec::new(),
        };
        let replica = |placed: &ReplicaPlacement| ReplicaOverview {
            replica: placed.replica,
            node: placed.node,
            last: LogIndex(1),
            committed: LogIndex(1),
            applied: LogIndex(1),
            log_bytes: 0,
            figures: None,
            is_serving: true,
            problem: None,
        };
        let shard = |placement: &ShardPlacement| ShardOverview {
            leader: leaders.get(&placement.shard).copied(),
            placement: placement.clone(),
            term: Term(2),
            replicas: placement.replicas.iter().filter(|it| it.node != NodeId(3)).map(replica).collect(),
        };
        Ok(ClusterOverview {
            cluster: map.cluster,
            name: "strata".to_owned(),
            node: self.id,
            version: "1.2.3".to_owned(),
            epoch: map.epoch,
            meta_leader: Some(NodeId(1)),
            nodes: map.nodes.iter().map(node).collect(),
            shards: map.shards.iter().map(shard).collect(),
            problems: Vec::new(),
        })
    }

    fn map(&self) -> Arc<ShardMap> {
        self.cluster.map()
    }

    async fn command(&self, _command: MetaCommand, _deadline: Duration) -> Result<MetaReply> {
        Err(Error::not_applied(ErrorCode::NotReady, "these nodes have no meta group"))
    }
}
