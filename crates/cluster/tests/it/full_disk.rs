//! Full disks: writes are refused where a leader or a majority has no room, reads go on, and with room again so do
//! writes, without anybody's help.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_cluster::Node;
use strata_codec::{StoredValue, data_key, decode_reply, encode_command};
use strata_env::sim::SimWorld;
use strata_meta::{MetaCommand, MetaReply};
use strata_net::Switchboard;
use strata_raft::{Group, ProposeError};
use strata_types::{GroupId, GroupPlacement, NodeId, NodeState, Operation, Request, RequestHeader, ShardId};
use tokio::time::{sleep, timeout};

use crate::hub::{Hub, Machine, settings, start_all};
use crate::town::Town;

const ADDRESSES: [&str; 3] = ["a:1", "b:1", "c:1"];
/// What each machine still has when its disk begins to fill: less than a segment of the log.
const ROOM: u64 = 256 * 1024;
const VALUE: usize = 16 * 1024;
/// How long a writer waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

type Nodes = Vec<(Arc<Node>, Arc<Switchboard>)>;

/// What became of a write.
#[derive(Debug)]
enum Written {
    Acknowledged,
    Refused(ProposeError),
    /// No answer in time, or one that says that nobody knows.
    Unknown,
}

/// The replica that leads a shard, as soon as one does.
async fn leader(nodes: &Nodes, shard: ShardId) -> Arc<Group> {
    for _ in 0..200 {
        let groups = nodes.iter().filter_map(|(node, _)| node.host().group(GroupId::of_shard(shard)));
        if let Some(group) = groups.into_iter().find(|group| group.watch().borrow().is_leader) {
            return group;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{shard} has no leader");
}

async fn put(nodes: &Nodes, shard: ShardId, key: &str) -> Written {
    put_at(leader(nodes, shard).await.as_ref(), key).await
}

async fn put_at(group: &Group, key: &str) -> Written {
    let operation = Operation::Put { key: key.to_owned().into(), value: vec![7; VALUE].into() };
    let command = encode_command(&Request { header: RequestHeader::default(), operation }).expect("a write");
    match timeout(PATIENCE, group.propose(vec![command])).await.map(|mut replies| replies.remove(0)) {
        Ok(Ok(reply)) => {
            decode_reply(reply).expect("a reply").expect("a put succeeds");
            Written::Acknowledged
        }
        Ok(Err(ProposeError::Unknown { .. })) | Err(_) => Written::Unknown,
        Ok(Err(refused)) => Written::Refused(refused),
    }
}

async fn get(nodes: &Nodes, shard: ShardId, key: &str) -> Option<Bytes> {
    value_at(leader(nodes, shard).await.as_ref(), key).await
}

/// A linearizable read.
async fn value_at(group: &Group, key: &str) -> Option<Bytes> {
    group.read_barrier().await.expect("reads go on");
    let header = RequestHeader::default();
    let stored = group.tablet().get(&data_key(header.database, header.key_space, key.as_bytes())).expect("readable");
    stored.map(|stored| StoredValue::decode(stored).expect("a stored value").payload)
}

/// Keys by what became of their writes.
#[derive(Default)]
struct Journal {
    acknowledged: Vec<(ShardId, String)>,
    refused: Vec<(ShardId, String)>,
}

impl Journal {
    /// Writes to every shard until every shard says that the disk is full.
    async fn fill(&mut self, nodes: &Nodes) {
        let mut is_full = BTreeMap::new();
        for round in 0..200 {
            for shard in (0..4).map(ShardId) {
                let key = format!("{shard}-{round}");
                let written = put(nodes, shard, &key).await;
                is_full.insert(shard, matches!(written, Written::Refused(ProposeError::DiskFull)));
                match written {
                    Written::Acknowledged => self.acknowledged.push((shard, key)),
                    Written::Refused(_) => self.refused.push((shard, key)),
                    Written::Unknown => {}
                }
            }
            if is_full.values().all(|is_full| *is_full) {
                return;
            }
        }
        panic!("{} writes were acknowledged, and the disks are not full yet", self.acknowledged.len());
    }

    /// Nothing that was acknowledged is lost, and nothing that was refused is there.
    async fn check(&self, nodes: &Nodes) {
        for (shard, key) in &self.acknowledged {
            assert_eq!(get(nodes, *shard, key).await.map(|value| value.len()), Some(VALUE), "{key} was acknowledged");
        }
        for (shard, key) in &self.refused {
            assert_eq!(get(nodes, *shard, key).await, None, "{key} was refused");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_on_full_disks_refuses_writes_serves_reads_and_recovers_by_itself() {
    let (world, hub) = (SimWorld::new(21), Hub::new());
    let machines: Vec<_> = (1..=3).map(|number| Machine::new(&world, &hub, number)).collect();
    let nodes = start_all(&machines, &ADDRESSES).await;
    for machine in &machines {
        let used: u64 = machine.sim.files().iter().map(|(_, length)| length).sum();
        machine.sim.set_capacity(Some(used + ROOM));
    }
    let mut journal = Journal::default();
    journal.fill(&nodes).await;
    assert!(journal.acknowledged.len() > 20, "{} writes were acknowledged", journal.acknowledged.len());

    // It stays so, and nobody falls over.
    for round in 0..10 {
        sleep(Duration::from_secs(3)).await;
        for shard in (0..4).map(ShardId) {
            let key = format!("{shard}-full-{round}");
            let written = put(&nodes, shard, &key).await;
            assert!(matches!(written, Written::Refused(ProposeError::DiskFull)), "{written:?}");
            journal.refused.push((shard, key));
        }
        journal.check(&nodes).await;
    }
    let overview = nodes[0].0.overview().await;
    for (number, (node, machine)) in overview.nodes.iter().zip(&machines).enumerate() {
        assert!(node.problems.iter().any(|problem| problem.contains("the disk is full")), "{:?}", node.problems);
        assert!(machine.sim.halted().is_none(), "node {} stopped", number + 1);
        assert_eq!(nodes[number].0.ready(), Ok(()), "it serves reads");
    }

    machines.iter().for_each(|machine| machine.sim.set_capacity(None));
    sleep(Duration::from_secs(6)).await;
    for shard in (0..4).map(ShardId) {
        let key = format!("{shard}-again");
        let written = put(&nodes, shard, &key).await;
        assert!(matches!(written, Written::Acknowledged), "{written:?}");
        journal.acknowledged.push((shard, key));
    }
    journal.check(&nodes).await;

    // The same after a power loss of everybody.
    drop(nodes);
    machines.iter().for_each(|machine| machine.sim.crash());
    let nodes = start_all(&machines, &ADDRESSES).await;
    journal.check(&nodes).await;
}

/// What is open goes on, and what cannot be opened for want of room is tried again; the node does not end over it.
#[tokio::test(start_paused = true)]
async fn a_node_starts_on_a_full_disk_and_opens_its_replicas_when_there_is_room() {
    let (world, hub) = (SimWorld::new(22), Hub::new());
    let machines: Vec<_> = (1..=3).map(|number| Machine::new(&world, &hub, number)).collect();
    let mut nodes = start_all(&machines, &ADDRESSES).await;
    put(&nodes, ShardId(0), "before").await;
    let replicas = nodes[2].0.host().groups().len();
    let last = nodes.pop();
    drop(last);
    machines[2].durable.set_full(true);
    let (node, switchboard) = machines[2].start(settings(ADDRESSES[2], &ADDRESSES)).await.expect("it starts");
    sleep(Duration::from_secs(10)).await;
    assert!(machines[2].sim.halted().is_none());
    assert_eq!(node.host().groups().len(), 0, "there is no room");
    machines[2].durable.set_full(false);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(node.host().groups().len(), replicas);
    nodes.push((node, switchboard));
    assert!(matches!(put(&nodes, ShardId(0), "after").await, Written::Acknowledged));
}

/// Other nodes' leaders go on writing, but what its log has left is not for them: handing leaders over and removing replicas,
/// which makes room, takes some.
#[tokio::test(start_paused = true)]
async fn a_node_whose_disk_is_full_can_be_emptied() {
    const FULL: u64 = 2;
    let town = Town::found(23).await;
    town.start(4).await;
    town.settle().await;
    let machine = town.machine(FULL);
    machine.durable.set_full(true);
    let used: u64 = machine.sim.files().iter().map(|(_, length)| length).sum();
    machine.sim.set_capacity(Some(used));
    // Some eight segments of its log, which has one or two left and lets none go.
    let (mut acknowledged, mut elsewhere) = (Vec::new(), 0);
    for key in (0..500).map(|round| format!("key {round}")) {
        for shard in (0..4).map(ShardId) {
            let Some((_, group)) = town.leader(GroupId::of_shard(shard)).filter(|(node, _)| *node != FULL) else {
                continue;
            };
            if matches!(put_at(&group, &key).await, Written::Acknowledged) {
                acknowledged.push((shard, key.clone()));
                elsewhere += VALUE;
            }
        }
    }
    assert!(elsewhere > 16 << 20, "{elsewhere} bytes were acknowledged by other leaders");
    let wish = MetaCommand::SetNodeState { node: NodeId(FULL), wanted: NodeState::Removing, force: false };
    assert!(matches!(town.command(wish).await, MetaReply::NodeStateSet { .. }));
    town.until("no such node", |town| town.map().node(NodeId(FULL)).is_none()).await;
    assert_eq!(town.tablets(FULL), []);
    town.kill(FULL);
    town.settle().await;
    for (shard, key) in acknowledged {
        let (_, group) = town.leader(GroupId::of_shard(shard)).expect("a leader");
        assert_eq!(value_at(&group, &key).await.map(|value| value.len()), Some(VALUE), "{key} was acknowledged");
    }
}

/// What was to come to it goes to another node as soon as there is one. Nothing else comes to it either.
#[tokio::test(start_paused = true)]
async fn replicas_that_find_no_room_are_taken_to_another_node() {
    const FULL: u64 = 4;
    let town = Town::found(25).await;
    town.start(FULL).await;
    let writer = town.write();
    town.settle().await;
    let held = |town: &Town| {
        let map = town.map();
        let holds = |group: &GroupPlacement<'_>| group.replicas.iter().any(|placed| placed.node == NodeId(FULL));
        map.groups().filter(holds).count()
    };
    let before = held(&town);
    town.machine(FULL).durable.set_full(true);
    let wish = MetaCommand::SetNodeState { node: NodeId(3), wanted: NodeState::Removing, force: false };
    assert!(matches!(town.command(wish).await, MetaReply::NodeStateSet { .. }));
    let is_there = |town: &Town| town.map().node(NodeId(3)).is_some();
    town.stays("its replicas wait for room", Duration::from_secs(30), is_there).await;
    assert_eq!(full_nodes(&town).await, [NodeId(FULL)]);

    town.start(5).await;
    town.until("no such node", |town| town.map().node(NodeId(3)).is_none()).await;
    assert!(held(&town) <= before, "{:?}", town.map());
    town.kill(3);
    town.machine(FULL).durable.set_full(false);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(full_nodes(&town).await, [NodeId(FULL)], "it had none a moment ago, and nobody plans with it yet");
    town.settle().await;
    town.check(writer).await;
}

/// As anybody is told who asks.
async fn full_nodes(town: &Town) -> Vec<NodeId> {
    let overview = town.any().overview().await;
    overview.nodes.iter().filter(|node| node.is_full).map(|node| node.node.id).collect()
}

/// A majority has room, so every shard takes writes: nobody whose own disk is full leads one for long.
#[tokio::test(start_paused = true)]
async fn leaders_leave_a_node_whose_disk_is_full_and_come_back_when_it_has_room() {
    let town = Town::found(24).await;
    town.settle().await;
    let shards = || (0..4).map(ShardId);
    let full = town.map().shards[0].replicas[0].node.0;
    let sim = &town.machine(full).sim;
    let used: u64 = sim.files().iter().map(|(_, length)| length).sum();
    sim.set_capacity(Some(used + ROOM));
    for round in 0.. {
        if !town.node(full).wal().room() {
            break;
        }
        assert!(round < 200, "its disk is not full yet");
        for shard in shards() {
            let Some((_, group)) = town.leader(GroupId::of_shard(shard)) else { continue };
            put_at(&group, &format!("{shard}-{round}")).await;
        }
    }
    let is_led_elsewhere = |town: &Town| {
        let mut groups = shards().map(GroupId::of_shard).chain([GroupId::META]);
        groups.all(|group| town.leader(group).is_some_and(|(node, _)| node != full))
    };
    town.until("leaders elsewhere", is_led_elsewhere).await;
    town.stays("they are not handed back", Duration::from_secs(30), is_led_elsewhere).await;
    assert!(!town.node(full).wal().room());
    for shard in shards() {
        let (_, group) = town.leader(GroupId::of_shard(shard)).expect("a leader");
        let written = put_at(&group, &format!("{shard}-full")).await;
        assert!(matches!(written, Written::Acknowledged), "{shard}: {written:?}");
    }

    sim.set_capacity(None);
    let is_as_preferred = |town: &Town| {
        town.map().shards.iter().all(|shard| {
            let leader = town.leader(GroupId::of_shard(shard.shard));
            leader.is_some_and(|(node, _)| node == shard.replicas[0].node.0)
        })
    };
    town.until("leaders where they should be", is_as_preferred).await;
    assert_eq!(town.map().shards[0].replicas[0].node.0, full);
}
