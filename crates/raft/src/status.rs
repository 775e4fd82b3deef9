//! What a group looks like from outside.

use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use strata_types::{GroupId, LogIndex, NodeId, ReplicaId, Term};
use strata_wal::ReplicaLog;

use crate::replica::Replica;
use crate::types::Raft;

/// A leader that no majority has answered for this long says so. For people only: reads and writes ask each time.
const QUORUM_SILENCE_MAX: Duration = Duration::from_secs(2);

/// One replica's view of its group, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// This replica.
    pub replica: ReplicaId,
    /// The term it is in.
    pub term: Term,
    /// The leader it follows, or itself.
    pub leader: Option<(ReplicaId, NodeId)>,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether a majority is there as far as this replica can tell: it follows a leader, or it leads and a majority
    /// has answered it lately.
    pub has_quorum: bool,
    /// Whether it takes part at all.
    pub serving: bool,
    /// Last entry of its log.
    pub last: LogIndex,
    /// Last entry it knows to be committed.
    pub committed: LogIndex,
    /// Last entry it has applied.
    pub applied: LogIndex,
    /// Entries before this one are purged.
    pub purged: LogIndex,
    /// Hash over everything it has applied; equal on all replicas at equal `applied`.
    pub chain: u64,
    /// Bytes of its log.
    pub log_bytes: u64,
    /// The replicas that vote.
    pub voters: Vec<ReplicaId>,
    /// Why it does not serve, or, if it does, what it waits for.
    pub problem: Option<String>,
}

/// Collects the status of a replica; `raft` is `None` while it is stopped.
pub(crate) fn collect(replica: &Replica, raft: Option<&Raft>, log: &ReplicaLog) -> GroupStatus {
    let applied = replica.applied();
    let mut status = GroupStatus {
        group: replica.group,
        replica: replica.id,
        applied: LogIndex(applied.log_id.map_or(0, |id| id.index)),
        chain: applied.chain,
        log_bytes: log.bytes(),
        problem: replica.problem(),
        ..GroupStatus::default()
    };
    let Some(raft) = raft else {
        status.problem.get_or_insert_with(|| "stopped".into());
        return status;
    };
    let server = raft.server_metrics();
    let server = server.borrow_watched();
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let membership = server.membership_config.membership();
    let node_of = |id: &ReplicaId| membership.get_node(id).map(|seat| seat.node).unwrap_or_default();
    let index = |id: &Option<crate::types::LogId>| LogIndex(id.map_or(0, |id| id.index));
    status.term = Term(server.vote.leader_id().term);
    status.leader = server.current_leader.map(|id| (id, node_of(&id)));
    status.is_leader = server.current_leader == Some(replica.id) && server.state.is_leader();
    let heard = metrics.last_quorum_acked.as_ref().is_some_and(|at| at.elapsed() < QUORUM_SILENCE_MAX);
    let alone = membership.voter_ids().count() == 1;
    status.has_quorum = if status.is_leader { heard || alone } else { status.leader.is_some() };
    status.last = LogIndex(metrics.last_log_index.unwrap_or(0));
    status.committed = index(&metrics.local_committed);
    status.purged = index(&metrics.purged);
    status.voters = membership.voter_ids().collect();
    if let Err(fatal) = &metrics.running_state {
        status.problem.get_or_insert_with(|| fatal.to_string());
    }
    status.serving = status.problem.is_none();
    status.problem = status.problem.or_else(|| replica.obstacle());
    status
}
