//! Promises that restarts could break.
//!
//! ```text
//!   leader     reads under its lease, which the voter keeps up              reads under it still?
//!   voter      answers the leader, has promised         |dies, starts again|  votes?
//!   rival      hears nothing of the leader, calls elections in vain ...            leads, and is written to
//! ```
//! Who starts again has forgotten when it heard the leader. If it voted at once, the rival would lead and acknowledge
//! writes while the leader's lease lasts (RAFT-16). The time for that is short, so what comes by chance hardly ever
//! meets it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use strata_check::{Answer, Call};
use strata_cluster::Node;
use strata_router::{Link as _, LinkError, ShardBatch, ShardReply};
use strata_types::{
    ClientId, GroupId, NodeId, Operation, Outcome, ReadLevel, Reply, Request, RequestHeader, ShardMap, ShardPlacement,
    Slot,
};
use tokio::time::{Instant, sleep};

use crate::client::{Record, some_key, undeserved};
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fabric::Host;
use crate::link::ClientLink;
use crate::run::no_panic;
use crate::trace::trace;

/// The rival hears nothing for at least this long before the voter dies, so that it calls elections.
const UNHEARD_MIN_MILLIS: u64 = 750;
/// For so long it is asked after the voter died.
const ASKED: Duration = Duration::from_millis(500);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_millis(60);

/// A client that asks the node of its choice.
pub(crate) struct Probe {
    pub(crate) id: ClientId,
    pub(crate) link: Arc<ClientLink>,
    pub(crate) record: Arc<Record>,
    pub(crate) writes: AtomicU64,
}

/// Two of them. Nobody else gets through to the leader meanwhile: what it wrote without the rival would keep the rival
/// from being elected.
pub(crate) struct Promises {
    cluster: Arc<Cluster>,
    probes: [Arc<Probe>; 2],
    /// All others.
    clients: Range<Host>,
}

/// Who does what.
struct Cast {
    key: String,
    leader: (Host, NodeId),
    voter: Host,
    rival: (Host, NodeId),
}

impl Promises {
    pub(crate) fn new(cluster: Arc<Cluster>, probes: [Arc<Probe>; 2], clients: Range<Host>) -> Promises {
        Promises { cluster, probes, clients }
    }

    /// Does it once, if there is a shard with three replicas.
    pub(crate) async fn put_to_the_test(&self, dice: &mut Dice) {
        let Some(cast) = self.cast(dice) else { return };
        let fabric = &self.cluster.fabric;
        let (leader, rival) = (cast.leader.0, cast.rival.0);
        for (from, to) in [(leader, rival), (rival, leader)] {
            fabric.set_cut(from, to, true);
        }
        for client in self.clients.clone() {
            fabric.set_cut(client, leader, true);
        }
        sleep(Duration::from_millis(dice.between(UNHEARD_MIN_MILLIS, UNHEARD_MIN_MILLIS + 400))).await;
        let voter = cast.voter;
        trace!(self.cluster.trace, "host-{voter} forgets what it promised host-{leader}; host-{rival} wants to lead");
        self.cluster.stop(voter, false);
        let (map, until) = (self.cluster.newest_map(), Instant::now() + ASKED);
        let [writer, reader] = &self.probes;
        let asking = [
            tokio::spawn(writer.clone().write(map.clone(), cast.key.clone(), cast.rival.1, until)),
            tokio::spawn(reader.clone().read(map, cast.key.clone(), cast.leader.1, until)),
        ];
        sleep(Duration::from_millis(dice.between(1, 20))).await;
        self.cluster.start(voter);
        for asking in asking {
            no_panic(&self.cluster, asking.await);
        }
        fabric.mend();
    }

    fn cast(&self, dice: &mut Dice) -> Option<Cast> {
        let key = some_key(&self.probes[0].record, dice);
        let map = self.cluster.newest_map();
        let ShardPlacement { shard, replicas, .. } = map.shard_of(Slot::of_key(key.as_bytes()))?;
        let nodes = self.cluster.nodes();
        let member = |(host, _, node): &(Host, u64, Arc<Node>)| {
            let group = node.host().group(GroupId::of_shard(*shard))?;
            let is_member = replicas.iter().any(|placed| placed.replica == group.replica());
            is_member.then(|| (*host, node.identity().node, group.status().is_leader))
        };
        let (leaders, others): (Vec<_>, Vec<_>) = nodes.iter().filter_map(member).partition(|(.., leads)| *leads);
        let ([(leader, leader_node, _)], [one, other]) = (leaders.as_slice(), others.as_slice()) else { return None };
        let (voter, rival) = if dice.chance(500) { (one, other) } else { (other, one) };
        Some(Cast { key, leader: (*leader, *leader_node), voter: voter.0, rival: (rival.0, rival.1) })
    }
}

impl Probe {
    async fn write(self: Arc<Self>, map: Arc<ShardMap>, key: String, node: NodeId, until: Instant) {
        while Instant::now() < until {
            let value: Bytes = format!("c{}w{}", self.id.0, self.writes.fetch_add(1, Ordering::Relaxed)).into();
            let (operation, call) = (put(&key, &value), Call::Put { value });
            self.ask(&map, &key, node, operation, call, |_| Some(Answer::Done)).await;
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn read(self: Arc<Self>, map: Arc<ShardMap>, key: String, node: NodeId, until: Instant) {
        while Instant::now() < until {
            let operation = Operation::Get { key: Bytes::copy_from_slice(key.as_bytes()) };
            let value = |reply| match reply {
                Reply::Get { item, .. } => Some(Answer::Value(item.map(|item| item.value))),
                _ => None,
            };
            self.ask(&map, &key, node, operation, Call::Get, value).await;
            sleep(Duration::from_millis(2)).await;
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
        let Some(place) = map.shard_of(Slot::of_key(key.as_bytes())) else { return };
        let header = RequestHeader { level: ReadLevel::Lease, ..RequestHeader::default() };
        let requests = Arc::new(vec![Request { header, operation }]);
        let batch = ShardBatch { epoch: map.epoch, shard: place.shard, requests };
        let began = self.record.invoke_at(self.id, key, call, self.record.now());
        match self.link.execute(node, batch, PATIENCE).await {
            Ok(ShardReply::Done { results, .. }) => match results.into_iter().next() {
                Some(Ok(reply)) => self.record.end(began, answer(reply)),
                Some(Err(error)) => {
                    undeserved(&error).into_iter().for_each(|text| self.record.report(text));
                    if error.outcome == Outcome::NotApplied {
                        self.record.end(began, None);
                    }
                }
                None => {}
            },
            Ok(_) | Err(LinkError::NotSent { .. }) => self.record.end(began, None),
            // It may still be applied.
            Err(LinkError::Unknown { .. }) => {}
        }
    }
}

fn put(key: &str, value: &Bytes) -> Operation {
    Operation::Put { key: Bytes::copy_from_slice(key.as_bytes()), value: value.clone() }
}
