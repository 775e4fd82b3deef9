//! What other replicas send and what the log and the tablet hold, damaged in every way: decoders answer and do not
//! panic.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::entry::RaftEntry as _;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::vote::RaftVote as _;
use strata_codec::{AppliedState, DecodeError, Decoder, EntryPayload};
use strata_types::{NodeId, ReplicaId, Term, Timestamp};

use crate::applied::Applied;
use crate::encoding::{
    decode_entry, decode_log_id, decode_stored_membership, decode_vote, encode_entry, encode_log_id,
    encode_stored_membership, encode_vote, entry_log_id,
};
use crate::messages::{
    Ballot, Order, Parties, SnapshotPiece, decode_append, decode_append_reply, decode_position, decode_snapshot_piece,
    decode_snapshot_reply, decode_transfer, decode_vote_reply, decode_vote_request, encode_append, encode_append_reply,
    encode_position, encode_snapshot_piece, encode_snapshot_reply, encode_transfer, encode_vote_reply,
    encode_vote_request,
};
use crate::read_index::{IndexAnswer, decode_question, encode_question};
use crate::types::{
    Entry, EntryBody, LeaderId, LogId, Membership, Payload, Seat, SnapshotMeta, StoredMembership, Types, Vote, log_id,
};

strata_codec::fuzz_targets!();

const PARTIES: Parties = Parties { from: ReplicaId(11), to: ReplicaId(12) };

fn vote(committed: bool) -> Vote {
    Vote::from_leader_id(LeaderId { term: 7, node_id: ReplicaId(9) }, committed)
}

fn id(index: u64) -> LogId {
    log_id(3, ReplicaId(9), index)
}

fn membership() -> Membership {
    let seats = [(1, 10), (2, 20), (3, 30), (4, 40)].map(|(r, n)| (ReplicaId(r), Seat { node: NodeId(n) }));
    let sets = [vec![1, 2, 3], vec![2, 3]].map(|set| set.into_iter().map(ReplicaId).collect::<BTreeSet<_>>());
    Membership::new(sets.to_vec(), BTreeMap::from(seats)).expect("valid")
}

fn stored() -> StoredMembership {
    StoredMembership::new(Some(id(2)), membership())
}

fn payload() -> Bytes {
    let commands = vec![Bytes::from_static(b"one"), Bytes::new()];
    EntryPayload { stamp: Timestamp(1), stamped_term: Term(3), commands }.encode()
}

fn entries() -> Vec<Entry> {
    let bodies = [EntryBody::Blank, EntryBody::Normal(Payload(payload())), EntryBody::Membership(membership())];
    bodies.into_iter().zip(6..).map(|(body, index)| Entry::new(id(index), body)).collect()
}

/// A decoder of what follows the parties.
fn rest<T>(decode: impl Fn(Decoder) -> Result<T, DecodeError>) -> impl Fn(Bytes) -> Result<T, DecodeError> {
    move |bytes| {
        let mut input = Decoder::new(bytes);
        Parties::take(&mut input)?;
        decode(input)
    }
}

#[test]
fn what_the_log_and_the_tablet_hold() {
    check_format(&entries(), encode_entry, decode_entry);
    check_format(&[id(0), id(u64::MAX)], encode_log_id, decode_log_id);
    check_format(&[vote(true), vote(false)], encode_vote, decode_vote);
    check_format(&[stored(), StoredMembership::default()], encode_stored_membership, decode_stored_membership);
    each(&entries().iter().map(encode_entry).collect::<Vec<_>>(), |bytes| {
        // What is looked at without decoding the rest is the same.
        if let Ok(entry) = decode_entry(bytes.clone()) {
            assert_eq!(entry_log_id(&bytes), Ok(entry.log_id));
        }
    });
    let row = |log_id, membership, stamp| AppliedState { log_id, membership, chain: 5, stamp }.encode();
    let full = |stamp| row(encode_log_id(&id(3)), encode_stored_membership(&stored()), stamp);
    let rows = [full(Timestamp(0)), full(Timestamp(9)), row(Bytes::new(), Bytes::new(), Timestamp(0))];
    each(&rows, |bytes| {
        let _ = Applied::decode(Some(bytes));
    });
}

#[test]
fn appends() {
    type Request = (u64, u32, Vote, Option<LogId>, Vec<Entry>, Option<LogId>);
    let encode = |(stream, place, vote, prev_log_id, entries, leader_commit): &Request| {
        let (vote, prev_log_id, leader_commit) = (*vote, *prev_log_id, *leader_commit);
        let request = AppendEntriesRequest { vote, prev_log_id, entries: entries.clone(), leader_commit };
        encode_append(PARTIES, Order { stream: *stream, place: *place }, &request)
    };
    let decode = rest(decode_append);
    let decode = |bytes| -> Result<Request, DecodeError> {
        let (order, request) = decode(bytes)?;
        let AppendEntriesRequest { vote, prev_log_id, entries, leader_commit } = request;
        Ok((order.stream, order.place, vote, prev_log_id, entries, leader_commit))
    };
    let requests = [
        (0, 0, vote(true), None, Vec::new(), None),
        (5, 2, vote(true), Some(id(5)), entries(), Some(id(5))),
        (5, 2, vote(false), None, vec![Entry::new(id(0), EntryBody::Blank)], None),
    ];
    check_format(&requests, encode, decode);

    // Applying relies on both.
    let nonsense = vec![Entry::new(id(6), EntryBody::Normal(Payload(Bytes::from_static(b"no commands"))))];
    let refused = decode(encode(&(0, 0, vote(true), Some(id(5)), nonsense, None)));
    assert!(matches!(refused, Err(DecodeError::BadValue { field: "entry format", .. })), "{refused:?}");
    for (prev, first) in [(Some(id(5)), 7), (Some(id(5)), 5), (None, 1), (Some(id(u64::MAX)), 0)] {
        let gap = vec![Entry::new(id(first), EntryBody::Blank)];
        let refused = decode(encode(&(0, 0, vote(true), prev, gap, None)));
        assert!(matches!(refused, Err(DecodeError::BadValue { field: "entry index", .. })), "{refused:?}");
    }

    let replies = [
        AppendEntriesResponse::Success,
        AppendEntriesResponse::PartialSuccess(Some(id(4))),
        AppendEntriesResponse::PartialSuccess(None),
        AppendEntriesResponse::Conflict,
        AppendEntriesResponse::HigherVote(vote(true)),
    ];
    check_format(&replies, encode_append_reply, decode_append_reply);
}

#[test]
fn votes_and_transfers() {
    let request = |leadership_transfer, last| {
        let mut request = VoteRequest::<Types>::new(vote(false), last);
        request.leadership_transfer = leadership_transfer;
        request
    };
    let requests = [(Ballot::Real, request(true, None)), (Ballot::Pre, request(false, Some(id(8))))];
    let encode = |(ballot, request): &(Ballot, VoteRequest<Types>)| encode_vote_request(PARTIES, *ballot, request);
    check_format(&requests, encode, rest(decode_vote_request));
    let replies = [VoteResponse::new(vote(false), None, true), VoteResponse::new(vote(true), Some(id(8)), false)];
    check_format(&replies, encode_vote_reply, decode_vote_reply);
    let transfers = [None, Some(id(8))].map(|last| TransferLeaderRequest::new(vote(true), ReplicaId(4), last));
    check_format(&transfers, |request| encode_transfer(PARTIES, request), rest(decode_transfer));
}

#[test]
fn pieces_of_snapshots() {
    let meta = SnapshotMeta { last_log_id: Some(id(2)), last_membership: stored() };
    let (file, bytes) = ("000012.sst".to_owned(), Bytes::from_static(b"rows"));
    let pieces = [
        SnapshotPiece::Begin { snapshot: 1 },
        SnapshotPiece::Chunk { snapshot: 1, position: 9, file, offset: 2, crc: 3, bytes },
        SnapshotPiece::End { snapshot: 1, total: 13, vote: vote(true), meta },
    ];
    check_format(&pieces, |piece| encode_snapshot_piece(PARTIES, piece), rest(decode_snapshot_piece));
    check_format(&[0, u64::MAX], |position| encode_position(*position), decode_position);
    check_format(&[SnapshotResponse::new(vote(true))], encode_snapshot_reply, decode_snapshot_reply);
}

#[test]
fn read_indexes() {
    let questions = [encode_question(PARTIES, None), encode_question(PARTIES, Some(Timestamp(9)))];
    each(&questions, |bytes| {
        let _ = rest(decode_question)(bytes);
    });
    let answers = [
        IndexAnswer::Index(id(3)),
        IndexAnswer::NotLeader { leader: Some(NodeId(7)) },
        IndexAnswer::NotLeader { leader: None },
        IndexAnswer::Failed { detail: "no".into() },
        IndexAnswer::NoTime,
    ];
    check_format(&answers, IndexAnswer::encode, IndexAnswer::decode);
}
