//! What the meta machine answers.

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_types::{ClusterId, Epoch, NodeId, ReplicaId};

/// The format byte that every reply begins with.
const FORMAT: u8 = 1;

/// The answer to a [`crate::MetaCommand`]. Tags are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetaReply {
    /// To `Found`, also to a repeated one. Tag 0.
    Founded {
        /// The epoch of the map now.
        epoch: Epoch,
    },
    /// To `SetAddresses`, also when nothing changed. Tag 1.
    AddressesSet {
        /// The epoch of the map now.
        epoch: Epoch,
    },
    /// To `AllocateReplicaIds`: the ids from `first` on belong to the proposer. Tag 2.
    ReplicaIds {
        /// The first of them.
        first: ReplicaId,
        /// How many.
        count: u32,
    },
    /// The command was not carried out and changed nothing. Tag 3.
    Refused(MetaRefusal),
}

/// Why a command was not carried out. Tags are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetaRefusal {
    /// There is a cluster, and it is another one. Tag 0.
    #[error("this meta group belongs to another cluster: founded=`{cluster}`")]
    OtherCluster {
        /// The cluster that was founded here.
        cluster: ClusterId,
    },
    /// There is no cluster yet. Tag 1.
    #[error("the cluster is not founded yet")]
    NotFounded,
    /// No such node. Tag 2.
    #[error("the node is not a member of the cluster: node=`{node}`")]
    UnknownNode {
        /// The node that was named.
        node: NodeId,
    },
    /// The command contradicts itself or a limit. Tag 3.
    #[error("{detail}")]
    Invalid {
        /// What is wrong with it.
        detail: String,
    },
}

impl MetaReply {
    /// The bytes for the proposer.
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::with_capacity(32);
        encoder.u8(FORMAT);
        match self {
            MetaReply::Founded { epoch } => encoder.u8(0).u64(epoch.0),
            MetaReply::AddressesSet { epoch } => encoder.u8(1).u64(epoch.0),
            MetaReply::ReplicaIds { first, count } => encoder.u8(2).u64(first.0).u32(*count),
            MetaReply::Refused(refusal) => {
                encoder.u8(3);
                match refusal {
                    MetaRefusal::OtherCluster { cluster } => encoder.u8(0).u128(cluster.0),
                    MetaRefusal::NotFounded => encoder.u8(1),
                    MetaRefusal::UnknownNode { node } => encoder.u8(2).u64(node.0),
                    MetaRefusal::Invalid { detail } => encoder.u8(3).bytes(detail.as_bytes()),
                }
            }
        };
        encoder.finish()
    }

    /// The reply that `input` encodes.
    pub fn decode(input: Bytes) -> Result<MetaReply, DecodeError> {
        let mut decoder = Decoder::new(input);
        let format = decoder.u8("meta reply format")?;
        if format != FORMAT {
            return Err(DecodeError::BadValue { field: "meta reply format", value: format.into() });
        }
        let reply = match decoder.u8("meta reply tag")? {
            0 => MetaReply::Founded { epoch: Epoch(decoder.u64("epoch")?) },
            1 => MetaReply::AddressesSet { epoch: Epoch(decoder.u64("epoch")?) },
            2 => MetaReply::ReplicaIds {
                first: ReplicaId(decoder.u64("first replica id")?),
                count: decoder.u32("replica id count")?,
            },
            3 => MetaReply::Refused(match decoder.u8("meta refusal tag")? {
                0 => MetaRefusal::OtherCluster { cluster: ClusterId(decoder.u128("cluster")?) },
                1 => MetaRefusal::NotFounded,
                2 => MetaRefusal::UnknownNode { node: NodeId(decoder.u64("node")?) },
                3 => MetaRefusal::Invalid { detail: decoder.string("refusal detail")? },
                tag => return Err(DecodeError::BadValue { field: "meta refusal tag", value: tag.into() }),
            }),
            tag => return Err(DecodeError::BadValue { field: "meta reply tag", value: tag.into() }),
        };
        decoder.finish()?;
        Ok(reply)
    }
}
