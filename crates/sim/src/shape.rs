//! What a run looks like, from its seed.

use std::time::Duration;

use strata_raft::Retention;
use strata_storage::memory::WRITE_BUFFER_BYTES_DEFAULT;
use strata_types::ClusterVersion;

use crate::dice::Dice;
use crate::txn::Story;

/// Machines that a run has at most.
pub(crate) const MACHINES_MAX: usize = 5;

/// The shape of one run.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Machines that the cluster is founded with.
    pub(crate) founders: usize,
    /// Machines that join it while faults happen.
    pub(crate) joiners: usize,
    pub(crate) shards: u32,
    pub(crate) retention: Retention,
    /// Whether somebody drains, removes, moves and breaks things.
    pub(crate) has_operator: bool,
    /// How long a node may be silent before it is replaced.
    pub(crate) replace_after: Duration,
    /// What clients with transactions do.
    pub(crate) stories: Vec<Story>,
    /// How long what was overwritten is kept for readers.
    pub(crate) history: Duration,
    /// Zones that the machines are in by turns; 0 for none.
    pub(crate) zones: usize,
    /// Whether leaders read under leases.
    pub(crate) lease_reads: bool,
    /// What each machine takes relative to others.
    pub(crate) weights: [u32; MACHINES_MAX],
    /// What all programs know at first. Where that is not the newest version, they are exchanged in the run.
    pub(crate) version: ClusterVersion,
    /// How much a tablet holds before it flushes by itself.
    pub(crate) write_buffer_bytes: u64,
    /// Whether disks fill up. Not drawn here, so that runs without it are what they would be otherwise.
    pub(crate) full_disks: bool,
}

impl Shape {
    /// Three to five machines, 3 to 6 shards; logs are cut early, so that followers that were away need snapshots. Most
    /// runs change members; in the others nodes are never given up, so that they also show what needs all of them.
    pub(crate) fn roll(dice: &mut Dice, founders: Option<usize>) -> Shape {
        let retention = Retention {
            flush_bytes: dice.between(500, 20_000),
            flush_node_bytes: 20_000,
            keep_bytes: dice.between(500, 8_000),
            keep_bytes_max: dice.between(8_000, 40_000),
            log_bytes: 200_000,
            flush_age: Duration::from_secs(dice.between(5, 60)),
        };
        let rolled = *dice.pick(&[3, 3, 3, 4, 5]);
        let founders = founders.unwrap_or(rolled);
        let shards = dice.between(3, 6) as u32;
        let has_operator = dice.chance(750);
        let joiners = if has_operator { dice.between(0, 2) as usize } else { 0 };
        let patience = Duration::from_millis(dice.between(10_000, 20_000));
        let stories = Story::roll(dice);
        let history = Duration::from_secs(*dice.pick(&[3, 8, 20, 600]));
        let zones = *dice.pick(&[0, 0, 2, 3, 3]);
        let lease_reads = dice.chance(400);
        let is_even = dice.chance(500);
        let weights = std::array::from_fn(|_| if is_even { 1 } else { dice.between(1, 3) as u32 });
        let is_old = dice.chance(250);
        let old = ClusterVersion(dice.between(1, u64::from(ClusterVersion::NEWEST.0) - 1) as u32);
        let write_buffer_bytes = *dice.pick(&[200, 2_000, 20_000, WRITE_BUFFER_BYTES_DEFAULT]);
        Shape {
            founders,
            joiners: joiners.min(MACHINES_MAX - founders),
            shards,
            retention,
            has_operator,
            replace_after: if has_operator { patience } else { Duration::from_secs(300) },
            stories,
            history,
            zones,
            lease_reads,
            weights,
            version: if is_old { old } else { ClusterVersion::NEWEST },
            write_buffer_bytes,
            full_disks: false,
        }
    }

    /// Size of a segment of the log: where disks fill up, such that the log soon needs another one.
    pub(crate) fn segment_bytes(&self) -> u64 {
        if self.full_disks { 32 * 1024 } else { 128 * 1024 }
    }

    /// All machines.
    pub(crate) fn machines(&self) -> usize {
        self.founders + self.joiners
    }
}
