//! How one node is.

use std::time::Duration;

use strata_raft::GroupStatus;
use strata_types::{GroupId, LogIndex, NodeId, ReplicaFigures, ReplicaId, Term};

/// What a node says to people when its log has no room. Older programs say it only so.
pub(crate) const DISK_FULL: &str = "the disk is full: writes are refused until there is room";

/// What a node has room for. Numbers are only ever appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Room {
    /// For everything.
    #[default]
    Enough,
    /// For what leaders write; but some replica waits for room, or did lately.
    Little,
    /// Not even for that.
    No,
}

impl Room {
    /// All of them; the position of each is its number in formats.
    const ALL: [Room; 3] = [Room::Enough, Room::Little, Room::No];

    pub(crate) fn number(self) -> u8 {
        match self {
            Room::Enough => 0,
            Room::Little => 1,
            Room::No => 2,
        }
    }

    pub(crate) fn of_number(number: u8) -> Option<Room> {
        Room::ALL.get(usize::from(number)).copied()
    }

    /// As far as the sentences of an older program tell.
    pub(crate) fn of_problems(problems: &[String]) -> Room {
        if problems.iter().any(|problem| problem == DISK_FULL) { Room::No } else { Room::Enough }
    }
}

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
    /// What it has room for.
    pub(crate) room: Room,
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
        self.room != Room::No
    }

    /// Whether no more replicas should come to this node.
    pub(crate) fn is_full(&self) -> bool {
        self.room != Room::Enough
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
