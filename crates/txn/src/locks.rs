//! The locks that a transaction has at the leaders of shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use strata_env::TaskHandle;
use strata_types::{
    Conflict, ConflictReason, Error, ErrorCode, LockWait, Outcome, Result, ShardId, SpaceKey, Timestamp, Transaction,
    TransactionCall, TransactionReply,
};
use tokio::sync::oneshot;

use crate::core::{Core, misfit};

/// A lock whose owner is silent for five seconds is free: so often the owner says that it is there.
const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// How long giving locks back is tried: afterwards they are free anyway.
const UNLOCK_PATIENCE: Duration = Duration::from_secs(5);

/// What is locked: one key of each shard is enough to renew, or to give back, all locks there.
type Held = BTreeMap<ShardId, (Transaction, SpaceKey)>;

/// The locks of one transaction. They are given back when this goes (COORD-5).
pub(crate) struct Locks {
    core: Arc<Core>,
    ring: Arc<Ring>,
    keeper: Option<Keeper>,
}

/// The task that renews the locks. It ends with whoever has this, also where giving them back is left undone.
struct Keeper(TaskHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the tasks of one transaction's locks share.
#[derive(Default)]
struct Ring {
    held: Mutex<Held>,
    /// Whoever asks for a lock has it until the answer is there: a question that arrives after the locks were given
    /// back would lock for nobody.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// What came of asking for a lock.
pub(crate) enum Locked {
    /// The transaction has it; the key was last changed then.
    Held {
        /// When.
        changed: Timestamp,
    },
    /// Another one has it, and it was not to be waited for.
    Skipped,
}

impl Locks {
    /// No locks.
    pub(crate) fn new(core: Arc<Core>) -> Locks {
        Locks { core, ring: Arc::default(), keeper: None }
    }

    /// Locks a key.
    pub(crate) async fn lock(
        &mut self,
        transaction: Transaction,
        key: &SpaceKey,
        wait: LockWait,
        deadline: Duration,
    ) -> Result<Locked> {
        let end = self.core.env().now() + deadline;
        // Noted before it is asked for: whoever gets no answer may have the lock.
        self.note(transaction, key, deadline).await?;
        let mut owned: Option<Conflict> = None;
        loop {
            let left = end.since(self.core.env().now());
            let call = TransactionCall::Lock { transaction, key: key.clone(), wait };
            match (self.ask(call, left).await, owned.take()) {
                (Ok(TransactionReply::Locked { changed, .. }), _) => return Ok(Locked::Held { changed }),
                (Ok(TransactionReply::Skipped), _) => return Ok(Locked::Skipped),
                (Ok(TransactionReply::Conflict(conflict)), _) => {
                    // A node waits for so long only; whose turn it is, is remembered there.
                    let goes_on = wait == LockWait::Wait
                        && conflict.reason == ConflictReason::Locked
                        && self.core.env().now() < end;
                    if !goes_on {
                        return Err(Error::of_conflict(conflict));
                    }
                    owned = Some(conflict);
                }
                (Ok(other), _) => return Err(not_locked(misfit(&other))),
                // The time is over: what it was lost to says more.
                (Err(error), Some(owned))
                    if error.code == ErrorCode::DeadlineExceeded || self.core.env().now() >= end =>
                {
                    return Err(Error::of_conflict(owned));
                }
                (Err(error), _) => return Err(not_locked(error)),
            }
        }
    }

    /// Whether none was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.held.lock().is_empty()
    }

    /// Gives all locks back, and waits until that is done.
    pub(crate) async fn release(mut self) {
        let (core, ring, keeper) = (self.core.clone(), self.ring.clone(), self.keeper.take());
        unlock(core, ring, keeper).await;
    }

    async fn note(&mut self, transaction: Transaction, key: &SpaceKey, deadline: Duration) -> Result<()> {
        let map = self.core.map(deadline).await?;
        if let Some(placement) = map.shard_of(key.slot()) {
            self.ring.held.lock().entry(placement.shard).or_insert_with(|| (transaction, key.detached()));
        }
        if self.keeper.is_none() {
            let keeper = keep(self.core.clone(), self.ring.clone());
            self.keeper = Some(Keeper(self.core.env().spawn("txn-locks", keeper)));
        }
        Ok(())
    }

    /// One question, which is asked to its end even if nobody waits for the answer any more.
    async fn ask(&self, call: TransactionCall, deadline: Duration) -> Result<TransactionReply> {
        let asking = self.ring.asking.clone().lock_owned().await;
        let (sender, receiver) = oneshot::channel();
        let core = self.core.clone();
        self.core.env().spawn("txn-lock", async move {
            let reply = core.step(call, deadline).await;
            drop(asking);
            // A caller that gave up is nobody's error.
            let _ = sender.send(reply);
        });
        let stopped = || Error::not_applied(ErrorCode::NotReady, "the program is stopping");
        receiver.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        if self.is_empty() {
            return;
        }
        let unlock = unlock(self.core.clone(), self.ring.clone(), self.keeper.take());
        self.core.in_background("txn-unlock", unlock);
    }
}

/// Says again and again that the owner is there.
async fn keep(core: Arc<Core>, ring: Arc<Ring>) {
    loop {
        core.env().sleep(RENEW_INTERVAL).await;
        let _asking = ring.asking.lock().await;
        let now: Vec<(Transaction, SpaceKey)> = ring.held.lock().values().cloned().collect();
        let renewals = now.into_iter().map(|(transaction, key)| {
            core.step(TransactionCall::Lock { transaction, key, wait: LockWait::NoWait }, RENEW_INTERVAL)
        });
        // Whoever lost a lock learns it when it commits.
        drop(join_all(renewals).await);
    }
}

async fn unlock(core: Arc<Core>, ring: Arc<Ring>, keeper: Option<Keeper>) {
    let asking = ring.asking.lock().await;
    drop(keeper);
    let held = std::mem::take(&mut *ring.held.lock());
    let calls = held.into_values().map(|(transaction, key)| {
        core.step(TransactionCall::Unlock { transaction, slot: key.slot() }, UNLOCK_PATIENCE)
    });
    for result in join_all(calls).await {
        if let Err(error) = result {
            tracing::debug!(%error, "locks are left to end by themselves");
        }
    }
    drop(asking);
}

/// A lock writes nothing, whatever became of it.
fn not_locked(error: Error) -> Error {
    let reason = error.message.split("; whether the write was applied").next().unwrap_or_default();
    let message = format!("the key could not be locked: {reason}");
    Error { outcome: Outcome::NotApplied, message, ..error }
}

/// Nobody can commit what was read before this change.
pub(crate) fn changed(key: &SpaceKey, at: Timestamp) -> Error {
    let key = Some(key.clone());
    Error::of_conflict(Conflict { reason: ConflictReason::Changed, key, rival: None, at })
}
