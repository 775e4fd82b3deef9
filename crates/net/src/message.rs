//! Messages and who carries them.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use strata_types::{ClusterId, GroupId, NodeId};

use crate::NetError;

/// Bytes that a message counts for beside its body.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// Traffic that must not wait behind other traffic travels in another lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Heartbeats, votes, small questions: never behind data.
    Control,
    /// Log entries and forwarded client requests.
    Data,
    /// Snapshots.
    Bulk,
}

impl Lane {
    /// All lanes.
    pub const ALL: [Lane; 3] = [Lane::Control, Lane::Data, Lane::Bulk];

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Control => "control",
            Lane::Data => "data",
            Lane::Bulk => "bulk",
        }
    }
}

/// What a message is; gives it its handler. The numbers are on the wire: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// The answer to a request.
    Reply = 0,
    /// Append entries, of the raft crate.
    Append = 1,
    /// Vote and pre-vote.
    Vote = 2,
    /// Leader transfer.
    Transfer = 3,
    /// A piece of a snapshot.
    Snapshot = 4,
    /// A question for the read index of a leader.
    ReadIndex = 5,
    /// Client requests forwarded to the node that leads their shard.
    Requests = 6,
    /// The cluster machine: registration, shard map.
    Cluster = 7,
    /// The answer to a request that was not carried out: one sentence.
    Refusal = 8,
    /// The answer to a request of which nobody will tell whether it was carried out: one sentence.
    Abandoned = 9,
    /// A question for the transactions that a node's shards have something of.
    Transactions = 10,
    /// Whether replicas of a node still vote for the leaders that ask.
    RollCall = 11,
}

impl MessageKind {
    /// All kinds, by number.
    pub const ALL: [MessageKind; 12] = [
        MessageKind::Reply,
        MessageKind::Append,
        MessageKind::Vote,
        MessageKind::Transfer,
        MessageKind::Snapshot,
        MessageKind::ReadIndex,
        MessageKind::Requests,
        MessageKind::Cluster,
        MessageKind::Refusal,
        MessageKind::Abandoned,
        MessageKind::Transactions,
        MessageKind::RollCall,
    ];

    /// Whether it answers a request.
    pub fn is_answer(self) -> bool {
        matches!(self, MessageKind::Reply | MessageKind::Refusal | MessageKind::Abandoned)
    }

    /// The kind of a number.
    pub fn from_number(number: u32) -> Option<MessageKind> {
        MessageKind::ALL.get(number as usize).copied()
    }
}

/// One message, from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub from: NodeId,
    /// Whom it is for.
    pub to: NodeId,
    /// The group it concerns.
    pub group: GroupId,
    /// What it is.
    pub kind: MessageKind,
    /// Ties a reply to its request: chosen by the sender of the request, unique among its open calls. Zero: no reply
    /// is wanted.
    pub correlation: u64,
    /// Bytes that only the handler understands.
    pub body: Bytes,
}

/// Carries messages to other nodes.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Queues a message. Messages of one lane to one node arrive in the order sent, at most once, or not at all.
    /// Messages to the node itself are delivered like any other.
    fn send(&self, lane: Lane, message: Message) -> Result<(), NetError>;

    /// Tells who this node is. Called once, before the first [`Transport::send`]; connections carry it in their
    /// handshake, and a node of another cluster is refused.
    fn identify(&self, cluster: ClusterId, node: NodeId);

    /// Tells where a node is. The latest call wins.
    fn set_address(&self, node: NodeId, address: &str);

    /// Sends bytes to whoever listens at a peer address, before anybody has an identity, and returns the answer.
    async fn introduce(&self, address: &str, body: Bytes, deadline: Duration) -> Result<Bytes, NetError>;
}

/// Takes what arrives.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// A message arrived. Called in order of arrival within a lane and sender; must not block.
    fn deliver(&self, lane: Lane, message: Message);

    /// An introduction arrived.
    async fn introduce(&self, body: Bytes) -> Result<Bytes, NetError>;

    /// The way to a node is cut. `unsent` are the correlation numbers of requests that certainly did not leave this
    /// node; other requests that were sent in this lane may or may not have arrived.
    fn lane_failed(&self, _node: NodeId, _lane: Lane, _unsent: &[u64], _detail: &str) {}
}

impl Message {
    /// What it counts for in queues: its body and about what surrounds it on the wire and in memory.
    pub fn size(&self) -> usize {
        self.body.len() + MESSAGE_OVERHEAD_BYTES
    }
}
