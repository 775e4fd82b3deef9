//! Clients that ask the node of their choice, where a test is about what one node answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use strata_check::{Answer, Call};
use strata_cluster::Node;
use strata_env::sim::SimWorld;
use strata_raft::Group;
use strata_router::{Link as _, LinkError, ShardBatch, ShardReply, TimestampKind};
use strata_types::{
    ClientId, Error, GroupId, Item, NodeId, Operation, Outcome, ReadLevel, Reply, Request, RequestHeader, Result,
    ShardMap, Slot, Timestamp, TransactionCall, TransactionReply,
};
use tokio::time::{Instant, sleep};

use crate::client::{Record, undeserved};
use crate::cluster::Cluster;
use crate::fabric::{Host, SimTransport};
use crate::link::ClientLink;

/// Number of the first one's machine: they belong to no other client.
pub(crate) const FIRST_PROBE_HOST: Host = 300;
/// How long one question may take.
const PATIENCE: Duration = Duration::from_millis(60);
/// The same of one that may wait for a clock to be opened.
const LONG_PATIENCE: Duration = Duration::from_millis(600);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(2);

/// One of them.
pub(crate) struct Probe {
    id: ClientId,
    link: Arc<ClientLink>,
    pub(crate) record: Arc<Record>,
    writes: AtomicU64,
}

/// A replica, and where it is.
#[derive(Clone)]
pub(crate) struct Seated {
    pub(crate) host: Host,
    pub(crate) node: NodeId,
    pub(crate) group: Arc<Group>,
}

/// The leader and the followers of a key's shard.
pub(crate) fn seated(cluster: &Cluster, key: &str) -> Option<(Seated, Vec<Seated>)> {
    let map = cluster.newest_map();
    let place = map.shard_of(Slot::of_key(key.as_bytes()))?;
    let replica = |(host, _, node): (Host, u64, Arc<Node>)| {
        let group = node.host().group(GroupId::of_shard(place.shard))?;
        let is_member = place.replicas.iter().any(|placed| placed.replica == group.replica());
        is_member.then(|| Seated { host, node: node.identity().node, group })
    };
    let replicas = cluster.nodes().into_iter().filter_map(replica);
    let (leaders, followers): (Vec<_>, Vec<_>) = replicas.partition(|replica| replica.group.status().is_leader);
    let [leader]: [Seated; 1] = leaders.try_into().ok()?;
    Some((leader, followers))
}

impl Probe {
    pub(crate) fn new(
        number: usize,
        world: &SimWorld,
        cluster: &Arc<Cluster>,
        record: &Arc<Record>,
        map: &ShardMap,
    ) -> Arc<Probe> {
        let host = FIRST_PROBE_HOST + number;
        let transport = SimTransport::new(cluster.fabric.clone(), host);
        let link = ClientLink::new(world.node(host as u64).env(), cluster, transport, host, map.cluster);
        let (id, writes) = (ClientId(host as u64), AtomicU64::new(1));
        Arc::new(Probe { id, link, record: record.clone(), writes })
    }

    /// Writes to a node again and again. Says nothing of a time that it has seen.
    pub(crate) async fn write(self: Arc<Self>, map: Arc<ShardMap>, key: String, node: NodeId, until: Instant) {
        while Instant::now() < until {
            let value: Bytes = format!("c{}w{}", self.id.0, self.writes.fetch_add(1, Ordering::Relaxed)).into();
            let (operation, call) = (put(&key, &value), Call::Put { value });
            self.ask(&map, &key, node, operation, call, |_| Some(Answer::Done)).await;
            sleep(PAUSE).await;
        }
    }

    /// Reads under the leader's lease again and again.
    pub(crate) async fn read(self: Arc<Self>, map: Arc<ShardMap>, key: String, node: NodeId, until: Instant) {
        while Instant::now() < until {
            let value = |reply| Some(Answer::Value(item_of(reply)?.map(|item| item.value)));
            self.ask(&map, &key, node, get(&key), Call::Get, value).await;
            sleep(PAUSE).await;
        }
    }

    /// A new timestamp, at which can be read for some time.
    pub(crate) async fn begin(&self) -> Result<Timestamp> {
        let at = self.link.timestamp(TimestampKind::Begin, LONG_PATIENCE).await?;
        self.link.hold(at, LONG_PATIENCE).await?;
        Ok(at)
    }

    /// What a key held at a timestamp, if the node says so.
    pub(crate) async fn look(&self, map: &ShardMap, key: &str, node: NodeId, at: Timestamp) -> Option<Option<Item>> {
        let header = RequestHeader { at: Some(at), ..RequestHeader::default() };
        let answer = self.send(map, key, node, Request { header, operation: get(key) }, LONG_PATIENCE).await.ok()?;
        item_of(answer?.ok()?)
    }

    /// One step of a transaction, at the shard of a key. Returns what the node said, if it did.
    pub(crate) async fn step(
        &self,
        map: &ShardMap,
        key: &str,
        node: NodeId,
        call: TransactionCall,
    ) -> Option<TransactionReply> {
        let operation = Operation::Transact(Box::new(call));
        let request = Request { header: RequestHeader::default(), operation };
        match self.send(map, key, node, request, LONG_PATIENCE).await.ok()??.ok()? {
            Reply::Transact(reply) => Some(reply),
            _ => None,
        }
    }

    /// Asks one node once, and writes down what came of it.
    async fn ask(
        &self,
        map: &ShardMap,
        key: &str,
        node: NodeId,
        operation: Operation,
        call: Call,
        answer: impl Fn(Reply) -> Option<Answer>,
    ) {
        let header = RequestHeader { level: ReadLevel::Lease, ..RequestHeader::default() };
        let began = self.record.invoke_at(self.id, key, call, self.record.now());
        match self.send(map, key, node, Request { header, operation }, PATIENCE).await {
            Ok(Some(Ok(reply))) => self.record.end(began, answer(reply)),
            Ok(Some(Err(error))) => {
                undeserved(&error).into_iter().for_each(|text| self.record.report(text));
                if error.outcome == Outcome::NotApplied {
                    self.record.end(began, None);
                }
            }
            Ok(None) | Err(LinkError::NotSent { .. }) => self.record.end(began, None),
            // It may still be applied.
            Err(LinkError::Unknown { .. }) => {}
        }
    }

    /// The answer of a node, or `None` if it took nothing.
    async fn send(
        &self,
        map: &ShardMap,
        key: &str,
        node: NodeId,
        request: Request,
        patience: Duration,
    ) -> std::result::Result<Option<std::result::Result<Reply, Error>>, LinkError> {
        let Some(place) = map.shard_of(Slot::of_key(key.as_bytes())) else { return Ok(None) };
        let batch = ShardBatch { epoch: map.epoch, shard: place.shard, requests: Arc::new(vec![request]) };
        match self.link.execute(node, batch, patience).await? {
            ShardReply::Done { results, .. } => Ok(results.into_iter().next()),
            _ => Ok(None),
        }
    }
}

fn put(key: &str, value: &Bytes) -> Operation {
    Operation::Put { key: Bytes::copy_from_slice(key.as_bytes()), value: value.clone() }
}

fn get(key: &str) -> Operation {
    Operation::Get { key: Bytes::copy_from_slice(key.as_bytes()) }
}

fn item_of(reply: Reply) -> Option<Option<Item>> {
    match reply {
        Reply::Get { item, .. } => Some(item),
        _ => None,
    }
}
