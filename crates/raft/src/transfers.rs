//! What all snapshots on their way from and to a node share: how many there are, how fast they go, and the checkpoints
//! that they are sent from.
//!
//! ```text
//!   a follower needs a snapshot --> kept? --no--> checkpoint --> sent in pieces --> arrived: it goes
//!                                    ^ |yes                          | broke off
//!                                    | +------> goes on <------------+
//!                                    +-- kept, until nothing of it arrived anywhere for KEEP_FOR
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use strata_env::Env;
use strata_storage::Checkpoint;
use strata_types::ReplicaId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::kept::{KEEP_FOR, Kept, Sending};
use crate::pace::Pace;
use crate::types::SnapshotMeta;

/// Bytes a second of all snapshots from and to a node, unless set otherwise: half of what a gigabit carries. A node that
/// is busy with entries gives them less.
pub const SNAPSHOT_BYTES_PER_SECOND: u64 = 64 << 20;

/// Snapshots that are sent at once; others wait. With the pieces of one that are on their way this bounds the memory.
const OUTGOING_MAX: usize = 4;
/// Snapshots that arrive at once; others wait. Each writes a tablet beside the present one.
const INCOMING_MAX: usize = 4;
/// Checkpoints that are kept while nothing of them is sent. Each holds back the disk space of files that its tablet has
/// compacted away.
const IDLE_KEPT_MAX: usize = 16;
/// Bytes of one piece at most: it is held in memory a few times on both sides.
const PIECE_BYTES_MAX: u64 = 512 << 10;
/// Bytes of one piece at least.
const PIECE_BYTES_MIN: u64 = 16 << 10;

/// What the transfers of a node share.
pub(crate) struct Transfers {
    pub(crate) env: Env,
    pace: Pace,
    outgoing: Arc<Semaphore>,
    incoming: Arc<Semaphore>,
    kept: Mutex<BTreeMap<ReplicaId, Arc<Kept>>>,
}

impl Transfers {
    pub(crate) fn new(env: Env, bytes_per_second: u64) -> Arc<Transfers> {
        Arc::new(Transfers {
            env,
            pace: Pace::new(bytes_per_second),
            outgoing: Arc::new(Semaphore::new(OUTGOING_MAX)),
            incoming: Arc::new(Semaphore::new(INCOMING_MAX)),
            kept: Mutex::default(),
        })
    }

    /// Waits until one more may be sent.
    pub(crate) async fn outgoing(&self) -> Turn {
        Turn::new(&self.outgoing, "out").await
    }

    /// Waits until one more may arrive.
    pub(crate) async fn incoming(&self) -> Turn {
        Turn::new(&self.incoming, "in").await
    }

    /// Waits until so many more bytes may be sent or written.
    pub(crate) async fn pace(&self, bytes: u64) {
        let wait = self.pace.reserve(self.env.now(), bytes);
        if !wait.is_zero() {
            self.env.sleep(wait).await;
        }
    }

    /// Entries were applied on this node: snapshots make room for what clients want.
    pub(crate) fn note_applied(&self, entries: usize) {
        self.pace.note_applied(entries);
    }

    /// How long pieces are: short enough that all transfers together do not wait long for one another.
    pub(crate) fn piece_bytes(&self) -> u64 {
        (self.pace.bytes_per_second() / 8).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX)
    }

    /// The checkpoint of a replica that is kept, if it is not too old to be sent.
    pub(crate) fn kept(&self, replica: ReplicaId) -> Option<Arc<Kept>> {
        let now = self.env.now();
        let kept = self.kept.lock().get(&replica).cloned();
        kept.filter(|kept| now.since(kept.heard()) < KEEP_FOR)
    }

    /// Keeps a new checkpoint of a replica in the place of the one before.
    pub(crate) fn keep(&self, replica: ReplicaId, meta: SnapshotMeta, checkpoint: Arc<dyn Checkpoint>) -> Arc<Kept> {
        let new = Arc::new(Kept::new(&self.env, meta, checkpoint));
        let mut kept = self.kept.lock();
        kept.insert(replica, new.clone());
        let idle = || kept.iter().filter(|(id, other)| **id != replica && !other.is_running());
        let oldest = idle().min_by_key(|(_, other)| other.heard()).map(|(id, _)| *id);
        let is_full = idle().count() >= IDLE_KEPT_MAX;
        if let Some(oldest) = oldest.filter(|_| is_full) {
            kept.remove(&oldest);
        }
        new
    }

    /// Begins to send a checkpoint of a replica to another one.
    pub(crate) fn sending(self: &Arc<Self>, replica: ReplicaId, target: ReplicaId, kept: Arc<Kept>) -> Sending {
        Sending::new(self.clone(), replica, target, kept)
    }

    /// Whether what a checkpoint of this replica lacks must stay in the log, because the checkpoint is being sent or
    /// will be sent further.
    pub(crate) fn holds_log(&self, replica: ReplicaId) -> bool {
        let now = self.env.now();
        self.kept.lock().get(&replica).is_some_and(|kept| kept.is_wanted(now))
    }

    /// The log of a replica is cut at `index`: a checkpoint that ends before is of no use to anybody.
    pub(crate) fn outrun(&self, replica: ReplicaId, index: u64) {
        let is_behind = |kept: &Arc<Kept>| kept.meta.last_log_id.is_none_or(|last| last.index < index);
        if self.kept.lock().get(&replica).is_some_and(is_behind) {
            self.forget(replica);
        }
    }

    /// Keeps no checkpoint of a replica any more. One that is being sent ends with an error.
    pub(crate) fn forget(&self, replica: ReplicaId) {
        let gone = self.kept.lock().remove(&replica);
        if let Some(kept) = gone {
            kept.give_up();
        }
    }

    /// Keeps this checkpoint no longer, unless somebody wants more of it.
    pub(crate) fn release(&self, replica: ReplicaId, kept: &Arc<Kept>) {
        let now = self.env.now();
        let mut all = self.kept.lock();
        let is_it = all.get(&replica).is_some_and(|present| Arc::ptr_eq(present, kept));
        if is_it && !kept.is_wanted(now) {
            all.remove(&replica);
        }
    }

    /// Drops the checkpoints that nobody has taken anything of for long.
    pub(crate) fn expire(&self) {
        let now = self.env.now();
        self.kept.lock().retain(|_, kept| kept.is_running() || now.since(kept.heard()) < KEEP_FOR);
    }

    /// Replicas of which a checkpoint is kept.
    #[cfg(test)]
    pub(crate) fn kept_count(&self) -> usize {
        self.kept.lock().len()
    }
}

/// The right to send or to receive one snapshot.
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
    direction: &'static str,
}

impl Turn {
    async fn new(turns: &Arc<Semaphore>, direction: &'static str) -> Turn {
        let permit = turns.clone().acquire_owned().await.expect("the semaphore is never closed");
        metrics::gauge!("strata_raft_snapshot_transfers_running", "direction" => direction).increment(1.0);
        Turn { _permit: permit, direction }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        metrics::gauge!("strata_raft_snapshot_transfers_running", "direction" => self.direction).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use bytes::Bytes;
    use strata_env::sim::SimWorld;
    use strata_storage::{CheckpointFile, StorageResult};

    use super::*;
    use crate::types::log_id;

    struct Nothing(Arc<AtomicUsize>);

    impl Drop for Nothing {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl Checkpoint for Nothing {
        fn files(&self) -> StorageResult<Vec<CheckpointFile>> {
            Ok(Vec::new())
        }

        fn read(&self, _name: &str, _offset: u64, _length: usize) -> StorageResult<Bytes> {
            Ok(Bytes::new())
        }
    }

    fn keep(transfers: &Transfers, live: &Arc<AtomicUsize>, replica: u64, index: u64) -> Arc<Kept> {
        live.fetch_add(1, Ordering::SeqCst);
        let meta = SnapshotMeta { last_log_id: Some(log_id(1, ReplicaId(1), index)), ..SnapshotMeta::default() };
        transfers.keep(ReplicaId(replica), meta, Arc::new(Nothing(live.clone())))
    }

    /// Checkpoints whose files are there, when what was let go so far is removed.
    async fn left(transfers: &Transfers, live: &AtomicUsize) -> usize {
        transfers.env.background(|| ()).await.expect("the node runs");
        live.load(Ordering::SeqCst)
    }

    #[tokio::test(start_paused = true)]
    async fn a_checkpoint_is_kept_while_it_is_of_use_and_not_for_ever() {
        let live = Arc::new(AtomicUsize::new(0));
        let transfers = Transfers::new(SimWorld::new(1).node(1).env(), 1 << 20);
        let id = ReplicaId(1);
        let kept = keep(&transfers, &live, 1, 5);
        assert!(!transfers.holds_log(id), "nobody was heard of yet");
        let sending = transfers.sending(id, ReplicaId(2), kept);
        assert!(transfers.holds_log(id));
        drop(sending);
        assert!(!transfers.holds_log(id), "nothing of it arrived");
        assert!(transfers.kept(id).is_some(), "it may be sent again");

        let sending = transfers.sending(id, ReplicaId(2), transfers.kept(id).expect("kept"));
        sending.arrived();
        drop(sending);
        assert!(transfers.holds_log(id), "it broke off");
        transfers.outrun(id, 5);
        assert!(transfers.kept(id).is_some(), "what it lacks is still in the log");
        transfers.env.sleep(KEEP_FOR).await;
        assert!(!transfers.holds_log(id) && transfers.kept(id).is_none());
        transfers.expire();
        assert_eq!((transfers.kept_count(), left(&transfers, &live).await), (0, 0));

        let kept = keep(&transfers, &live, 1, 5);
        let (one, two) = (transfers.sending(id, ReplicaId(2), kept.clone()), transfers.sending(id, ReplicaId(3), kept));
        one.done();
        assert!(transfers.kept(id).is_some(), "the other one still takes it");
        transfers.outrun(id, 6);
        assert!(transfers.kept(id).is_none() && two.is_given_up());
        drop(two);
        assert_eq!(live.load(Ordering::SeqCst), 1, "its files are not removed where it was let go");
        assert_eq!(left(&transfers, &live).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_idle_checkpoints_are_kept() {
        let live = Arc::new(AtomicUsize::new(0));
        let transfers = Transfers::new(SimWorld::new(1).node(1).env(), 1 << 20);
        let first = keep(&transfers, &live, 1, 1);
        let _sending = transfers.sending(ReplicaId(1), ReplicaId(90), first);
        for replica in 2..100 {
            keep(&transfers, &live, replica, 1);
            transfers.env.sleep(Duration::from_millis(1)).await;
        }
        assert!(transfers.kept(ReplicaId(1)).is_some(), "it is being sent");
        assert!(transfers.kept(ReplicaId(99)).is_some() && transfers.kept(ReplicaId(50)).is_none());
        assert_eq!(left(&transfers, &live).await, transfers.kept_count());
        assert!(transfers.kept_count() <= IDLE_KEPT_MAX + 2, "{}", transfers.kept_count());
    }
}
