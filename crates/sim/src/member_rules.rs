//! What must hold between the members of a group, as its leader has them, the newest map, and the disks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strata_raft::{GroupStatus, Members};
use strata_types::{GroupId, GroupPlacement, LogIndex, ReplicaId, Term};
use tokio::time::Instant;

use crate::files::Files;
use crate::map_history::MapHistory;

/// A leader that changes the members may lead on for this long after it has left.
const FAREWELL: Duration = Duration::from_millis(500);

/// Remembers what leaders said.
#[derive(Default)]
pub(crate) struct MemberRules {
    /// The latest term of a group in which a leader has committed an entry.
    settled: BTreeMap<GroupId, Term>,
    /// When a replica was first seen to have left, and the terms that it led before that was long ago.
    left: BTreeMap<ReplicaId, Instant>,
    led: BTreeSet<(ReplicaId, Term)>,
}

/// One look at all replicas that run.
pub(crate) struct Look<'a> {
    pub(crate) groups: &'a [(GroupStatus, Option<Members>)],
    pub(crate) maps: &'a MapHistory,
    pub(crate) files: &'a Files,
    /// The highest committed index of each group that anybody has ever seen.
    pub(crate) committed: &'a BTreeMap<GroupId, LogIndex>,
}

impl MemberRules {
    /// Returns what is broken.
    pub(crate) fn look(&mut self, look: &Look<'_>) -> Vec<String> {
        let mut broken = Vec::new();
        for (status, members) in look.groups.iter().filter(|(status, _)| status.is_leader) {
            self.no_return(look, status, &mut broken);
            let Some(members) = members else { continue };
            let settled = self.settled.entry(status.group).or_default();
            // A leader that was deposed and does not know it has old members.
            if status.term < *settled || status.term < look.maps.decided(status.group) {
                continue;
            }
            *settled = status.term;
            let map = look.maps.newest();
            if let Some(placement) = map.group(status.group) {
                broken.extend(members_follow_map(status, members, &placement));
            }
            if members.is_committed && !members.is_joint {
                broken.extend(quorum_is_kept(look, status.group, members));
            }
        }
        broken
    }

    /// SIM-MEMBER-4: a replica that left its group, or whose node was removed, does not win another election.
    fn no_return(&mut self, look: &Look<'_>, status: &GroupStatus, broken: &mut Vec<String>) {
        let is_news = self.led.insert((status.replica, status.term));
        if !look.maps.has_left(status.replica) {
            return;
        }
        let since = *self.left.entry(status.replica).or_insert_with(Instant::now);
        if is_news && since.elapsed() > FAREWELL {
            let GroupStatus { group, replica, term, .. } = status;
            broken.push(format!("SIM-MEMBER-4 who left does not lead: {replica} leads {group} in {term}"));
        }
    }

    /// Replicas that have left since the last look.
    pub(crate) fn note_left(&mut self, maps: &MapHistory, replicas: impl Iterator<Item = ReplicaId>) {
        for replica in replicas.filter(|replica| maps.has_left(*replica)) {
            self.left.entry(replica).or_insert_with(Instant::now);
        }
    }
}

/// SIM-MEMBER-2 (CLUSTER-6): voters are those of the newest map; while a change is decided also those after it, or both
/// at once. So a replica that leaves has no vote (CLUSTER-7).
fn members_follow_map(status: &GroupStatus, members: &Members, placement: &GroupPlacement<'_>) -> Option<String> {
    let voters: BTreeSet<ReplicaId> = members.voters.keys().copied().collect();
    let before: BTreeSet<ReplicaId> = placement.replicas.iter().map(|placed| placed.replica).collect();
    let is_right = match placement.changes.change {
        Some(change) if change.is_decided() => {
            let staying = before.iter().copied().filter(|replica| Some(*replica) != change.remove);
            let after: BTreeSet<ReplicaId> = staying.chain(change.add.map(|add| add.replica)).collect();
            match members.is_joint {
                true => voters == before.union(&after).copied().collect(),
                false => voters == before || voters == after,
            }
        }
        _ => voters == before && !members.is_joint,
    };
    let GroupStatus { group, term, .. } = status;
    let text = || format!("SIM-MEMBER-2 members follow the map: {group} in {term} has {members:?}, map {placement:?}");
    (!is_right).then(text)
}

/// SIM-MEMBER-3: a majority of the voters is on disks that still hold what they promised, and no majority of these lacks
/// a committed entry. Who does not run counts as having all: what it had durable is not known.
fn quorum_is_kept(look: &Look<'_>, group: GroupId, members: &Members) -> Option<String> {
    let majority = members.voters.len() / 2 + 1;
    let kept: Vec<ReplicaId> = members.voters.keys().copied().filter(|replica| look.files.is_kept(*replica)).collect();
    let committed = look.committed.get(&group).copied().unwrap_or_default();
    let lacks = |replica: &&ReplicaId| {
        let mut running = look.groups.iter().filter(|(status, _)| status.group == group && status.replica == **replica);
        running.any(|(status, _)| status.serving && status.last < committed)
    };
    let behind: Vec<ReplicaId> = kept.iter().filter(lacks).copied().collect();
    let text = || {
        let voters: Vec<_> = members.voters.keys().collect();
        format!(
            "SIM-MEMBER-3 a quorum is kept: {group} at {committed}: voters {voters:?}, kept {kept:?}, behind {behind:?}"
        )
    };
    (kept.len() < majority || behind.len() >= majority).then(text)
}

#[cfg(test)]
#[path = "member_rules/tests.rs"]
mod tests;
