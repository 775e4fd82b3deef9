//! A checkpoint that is kept until everybody who takes it has it, so that a transfer which broke off can go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::{Env, Mono};
use strata_storage::Checkpoint;
use strata_types::ReplicaId;

use crate::transfers::Transfers;
use crate::types::SnapshotMeta;

/// How long both sides keep what they have of a transfer of which nothing arrives: longer than a restart of a switch,
/// and short enough that the disk space and the log that it holds back come free again.
pub(crate) const KEEP_FOR: Duration = Duration::from_secs(300);

/// A checkpoint and how far its transfers are.
pub(crate) struct Kept {
    /// Names it: pieces of different checkpoints never mix.
    pub(crate) id: u64,
    pub(crate) meta: SnapshotMeta,
    env: Env,
    /// `None` only while this is dropped.
    checkpoint: Option<Arc<dyn Checkpoint>>,
    made: Mono,
    takers: Mutex<BTreeMap<ReplicaId, Taker>>,
    given_up: AtomicBool,
}

/// A replica that takes the checkpoint.
#[derive(Default)]
struct Taker {
    /// Attempts under way: more than one for a moment, when one is being ended.
    running: usize,
    /// When something new arrived there last.
    heard: Option<Mono>,
}

impl Kept {
    pub(crate) fn new(env: &Env, meta: SnapshotMeta, checkpoint: Arc<dyn Checkpoint>) -> Kept {
        let (id, made, env) = (env.rng.next_u64(), env.now(), env.clone());
        let (takers, given_up) = (Mutex::default(), AtomicBool::new(false));
        Kept { id, meta, env, checkpoint: Some(checkpoint), made, takers, given_up }
    }

    pub(crate) fn checkpoint(&self) -> Arc<dyn Checkpoint> {
        self.checkpoint.clone().expect("it goes last")
    }

    /// When something of it arrived anywhere last, or when it was made.
    pub(crate) fn heard(&self) -> Mono {
        let heard = self.takers.lock().values().filter_map(|taker| taker.heard).max();
        heard.map_or(self.made, |heard| heard.max(self.made))
    }

    /// Whether it is being sent.
    pub(crate) fn is_running(&self) -> bool {
        self.takers.lock().values().any(|taker| taker.running > 0)
    }

    /// Whether it is being sent, or somebody has a part of it and may come for the rest.
    pub(crate) fn is_wanted(&self, now: Mono) -> bool {
        let is_recent = |heard: Mono| now.since(heard) < KEEP_FOR;
        self.takers.lock().values().any(|taker| taker.running > 0 || taker.heard.is_some_and(is_recent))
    }

    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }
}

impl Drop for Kept {
    /// Its files are removed, which may wait for the disk: not where it is let go, which may be anywhere.
    fn drop(&mut self) {
        let gone = self.checkpoint.take();
        self.env.drop_in_background(gone);
    }
}

/// One attempt to send a checkpoint. While there is one, the log keeps what the checkpoint lacks: else the follower
/// would need yet another snapshot.
pub(crate) struct Sending {
    transfers: Arc<Transfers>,
    replica: ReplicaId,
    target: ReplicaId,
    kept: Arc<Kept>,
}

impl Sending {
    pub(crate) fn new(transfers: Arc<Transfers>, replica: ReplicaId, target: ReplicaId, kept: Arc<Kept>) -> Sending {
        kept.takers.lock().entry(target).or_default().running += 1;
        Sending { transfers, replica, target, kept }
    }

    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Something new arrived.
    pub(crate) fn arrived(&self) {
        let now = self.transfers.env.now();
        if let Some(taker) = self.kept.takers.lock().get_mut(&self.target) {
            taker.heard = Some(now);
        }
    }

    /// Whether the checkpoint became useless meanwhile.
    pub(crate) fn is_given_up(&self) -> bool {
        self.kept.given_up.load(Ordering::Acquire)
    }

    /// All of it arrived and was installed.
    pub(crate) fn done(self) {
        self.kept.takers.lock().remove(&self.target);
        self.transfers.release(self.replica, &self.kept);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(taker) = self.kept.takers.lock().get_mut(&self.target) {
            taker.running = taker.running.saturating_sub(1);
        }
    }
}
