//! What can be asked of the meta machine.

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_types::{ClusterId, NodeDescriptor, NodeId, ReplicaPlacement};

use crate::rows::{decode_descriptor, decode_replicas, encode_descriptor, encode_replicas};

/// The format byte that every command begins with.
const FORMAT: u8 = 1;

/// Least bytes of an encoded node: its id and three empty strings.
const DESCRIPTOR_BYTES_MIN: usize = 20;

/// A command of the meta group. Tags are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetaCommand {
    /// Founds the cluster: registers its nodes, cuts the slots into shards and places them. Changes nothing when the
    /// cluster was founded already under the same id. Tag 0.
    Found {
        /// The cluster, chosen at random by the founder.
        cluster: ClusterId,
        /// All nodes.
        nodes: Vec<NodeDescriptor>,
        /// The replicas of the meta group. Replicas of shards are numbered after the highest of them.
        meta: Vec<ReplicaPlacement>,
        /// How many shards.
        shard_count: u32,
    },
    /// Says where a node is reached from now on. Tag 1.
    SetAddresses {
        /// The node.
        node: NodeId,
        /// Where other nodes reach it.
        peer_address: String,
        /// Where clients reach it.
        client_address: String,
    },
    /// Reserves replica ids for the proposer. Tag 2.
    AllocateReplicaIds {
        /// How many.
        count: u32,
    },
}

impl MetaCommand {
    /// The bytes for the log.
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::with_capacity(64);
        encoder.u8(FORMAT);
        match self {
            MetaCommand::Found { cluster, nodes, meta, shard_count } => {
                encoder.u8(0).u128(cluster.0).u32(*shard_count);
                encode_replicas(&mut encoder, meta);
                encoder.u32(u32::try_from(nodes.len()).expect("clusters are far below 2^32 nodes"));
                for node in nodes {
                    encoder.u64(node.id.0);
                    encode_descriptor(&mut encoder, node);
                }
            }
            MetaCommand::SetAddresses { node, peer_address, client_address } => {
                encoder.u8(1).u64(node.0).bytes(peer_address.as_bytes()).bytes(client_address.as_bytes());
            }
            MetaCommand::AllocateReplicaIds { count } => {
                encoder.u8(2).u32(*count);
            }
        }
        encoder.finish()
    }

    /// The command that `input` encodes.
    pub fn decode(input: Bytes) -> Result<MetaCommand, DecodeError> {
        let mut decoder = Decoder::new(input);
        let format = decoder.u8("meta command format")?;
        if format != FORMAT {
            return Err(DecodeError::BadValue { field: "meta command format", value: format.into() });
        }
        let command = match decoder.u8("meta command tag")? {
            0 => decode_found(&mut decoder)?,
            1 => MetaCommand::SetAddresses {
                node: NodeId(decoder.u64("node")?),
                peer_address: decoder.string("peer address")?,
                client_address: decoder.string("client address")?,
            },
            2 => MetaCommand::AllocateReplicaIds { count: decoder.u32("replica id count")? },
            tag => return Err(DecodeError::BadValue { field: "meta command tag", value: tag.into() }),
        };
        decoder.finish()?;
        Ok(command)
    }
}

fn decode_found(decoder: &mut Decoder) -> Result<MetaCommand, DecodeError> {
    let cluster = ClusterId(decoder.u128("cluster")?);
    let shard_count = decoder.u32("shard count")?;
    let meta = decode_replicas(decoder)?;
    let node_count = decoder.count(DESCRIPTOR_BYTES_MIN, "node count")?;
    let nodes = (0..node_count)
        .map(|_| {
            let id = NodeId(decoder.u64("node")?);
            decode_descriptor(decoder, id)
        })
        .collect::<Result<_, _>>()?;
    Ok(MetaCommand::Found { cluster, nodes, meta, shard_count })
}
