//! The types that openraft is instantiated with.

use std::fmt;

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::impls::{BoxedErrorSource, InlineBatch, leader_id_adv};
use openraft::type_config::alias;
use strata_types::{NodeId, ReplicaId};

/// Our instantiation of openraft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Payload;
    type R = Replies;
    type NodeId = ReplicaId;
    type Node = Seat;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = openraft::vote::Vote<LeaderId>;
    type Payload = openraft::EntryPayload<Payload, ReplicaId, Seat>;
    type Entry = openraft::Entry<LeaderId, Self::Payload>;
    // Seeded, so that a simulated cluster draws the same election timeouts for the same seed.
    type AsyncRuntime = openraft_rt::deterministic_rng::DeterministicRng<openraft_rt_tokio::TokioRuntime>;
    type Responder<T>
        = FnResponder<T>
    where
        T: Send + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = BoxedErrorSource;
}

pub(crate) type LeaderId = leader_id_adv::LeaderId<u64, ReplicaId>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type EntryBody = alias::PayloadOf<Types>;
pub(crate) type Membership = openraft::Membership<ReplicaId, Seat>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot = alias::SnapshotOf<Types, crate::snapshot::SnapshotSource>;
pub(crate) type Raft = openraft::Raft<Types, crate::state_machine::StateMachine>;
pub(crate) type WriteResult = openraft::raft::ClientWriteResult<Types>;
pub(crate) type Runtime = <Types as RaftTypeConfig>::AsyncRuntime;

/// Where a replica sits. Its address is in the transport's address book, so a node that moves to another address
/// needs no membership change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) node: NodeId,
}

/// The body of a normal entry: many client commands, encoded by `strata_codec::EntryPayload`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Replies {
    /// The encoded replies to its commands, in order.
    Applied(Vec<Bytes>),
    /// Nothing of it was applied, on any replica.
    Refused,
}

impl Default for Replies {
    fn default() -> Replies {
        Replies::Applied(Vec::new())
    }
}

/// Gives the result of a proposal to a function. openraft's own responders need a channel each.
pub(crate) struct FnResponder<T>(Box<dyn FnOnce(T) + Send>);

impl<T> FnResponder<T> {
    pub(crate) fn new(function: impl FnOnce(T) + Send + 'static) -> FnResponder<T> {
        FnResponder(Box::new(function))
    }
}

impl<T: Send + 'static> openraft::raft::responder::Responder<Types, T> for FnResponder<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// Builds a [`LogId`].
pub(crate) fn log_id(term: u64, leader: ReplicaId, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: leader }, index)
}
