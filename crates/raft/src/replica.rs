//! The part of a replica that the raft tasks, readers and maintenance share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use strata_codec::APPLIED_KEY;
use strata_env::{Env, Mono};
use strata_machine::Machine;
use strata_storage::{Engine, Receiver, StorageError, Tablets};
use strata_types::{GroupId, LogIndex, ReplicaId};
use tokio::sync::{Notify, watch};

use crate::applied::Applied;
use crate::catch_up::CatchingUp;
use crate::clock::Clock;
use crate::lease::Leases;
use crate::overlay::Rows;
use crate::transfers::Transfers;
use crate::types::{LeaderId, LogId};

/// One replica: its tablet, how far that is, and what is known of it.
pub(crate) struct Replica {
    pub(crate) env: Env,
    pub(crate) group: GroupId,
    pub(crate) id: ReplicaId,
    pub(crate) machine: Arc<dyn Machine>,
    tablets: Arc<dyn Tablets>,
    tablet: RwLock<Arc<dyn Engine>>,
    applied: Mutex<Applied>,
    /// One apply or install at a time. openraft makes one after the other, but an apply of a core that panicked may
    /// still run when the group has been reopened. With it, the machine's common rows as they are in the tablet.
    pub(crate) changing: Mutex<Rows>,
    /// Set under `changing` when the replica is deleted: no tablet is installed for it any more.
    retired: AtomicBool,
    applied_index: AtomicU64,
    applied_changed: Notify,
    /// How far other replicas were told that entries are committed: they may have applied them, and show them.
    told: Mutex<Option<LogId>>,
    /// The highest entry that a reader at another replica waits for.
    asked: watch::Sender<u64>,
    /// The log is to be cut up to here, whoever still needs it.
    cut: AtomicU64,
    /// For whom it is not yet to be cut there.
    pub(crate) catching_up: CatchingUp,
    /// The time of this shard here, for when this replica leads.
    pub(crate) clock: Arc<Clock>,
    /// What was promised here and to this replica.
    pub(crate) leases: Arc<Leases>,
    /// When that was taken which it last took from a leader it follows (`beats.rs`).
    pub(crate) heard: Mutex<Option<Mono>>,
    /// Bytes that are there of a snapshot on its way to this replica.
    pub(crate) arrived: AtomicU64,
    /// openraft asks for the current snapshot several times while it starts; a checkpoint would be wasted then. And
    /// whoever starts it does not wait for room.
    running: AtomicBool,
    /// Snapshots on their way, of all replicas of the node.
    pub(crate) transfers: Arc<Transfers>,
    /// When its own files were last found to be sound, because somebody had refused what they were sent.
    pub(crate) found_sound: Mutex<Option<Mono>>,
    /// Why this replica refuses to serve.
    problem: Mutex<Option<String>>,
    /// What it waits for, and why.
    obstacle: Mutex<Option<String>>,
}

impl Replica {
    pub(crate) fn open(
        env: Env,
        group: GroupId,
        id: ReplicaId,
        machine: Arc<dyn Machine>,
        tablets: Arc<dyn Tablets>,
        transfers: Arc<Transfers>,
    ) -> Result<Arc<Replica>, StorageError> {
        let tablet = tablets.open(id)?;
        let applied = Applied::decode(tablet.get(APPLIED_KEY)?)?;
        let index = applied.log_id.map_or(0, |id| id.index);
        let clock = Arc::new(Clock::new(applied.stamp));
        Ok(Arc::new(Replica {
            env,
            group,
            id,
            machine,
            tablets,
            tablet: RwLock::new(tablet),
            applied: Mutex::new(applied),
            changing: Mutex::default(),
            retired: AtomicBool::new(false),
            applied_index: AtomicU64::new(index),
            applied_changed: Notify::new(),
            told: Mutex::default(),
            asked: watch::Sender::new(0),
            cut: AtomicU64::new(0),
            catching_up: CatchingUp::default(),
            clock,
            leases: Arc::new(Leases::new(id)),
            heard: Mutex::default(),
            arrived: AtomicU64::new(0),
            running: AtomicBool::new(false),
            transfers,
            found_sound: Mutex::default(),
            problem: Mutex::new(None),
            obstacle: Mutex::new(None),
        }))
    }

    pub(crate) fn tablet(&self) -> Arc<dyn Engine> {
        self.tablet.read().clone()
    }

    pub(crate) fn applied(&self) -> Applied {
        self.applied.lock().clone()
    }

    /// The log is to be cut up to there, whoever still needs it (RAFT-4).
    pub(crate) fn note_cut(&self, cut: LogIndex) {
        self.cut.fetch_max(cut.0, Ordering::Relaxed);
    }

    /// Whether a follower whose log ends there cannot have the next entry any more.
    pub(crate) fn is_cut_off(&self, last: Option<LogId>) -> bool {
        last.map_or(0, |last| last.index) < self.cut.load(Ordering::Relaxed)
    }

    /// Another replica is about to be told that this entry is committed.
    pub(crate) fn note_told(&self, committed: Option<LogId>) {
        let mut told = self.told.lock();
        *told = (*told).max(committed);
    }

    /// Another replica waits until it may apply this entry, because somebody reads there.
    pub(crate) fn note_asked(&self, index: u64) {
        self.asked.send_if_modified(|asked| index > std::mem::replace(asked, index.max(*asked)));
    }

    /// Completes when some other replica waits for more than this.
    pub(crate) async fn wait_asked_beyond(&self, index: u64) {
        // The sender is here.
        let _ = self.asked.subscribe().wait_for(|asked| *asked > index).await;
    }

    /// The entry up to which everything is applied that anybody may have seen here or at a replica that follows this one.
    pub(crate) fn shown(&self) -> Option<LogId> {
        let told = *self.told.lock();
        self.applied.lock().log_id.max(told)
    }

    /// Whether all of that is applied here.
    pub(crate) fn shows_all(&self) -> bool {
        let told = *self.told.lock();
        self.applied.lock().log_id >= told
    }

    /// Who led when the last entry was written that is applied here.
    pub(crate) fn applied_under(&self) -> Option<LeaderId> {
        self.applied.lock().log_id.map(|id| id.leader_id)
    }

    pub(crate) fn applied_index(&self) -> LogIndex {
        LogIndex(self.applied_index.load(Ordering::Acquire))
    }

    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// What this replica waits for, if it does not get on. It serves what it has.
    pub(crate) fn obstacle(&self) -> Option<String> {
        self.obstacle.lock().clone()
    }

    pub(crate) fn set_obstacle(&self, obstacle: Option<String>) {
        let mut present = self.obstacle.lock();
        // Once, however often it is met.
        match (present.as_ref(), obstacle.as_ref()) {
            (None, Some(obstacle)) => tracing::warn!(group = %self.group, obstacle, "the replica does not get on"),
            (Some(_), None) => tracing::info!(group = %self.group, "the replica gets on again"),
            _ => {}
        }
        *present = obstacle;
    }

    /// Waits for what is being applied or installed, and lets nothing be installed from now on.
    pub(crate) fn retire(&self) {
        let _one = self.changing.lock();
        self.retired.store(true, Ordering::Release);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    pub(crate) fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::Release);
    }

    /// Begins to receive a tablet from another replica.
    pub(crate) fn receive(&self) -> Result<Box<dyn Receiver>, StorageError> {
        self.tablets.receive(self.id)
    }

    /// Completes when the entry is applied, or one of a later leader, whose log has everything that was committed before
    /// it was elected: it may hold another entry at this index.
    pub(crate) async fn wait_reached(&self, id: &LogId) {
        loop {
            let changed = self.applied_changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.applied.lock().log_id.as_ref().is_some_and(|applied| applied >= id) {
                return;
            }
            changed.await;
        }
    }

    /// Puts a tablet of another replica, which has applied this much, in the place of the present one.
    pub(crate) fn install(&self, received: Arc<dyn Engine>, applied: Applied) -> Result<(), StorageError> {
        let mut common = self.changing.lock();
        common.clear();
        if self.retired.load(Ordering::Acquire) {
            return Err(StorageError::Invalid { detail: format!("{} was deleted", self.id) });
        }
        self.tablets.install(self.id, received.clone())?;
        let former = std::mem::replace(&mut *self.tablet.write(), received);
        self.set_applied(applied);
        // Its files are closed and deleted, if nobody else holds it: readers do not wait for that.
        drop(common);
        drop(former);
        Ok(())
    }

    pub(crate) fn set_applied(&self, applied: Applied) {
        let index = applied.log_id.map_or(0, |id| id.index);
        self.clock.applied(applied.stamp);
        *self.applied.lock() = applied;
        self.applied_index.store(index, Ordering::Release);
        self.applied_changed.notify_waiters();
        self.machine.applied(LogIndex(index));
    }

    /// Refuses to serve from now on if the error says that this replica's files are damaged (CLUSTER-5). Returns
    /// whether that is news.
    pub(crate) fn refuse(&self, error: &StorageError) -> bool {
        if !matches!(error, StorageError::Corrupt { .. }) {
            return false;
        }
        let mut problem = self.problem.lock();
        let is_news = problem.is_none();
        if is_news {
            tracing::error!(group = %self.group, replica = %self.id, %error, "replica refuses to serve");
            metrics::counter!("strata_cluster_replicas_refused_total").increment(1);
            *problem = Some(error.to_string());
        }
        is_news
    }

    /// Turns a failed engine call into what the replica or the node must do about it.
    pub(crate) fn storage_failed(&self, error: &StorageError) -> io::Error {
        match error {
            // `maintain` has it leave the group.
            StorageError::Corrupt { .. } => drop(self.refuse(error)),
            StorageError::Full { .. } | StorageError::Behind { .. } => {}
            // What a deleted replica still had under way ends with it.
            _ if self.retired.load(Ordering::Acquire) => {}
            _ => self.env.halt(format!("storage of {} failed: {error}", self.group)),
        }
        io::Error::other(error.clone())
    }
}
