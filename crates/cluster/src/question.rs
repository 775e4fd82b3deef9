//! What nodes of a cluster ask each other about the cluster itself ([`strata_net::MessageKind::Cluster`]).

use bytes::Bytes;
use strata_types::{Epoch, NodeId, ShardMap};

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
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// To `FetchMap`; `None` when there was no newer one for a while.
    Map(Option<Box<ShardMap>>),
    /// To `Command`: ask that one.
    NotLeader { leader: Option<NodeId> },
    /// To `Command`: not possible now, or nobody knows.
    Failed { detail: String },
    /// To `Report`.
    Report(Box<NodeReport>),
    /// To `Command`: what the meta machine replied, be it a refusal.
    Command { reply: Bytes },
}
