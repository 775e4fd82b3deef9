//! Upkeep: tablets are made durable, logs are cut behind them, dead cores are reopened.
//!
//! ```text
//!   purged  <=  cut  <=  flushed  <=  applied  <=  committed  <=  last
//!                         |
//!                         what the tablet alone would show after a crash
//! ```

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::Fatal;
use strata_codec::APPLIED_KEY;
use strata_storage::{Engine, StorageError};
use strata_types::{LogIndex, ReplicaId};

use crate::applied::Applied;
use crate::error::OpenError;
use crate::group::Group;
use crate::host::Host;
use crate::types::{Raft, Types};

/// A node halts on which the core of a group panics more often than this within [`REOPEN_WINDOW`].
const REOPENS_MAX: usize = 3;
const REOPEN_WINDOW: Duration = Duration::from_secs(600);
/// How often a group is tried again that there is no room to reopen.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// While a snapshot is sent and until its receiver has caught up, the log may get this many times longer than
/// otherwise, or as long as the tablet: the larger that is, the longer it takes. A receiver that never has it all cannot
/// hold the log for ever: it gets another snapshot.
const HELD_LOG_FACTOR: u64 = 8;
/// When the log is this many times longer than it may be, it is not a follower's hiccup: who still needs what is to be
/// cut gets a snapshot.
const CUT_OFF_FACTOR: u64 = 2;

pub(crate) async fn maintain(host: &Host) {
    let pinned = pins(host);
    let groups = host.groups();
    let unflushed = groups.iter().map(|group| (group.replica(), group.unflushed.load(Ordering::Relaxed)));
    let full = fullest(unflushed.collect(), host.parts.retention.flush_node_bytes);
    for group in &groups {
        supervise(host, group).await;
    }
    for (group, size) in sizes(host, groups).await {
        let forced = Forced { flush: full.contains(&group.replica()), cut: pinned.contains(&group.replica()) };
        let done = match size {
            Ok(size) => flush_and_cut(host, &group, &size, forced).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            group.state().storage_failed(&error);
        }
    }
    host.transfers.expire();
}

/// What a tablet holds.
struct Size {
    /// The last entry that it would show after a crash.
    flushed: LogIndex,
    unflushed: u64,
    disk_bytes: u64,
}

impl Size {
    fn of(tablet: &dyn Engine) -> Result<Size, StorageError> {
        let persisted = Applied::decode(tablet.get_persisted(APPLIED_KEY)?)?;
        let flushed = LogIndex(persisted.log_id.map_or(0, |id| id.index));
        Ok(Size { flushed, unflushed: tablet.unflushed_bytes(), disk_bytes: tablet.disk_bytes() })
    }
}

/// Looks at the tablets of those groups that run. At all of them in one go: it may wait for the disk, and to wake another
/// thread for each of them is what an idle node would do most.
async fn sizes(host: &Host, groups: Vec<Arc<Group>>) -> Vec<(Arc<Group>, Result<Size, StorageError>)> {
    let running: Vec<_> = groups.into_iter().filter(|group| group.raft().is_some()).collect();
    let tablets: Vec<_> = running.iter().map(|group| group.tablet()).collect();
    let look = move || tablets.iter().map(|tablet| Size::of(tablet.as_ref())).collect::<Vec<_>>();
    // Nothing, if the program ends.
    let sizes = host.parts.env.blocking(look).await.unwrap_or_default();
    running.into_iter().zip(sizes).collect()
}

/// Replicas whose old entries keep the node's log from shrinking below its budget.
fn pins(host: &Host) -> Vec<ReplicaId> {
    let wal = &host.parts.wal;
    if wal.disk_bytes() <= host.parts.retention.log_bytes {
        return Vec::new();
    }
    wal.oldest_pins().into_iter().map(|(replica, _)| replica).take(4).collect()
}

/// Once all tablets together hold more than `max` unflushed bytes: the fullest, so many that the rest has half of it.
fn fullest(mut unflushed: Vec<(ReplicaId, u64)>, max: u64) -> Vec<ReplicaId> {
    let mut left: u64 = unflushed.iter().map(|(_, bytes)| bytes).sum();
    if left <= max {
        return Vec::new();
    }
    unflushed.sort_by_key(|(replica, bytes)| (Reverse(*bytes), *replica));
    let is_needed = |(_, bytes): &(ReplicaId, u64)| {
        let is_needed = left > max / 2;
        left -= bytes;
        is_needed
    };
    unflushed.into_iter().take_while(is_needed).map(|(replica, _)| replica).collect()
}

/// What is done to a group though it is not yet due for itself, because the node as a whole needs it.
#[derive(Clone, Copy)]
struct Forced {
    flush: bool,
    /// Its log is cut, and it is flushed where that lets it be cut further.
    cut: bool,
}

/// In a task of its own: it waits for the log, which on a full disk waits for room that this upkeep makes.
fn reopen(group: Arc<Group>) {
    let env = group.env().clone();
    env.spawn("raft-reopen", async move {
        while let Err(error) = group.restart().await
            && !group.is_stopped()
        {
            if !matches!(error, OpenError::Full { .. }) {
                return group.env().halt(format!("{} could not be reopened: {error}", group.id()));
            }
            group.env().sleep(REOPEN_PAUSE).await;
        }
    });
}

/// openraft treats some races as bugs of its own and panics (openraft#2116): then only that group is reopened.
async fn supervise(host: &Host, group: &Arc<Group>) {
    let Some(raft) = group.raft() else { return };
    if group.state().problem().is_some() {
        return group.leave().await;
    }
    match end_of(&raft).await {
        None | Some(Fatal::Stopped) => {}
        Some(Fatal::StorageError(error)) => {
            host.parts.env.halt(format!("{} failed: {error}", group.id()));
            group.stop_raft().await;
        }
        Some(Fatal::Panicked) => {
            let now = host.parts.env.now();
            let recent = {
                let mut reopened = group.reopened.lock();
                reopened.retain(|&at| now.since(at) < REOPEN_WINDOW);
                reopened.push(now);
                reopened.len()
            };
            tracing::error!(group = %group.id(), recent, "the group's core panicked; reopening it");
            metrics::counter!("strata_raft_reopened_total").increment(1);
            group.stop_raft().await;
            if recent > REOPENS_MAX {
                host.parts.env.halt(format!("{} panicked {recent} times in ten minutes", group.id()));
            } else {
                reopen(group.clone());
            }
        }
    }
}

/// Why the core ended, if it did. A core that panicked could not say so in its metrics any more: what they say last is
/// that all is well, and the sender is gone.
async fn end_of(raft: &Raft) -> Option<Fatal<Types>> {
    let mut metrics = raft.metrics();
    loop {
        if let Err(fatal) = &metrics.borrow_watched().running_state {
            return Some(fatal.clone());
        }
        match metrics.changed().now_or_never() {
            None => return None,
            Some(Ok(())) => {}
            Some(Err(_)) => break,
        }
    }
    // Any question does: the answer is how the core ended.
    raft.is_initialized().await.err()
}

async fn flush_and_cut(host: &Host, group: &Arc<Group>, size: &Size, forced: Forced) -> Result<(), StorageError> {
    let Some(raft) = group.raft() else { return Ok(()) };
    let (env, retention) = (&host.parts.env, &host.parts.retention);
    let &Size { flushed, unflushed, disk_bytes } = size;
    let applied = group.state().applied_index();

    let length = Length {
        bytes: group.log().bytes(),
        max: retention.keep_bytes_max,
        held_max: retention.keep_bytes_max.saturating_mul(HELD_LOG_FACTOR).max(disk_bytes),
    };
    let (snapshot, last) = ends(&raft);
    let cuttable = snapshot.min(flushed);
    let spare = spare(group, &length, last);
    // Where a follower holds the log, flushing would be for nothing.
    let would_cut = spare.is_some_and(|spare| spare > cuttable);
    let is_long = length.bytes >= retention.keep_bytes.max(retention.flush_bytes);
    let old = env.now().since(*group.flushed.lock()) >= retention.flush_age;
    let due = unflushed >= retention.flush_bytes || (would_cut && (is_long || forced.cut));
    group.unflushed.store(unflushed, Ordering::Relaxed);
    if flushed < applied && (due || old || forced.flush) {
        *group.flushed.lock() = env.now();
        group.unflushed.store(0, Ordering::Relaxed);
        // Asks the adapter for a "snapshot", which is a flush; openraft then lets the log be cut up to there.
        let _ = raft.trigger().snapshot().await;
    }

    if let Some(spare) = spare
        && (length.bytes > retention.keep_bytes || forced.cut)
    {
        let cut = cuttable.min(spare);
        host.transfers.outrun(group.replica(), cut.0);
        if length.bytes > length.max.saturating_mul(CUT_OFF_FACTOR) {
            group.state().note_cut(cut);
        }
        let _ = raft.trigger().purge_log(cut.0).await;
    }
    Ok(())
}

/// Up to where openraft lets the log be cut, and where it ends.
fn ends(raft: &Raft) -> (LogIndex, LogIndex) {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    (LogIndex(metrics.snapshot.map_or(0, |id| id.index)), LogIndex(metrics.last_log_index.unwrap_or(0)))
}

/// How long the log of a group is, and how long it may be.
struct Length {
    bytes: u64,
    /// For followers that need it.
    max: u64,
    /// For those that get a snapshot or have just got one.
    held_max: u64,
}

/// Up to where nobody needs the log: all members have it, unless they hold back too much (RAFT-4). Learners count: one
/// that has just got a snapshot would need another one. `None`: all of it is needed.
fn spare(group: &Arc<Group>, length: &Length, last: LogIndex) -> Option<LogIndex> {
    const ALL: LogIndex = LogIndex(u64::MAX);
    #[cfg(debug_assertions)]
    if crate::mutant::is(crate::mutant::Mutant::PurgeDuringTransfer) {
        return Some(ALL);
    }
    let catching_up = group.state().catching_up.look(group.env().now(), last, |follower| group.matched(follower));
    if length.bytes > length.held_max {
        return Some(ALL);
    }
    if group.state().transfers.holds_log(group.replica()) {
        return None;
    }
    if length.bytes > length.max {
        return Some(catching_up.unwrap_or(ALL));
    }
    let slowest = group.everybody().into_iter().filter_map(|member| group.matched(member)).min();
    Some(slowest.unwrap_or(ALL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_tablets_are_flushed_until_half_of_what_may_be_is_left() {
        let chosen = |bytes: &[u64], max| {
            let tablets = (1..).map(ReplicaId).zip(bytes.iter().copied()).collect();
            fullest(tablets, max).into_iter().map(|replica| replica.0).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[40, 30, 30], 100), [0; 0], "no more than they may");
        assert_eq!(chosen(&[5, 60, 1, 40], 100), [2], "46 are left");
        assert_eq!(chosen(&[30, 40, 31], 100), [2, 3], "30 are left");
        assert_eq!(chosen(&[30, 30, 30, 30], 100), [1, 2, 3]);
        assert_eq!(chosen(&[], 0), [0; 0]);
    }
}
