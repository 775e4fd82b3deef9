//! The bytes of what Raft persists and sends: log ids, votes, memberships, entries.
//!
//! ```text
//!   log id      term u64, leader u64, index u64
//!   vote        term u64, leader u64, committed u8
//!   membership  count, { count, replica u64 ... } ...      the (joint) voter sets
//!               count, { replica u64, node u64 } ...        everybody's seat
//!   entry       version u8 = 1, kind u8, log id, body
//!                 kind 0 blank: nothing   1 normal: the payload, to the end   2 membership
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::entry::RaftEntry as _;
use openraft::vote::RaftVote as _;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_types::{NodeId, ReplicaId};

use crate::types::{Entry, EntryBody, LeaderId, LogId, Membership, Payload, Seat, StoredMembership, Vote, log_id};

const ENTRY_VERSION: u8 = 1;
const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;
/// Bytes of an entry before its body.
const ENTRY_HEADER_BYTES: usize = 2 + 24;

pub(crate) fn put_log_id(out: &mut Encoder, id: &LogId) {
    out.u64(id.leader_id.term).u64(id.leader_id.node_id.0).u64(id.index);
}

pub(crate) fn take_log_id(input: &mut Decoder) -> Result<LogId, DecodeError> {
    let term = input.u64("log id term")?;
    let leader = ReplicaId(input.u64("log id leader")?);
    Ok(log_id(term, leader, input.u64("log id index")?))
}

pub(crate) fn put_optional_log_id(out: &mut Encoder, id: Option<&LogId>) {
    match id {
        None => {
            out.u8(0);
        }
        Some(id) => {
            out.u8(1);
            put_log_id(out, id);
        }
    }
}

pub(crate) fn take_optional_log_id(input: &mut Decoder) -> Result<Option<LogId>, DecodeError> {
    match input.u8("log id presence")? {
        0 => Ok(None),
        1 => take_log_id(input).map(Some),
        value => Err(DecodeError::BadValue { field: "log id presence", value: value.into() }),
    }
}

pub(crate) fn put_vote(out: &mut Encoder, vote: &Vote) {
    let leader = vote.leader_id();
    out.u64(leader.term).u64(leader.node_id.0).u8(vote.is_committed().into());
}

pub(crate) fn take_vote(input: &mut Decoder) -> Result<Vote, DecodeError> {
    let leader = LeaderId { term: input.u64("vote term")?, node_id: ReplicaId(input.u64("vote leader")?) };
    match input.u8("vote committed")? {
        committed @ (0 | 1) => Ok(Vote::from_leader_id(leader, committed == 1)),
        value => Err(DecodeError::BadValue { field: "vote committed", value: value.into() }),
    }
}

fn put_membership(out: &mut Encoder, membership: &Membership) {
    let configs = membership.get_joint_config();
    out.u32(configs.len() as u32);
    for config in configs {
        out.u32(config.len() as u32);
        for replica in config {
            out.u64(replica.0);
        }
    }
    let seats: Vec<_> = membership.nodes().collect();
    out.u32(seats.len() as u32);
    for (replica, seat) in seats {
        out.u64(replica.0).u64(seat.node.0);
    }
}

fn take_membership(input: &mut Decoder) -> Result<Membership, DecodeError> {
    let mut configs = Vec::new();
    for _ in 0..input.count(4, "membership configs")? {
        let mut config = BTreeSet::new();
        for _ in 0..input.count(8, "membership voters")? {
            config.insert(ReplicaId(input.u64("membership voter")?));
        }
        configs.push(config);
    }
    #[cfg(debug_assertions)]
    if crate::mutant::is(crate::mutant::Mutant::OneStepChange) {
        configs.drain(..configs.len().saturating_sub(1));
    }
    let mut seats = BTreeMap::new();
    for _ in 0..input.count(16, "membership seats")? {
        let replica = ReplicaId(input.u64("membership replica")?);
        seats.insert(replica, Seat { node: NodeId(input.u64("membership node")?) });
    }
    let replicas = seats.len() as u64;
    Membership::new(configs, seats)
        .map_err(|_| DecodeError::BadValue { field: "membership without seats for all voters", value: replicas })
}

pub(crate) fn encode_stored_membership(stored: &StoredMembership) -> Bytes {
    let mut out = Encoder::with_capacity(128);
    put_optional_log_id(&mut out, stored.log_id().as_ref());
    put_membership(&mut out, stored.membership());
    out.finish()
}

pub(crate) fn decode_stored_membership(bytes: Bytes) -> Result<StoredMembership, DecodeError> {
    let mut input = Decoder::new(bytes);
    let id = take_optional_log_id(&mut input)?;
    let membership = take_membership(&mut input)?;
    input.finish()?;
    Ok(StoredMembership::new(id, membership))
}

pub(crate) fn encode_log_id(id: &LogId) -> Bytes {
    let mut out = Encoder::with_capacity(24);
    put_log_id(&mut out, id);
    out.finish()
}

pub(crate) fn decode_log_id(bytes: Bytes) -> Result<LogId, DecodeError> {
    let mut input = Decoder::new(bytes);
    let id = take_log_id(&mut input)?;
    input.finish()?;
    Ok(id)
}

pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    let mut out = Encoder::with_capacity(17);
    put_vote(&mut out, vote);
    out.finish()
}

pub(crate) fn decode_vote(bytes: Bytes) -> Result<Vote, DecodeError> {
    let mut input = Decoder::new(bytes);
    let vote = take_vote(&mut input)?;
    input.finish()?;
    Ok(vote)
}

pub(crate) fn encode_entry(entry: &Entry) -> Bytes {
    let body = if let EntryBody::Normal(payload) = &entry.payload { payload.0.len() } else { 128 };
    let mut out = Encoder::with_capacity(ENTRY_HEADER_BYTES + body);
    out.u8(ENTRY_VERSION).u8(match &entry.payload {
        EntryBody::Blank => BLANK,
        EntryBody::Normal(_) => NORMAL,
        EntryBody::Membership(_) => MEMBERSHIP,
    });
    put_log_id(&mut out, &entry.log_id);
    match &entry.payload {
        EntryBody::Blank => {}
        EntryBody::Normal(payload) => {
            out.raw(&payload.0);
        }
        EntryBody::Membership(membership) => put_membership(&mut out, membership),
    }
    out.finish()
}

pub(crate) fn decode_entry(bytes: Bytes) -> Result<Entry, DecodeError> {
    let mut input = Decoder::new(bytes);
    let version = input.u8("entry version")?;
    if version != ENTRY_VERSION {
        return Err(DecodeError::BadValue { field: "entry version", value: version.into() });
    }
    let kind = input.u8("entry kind")?;
    let id = take_log_id(&mut input)?;
    let payload = match kind {
        BLANK => {
            input.finish()?;
            EntryBody::Blank
        }
        NORMAL => EntryBody::Normal(Payload(input.rest())),
        MEMBERSHIP => {
            let membership = take_membership(&mut input)?;
            input.finish()?;
            EntryBody::Membership(membership)
        }
        value => return Err(DecodeError::BadValue { field: "entry kind", value: value.into() }),
    };
    Ok(Entry::new(id, payload))
}

/// The log id of an encoded entry, without decoding the rest.
pub(crate) fn entry_log_id(bytes: &Bytes) -> Result<LogId, DecodeError> {
    let mut input = Decoder::new(bytes.clone());
    input.u16("entry version and kind")?;
    take_log_id(&mut input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        let seats = [(1, 10), (2, 20), (3, 30), (4, 40)].map(|(r, n)| (ReplicaId(r), Seat { node: NodeId(n) }));
        let old = BTreeSet::from([1, 2, 3].map(ReplicaId));
        let new = BTreeSet::from([2, 3, 4].map(ReplicaId));
        Membership::new(vec![old, new], BTreeMap::from(seats)).expect("valid")
    }

    fn hex(bytes: &Bytes) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn entries_round_trip_and_have_pinned_bytes() {
        let id = log_id(3, ReplicaId(2), 5);
        let cases = [
            (EntryBody::Blank, "010000000000000000030000000000000002 0000000000000005"),
            (
                EntryBody::Normal(Payload(Bytes::from_static(b"abc"))),
                "010100000000000000030000000000000002 0000000000000005 616263",
            ),
        ];
        for (payload, golden) in cases {
            let entry = Entry::new(id, payload);
            let bytes = encode_entry(&entry);
            assert_eq!(hex(&bytes), golden.replace(' ', ""));
            assert_eq!(entry_log_id(&bytes), Ok(id));
            assert_eq!(decode_entry(bytes), Ok(entry));
        }
        let entry = Entry::new(id, EntryBody::Membership(membership()));
        assert_eq!(decode_entry(encode_entry(&entry)), Ok(entry));
    }

    #[test]
    fn votes_and_memberships_round_trip() {
        for committed in [false, true] {
            let vote = Vote::from_leader_id(LeaderId { term: 7, node_id: ReplicaId(9) }, committed);
            assert_eq!(decode_vote(encode_vote(&vote)), Ok(vote));
        }
        let stored = StoredMembership::new(Some(log_id(1, ReplicaId(1), 2)), membership());
        assert_eq!(decode_stored_membership(encode_stored_membership(&stored)), Ok(stored));
    }

    #[test]
    fn damaged_bytes_are_errors() {
        let good = encode_entry(&Entry::new(log_id(1, ReplicaId(1), 1), EntryBody::Membership(membership())));
        for length in 0..good.len() {
            assert!(decode_entry(good.slice(..length)).is_err(), "cut at {length}");
        }
        let mut future = good.to_vec();
        future[0] = 9;
        assert_eq!(decode_entry(future.into()), Err(DecodeError::BadValue { field: "entry version", value: 9 }));
    }
}
