//! What the founder decided: who the first nodes are.

use strata_codec::{DecodeError, Decoder, Encoder};
use strata_meta::MetaCommand;
pub use strata_types::InstanceId;
use strata_types::{ClusterId, Epoch, NodeDescriptor, NodeId, ReplicaId, ReplicaPlacement, ShardMap, VersionRange};

/// Least bytes of an encoded seat: two ids and three empty strings.
const SEAT_BYTES_MIN: usize = 36;
/// Bytes of an encoded placement.
const PLACEMENT_BYTES: usize = 16;

/// One node of a charter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its id from now on.
    pub node: NodeId,
    /// The data directory that the id was given to.
    pub instance: InstanceId,
    /// Where other nodes reached it then.
    pub peer_address: String,
    /// Where clients reached it then.
    pub client_address: String,
    /// Failure domain.
    pub zone: String,
}

/// The founder's decision; for a node that joined later, the cluster as it was then. Never changes; how things are since
/// then is in the shard map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charter {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its nodes, by id.
    pub seats: Vec<Seat>,
    /// The replicas of the meta group; at the founding, the first one founds it.
    pub meta: Vec<ReplicaPlacement>,
    /// How many shards.
    pub shard_count: u32,
}

impl Charter {
    /// The seat that was given to a data directory.
    pub fn seat_of(&self, instance: InstanceId) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.instance == instance)
    }

    /// The seat of a node.
    pub fn seat(&self, node: NodeId) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.node == node)
    }

    /// The cluster as it is now, for a node that has become a member of it.
    pub(crate) fn of_map(map: &ShardMap) -> Charter {
        let seat = |node: &NodeDescriptor| Seat {
            node: node.id,
            instance: node.instance,
            peer_address: node.peer_address.clone(),
            client_address: node.client_address.clone(),
            zone: node.zone.clone(),
        };
        Charter {
            cluster: map.cluster,
            seats: map.nodes.iter().map(seat).collect(),
            meta: map.meta.clone(),
            shard_count: u32::try_from(map.shards.len()).expect("shards are few"),
        }
    }

    /// What is known before the meta group has answered: nodes and meta replicas, no shards, epoch 0.
    pub(crate) fn first_map(&self) -> ShardMap {
        let (nodes, meta) = (self.descriptors(), self.meta.clone());
        ShardMap { cluster: self.cluster, epoch: Epoch(0), nodes, meta, ..ShardMap::default() }
    }

    /// The command that founds the cluster, by programs which all take part in these versions.
    pub(crate) fn found_command(&self, versions: VersionRange) -> MetaCommand {
        let nodes = self.descriptors().into_iter().map(|node| NodeDescriptor { versions, ..node });
        MetaCommand::Found {
            cluster: self.cluster,
            nodes: nodes.collect(),
            meta: self.meta.clone(),
            shard_count: self.shard_count,
        }
    }

    fn descriptors(&self) -> Vec<NodeDescriptor> {
        let descriptor = |seat: &Seat| NodeDescriptor {
            id: seat.node,
            instance: seat.instance,
            peer_address: seat.peer_address.clone(),
            client_address: seat.client_address.clone(),
            zone: seat.zone.clone(),
            ..NodeDescriptor::default()
        };
        self.seats.iter().map(descriptor).collect()
    }

    pub(crate) fn encode(&self, output: &mut Encoder) {
        output.u128(self.cluster.0).u32(self.shard_count);
        output.u32(u32::try_from(self.seats.len()).expect("nodes are few"));
        for seat in &self.seats {
            output.u64(seat.node.0).u128(seat.instance.0);
            output.bytes(seat.peer_address.as_bytes()).bytes(seat.client_address.as_bytes());
            output.bytes(seat.zone.as_bytes());
        }
        encode_placements(output, &self.meta);
    }

    pub(crate) fn decode(input: &mut Decoder) -> Result<Charter, DecodeError> {
        let cluster = ClusterId(input.u128("cluster")?);
        let shard_count = input.u32("shard count")?;
        let seat_count = input.count(SEAT_BYTES_MIN, "seat count")?;
        let seats = (0..seat_count).map(|_| decode_seat(input)).collect::<Result<_, _>>()?;
        let meta = decode_placements(input)?;
        Ok(Charter { cluster, seats, meta, shard_count })
    }
}

fn decode_seat(input: &mut Decoder) -> Result<Seat, DecodeError> {
    Ok(Seat {
        node: NodeId(input.u64("node")?),
        instance: InstanceId(input.u128("instance")?),
        peer_address: input.string("peer address")?,
        client_address: input.string("client address")?,
        zone: input.string("zone")?,
    })
}

fn encode_placements(output: &mut Encoder, placements: &[ReplicaPlacement]) {
    output.u32(u32::try_from(placements.len()).expect("replicas are few"));
    for placement in placements {
        output.u64(placement.replica.0).u64(placement.node.0);
    }
}

fn decode_placements(input: &mut Decoder) -> Result<Vec<ReplicaPlacement>, DecodeError> {
    let count = input.count(PLACEMENT_BYTES, "placement count")?;
    let one = |input: &mut Decoder| {
        let replica = ReplicaId(input.u64("replica")?);
        Ok(ReplicaPlacement { replica, node: NodeId(input.u64("replica node")?) })
    };
    (0..count).map(|_| one(input)).collect()
}
