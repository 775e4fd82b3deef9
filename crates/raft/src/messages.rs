//! The bytes of what replicas say to each other. Every message names the replica that sends it and the one it is
//! for: a node may have had another replica of the group, and a message for that one must not reach this one.
//!
//! These are wire formats between nodes of one protocol range, not persisted ones.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use strata_codec::{DecodeError, Decoder, Encoder, EntryPayload};
use strata_types::ReplicaId;

use crate::encoding::{
    decode_entry, decode_stored_membership, encode_entry, encode_stored_membership, put_optional_log_id, put_vote,
    take_optional_log_id, take_vote,
};
use crate::types::{EntryBody, SnapshotMeta, Types, Vote};

type Decoded<T> = Result<T, DecodeError>;

/// Who speaks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parties {
    pub(crate) from: ReplicaId,
    pub(crate) to: ReplicaId,
}

impl Parties {
    pub(crate) fn put(self, out: &mut Encoder) {
        out.u64(self.from.0).u64(self.to.0);
    }

    /// Takes the parties off a message; the rest decodes with the function of its kind.
    pub(crate) fn take(input: &mut Decoder) -> Decoded<Parties> {
        Ok(Parties { from: ReplicaId(input.u64("from replica")?), to: ReplicaId(input.u64("to replica")?) })
    }
}

/// Where an append stands in a stream of appends to one follower.
///
/// openraft takes the answers to a stream as if the requests had arrived in order: an append that overtakes the one
/// before it is answered "conflict", and after the one it overtook succeeded that looks as if the follower had lost
/// entries, which stops the leader. So the receiver refuses what is not next in its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// The stream; zero for a request on its own.
    pub(crate) stream: u64,
    /// The request's place in it. A request at place zero begins its stream.
    pub(crate) place: u32,
}

impl Order {
    /// Whether a request may follow what came before, which it then replaces.
    pub(crate) fn follows(self, last: &mut Order) -> bool {
        let in_order = self.place == 0 || (self.stream == last.stream && self.place == last.place + 1);
        if self.stream == 0 {
            return true;
        }
        if in_order {
            *last = self;
        }
        in_order
    }
}

pub(crate) fn encode_append(parties: Parties, order: Order, request: &AppendEntriesRequest<Types>) -> Bytes {
    let encoded: Vec<Bytes> = request.entries.iter().map(encode_entry).collect();
    let mut out = Encoder::with_capacity(96 + encoded.iter().map(|bytes| bytes.len() + 4).sum::<usize>());
    parties.put(&mut out);
    out.u64(order.stream).u32(order.place);
    put_vote(&mut out, &request.vote);
    put_optional_log_id(&mut out, request.prev_log_id.as_ref());
    put_optional_log_id(&mut out, request.leader_commit.as_ref());
    out.u32(encoded.len() as u32);
    for bytes in encoded {
        out.bytes(&bytes);
    }
    out.finish()
}

pub(crate) fn decode_append(mut input: Decoder) -> Decoded<(Order, AppendEntriesRequest<Types>)> {
    let order = Order { stream: input.u64("append stream")?, place: input.u32("append place")? };
    let vote = take_vote(&mut input)?;
    let prev_log_id = take_optional_log_id(&mut input)?;
    let leader_commit = take_optional_log_id(&mut input)?;
    let count = input.count(4, "entry count")?;
    let mut entries = Vec::with_capacity(count);
    let mut next = prev_log_id.map_or(Some(0), |id| id.index.checked_add(1));
    for _ in 0..count {
        let entry = decode_entry(input.bytes("entry")?)?;
        // What is in the log will be applied: it must be whole before it gets there.
        if let EntryBody::Normal(payload) = &entry.payload {
            EntryPayload::check(payload.0.clone())?;
        }
        if next != Some(entry.log_id.index) {
            return Err(DecodeError::BadValue { field: "entry index", value: entry.log_id.index });
        }
        next = entry.log_id.index.checked_add(1);
        entries.push(entry);
    }
    input.finish()?;
    Ok((order, AppendEntriesRequest { vote, prev_log_id, entries, leader_commit }))
}

pub(crate) fn encode_append_reply(reply: &AppendEntriesResponse<Types>) -> Bytes {
    let mut out = Encoder::with_capacity(32);
    match reply {
        AppendEntriesResponse::Success => {
            out.u8(0);
        }
        AppendEntriesResponse::PartialSuccess(last) => {
            out.u8(1);
            put_optional_log_id(&mut out, last.as_ref());
        }
        AppendEntriesResponse::Conflict => {
            out.u8(2);
        }
        AppendEntriesResponse::HigherVote(vote) => {
            out.u8(3);
            put_vote(&mut out, vote);
        }
    }
    out.finish()
}

pub(crate) fn decode_append_reply(bytes: Bytes) -> Decoded<AppendEntriesResponse<Types>> {
    let mut input = Decoder::new(bytes);
    let reply = match input.u8("append reply")? {
        0 => AppendEntriesResponse::Success,
        1 => AppendEntriesResponse::PartialSuccess(take_optional_log_id(&mut input)?),
        2 => AppendEntriesResponse::Conflict,
        3 => AppendEntriesResponse::HigherVote(take_vote(&mut input)?),
        value => return Err(DecodeError::BadValue { field: "append reply", value: value.into() }),
    };
    input.finish()?;
    Ok(reply)
}

/// A vote or a pre-vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ballot {
    Real,
    Pre,
}

pub(crate) fn encode_vote_request(parties: Parties, ballot: Ballot, request: &VoteRequest<Types>) -> Bytes {
    let mut out = Encoder::with_capacity(64);
    parties.put(&mut out);
    out.u8(matches!(ballot, Ballot::Pre).into()).u8(request.leadership_transfer.into());
    put_vote(&mut out, &request.vote);
    put_optional_log_id(&mut out, request.last_log_id.as_ref());
    out.finish()
}

pub(crate) fn decode_vote_request(mut input: Decoder) -> Decoded<(Ballot, VoteRequest<Types>)> {
    let ballot = if input.u8("ballot")? == 0 { Ballot::Real } else { Ballot::Pre };
    let transfer = input.u8("leadership transfer")? != 0;
    let vote = take_vote(&mut input)?;
    let mut request = VoteRequest::new(vote, take_optional_log_id(&mut input)?);
    request.leadership_transfer = transfer;
    input.finish()?;
    Ok((ballot, request))
}

pub(crate) fn encode_vote_reply(reply: &VoteResponse<Types>) -> Bytes {
    let mut out = Encoder::with_capacity(48);
    put_vote(&mut out, &reply.vote);
    out.u8(reply.vote_granted.into());
    put_optional_log_id(&mut out, reply.last_log_id.as_ref());
    out.finish()
}

pub(crate) fn decode_vote_reply(bytes: Bytes) -> Decoded<VoteResponse<Types>> {
    let mut input = Decoder::new(bytes);
    let vote = take_vote(&mut input)?;
    let granted = input.u8("vote granted")? != 0;
    let last = take_optional_log_id(&mut input)?;
    input.finish()?;
    Ok(VoteResponse::new(vote, last, granted))
}

pub(crate) fn encode_transfer(parties: Parties, request: &TransferLeaderRequest<Types>) -> Bytes {
    let mut out = Encoder::with_capacity(72);
    parties.put(&mut out);
    put_vote(&mut out, request.from_leader());
    out.u64(request.to_node_id().0);
    put_optional_log_id(&mut out, request.last_log_id());
    out.finish()
}

pub(crate) fn decode_transfer(mut input: Decoder) -> Decoded<TransferLeaderRequest<Types>> {
    let vote = take_vote(&mut input)?;
    let to = ReplicaId(input.u64("transfer target")?);
    let last = take_optional_log_id(&mut input)?;
    input.finish()?;
    Ok(TransferLeaderRequest::new(vote, to, last))
}

/// A piece of a snapshot on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SnapshotPiece {
    /// The receiver says how much it has of this snapshot, and makes room for a tablet if it has nothing.
    Begin { snapshot: u64 },
    /// Bytes of a file. The position counts the bytes of all files, in the order in which they are sent.
    Chunk { snapshot: u64, position: u64, file: String, offset: u64, crc: u32, bytes: Bytes },
    /// Everything was sent: check, make durable, install.
    End { snapshot: u64, total: u64, vote: Vote, meta: SnapshotMeta },
}

/// Kinds of pieces. Numbers below were those of snapshots that could not go on where they broke off.
const BEGIN: u8 = 3;
const CHUNK: u8 = 4;
const END: u8 = 5;
/// Most bytes of a piece: twice what is sent, so that the size may change. Pieces wait in memory.
const PIECE_BYTES_MAX: usize = 1 << 20;

pub(crate) fn encode_snapshot_piece(parties: Parties, piece: &SnapshotPiece) -> Bytes {
    let body = if let SnapshotPiece::Chunk { file, bytes, .. } = piece { file.len() + bytes.len() } else { 192 };
    let mut out = Encoder::with_capacity(64 + body);
    parties.put(&mut out);
    match piece {
        SnapshotPiece::Begin { snapshot } => {
            out.u8(BEGIN).u64(*snapshot);
        }
        SnapshotPiece::Chunk { snapshot, position, file, offset, crc, bytes } => {
            out.u8(CHUNK).u64(*snapshot).u64(*position);
            out.bytes(file.as_bytes()).u64(*offset).u32(*crc).bytes(bytes);
        }
        SnapshotPiece::End { snapshot, total, vote, meta } => {
            out.u8(END).u64(*snapshot).u64(*total);
            put_vote(&mut out, vote);
            put_optional_log_id(&mut out, meta.last_log_id.as_ref());
            out.bytes(&encode_stored_membership(&meta.last_membership));
        }
    }
    out.finish()
}

pub(crate) fn decode_snapshot_piece(mut input: Decoder) -> Decoded<SnapshotPiece> {
    let kind = input.u8("snapshot piece")?;
    let snapshot = input.u64("snapshot")?;
    let piece = match kind {
        BEGIN => SnapshotPiece::Begin { snapshot },
        CHUNK => SnapshotPiece::Chunk {
            snapshot,
            position: input.u64("position")?,
            file: input.string("file")?,
            offset: input.u64("offset")?,
            crc: input.u32("crc")?,
            bytes: input.bytes("chunk").and_then(|bytes| match bytes.len() {
                ..=PIECE_BYTES_MAX => Ok(bytes),
                length => Err(DecodeError::BadValue { field: "chunk length", value: length as u64 }),
            })?,
        },
        END => {
            let total = input.u64("total")?;
            let vote = take_vote(&mut input)?;
            let last_log_id = take_optional_log_id(&mut input)?;
            let last_membership = decode_stored_membership(input.bytes("membership")?)?;
            SnapshotPiece::End { snapshot, total, vote, meta: SnapshotMeta { last_log_id, last_membership } }
        }
        value => return Err(DecodeError::BadValue { field: "snapshot piece", value: value.into() }),
    };
    input.finish()?;
    Ok(piece)
}

/// The answer to the first piece of a snapshot: how much of it is there.
pub(crate) fn encode_position(position: u64) -> Bytes {
    let mut out = Encoder::with_capacity(8);
    out.u64(position);
    out.finish()
}

pub(crate) fn decode_position(bytes: Bytes) -> Decoded<u64> {
    let mut input = Decoder::new(bytes);
    let position = input.u64("position")?;
    input.finish()?;
    Ok(position)
}

/// The answer to the last piece of a snapshot.
pub(crate) fn encode_snapshot_reply(reply: &SnapshotResponse<Types>) -> Bytes {
    crate::encoding::encode_vote(&reply.vote)
}

pub(crate) fn decode_snapshot_reply(bytes: Bytes) -> Decoded<SnapshotResponse<Types>> {
    crate::encoding::decode_vote(bytes).map(SnapshotResponse::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_request_of_a_stream_may_follow() {
        let mut last = Order::default();
        let mut may = |stream, place| Order { stream, place }.follows(&mut last);
        assert!(may(7, 0) && may(7, 1));
        assert!(!may(7, 3), "it overtook another one");
        assert!(may(7, 2) && !may(7, 2), "it came twice");
        assert!(may(8, 0), "a new stream");
        assert!(!may(7, 3), "what is left of the old stream");
        assert!(may(0, 0), "a request on its own");
        assert!(may(8, 1), "which changes nothing");
    }
}
