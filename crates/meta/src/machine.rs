//! Applying commands to the meta tablet.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use strata_machine::{CommandContext, Machine, View, ViewMut};
use strata_types::limits::{META_REPLICAS_MAX, NODES_MAX, SHARDS_MAX};
use strata_types::{
    ClusterId, Epoch, LogIndex, NodeDescriptor, NodeId, ReplicaId, ReplicaPlacement, ShardId, ShardMap, ShardPlacement,
    SlotRange,
};

use crate::placement::{PlacementNode, place};
use crate::rows::{Head, load_head, load_node, put_head, put_node, put_shard};
use crate::{MetaCommand, MetaRefusal, MetaReply};

/// Most replica ids that one command can reserve: far more than any plan needs, far too few to run out.
const REPLICA_IDS_MAX: u32 = 1_000_000;
/// Highest node id: reading the map counts up to it.
const NODE_ID_MAX: u64 = 1 << 20;

/// The state machine of group 0. It keeps nothing itself: all state is in the tablet.
#[derive(Default)]
pub struct MetaMachine {
    listener: Option<Box<dyn Fn(LogIndex) + Send + Sync>>,
}

impl MetaMachine {
    /// A machine that nobody listens to.
    pub fn new() -> MetaMachine {
        MetaMachine::default()
    }

    /// A machine that calls `listener` after entries were applied, for waking those who watch the map. It must not
    /// block.
    pub fn with_listener(listener: impl Fn(LogIndex) + Send + Sync + 'static) -> MetaMachine {
        MetaMachine { listener: Some(Box::new(listener)) }
    }
}

impl fmt::Debug for MetaMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaMachine").field("has_listener", &self.listener.is_some()).finish()
    }
}

impl Machine for MetaMachine {
    fn apply(&self, view: &mut dyn ViewMut, _context: CommandContext, command: &Bytes) -> Bytes {
        let command = MetaCommand::decode(command.clone())
            .unwrap_or_else(|error| panic!("a meta command in the log cannot be decoded: {error}"));
        let reply = match command {
            MetaCommand::Found { cluster, nodes, meta, shard_count } => found(view, cluster, nodes, meta, shard_count),
            MetaCommand::SetAddresses { node, peer_address, client_address } => {
                set_addresses(view, node, peer_address, client_address)
            }
            MetaCommand::AllocateReplicaIds { count } => allocate_replica_ids(view, count),
        };
        reply.unwrap_or_else(MetaReply::Refused).encode()
    }

    fn applied(&self, up_to: LogIndex) {
        if let Some(listener) = &self.listener {
            listener(up_to);
        }
    }
}

/// Each id is given out here or in [`allocate_replica_ids`], and the next free one goes into the head (META-1).
fn found(
    view: &mut dyn ViewMut,
    cluster: ClusterId,
    nodes: Vec<NodeDescriptor>,
    meta: Vec<ReplicaPlacement>,
    shard_count: u32,
) -> Result<MetaReply, MetaRefusal> {
    if let Some(head) = load_head(view) {
        return match head.cluster == cluster {
            true => Ok(MetaReply::Founded { epoch: head.epoch }),
            false => Err(MetaRefusal::OtherCluster { cluster: head.cluster }),
        };
    }
    let nodes = checked_nodes(nodes)?;
    check_meta_replicas(&nodes, &meta)?;
    if shard_count == 0 || shard_count > SHARDS_MAX {
        return invalid(format!("a cluster has 1 to {SHARDS_MAX} shards: shard_count=`{shard_count}`"));
    }
    let members: Vec<_> = nodes.iter().map(PlacementNode::of).collect();
    let present = (0..shard_count).map(|shard| (ShardId(shard), Vec::new())).collect();
    let placement = place(&members, &present).or_else(|error| invalid(error.to_string()))?;
    let mut next_replica = meta.iter().map(|placement| placement.replica.0 + 1).max().unwrap_or(1);
    let mut shards = Vec::with_capacity(placement.len());
    for (shard, nodes) in placement {
        let replicas = (next_replica..).zip(&nodes);
        let replicas = replicas.map(|(replica, node)| ReplicaPlacement { replica: ReplicaId(replica), node: *node });
        let slots = SlotRange::share(shard.0, shard_count);
        shards.push(ShardPlacement { shard, slots, replicas: replicas.collect() });
        next_replica += nodes.len() as u64;
    }
    let map = ShardMap { cluster, epoch: Epoch(1), nodes, shards, meta };
    // META-3
    map.validate().expect("placement makes valid maps");
    write_map(view, &map, ReplicaId(next_replica));
    Ok(MetaReply::Founded { epoch: map.epoch })
}

fn write_map(view: &mut dyn ViewMut, map: &ShardMap, next_replica: ReplicaId) {
    map.nodes.iter().for_each(|node| put_node(view, node));
    map.shards.iter().for_each(|shard| put_shard(view, shard));
    let head = Head {
        cluster: map.cluster,
        epoch: map.epoch,
        next_node: NodeId(map.nodes.iter().map(|node| node.id.0 + 1).max().unwrap_or(1)),
        next_shard: ShardId(map.shards.iter().map(|shard| shard.shard.0 + 1).max().unwrap_or(0)),
        next_replica,
        meta: map.meta.clone(),
    };
    put_head(view, &head);
}

/// The nodes by id, if they can make up a cluster.
fn checked_nodes(mut nodes: Vec<NodeDescriptor>) -> Result<Vec<NodeDescriptor>, MetaRefusal> {
    if nodes.is_empty() || nodes.len() > NODES_MAX as usize {
        return invalid(format!("a cluster is founded with 1 to {NODES_MAX} nodes: nodes=`{}`", nodes.len()));
    }
    nodes.sort_by_key(|node| node.id);
    let (mut ids, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for node in &nodes {
        if node.id.0 == 0 || node.id.0 > NODE_ID_MAX || !ids.insert(node.id) {
            return invalid(format!("node ids are given once and lie in 1..={NODE_ID_MAX}: node=`{}`", node.id));
        }
        if node.peer_address.is_empty() {
            return invalid(format!("a node needs a peer address: node=`{}`", node.id));
        }
        if !addresses.insert(&node.peer_address) {
            return invalid(format!("two nodes cannot share a peer address: address=`{}`", node.peer_address));
        }
    }
    Ok(nodes)
}

fn check_meta_replicas(nodes: &[NodeDescriptor], meta: &[ReplicaPlacement]) -> Result<(), MetaRefusal> {
    if meta.is_empty() || meta.len() > META_REPLICAS_MAX {
        return invalid(format!("the meta group has 1 to {META_REPLICAS_MAX} replicas: replicas=`{}`", meta.len()));
    }
    let (mut replicas, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for placement in meta {
        let is_known = nodes.iter().any(|node| node.id == placement.node);
        if !is_known || !hosts.insert(placement.node) {
            let node = placement.node;
            return invalid(format!("replicas of the meta group live on distinct nodes of the cluster: node=`{node}`"));
        }
        let replica = placement.replica;
        if replica.0 == 0 || replica.0 > u64::from(u32::MAX) || !replicas.insert(replica) {
            return invalid(format!("replica ids are given once and fit 32 bits here: replica=`{replica}`"));
        }
    }
    Ok(())
}

fn set_addresses(
    view: &mut dyn ViewMut,
    id: NodeId,
    peer_address: String,
    client_address: String,
) -> Result<MetaReply, MetaRefusal> {
    let mut head = founded(view)?;
    let node = load_node(view, id).ok_or(MetaRefusal::UnknownNode { node: id })?;
    if peer_address.is_empty() {
        return invalid(format!("a node needs a peer address: node=`{id}`"));
    }
    let changed = NodeDescriptor { peer_address, client_address, ..node.clone() };
    // META-2
    if changed != node {
        head.epoch = Epoch(head.epoch.0 + 1);
        put_node(view, &changed);
        put_head(view, &head);
    }
    Ok(MetaReply::AddressesSet { epoch: head.epoch })
}

fn allocate_replica_ids(view: &mut dyn ViewMut, count: u32) -> Result<MetaReply, MetaRefusal> {
    let mut head = founded(view)?;
    if count == 0 || count > REPLICA_IDS_MAX {
        return invalid(format!("1 to {REPLICA_IDS_MAX} replica ids can be reserved at once: count=`{count}`"));
    }
    let first = head.next_replica;
    // META-1; no part of the map, so its epoch stays (META-2).
    head.next_replica = ReplicaId(first.0 + u64::from(count));
    put_head(view, &head);
    Ok(MetaReply::ReplicaIds { first, count })
}

fn founded(view: &dyn View) -> Result<Head, MetaRefusal> {
    load_head(view).ok_or(MetaRefusal::NotFounded)
}

fn invalid<T>(detail: String) -> Result<T, MetaRefusal> {
    Err(MetaRefusal::Invalid { detail })
}
