//! Which disk holds which replica, and which ones were deleted or lost for ever.

use std::collections::{BTreeMap, BTreeSet};

use strata_types::ReplicaId;

/// What disks hold.
#[derive(Default)]
pub(crate) struct Files {
    /// The disk that a replica was first opened on.
    homes: BTreeMap<ReplicaId, u64>,
    /// Replicas that were deleted on purpose.
    deleted: BTreeSet<ReplicaId>,
    /// Disks that were wiped.
    wiped: BTreeSet<u64>,
    /// Replicas whose files cannot be read any more.
    damaged: BTreeSet<ReplicaId>,
    broken: Vec<String>,
}

impl Files {
    /// SIM-MEMBER-1 (RAFT-9): a replica lives on one disk in its life, and does not come back after it was deleted.
    pub(crate) fn opened(&mut self, disk: u64, replica: ReplicaId) {
        let home = *self.homes.entry(replica).or_insert(disk);
        if home != disk {
            self.broken.push(format!("SIM-MEMBER-1 one disk a replica: {replica} of disk {home} is opened on {disk}"));
        }
        if self.deleted.contains(&replica) {
            self.broken.push(format!("SIM-MEMBER-1 one life a replica: {replica} is opened after it was deleted"));
        }
    }

    pub(crate) fn deleted(&mut self, disk: u64, replica: ReplicaId) {
        // A node deletes what left its group also if it never opened it.
        if *self.homes.entry(replica).or_insert(disk) == disk {
            self.deleted.insert(replica);
        }
    }

    pub(crate) fn wiped(&mut self, disk: u64) {
        self.wiped.insert(disk);
    }

    /// The files of a replica are damaged from now on.
    pub(crate) fn damage(&mut self, replica: ReplicaId) {
        self.damaged.insert(replica);
    }

    pub(crate) fn is_damaged(&self, replica: ReplicaId) -> bool {
        self.damaged.contains(&replica)
    }

    /// Whether what the replica has promised is still on a disk, running or not.
    pub(crate) fn is_kept(&self, replica: ReplicaId) -> bool {
        !self.is_gone(replica) && self.homes.contains_key(&replica)
    }

    /// Whether the replica was there and will never be again.
    pub(crate) fn is_gone(&self, replica: ReplicaId) -> bool {
        let is_lost = self.deleted.contains(&replica) || self.damaged.contains(&replica);
        is_lost || self.homes.get(&replica).is_some_and(|disk| self.wiped.contains(disk))
    }

    pub(crate) fn take_broken(&mut self) -> Vec<String> {
        std::mem::take(&mut self.broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_comes_back_or_moves_is_found() {
        let mut files = Files::default();
        files.opened(1, ReplicaId(5));
        files.opened(1, ReplicaId(5));
        assert!(files.is_kept(ReplicaId(5)) && files.take_broken().is_empty());
        files.opened(2, ReplicaId(5));
        assert!(files.take_broken()[0].starts_with("SIM-MEMBER-1 one disk"));
        files.deleted(1, ReplicaId(5));
        assert!(files.is_gone(ReplicaId(5)) && !files.is_kept(ReplicaId(5)));
        files.opened(1, ReplicaId(5));
        assert!(files.take_broken()[0].starts_with("SIM-MEMBER-1 one life"));
        files.opened(3, ReplicaId(6));
        files.opened(3, ReplicaId(7));
        files.damage(ReplicaId(7));
        assert!(files.is_kept(ReplicaId(6)) && files.is_gone(ReplicaId(7)));
        files.wiped(3);
        assert!(files.is_gone(ReplicaId(6)));
    }
}
