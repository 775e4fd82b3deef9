//! How one node is.

use std::time::Duration;

use strata_raft::GroupStatus;
use strata_types::{GroupId, LogIndex, NodeId, ReplicaFigures, ReplicaId, Term};

/// What a node says whose log has no room. Others know it by this sentence.
pub(crate) const DISK_FULL: &str = "the disk is full: writes are refused until there is room";

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeReport {
    /// Version of its program.
    pub(crate) version: String,
    /// Time since its start.
    pub(crate) uptime: Duration,
    /// It is giving its leaders away.
    pub(crate) is_stopping: bool,
    /// Its replicas, also those that refuse to serve.
    pub(crate) groups: Vec<GroupReport>,
    /// One sentence each.
    pub(crate) problems: Vec<String>,
}

/// One replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupReport {
    pub(crate) group: GroupId,
    pub(crate) replica: ReplicaId,
    pub(crate) term: Term,
    pub(crate) leader: Option<(ReplicaId, NodeId)>,
    pub(crate) is_leader: bool,
    pub(crate) serving: bool,
    pub(crate) last: LogIndex,
    pub(crate) committed: LogIndex,
    pub(crate) applied: LogIndex,
    pub(crate) log_bytes: u64,
    pub(crate) problem: Option<String>,
    /// Its files are damaged: it will not serve any more.
    pub(crate) is_damaged: bool,
    /// Older programs do not tell them.
    pub(crate) figures: Option<ReplicaFigures>,
}

impl NodeReport {
    pub(crate) fn replica(&self, id: GroupId, replica: ReplicaId) -> Option<&GroupReport> {
        self.groups.iter().find(|group| group.group == id && group.replica == replica)
    }

    /// Whether a leader on this node could write.
    pub(crate) fn has_room(&self) -> bool {
        !self.problems.iter().any(|problem| problem == DISK_FULL)
    }
}

impl From<GroupStatus> for GroupReport {
    fn from(status: GroupStatus) -> GroupReport {
        GroupReport {
            group: status.group,
            replica: status.replica,
            term: status.term,
            // A leader that lost its majority is none: it neither writes nor reads.
            leader: status.leader.filter(|_| status.has_quorum),
            is_leader: status.is_leader && status.has_quorum,
            serving: status.serving,
            last: status.last,
            committed: status.committed,
            applied: status.applied,
            log_bytes: status.log_bytes,
            problem: status.problem,
            is_damaged: false,
            figures: None,
        }
    }
}
