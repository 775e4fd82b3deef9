//! What nodes of a cluster ask each other about the cluster itself ([`strata_net::MessageKind::Cluster`]).

use strata_types::{Epoch, NodeId, ShardMap};

use crate::report::NodeReport;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// The shard map, as soon as there is a newer one than this.
    FetchMap { newer_than: Epoch },
    /// The asking node is reached there from now on. For the leader of the meta group.
    Register { peer_address: String, client_address: String },
    /// How are you?
    Report,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// To `FetchMap`; `None` when there was no newer one for a while.
    Map(Option<Box<ShardMap>>),
    /// To `Register`.
    Registered { epoch: Epoch },
    /// To `Register`: ask that one.
    NotLeader { leader: Option<NodeId> },
    /// To `Register`: not possible.
    Failed { detail: String },
    /// To `Report`.
    Report(Box<NodeReport>),
}
