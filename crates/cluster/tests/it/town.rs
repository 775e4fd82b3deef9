//! A cluster that people live in: nodes come and go while writers write, and in the end everything must be there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strata_cluster::{Node, NodeSettings};
use strata_codec::{decode_reply, encode_command};
use strata_env::sim::SimWorld;
use strata_meta::{MetaCommand, MetaReply, PlanLimits, plan};
use strata_raft::{Group, GroupStatus};
use strata_types::{GroupId, NodeId, Operation, ReplicaId, Request, RequestHeader, ShardId, ShardMap};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::hub::{Hub, Machine, settings};
use crate::life::ADDRESSES;

const ALL: [&str; 5] = ["a:1", "b:1", "c:1", "d:1", "e:1"];
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(90);

type Running = Arc<Mutex<BTreeMap<NodeId, Arc<Node>>>>;

/// Machines in the order of their nodes' ids.
pub(crate) struct Town {
    pub(crate) machines: Vec<Machine>,
    running: Running,
    replace_after: Duration,
}

impl Town {
    /// Three founding nodes, and machines for two more.
    pub(crate) async fn found(seed: u64) -> Town {
        Town::patient(seed, NodeSettings::REPLACE_AFTER).await
    }

    /// The same, with nodes that give up silent ones after this time.
    pub(crate) async fn patient(seed: u64, replace_after: Duration) -> Town {
        let (world, hub) = (SimWorld::new(seed), Hub::new());
        let machines: Vec<_> = (1..=5).map(|number| Machine::new(&world, &hub, number)).collect();
        let starts = machines
            .iter()
            .zip(ADDRESSES)
            .map(|(machine, own)| machine.start(NodeSettings { replace_after, ..settings(own, &ADDRESSES) }));
        let running = Running::default();
        for started in futures_util::future::join_all(starts).await {
            let (node, _) = started.expect("a node starts");
            node.wait_ready().await;
            running.lock().insert(node.identity().node, node);
        }
        Town { machines, running, replace_after }
    }

    pub(crate) fn machine(&self, node: u64) -> &Machine {
        &self.machines[node as usize - 1]
    }

    /// Starts a node that joins, or one that was there before.
    pub(crate) async fn start(&self, node: u64) -> Arc<Node> {
        let own = ALL[node as usize - 1];
        let line = NodeSettings { expect: None, replace_after: self.replace_after, ..settings(own, &ADDRESSES) };
        let (started, _) = self.machine(node).start(line).await.expect("a place for it");
        started.wait_ready().await;
        assert_eq!(started.identity().node, NodeId(node));
        self.running.lock().insert(NodeId(node), started.clone());
        started
    }

    pub(crate) fn kill(&self, node: u64) {
        self.running.lock().remove(&NodeId(node));
        self.machine(node).kill();
    }

    /// A node stops in good order.
    pub(crate) async fn stop(&self, node: u64) {
        let stopped = self.running.lock().remove(&NodeId(node)).expect("it runs");
        stopped.shutdown().await;
        self.machine(node).kill();
    }

    /// The nodes that run.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.running.lock().values().cloned().collect()
    }

    /// A node that runs.
    pub(crate) fn node(&self, node: u64) -> Arc<Node> {
        self.running.lock().get(&NodeId(node)).expect("it runs").clone()
    }

    /// The node with the newest map.
    pub(crate) fn any(&self) -> Arc<Node> {
        let running = self.running.lock();
        running.values().max_by_key(|node| node.map().epoch).expect("somebody runs").clone()
    }

    pub(crate) fn map(&self) -> Arc<ShardMap> {
        self.any().map()
    }

    pub(crate) async fn command(&self, command: MetaCommand) -> MetaReply {
        let reply = self.any().administer(command, Duration::from_secs(20)).await;
        let halts = || self.machines.iter().map(|machine| machine.sim.halted()).collect::<Vec<_>>();
        reply.unwrap_or_else(|error| panic!("a majority is there: {error}: {:?}", halts()))
    }

    /// Waits for something that can be seen.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Town) -> bool) {
        let begun = tokio::time::Instant::now();
        while !wanted(self) {
            let waited = begun.elapsed();
            let halts: Vec<_> = self.machines.iter().map(|machine| machine.sim.halted()).collect();
            assert!(
                waited < PATIENCE,
                "{what}: not after {waited:?}: {halts:?} {:?} {:?}",
                self.map(),
                self.statuses()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Looks again and again, for some time of the simulated world, whether something stays as it is.
    pub(crate) async fn stays(&self, what: &str, time: Duration, wanted: impl Fn(&Town) -> bool) {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < time {
            assert!(wanted(self), "{what}: no more after {:?}: {:?}", begun.elapsed(), self.map());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The replica that leads a group, and its node.
    pub(crate) fn leader(&self, group: GroupId) -> Option<(u64, Arc<Group>)> {
        leader(&self.running, group)
    }

    fn statuses(&self) -> Vec<(NodeId, GroupStatus)> {
        let running = self.running.lock();
        let of = |(id, node): (&NodeId, &Arc<Node>)| {
            node.host().groups().iter().map(|group| (*id, group.status())).collect::<Vec<_>>()
        };
        running.iter().flat_map(of).collect()
    }

    /// Whether nothing is left to do, and everything is where the map has it.
    fn is_settled(&self) -> bool {
        let map = self.map();
        let plan = plan(&map, PlanLimits::NONE);
        let is_quiet = plan.is_empty() && plan.waiting.is_empty();
        let is_over = map.groups().all(|group| group.changes.change.is_none() && group.changes.leaving.is_empty());
        let is_known = self.running.lock().values().all(|node| node.map().epoch == map.epoch);
        is_quiet && is_over && is_known && self.members_agree(&map)
    }

    /// Whether leaders, and the replicas that are open, have the members that the map has.
    fn members_agree(&self, map: &ShardMap) -> bool {
        let statuses = self.statuses();
        map.groups().all(|group| {
            let Some(members) = self.leader(group.group).and_then(|(_, leader)| leader.members()) else { return false };
            let voters = group.replicas.iter().map(|replica| (replica.replica, replica.node)).collect();
            let open = statuses.iter().filter(|(_, it)| it.group == group.group);
            let open: BTreeMap<ReplicaId, NodeId> = open.map(|(node, it)| (it.replica, *node)).collect();
            members.voters == voters && members.learners.is_empty() && !members.is_joint && open == voters
        })
    }

    /// Waits until nothing is left to do; then disks hold what they should and nothing else.
    pub(crate) async fn settle(&self) {
        self.until("a settled cluster", Town::is_settled).await;
        let map = self.map();
        for node in self.running.lock().keys() {
            let placed = map.groups().flat_map(|group| group.replicas.to_vec()).filter(|placed| placed.node == *node);
            let mut wanted: Vec<_> = placed.map(|placed| placed.replica).collect();
            wanted.sort_unstable();
            assert_eq!(self.tablets(node.0), wanted, "tablets of {node}");
        }
    }

    /// The replicas that have files on a machine.
    pub(crate) fn tablets(&self, node: u64) -> Vec<ReplicaId> {
        self.machine(node).replicas()
    }

    /// Begins to write to all shards, until told to stop.
    pub(crate) fn write(&self) -> Writer {
        let (stop, running) = (Arc::new(AtomicBool::new(false)), self.running.clone());
        let task = tokio::spawn(write(running, stop.clone()));
        Writer { stop, task }
    }

    /// Waits until all replicas have applied all there is, and makes sure that they are alike.
    async fn alike(&self) {
        self.until("replicas that have applied everything", |town| {
            let statuses = town.statuses();
            let is_last = |one: &GroupStatus| {
                let of_group = statuses.iter().filter(|(_, other)| other.group == one.group);
                of_group.clone().all(|(_, other)| other.applied == one.last)
            };
            statuses.iter().all(|(_, one)| is_last(one))
        })
        .await;
        let statuses = self.statuses();
        for (_, one) in &statuses {
            for (_, other) in statuses.iter().filter(|(_, other)| other.group == one.group) {
                assert_eq!(one.chain, other.chain, "{}: {one:?} {other:?}", one.group);
            }
        }
    }

    /// Stops writing, and makes sure that all replicas are alike and each acknowledged write can be read.
    pub(crate) async fn check(&self, writer: Writer) {
        writer.stop.store(true, Ordering::Release);
        let written = writer.task.await.expect("it ends");
        self.alike().await;
        assert!(written.len() > 20, "{} writes were acknowledged", written.len());
        for (shard, key) in written {
            let (_, group) = self.leader(GroupId::of_shard(shard)).expect("a leader");
            group.read_barrier().await.expect("it leads");
            let header = RequestHeader::default();
            let row = strata_codec::data_key(header.database, header.key_space, key.as_bytes());
            assert!(group.tablet().get(&row).expect("readable").is_some(), "{key} of {shard} is gone");
        }
    }
}

/// Writes, and remembers what was acknowledged.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<(ShardId, String)>>,
}

async fn write(running: Running, stop: Arc<AtomicBool>) -> Vec<(ShardId, String)> {
    let mut written = Vec::new();
    for number in 0u32.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        sleep(Duration::from_millis(7)).await;
        let (shard, key) = (ShardId(number % 4), format!("key {number}"));
        let Some((_, group)) = leader(&running, GroupId::of_shard(shard)) else { continue };
        let operation = Operation::Put { key: key.clone().into(), value: vec![7; 64].into() };
        let command = encode_command(&Request { header: RequestHeader::default(), operation }).expect("a write");
        if let Ok(mut replies) = timeout(Duration::from_secs(1), group.propose(vec![command])).await
            && let Ok(reply) = replies.remove(0)
        {
            decode_reply(reply).expect("a reply").expect("a put succeeds");
            written.push((shard, key));
        }
    }
    written
}

fn leader(running: &Running, group: GroupId) -> Option<(u64, Arc<Group>)> {
    let running = running.lock();
    let groups = running.iter().filter_map(|(id, node)| Some((id.0, node.host().group(group)?)));
    let leading = groups.filter(|(_, group)| group.watch().borrow().is_leader);
    leading.max_by_key(|(_, group)| group.status().term)
}
