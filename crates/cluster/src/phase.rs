//! Where a node is on its way up or down.

use std::fmt;

/// A step of starting or stopping. Reported when it begins and when its figures change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for other nodes to be founded with.
    Joining {
        /// Nodes that are there, this one included.
        known: u32,
        /// Nodes that must be.
        expected: u32,
    },
    /// Something outside this node is missing; it goes on trying.
    Waiting {
        /// One sentence: what, and what to do about it.
        reason: String,
    },
    /// All nodes are there and their ids are being written down.
    Founding,
    /// Reading the log.
    OpeningLog {
        /// How much of it is read.
        percent: u8,
    },
    /// Waiting for the shard map.
    WaitingForMeta,
    /// Opening the replicas that live here.
    OpeningShards {
        /// Opened so far.
        done: usize,
        /// To open.
        total: usize,
    },
    /// Waiting for the groups of this node to have leaders.
    Electing {
        /// Groups that have one.
        done: usize,
        /// Groups.
        total: usize,
    },
    /// Serving.
    Ready,
    /// Stopping: other nodes take over.
    MovingLeaders {
        /// Groups this node still leads.
        remaining: usize,
    },
    /// Stopping: tablets and log are made durable.
    Closing,
    /// Stopped.
    Stopped,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Phase::Joining { known, expected } => write!(f, "{known} of {expected} nodes are there"),
            Phase::Waiting { reason } => f.write_str(reason),
            Phase::Founding => f.write_str("founding the cluster"),
            Phase::OpeningLog { percent } => write!(f, "recovering log {percent} %"),
            Phase::WaitingForMeta => {
                f.write_str("waiting for the shard map: the first nodes of the cluster must be running")
            }
            Phase::OpeningShards { done, total } => write!(f, "opening shards, {done} of {total}"),
            Phase::Electing { done, total } => write!(f, "electing leaders, {done} of {total}"),
            Phase::Ready => f.write_str("ready"),
            Phase::MovingLeaders { remaining } => write!(f, "moving {remaining} leaders to other nodes"),
            Phase::Closing => f.write_str("making everything durable"),
            Phase::Stopped => f.write_str("stopped"),
        }
    }
}
