//! Nodes without room, as operators hear of them who balance: the same as who plans.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use strata_env::real;
use strata_grpc::{ClusterOverview, ClusterView, NodeOverview, Parts};
use strata_meta::{MetaCommand, MetaReply};
use strata_proto::v1;
use strata_proto::v1::admin_client::AdminClient;
use strata_types::{
    ClusterVersion, Epoch, Feature, NodeDescriptor, NodeId, ReplicaId, ReplicaPlacement, Result, ShardId, ShardMap,
    ShardPlacement, SlotRange,
};
use tonic::transport::Channel;

use crate::nobody::{Node, open};

const SHARDS: u32 = 4;
/// It has nothing yet, and says that it has no room.
const FULL: NodeId = NodeId(4);

/// A cluster of some version, with all replicas on the first three nodes.
struct Crowded {
    version: ClusterVersion,
    commands: Mutex<Vec<MetaCommand>>,
}

#[async_trait]
impl ClusterView for Crowded {
    async fn overview(&self) -> Result<ClusterOverview> {
        let map = self.map();
        let node = |node: &NodeDescriptor| NodeOverview {
            node: node.clone(),
            is_up: true,
            version: String::new(),
            replicas: 0,
            leaders: 0,
            uptime: Duration::ZERO,
            is_full: node.id == FULL,
            problems: Vec::new(),
        };
        Ok(ClusterOverview {
            cluster: map.cluster,
            name: String::new(),
            node: NodeId(1),
            version: String::new(),
            epoch: map.epoch,
            meta_leader: Some(NodeId(1)),
            nodes: map.nodes.iter().map(node).collect(),
            shards: Vec::new(),
            problems: Vec::new(),
        })
    }

    fn map(&self) -> Arc<ShardMap> {
        let replicas = |first: u64| -> Vec<ReplicaPlacement> {
            (1..=3).map(|node| ReplicaPlacement { replica: ReplicaId(first + node), node: NodeId(node) }).collect()
        };
        let shard = |number: u32| ShardPlacement {
            shard: ShardId(number),
            slots: SlotRange::share(number, SHARDS),
            replicas: replicas(10 * (u64::from(number) + 1)),
            ..ShardPlacement::default()
        };
        let node = |id: u64| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() };
        Arc::new(ShardMap {
            epoch: Epoch(1),
            nodes: (1..=FULL.0).map(node).collect(),
            shards: (0..SHARDS).map(shard).collect(),
            meta: replicas(0),
            version: self.version,
            ..ShardMap::default()
        })
    }

    async fn command(&self, command: MetaCommand, _deadline: Duration) -> Result<MetaReply> {
        self.commands.lock().expect("nobody panicked").push(command);
        Ok(MetaReply::Planned { started: 0, cancelled: 0, waiting: 0, epoch: Epoch(1) })
    }
}

/// How many replicas would come to the full node of a cluster of this version, and what the meta group is asked for.
async fn balance(version: ClusterVersion) -> (usize, Vec<MetaCommand>) {
    let view = Arc::new(Crowded { version, commands: Mutex::default() });
    let node = Node::new();
    let parts = Parts { env: real::env(), kv: node.clone(), executor: node, view: view.clone(), transactions: None };
    let mut admin: AdminClient<Channel> = AdminClient::new(open(parts).await.0);
    let dry = admin.balance(v1::BalanceRequest { dry_run: true }).await.expect("foreseen").into_inner();
    assert!(view.commands.lock().expect("nobody panicked").is_empty(), "nothing was asked for");
    admin.balance(v1::BalanceRequest { dry_run: false }).await.expect("asked for").into_inner();
    let commands = view.commands.lock().expect("nobody panicked").clone();
    (dry.changes.iter().filter(|change| change.add == FULL.0).count(), commands)
}

#[tokio::test]
async fn a_node_without_room_gets_nothing_where_all_programs_know_of_full_nodes() {
    let (to_full, commands) = balance(Feature::FullNodes.since()).await;
    assert_eq!(to_full, 0);
    assert!(matches!(&commands[..], [MetaCommand::PlanAround { full, .. }] if *full == [FULL]), "{commands:?}");
}

#[tokio::test]
async fn an_older_cluster_is_told_of_no_full_nodes_and_plans_as_if_all_had_room() {
    let (to_full, commands) = balance(ClusterVersion(Feature::FullNodes.since().0 - 1)).await;
    assert!(to_full > 0, "it would get its part");
    assert!(matches!(&commands[..], [MetaCommand::Plan { .. }]), "{commands:?}");
}
