//! Commands as bytes: format u8 | tag u8 | body.

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_types::{
    ChangeId, ClusterId, ClusterVersion, GroupId, InstanceId, NodeDescriptor, NodeId, ReplicaId, ReplicaPlacement,
    ShardId, Term,
};

use crate::fields::{
    decode_plain_node, decode_replicas, decode_state, decode_versions, encode_count, encode_node, encode_replicas,
    encode_versions,
};
use crate::map_wire::{NODE_BYTES_MIN, numbered_node};
use crate::{Joiner, MetaCommand, PlanLimits};

/// The format byte that every command begins with.
const FORMAT: u8 = 1;

/// Least bytes of a plain node: its id and three empty strings.
const PLAIN_NODE_BYTES_MIN: usize = 20;

impl MetaCommand {
    /// The bytes for the log.
    pub fn encode(&self) -> Bytes {
        let mut output = Encoder::with_capacity(64);
        output.u8(FORMAT);
        match self {
            MetaCommand::Found { cluster, nodes, meta, shard_count } => {
                encode_found(&mut output, *cluster, nodes, meta, *shard_count)
            }
            MetaCommand::SetAddresses { node, peer_address, client_address } => {
                output.u8(1).u64(node.0).bytes(peer_address.as_bytes()).bytes(client_address.as_bytes())
            }
            MetaCommand::AllocateReplicaIds { count } => output.u8(2).u32(*count),
            MetaCommand::Join(joiner) => encode_join(&mut output, joiner),
            MetaCommand::SetNodeState { node, wanted, force } => {
                output.u8(5).u64(node.0).u8(wanted.number()).u8(u8::from(*force))
            }
            MetaCommand::FinishChange { group, change } => output.u8(6).u64(group.0).u64(change.0),
            MetaCommand::AbandonChange { group, change, term } => output.u8(7).u64(group.0).u64(change.0).u64(term.0),
            MetaCommand::CancelChange { group, change } => output.u8(8).u64(group.0).u64(change.0),
            MetaCommand::ReplicaDeleted { group, replica } => output.u8(9).u64(group.0).u64(replica.0),
            MetaCommand::Plan { limits } => output.u8(10).u32(limits.changes).u32(limits.per_node),
            MetaCommand::Move { group, from, to } => output.u8(11).u64(group.0).u64(from.0).u64(to.0),
            MetaCommand::PreferLeader { shard, replica } => output.u8(12).u32(shard.0).u64(replica.0),
            MetaCommand::Rebuild { group, replica } => output.u8(13).u64(group.0).u64(replica.0),
            MetaCommand::RaiseVersion { to } => output.u8(14).u32(to.0),
            MetaCommand::DecideChange { group, change, term } => output.u8(15).u64(group.0).u64(change.0).u64(term.0),
            MetaCommand::ReserveTimestamps { count } => output.u8(16).u32(*count),
            MetaCommand::PlanAround { limits, full } => encode_plan_around(&mut output, *limits, full),
        };
        output.finish()
    }

    /// The command that `input` encodes.
    pub fn decode(input: Bytes) -> Result<MetaCommand, DecodeError> {
        let mut input = Decoder::new(input);
        let format = input.u8("meta command format")?;
        if format != FORMAT {
            return Err(DecodeError::BadValue { field: "meta command format", value: format.into() });
        }
        let command = match input.u8("meta command tag")? {
            0 => decode_found(&mut input, PLAIN_NODE_BYTES_MIN, numbered_plain_node)?,
            1 => MetaCommand::SetAddresses {
                node: node(&mut input)?,
                peer_address: input.string("peer address")?,
                client_address: input.string("client address")?,
            },
            2 => MetaCommand::AllocateReplicaIds { count: input.u32("replica id count")? },
            3 => decode_found(&mut input, NODE_BYTES_MIN, numbered_node)?,
            4 => MetaCommand::Join(decode_join(&mut input)?),
            5 => MetaCommand::SetNodeState {
                node: node(&mut input)?,
                wanted: decode_state(&mut input)?,
                force: decode_bool(&mut input, "force")?,
            },
            6 => MetaCommand::FinishChange { group: group(&mut input)?, change: change(&mut input)? },
            7 => MetaCommand::AbandonChange {
                group: group(&mut input)?,
                change: change(&mut input)?,
                term: term(&mut input)?,
            },
            8 => MetaCommand::CancelChange { group: group(&mut input)?, change: change(&mut input)? },
            9 => MetaCommand::ReplicaDeleted { group: group(&mut input)?, replica: replica(&mut input)? },
            10 => MetaCommand::Plan { limits: limits(&mut input)? },
            11 => MetaCommand::Move { group: group(&mut input)?, from: node(&mut input)?, to: node(&mut input)? },
            12 => MetaCommand::PreferLeader { shard: ShardId(input.u32("shard")?), replica: replica(&mut input)? },
            13 => MetaCommand::Rebuild { group: group(&mut input)?, replica: replica(&mut input)? },
            14 => MetaCommand::RaiseVersion { to: ClusterVersion(input.u32("cluster version")?) },
            15 => MetaCommand::DecideChange {
                group: group(&mut input)?,
                change: change(&mut input)?,
                term: term(&mut input)?,
            },
            16 => MetaCommand::ReserveTimestamps { count: input.u32("timestamp count")? },
            17 => decode_plan_around(&mut input)?,
            tag => return Err(DecodeError::BadValue { field: "meta command tag", value: tag.into() }),
        };
        input.finish()?;
        Ok(command)
    }
}

fn node(input: &mut Decoder) -> Result<NodeId, DecodeError> {
    input.u64("node").map(NodeId)
}

fn group(input: &mut Decoder) -> Result<GroupId, DecodeError> {
    input.u64("group").map(GroupId)
}

fn change(input: &mut Decoder) -> Result<ChangeId, DecodeError> {
    input.u64("change").map(ChangeId)
}

fn term(input: &mut Decoder) -> Result<Term, DecodeError> {
    input.u64("term").map(Term)
}

fn replica(input: &mut Decoder) -> Result<ReplicaId, DecodeError> {
    input.u64("replica").map(ReplicaId)
}

fn limits(input: &mut Decoder) -> Result<PlanLimits, DecodeError> {
    Ok(PlanLimits { changes: input.u32("changes")?, per_node: input.u32("changes per node")? })
}

fn encode_plan_around<'a>(output: &'a mut Encoder, limits: PlanLimits, full: &[NodeId]) -> &'a mut Encoder {
    output.u8(17).u32(limits.changes).u32(limits.per_node);
    encode_count(output, full.len());
    for node in full {
        output.u64(node.0);
    }
    output
}

fn decode_plan_around(input: &mut Decoder) -> Result<MetaCommand, DecodeError> {
    let limits = limits(input)?;
    let full = (0..input.count(8, "full node count")?).map(|_| node(input)).collect::<Result<_, _>>()?;
    Ok(MetaCommand::PlanAround { limits, full })
}

fn decode_bool(input: &mut Decoder, field: &'static str) -> Result<bool, DecodeError> {
    match input.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(DecodeError::BadValue { field, value: value.into() }),
    }
}

fn encode_found<'a>(
    output: &'a mut Encoder,
    cluster: ClusterId,
    nodes: &[NodeDescriptor],
    meta: &[ReplicaPlacement],
    shard_count: u32,
) -> &'a mut Encoder {
    output.u8(3).u128(cluster.0).u32(shard_count);
    encode_replicas(output, meta);
    encode_count(output, nodes.len());
    for node in nodes {
        output.u64(node.id.0);
        encode_node(output, node);
    }
    output
}

fn decode_found(
    input: &mut Decoder,
    node_bytes_min: usize,
    node: impl Fn(&mut Decoder) -> Result<NodeDescriptor, DecodeError>,
) -> Result<MetaCommand, DecodeError> {
    let cluster = ClusterId(input.u128("cluster")?);
    let shard_count = input.u32("shard count")?;
    let meta = decode_replicas(input)?;
    let node_count = input.count(node_bytes_min, "node count")?;
    let nodes = (0..node_count).map(|_| node(input)).collect::<Result<_, _>>()?;
    Ok(MetaCommand::Found { cluster, nodes, meta, shard_count })
}

fn numbered_plain_node(input: &mut Decoder) -> Result<NodeDescriptor, DecodeError> {
    let id = NodeId(input.u64("node")?);
    decode_plain_node(input, id)
}

fn encode_join<'a>(output: &'a mut Encoder, joiner: &Joiner) -> &'a mut Encoder {
    output.u8(4).u128(joiner.instance.0).bytes(joiner.peer_address.as_bytes());
    output.bytes(joiner.client_address.as_bytes()).bytes(joiner.zone.as_bytes()).u32(joiner.weight);
    encode_versions(output, joiner.versions)
}

fn decode_join(input: &mut Decoder) -> Result<Joiner, DecodeError> {
    Ok(Joiner {
        instance: InstanceId(input.u128("instance")?),
        peer_address: input.string("peer address")?,
        client_address: input.string("client address")?,
        zone: input.string("zone")?,
        weight: input.u32("weight")?,
        versions: decode_versions(input)?,
    })
}
