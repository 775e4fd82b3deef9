//! All disks full: writes are refused, reads go on, and with room again so do writes, without anybody's help.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_cluster::Node;
use strata_codec::{StoredValue, data_key, decode_reply, encode_command};
use strata_env::sim::SimWorld;
use strata_net::Switchboard;
use strata_raft::{Group, ProposeError};
use strata_types::{GroupId, Operation, Request, RequestHeader, ShardId};
use tokio::time::{sleep, timeout};

use crate::hub::{Hub, Machine, settings, start_all};

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
    let operation = Operation::Put { key: key.to_owned().into(), value: vec![7; VALUE].into() };
    let command = encode_command(&Request { header: RequestHeader::default(), operation }).expect("a write");
    let group = leader(nodes, shard).await;
    match timeout(PATIENCE, group.propose(vec![command])).await.map(|mut replies| replies.remove(0)) {
        Ok(Ok(reply)) => {
            decode_reply(reply).expect("a reply").expect("a put succeeds");
            Written::Acknowledged
        }
        Ok(Err(ProposeError::Unknown { .. })) | Err(_) => Written::Unknown,
        Ok(Err(refused)) => Written::Refused(refused),
    }
}

/// A linearizable read.
async fn get(nodes: &Nodes, shard: ShardId, key: &str) -> Option<Bytes> {
    let group = leader(nodes, shard).await;
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
    sleep(Duration::from_secs(2)).await;
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
