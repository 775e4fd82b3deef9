//! Bytes of the parts that rows, commands and maps have in common.

use strata_codec::{DecodeError, Decoder, Encoder};
use strata_types::{
    ChangeId, ChangeReason, ClusterVersion, GroupChanges, InstanceId, NodeDescriptor, NodeId, NodeState, ReplicaChange,
    ReplicaId, ReplicaPlacement, SLOT_COUNT, ShardId, ShardPlacement, SlotRange, Term, VersionRange,
};

/// Bytes of an encoded replica.
const REPLICA_BYTES: usize = 16;

/// Bits of an encoded change.
const HAS_ADD: u8 = 1;
const HAS_REMOVE: u8 = 2;
const IS_CANCELLED: u8 = 4;
const IS_DECIDED: u8 = 8;

/// A node as it was before it had an instance, a weight, a state and versions. Without its id.
pub(crate) fn decode_plain_node(input: &mut Decoder, id: NodeId) -> Result<NodeDescriptor, DecodeError> {
    let peer_address = input.string("peer address")?;
    let client_address = input.string("client address")?;
    let zone = input.string("zone")?;
    Ok(NodeDescriptor { id, peer_address, client_address, zone, ..NodeDescriptor::default() })
}

/// A node without its id.
pub(crate) fn encode_node(output: &mut Encoder, node: &NodeDescriptor) {
    output.bytes(node.peer_address.as_bytes()).bytes(node.client_address.as_bytes()).bytes(node.zone.as_bytes());
    output.u128(node.instance.0).u32(node.weight).u8(node.state.number());
    encode_versions(output, node.versions);
}

pub(crate) fn decode_node(input: &mut Decoder, id: NodeId) -> Result<NodeDescriptor, DecodeError> {
    let plain = decode_plain_node(input, id)?;
    Ok(NodeDescriptor {
        instance: InstanceId(input.u128("instance")?),
        weight: input.u32("weight")?,
        state: decode_state(input)?,
        versions: decode_versions(input)?,
        ..plain
    })
}

pub(crate) fn decode_state(input: &mut Decoder) -> Result<NodeState, DecodeError> {
    let number = input.u8("node state")?;
    NodeState::of_number(number).ok_or(DecodeError::BadValue { field: "node state", value: number.into() })
}

pub(crate) fn encode_versions(output: &mut Encoder, versions: VersionRange) -> &mut Encoder {
    output.u32(versions.least.0).u32(versions.most.0)
}

pub(crate) fn decode_versions(input: &mut Decoder) -> Result<VersionRange, DecodeError> {
    let least = ClusterVersion(input.u32("least version")?);
    Ok(VersionRange { least, most: ClusterVersion(input.u32("most version")?) })
}

/// A shard without its id and without what is under way in it.
pub(crate) fn encode_shard(output: &mut Encoder, shard: &ShardPlacement) {
    output.u16(shard.slots.start).u16(shard.slots.end);
    encode_replicas(output, &shard.replicas);
}

pub(crate) fn decode_shard(input: &mut Decoder, shard: ShardId) -> Result<ShardPlacement, DecodeError> {
    let slots = SlotRange { start: input.u16("first slot")?, end: input.u16("slot after the last")? };
    if slots.end > SLOT_COUNT {
        return Err(DecodeError::BadValue { field: "slot after the last", value: slots.end.into() });
    }
    Ok(ShardPlacement { shard, slots, replicas: decode_replicas(input)?, ..ShardPlacement::default() })
}

pub(crate) fn encode_changes(output: &mut Encoder, changes: &GroupChanges) {
    output.u64(changes.generation);
    match &changes.change {
        None => {
            output.u8(0);
        }
        Some(change) => {
            output.u8(1).u64(change.id.0).u8(change.reason.number());
            let bits = [(change.add.is_some(), HAS_ADD), (change.remove.is_some(), HAS_REMOVE)];
            let flags = [(change.cancelled, IS_CANCELLED), (change.is_decided(), IS_DECIDED)];
            output.u8(bits.into_iter().chain(flags).filter(|(is_set, _)| *is_set).map(|(_, bit)| bit).sum());
            if let Some(add) = change.add {
                output.u64(add.replica.0).u64(add.node.0);
            }
            if let Some(remove) = change.remove {
                output.u64(remove.0);
            }
            if change.is_decided() {
                output.u64(change.decided.0);
            }
        }
    }
    encode_replicas(output, &changes.leaving);
}

pub(crate) fn decode_changes(input: &mut Decoder) -> Result<GroupChanges, DecodeError> {
    let generation = input.u64("generation")?;
    let change = match input.u8("change")? {
        0 => None,
        1 => Some(decode_change(input)?),
        value => return Err(DecodeError::BadValue { field: "change", value: value.into() }),
    };
    Ok(GroupChanges { generation, change, leaving: decode_replicas(input)? })
}

fn decode_change(input: &mut Decoder) -> Result<ReplicaChange, DecodeError> {
    let id = ChangeId(input.u64("change id")?);
    let number = input.u8("change reason")?;
    let reason = ChangeReason::of_number(number)
        .ok_or(DecodeError::BadValue { field: "change reason", value: number.into() })?;
    let bits = input.u8("change bits")?;
    if bits > HAS_ADD | HAS_REMOVE | IS_CANCELLED | IS_DECIDED {
        return Err(DecodeError::BadValue { field: "change bits", value: bits.into() });
    }
    let add = if bits & HAS_ADD != 0 { Some(decode_replica(input)?) } else { None };
    let remove = if bits & HAS_REMOVE != 0 { Some(ReplicaId(input.u64("removed replica")?)) } else { None };
    let decided = Term(if bits & IS_DECIDED != 0 { input.u64("decided in term")? } else { 0 });
    if bits & IS_DECIDED != 0 && decided == Term(0) {
        // That is what leaving out the bit is for: one change, one encoding.
        return Err(DecodeError::BadValue { field: "decided in term", value: 0 });
    }
    Ok(ReplicaChange { id, add, remove, reason, cancelled: bits & IS_CANCELLED != 0, decided })
}

pub(crate) fn encode_replicas(output: &mut Encoder, replicas: &[ReplicaPlacement]) {
    encode_count(output, replicas.len());
    for placement in replicas {
        output.u64(placement.replica.0).u64(placement.node.0);
    }
}

pub(crate) fn decode_replicas(input: &mut Decoder) -> Result<Vec<ReplicaPlacement>, DecodeError> {
    let count = input.count(REPLICA_BYTES, "replica count")?;
    (0..count).map(|_| decode_replica(input)).collect()
}

fn decode_replica(input: &mut Decoder) -> Result<ReplicaPlacement, DecodeError> {
    let replica = ReplicaId(input.u64("replica")?);
    Ok(ReplicaPlacement { replica, node: NodeId(input.u64("replica node")?) })
}

pub(crate) fn encode_count(output: &mut Encoder, count: usize) {
    output.u32(u32::try_from(count).expect("nodes, shards and replicas are far below 2^32"));
}
