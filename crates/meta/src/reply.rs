//! What the meta machine answers.

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_types::{ChangeId, Epoch, NodeId, NodeState, ReplicaId, Timestamp};

use crate::MetaRefusal;
use crate::fields::decode_state;

/// The format byte that every reply begins with.
const FORMAT: u8 = 1;

/// The answer to a [`crate::MetaCommand`]. Tags are only ever appended. The epoch is that of the map after the command.
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
    /// To `Join`. Tag 4.
    Joined {
        /// The node's id, now and for ever.
        node: NodeId,
        /// The epoch of the map now.
        epoch: Epoch,
    },
    /// To `SetNodeState`. Tag 5.
    NodeStateSet {
        /// What the state is now: not always what was wished. A lost node that is to be removed is gone, and one that
        /// holds nothing is removed at once.
        state: NodeState,
        /// The epoch of the map now.
        epoch: Epoch,
    },
    /// To `DecideChange`, `FinishChange`, `AbandonChange`, `CancelChange`, `ReplicaDeleted`,
    /// `PreferLeader` and `RaiseVersion`, also when nothing changed. Tag 6.
    Done {
        /// The epoch of the map now.
        epoch: Epoch,
    },
    /// To `Move` and `Rebuild`. Tag 7.
    Started {
        /// The change that does it; none when the replica has moved already.
        change: Option<ChangeId>,
        /// The epoch of the map now.
        epoch: Epoch,
    },
    /// To `Plan`. Tag 8.
    Planned {
        /// How many changes were started.
        started: u32,
        /// How many changes were cancelled.
        cancelled: u32,
        /// How many groups wait for their next change.
        waiting: u32,
        /// The epoch of the map now.
        epoch: Epoch,
    },
    /// To `ReserveTimestamps`: those from `first` on belong to the proposer. Tag 9.
    Timestamps {
        /// The first of them.
        first: Timestamp,
        /// How many.
        count: u32,
    },
}

impl MetaReply {
    /// The bytes for the proposer.
    pub fn encode(&self) -> Bytes {
        let mut output = Encoder::with_capacity(32);
        output.u8(FORMAT);
        match self {
            MetaReply::Founded { epoch } => output.u8(0).u64(epoch.0),
            MetaReply::AddressesSet { epoch } => output.u8(1).u64(epoch.0),
            MetaReply::ReplicaIds { first, count } => output.u8(2).u64(first.0).u32(*count),
            MetaReply::Refused(refusal) => {
                refusal.encode(output.u8(3));
                &mut output
            }
            MetaReply::Joined { node, epoch } => output.u8(4).u64(node.0).u64(epoch.0),
            MetaReply::NodeStateSet { state, epoch } => output.u8(5).u8(state.number()).u64(epoch.0),
            MetaReply::Done { epoch } => output.u8(6).u64(epoch.0),
            // Change ids begin at 1.
            MetaReply::Started { change, epoch } => output.u8(7).u64(change.map_or(0, |change| change.0)).u64(epoch.0),
            MetaReply::Planned { started, cancelled, waiting, epoch } => {
                output.u8(8).u32(*started).u32(*cancelled).u32(*waiting).u64(epoch.0)
            }
            MetaReply::Timestamps { first, count } => output.u8(9).u64(first.0).u32(*count),
        };
        output.finish()
    }

    /// The reply that `input` encodes.
    pub fn decode(input: Bytes) -> Result<MetaReply, DecodeError> {
        let mut input = Decoder::new(input);
        let format = input.u8("meta reply format")?;
        if format != FORMAT {
            return Err(DecodeError::BadValue { field: "meta reply format", value: format.into() });
        }
        let epoch = |input: &mut Decoder| input.u64("epoch").map(Epoch);
        let reply = match input.u8("meta reply tag")? {
            0 => MetaReply::Founded { epoch: epoch(&mut input)? },
            1 => MetaReply::AddressesSet { epoch: epoch(&mut input)? },
            2 => MetaReply::ReplicaIds {
                first: ReplicaId(input.u64("first replica id")?),
                count: input.u32("replica id count")?,
            },
            3 => MetaReply::Refused(MetaRefusal::decode(&mut input)?),
            4 => MetaReply::Joined { node: NodeId(input.u64("node")?), epoch: epoch(&mut input)? },
            5 => MetaReply::NodeStateSet { state: decode_state(&mut input)?, epoch: epoch(&mut input)? },
            6 => MetaReply::Done { epoch: epoch(&mut input)? },
            7 => MetaReply::Started {
                change: Some(ChangeId(input.u64("change")?)).filter(|change| change.0 != 0),
                epoch: epoch(&mut input)?,
            },
            8 => MetaReply::Planned {
                started: input.u32("started changes")?,
                cancelled: input.u32("cancelled changes")?,
                waiting: input.u32("waiting changes")?,
                epoch: epoch(&mut input)?,
            },
            9 => MetaReply::Timestamps {
                first: Timestamp(input.u64("first timestamp")?),
                count: input.u32("timestamp count")?,
            },
            tag => return Err(DecodeError::BadValue { field: "meta reply tag", value: tag.into() }),
        };
        input.finish()?;
        Ok(reply)
    }
}
