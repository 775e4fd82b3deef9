//! The first nodes, shards and replicas of a cluster.

use std::collections::BTreeSet;

use strata_types::limits::{META_REPLICAS_MAX, NODES_MAX, SHARDS_MAX};
use strata_types::{
    ClusterId, ClusterVersion, Epoch, GroupChanges, NodeDescriptor, NodeId, NodeState, ReplicaId, ReplicaPlacement,
    ShardId, ShardMap, ShardPlacement, SlotRange,
};

use crate::MetaRefusal;
use crate::nodes::check_weight;
use crate::placement::{PlacementNode, place};
use crate::state::State;

/// Highest node id: reading the map counts up to it.
pub(crate) const NODE_ID_MAX: u64 = 1 << 20;

/// The state of a cluster that begins.
pub(crate) fn founded(
    cluster: ClusterId,
    nodes: Vec<NodeDescriptor>,
    meta: Vec<ReplicaPlacement>,
    shard_count: u32,
) -> Result<State, MetaRefusal> {
    let nodes = checked_nodes(nodes)?;
    check_meta_replicas(&nodes, &meta)?;
    if shard_count == 0 || shard_count > SHARDS_MAX {
        return MetaRefusal::because(format!("a cluster has 1 to {SHARDS_MAX} shards: shard_count=`{shard_count}`"));
    }
    let version = first_version(&nodes)?;
    let members: Vec<_> = nodes.iter().map(PlacementNode::of).collect();
    let present = (0..shard_count).map(|shard| (ShardId(shard), Vec::new())).collect();
    let placement = place(&members, &present).or_else(|error| MetaRefusal::because(error.to_string()))?;
    let mut next_replica = meta.iter().map(|placement| placement.replica.0 + 1).max().unwrap_or(1);
    let mut shards = Vec::with_capacity(placement.len());
    for (shard, nodes) in placement {
        let replicas = (next_replica..).zip(&nodes);
        let replicas = replicas.map(|(replica, node)| ReplicaPlacement { replica: ReplicaId(replica), node: *node });
        let (slots, changes) = (SlotRange::share(shard.0, shard_count), GroupChanges::default());
        shards.push(ShardPlacement { shard, slots, replicas: replicas.collect(), changes });
        next_replica += nodes.len() as u64;
    }
    let next_node = NodeId(nodes.iter().map(|node| node.id.0 + 1).max().unwrap_or(1));
    let meta_changes = GroupChanges::default();
    Ok(State {
        map: ShardMap { cluster, epoch: Epoch(1), nodes, shards, meta, meta_changes, version },
        removed: Vec::new(),
        next_node,
        next_shard: ShardId(shard_count),
        next_replica: ReplicaId(next_replica),
        next_change: State::FIRST_CHANGE,
    })
}

/// The highest version that all nodes can take part in.
fn first_version(nodes: &[NodeDescriptor]) -> Result<ClusterVersion, MetaRefusal> {
    let most = nodes.iter().map(|node| node.versions.most).min().unwrap_or(ClusterVersion::FIRST);
    match nodes.iter().find(|node| !node.versions.contains(most)) {
        None => Ok(most),
        Some(node) => Err(MetaRefusal::Version { version: most, versions: node.versions }),
    }
}

/// The nodes by id, if they can make up a cluster.
fn checked_nodes(mut nodes: Vec<NodeDescriptor>) -> Result<Vec<NodeDescriptor>, MetaRefusal> {
    if nodes.is_empty() || nodes.len() > NODES_MAX as usize {
        let count = nodes.len();
        return MetaRefusal::because(format!("a cluster is founded with 1 to {NODES_MAX} nodes: nodes=`{count}`"));
    }
    nodes.sort_by_key(|node| node.id);
    let (mut ids, mut addresses, mut instances) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for node in &mut nodes {
        let id = node.id;
        if id.0 == 0 || id.0 > NODE_ID_MAX || !ids.insert(id) {
            return MetaRefusal::because(format!("node ids are given once and lie in 1..={NODE_ID_MAX}: node=`{id}`"));
        }
        if node.peer_address.is_empty() {
            return MetaRefusal::because(format!("a node needs a peer address: node=`{id}`"));
        }
        if !addresses.insert(node.peer_address.clone()) {
            let address = &node.peer_address;
            return MetaRefusal::because(format!("two nodes cannot share a peer address: address=`{address}`"));
        }
        if node.instance.0 != 0 && !instances.insert(node.instance) {
            return MetaRefusal::because(format!("two nodes cannot share a data directory: node=`{id}`"));
        }
        check_weight(node.weight)?;
        node.state = NodeState::Active;
    }
    Ok(nodes)
}

fn check_meta_replicas(nodes: &[NodeDescriptor], meta: &[ReplicaPlacement]) -> Result<(), MetaRefusal> {
    if meta.is_empty() || meta.len() > META_REPLICAS_MAX {
        let count = meta.len();
        return MetaRefusal::because(format!(
            "the meta group has 1 to {META_REPLICAS_MAX} replicas: replicas=`{count}`"
        ));
    }
    let (mut replicas, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for placement in meta {
        let node = placement.node;
        if nodes.iter().all(|known| known.id != node) || !hosts.insert(node) {
            return MetaRefusal::because(format!(
                "replicas of the meta group live on distinct nodes of the cluster: node=`{node}`"
            ));
        }
        let replica = placement.replica;
        if replica.0 == 0 || replica.0 > u64::from(u32::MAX) || !replicas.insert(replica) {
            return MetaRefusal::because(format!(
                "replica ids are given once and fit 32 bits here: replica=`{replica}`"
            ));
        }
    }
    Ok(())
}
