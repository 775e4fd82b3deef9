//! A whole shard map as bytes, for sending it to other nodes.

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_types::{ClusterId, ClusterVersion, Epoch, NodeDescriptor, NodeId, ShardId, ShardMap, ShardPlacement};

use crate::fields::{
    decode_changes, decode_node, decode_replicas, decode_shard, encode_changes, encode_count, encode_node,
    encode_replicas, encode_shard,
};

/// The format byte that every encoded map begins with.
const FORMAT: u8 = 1;

/// Least bytes of an encoded node: its id, three empty strings, instance, weight, state, versions.
pub(crate) const NODE_BYTES_MIN: usize = 49;

/// Least bytes of an encoded shard: id, slots, no replicas, generation, no change, none that leaves.
const SHARD_BYTES_MIN: usize = 25;

/// The bytes of a map.
pub fn encode_map(map: &ShardMap) -> Bytes {
    let mut output = Encoder::with_capacity(64 + map.nodes.len() * 128 + map.shards.len() * 96);
    output.u8(FORMAT).u128(map.cluster.0).u64(map.epoch.0).u32(map.version.0);
    encode_count(&mut output, map.nodes.len());
    for node in &map.nodes {
        output.u64(node.id.0);
        encode_node(&mut output, node);
    }
    encode_count(&mut output, map.shards.len());
    for shard in &map.shards {
        output.u32(shard.shard.0);
        encode_shard(&mut output, shard);
        encode_changes(&mut output, &shard.changes);
    }
    encode_replicas(&mut output, &map.meta);
    encode_changes(&mut output, &map.meta_changes);
    output.finish()
}

/// The map that `input` encodes. Not validated.
pub fn decode_map(input: Bytes) -> Result<ShardMap, DecodeError> {
    let mut input = Decoder::new(input);
    let format = input.u8("map format")?;
    if format != FORMAT {
        return Err(DecodeError::BadValue { field: "map format", value: format.into() });
    }
    let cluster = ClusterId(input.u128("cluster")?);
    let epoch = Epoch(input.u64("epoch")?);
    let version = ClusterVersion(input.u32("cluster version")?);
    let count = input.count(NODE_BYTES_MIN, "node count")?;
    let nodes = (0..count).map(|_| numbered_node(&mut input)).collect::<Result<_, _>>()?;
    let count = input.count(SHARD_BYTES_MIN, "shard count")?;
    let shards = (0..count).map(|_| numbered_shard(&mut input)).collect::<Result<_, _>>()?;
    let meta = decode_replicas(&mut input)?;
    let meta_changes = decode_changes(&mut input)?;
    input.finish()?;
    Ok(ShardMap { cluster, epoch, nodes, shards, meta, meta_changes, version })
}

/// A node and its id.
pub(crate) fn numbered_node(input: &mut Decoder) -> Result<NodeDescriptor, DecodeError> {
    let id = NodeId(input.u64("node")?);
    decode_node(input, id)
}

fn numbered_shard(input: &mut Decoder) -> Result<ShardPlacement, DecodeError> {
    let id = ShardId(input.u32("shard")?);
    let shard = decode_shard(input, id)?;
    Ok(ShardPlacement { changes: decode_changes(input)?, ..shard })
}
