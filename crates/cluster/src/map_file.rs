//! The file `map`: what this node last knew of the nodes and of the meta group.
//!
//! ```text
//!   version u8 | the shard map without shards, in the encoding of the meta crate | checksum u32 of everything before it
//! ```
//! The charter says where the meta group was born. It may have moved since, even to nodes that are in no charter, and
//! when all nodes start at once nobody can be asked. Therefore a node writes down what it knows before it opens, or
//! deletes, a replica of the meta group.

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder, checksum};
use strata_meta::{decode_map, encode_map};
use strata_types::ShardMap;

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// What of a map is kept.
pub(crate) fn without_shards(map: &ShardMap) -> ShardMap {
    ShardMap {
        cluster: map.cluster,
        epoch: map.epoch,
        nodes: map.nodes.clone(),
        shards: Vec::new(),
        meta: map.meta.clone(),
        meta_changes: map.meta_changes.clone(),
        version: map.version,
    }
}

/// The content of the file.
pub(crate) fn encode(map: &ShardMap) -> Bytes {
    let map = encode_map(&without_shards(map));
    let mut file = Encoder::with_capacity(map.len() + 1 + CHECKSUM_BYTES);
    file.u8(VERSION).raw(&map);
    let body = file.finish();
    let mut file = Encoder::with_capacity(body.len() + CHECKSUM_BYTES);
    file.raw(&body).u32(checksum(&body));
    file.finish()
}

/// What was written.
pub(crate) fn decode(mut file: Bytes) -> Result<ShardMap, DecodeError> {
    let Some(length) = file.len().checked_sub(CHECKSUM_BYTES).filter(|&length| length > 0) else {
        return Err(DecodeError::Truncated { field: "map checksum" });
    };
    let stored = Decoder::new(file.split_off(length)).u32("map checksum")?;
    if stored != checksum(&file) {
        return Err(DecodeError::BadValue { field: "map checksum", value: stored.into() });
    }
    match file[0] {
        VERSION => decode_map(file.slice(1..)),
        version => Err(DecodeError::BadValue { field: "map file version", value: version.into() }),
    }
}

#[cfg(test)]
mod tests {
    use strata_types::{
        ClusterId, ClusterVersion, Epoch, NodeDescriptor, NodeId, ReplicaId, ReplicaPlacement, ShardPlacement,
    };

    use super::*;

    fn example() -> ShardMap {
        ShardMap {
            cluster: ClusterId(0xc1),
            epoch: Epoch(7),
            nodes: vec![NodeDescriptor { id: NodeId(2), peer_address: "n2:10".into(), ..NodeDescriptor::default() }],
            shards: vec![ShardPlacement::default()],
            meta: vec![ReplicaPlacement { replica: ReplicaId(4), node: NodeId(2) }],
            version: ClusterVersion::FIRST,
            ..ShardMap::default()
        }
    }

    #[test]
    fn nodes_and_the_meta_group_are_kept_and_shards_are_not() {
        let bytes = encode(&example());
        assert_eq!((bytes[0], &bytes[1..bytes.len() - 4]), (1, &*encode_map(&without_shards(&example()))));
        assert_eq!(decode(bytes), Ok(ShardMap { shards: Vec::new(), ..example() }));
    }

    #[test]
    fn damage_is_found_at_every_byte() {
        let bytes = encode(&example());
        for position in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[position] ^= 1;
            decode(damaged.into()).expect_err("a flipped bit");
            decode(bytes.slice(..position)).expect_err("a short file");
        }
    }
}
