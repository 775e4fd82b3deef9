//! What nodes of a cluster ask each other about the cluster itself ([`strata_net::MessageKind::Cluster`]).

use bytes::Bytes;
use strata_raft::{Ballot, Claim};
use strata_types::{Epoch, NodeId, ShardMap, Timestamp};

use crate::report::NodeReport;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// The shard map, as soon as there is a newer one than this.
    FetchMap { newer_than: Epoch },
    /// How are you?
    Report,
    /// Carry out this command of the meta group. For its leader.
    Command { command: Bytes },
    /// A new timestamp. For the leader of the meta group.
    Begin,
    /// The last timestamp that was handed out. For the leader of the meta group.
    Floor,
    /// This is the oldest timestamp in use here; what is the horizon? For the leader of the meta group.
    InUse { oldest: Option<Timestamp> },
    /// This timestamp was handed out; which one do you know of?
    Heard { known: Timestamp },
    /// How are you, with figures? Older programs refuse the question.
    FullReport,
    /// How are you, with figures, and what have you room for? Older programs refuse the question.
    WholeReport,
    /// A new timestamp, at once: who asks makes sure that who answered leads. Then, are these claims true? For the leader
    /// of the meta group.
    BeginAtOnce { claims: Vec<Claim> },
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// To `FetchMap`; `None` when there was no newer one for a while.
    Map(Option<Box<ShardMap>>),
    /// To what is for the leader of the meta group: ask that one.
    NotLeader { leader: Option<NodeId> },
    /// To the same: not possible now, or nobody knows.
    Failed { detail: String },
    /// To `Report`.
    Report(Box<NodeReport>),
    /// To `Command`: what the meta machine replied, be it a refusal.
    Command { reply: Bytes },
    /// To `Begin`, `Floor` and `Heard`, and to `BeginAtOnce` from a leader that has made sure itself.
    Timestamp(Timestamp),
    /// To `InUse`: what is below this may be collected.
    Horizon(Timestamp),
    /// To `FullReport`.
    FullReport(Box<NodeReport>),
    /// To `WholeReport`.
    WholeReport(Box<NodeReport>),
    /// To `BeginAtOnce`: it counts if this leader still leads. Whether each claim was true after that is there, too.
    Begun { at: Timestamp, ballot: Ballot, are_true: Vec<bool> },
}
