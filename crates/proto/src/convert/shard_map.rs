//! ShardMap and its parts.

use strata_types::{
    Epoch, Error, NodeDescriptor, NodeId, ReplicaId, ReplicaPlacement, ShardId, ShardMap, ShardPlacement, SlotRange,
};

use super::{cluster_of, invalid};
use crate::v1;

impl From<&ShardMap> for v1::ShardMap {
    fn from(map: &ShardMap) -> v1::ShardMap {
        v1::ShardMap {
            cluster: map.cluster.to_string(),
            epoch: map.epoch.0,
            nodes: map.nodes.iter().map(v1::NodeDescriptor::from).collect(),
            shards: map.shards.iter().map(v1::ShardPlacement::from).collect(),
            meta: map.meta.iter().copied().map(v1::ReplicaPlacement::from).collect(),
        }
    }
}

impl TryFrom<v1::ShardMap> for ShardMap {
    type Error = Error;

    fn try_from(map: v1::ShardMap) -> Result<ShardMap, Error> {
        let map = ShardMap {
            cluster: cluster_of(&map.cluster)?,
            epoch: Epoch(map.epoch),
            nodes: map.nodes.into_iter().map(NodeDescriptor::from).collect(),
            shards: map.shards.into_iter().map(ShardPlacement::try_from).collect::<Result<_, Error>>()?,
            meta: map.meta.into_iter().map(ReplicaPlacement::from).collect(),
        };
        map.validate().map_err(|error| invalid(format!("the received shard map is not one: {error}")))?;
        Ok(map)
    }
}

impl From<&NodeDescriptor> for v1::NodeDescriptor {
    fn from(node: &NodeDescriptor) -> v1::NodeDescriptor {
        v1::NodeDescriptor {
            id: node.id.0,
            peer_address: node.peer_address.clone(),
            client_address: node.client_address.clone(),
            zone: node.zone.clone(),
        }
    }
}

impl From<v1::NodeDescriptor> for NodeDescriptor {
    fn from(node: v1::NodeDescriptor) -> NodeDescriptor {
        NodeDescriptor {
            id: NodeId(node.id),
            peer_address: node.peer_address,
            client_address: node.client_address,
            zone: node.zone,
        }
    }
}

impl From<&ShardPlacement> for v1::ShardPlacement {
    fn from(placement: &ShardPlacement) -> v1::ShardPlacement {
        v1::ShardPlacement {
            shard: placement.shard.0,
            slot_start: placement.slots.start.into(),
            slot_end: placement.slots.end.into(),
            replicas: placement.replicas.iter().copied().map(v1::ReplicaPlacement::from).collect(),
        }
    }
}

impl TryFrom<v1::ShardPlacement> for ShardPlacement {
    type Error = Error;

    fn try_from(placement: v1::ShardPlacement) -> Result<ShardPlacement, Error> {
        let slot = |number| u16::try_from(number).map_err(|_| invalid(format!("there is no slot {number}")));
        Ok(ShardPlacement {
            shard: ShardId(placement.shard),
            slots: SlotRange { start: slot(placement.slot_start)?, end: slot(placement.slot_end)? },
            replicas: placement.replicas.into_iter().map(ReplicaPlacement::from).collect(),
        })
    }
}

impl From<ReplicaPlacement> for v1::ReplicaPlacement {
    fn from(placement: ReplicaPlacement) -> v1::ReplicaPlacement {
        v1::ReplicaPlacement { replica: placement.replica.0, node: placement.node.0 }
    }
}

impl From<v1::ReplicaPlacement> for ReplicaPlacement {
    fn from(placement: v1::ReplicaPlacement) -> ReplicaPlacement {
        ReplicaPlacement { replica: ReplicaId(placement.replica), node: NodeId(placement.node) }
    }
}
