//! Seeded bugs by their names: each must be found.

/// Switches a bug on for the whole process.
#[cfg(debug_assertions)]
pub(crate) fn choose(name: &str) -> Result<(), String> {
    let found = ALL.iter().find(|(known, _)| *known == name);
    let names = || ALL.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
    found.map(|(_, choose)| choose()).ok_or_else(|| format!("unknown mutant `{name}`; there are {}", names()))
}

/// Switches a bug on for the whole process.
#[cfg(not(debug_assertions))]
pub(crate) fn choose(_name: &str) -> Result<(), String> {
    Err("seeded bugs are compiled into debug builds only".into())
}

#[cfg(debug_assertions)]
use strata_cluster::mutant::{Mutant as Time, choose as time};
#[cfg(debug_assertions)]
use strata_raft::mutant::{Mutant as Raft, choose as raft};
#[cfg(debug_assertions)]
use strata_shard::mutant::{Mutant as Shard, choose as shard};
#[cfg(debug_assertions)]
use strata_txn::mutant::{Mutant as Txn, choose as txn};

/// All of them.
#[cfg(debug_assertions)]
const ALL: [(&str, fn()); 31] = [
    ("read-without-quorum", || raft(Raft::ReadWithoutQuorum)),
    ("ack-before-sync", || raft(Raft::AckBeforeSync)),
    ("one-step-change", || raft(Raft::OneStepChange)),
    ("replica-id-reused", || raft(Raft::ReplicaIdReused)),
    ("purge-during-transfer", || raft(Raft::PurgeDuringTransfer)),
    ("old-route-served", || raft(Raft::OldRouteServed)),
    ("removed-node-votes", || raft(Raft::RemovedNodeVotes)),
    ("clock-not-raised", || raft(Raft::ClockNotRaised)),
    ("barrier-skips-stamped", || raft(Raft::BarrierSkipsStamped)),
    ("entry-of-another-term", || raft(Raft::EntryOfAnotherTerm)),
    ("clock-not-opened-anew", || raft(Raft::ClockNotOpenedAnew)),
    ("lease-boot-delay-left-out", || raft(Raft::LeaseBootDelayLeftOut)),
    ("roll-call-believes-all", || raft(Raft::RollCallBelievesAll)),
    ("follower-waits-for-index", || raft(Raft::FollowerWaitsForIndex)),
    ("write-lock-ignored", || shard(Shard::WriteLockIgnored)),
    ("shared-lock-ignored", || shard(Shard::SharedLockIgnored)),
    ("range-unvalidated", || shard(Shard::RangeUnvalidated)),
    ("read-unvalidated", || shard(Shard::ReadUnvalidated)),
    ("repeated-prepare-anew", || shard(Shard::RepeatedPrepareAnew)),
    ("late-commit-allowed", || shard(Shard::LateCommitAllowed)),
    ("late-prepare-allowed", || shard(Shard::LatePrepareAllowed)),
    ("horizon-ignored", || shard(Shard::HorizonIgnored)),
    ("intent-ignored-by-reads", || shard(Shard::IntentIgnoredByReads)),
    ("resolved-forgotten", || shard(Shard::ResolvedForgotten)),
    ("intent-ignored-by-checks", || shard(Shard::IntentIgnoredByChecks)),
    ("commit-before-prepared", || txn(Txn::CommitBeforePrepared)),
    ("abort-after-prepare", || txn(Txn::AbortAfterPrepare)),
    ("blind-retry", || txn(Txn::BlindRetry)),
    ("prepare-only-writes", || txn(Txn::PrepareOnlyWrites)),
    ("timestamps-go-back", || time(Time::TimestampsGoBack)),
    ("begin-without-barrier", || time(Time::BeginWithoutBarrier)),
];
