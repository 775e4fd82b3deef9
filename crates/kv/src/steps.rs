//! Steps of transactions that do not go into the log: locks, and what has become of a transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strata_cluster::Node;
use strata_codec::encode_command;
use strata_raft::{Group, ReadError};
use strata_shard::Obstacle;
use strata_types::{
    Conflict, ConflictReason, Decision, Error, ErrorCode, LockWait, Operation, Reply, Request, RequestHeader, Result,
    ShardId, SpaceKey, Timestamp, Transaction, TransactionCall, TransactionId, TransactionReply, TransactionStatus,
    limits::{SHARD_LOCK_BYTES_MAX, TRANSACTION_LOCKS_MAX},
};
use tokio::sync::Notify;

use crate::blockers::{Blockers, InTheWay, blocked, note};
use crate::locks::{Grant, Known, Locks};
use crate::open_transactions::{OpenPhase, OpenTransaction};
use crate::pushes::Pushes;
use crate::reads::{self, ReadFailed};
use crate::refusals::{propose_error, read_error, storage_error};

/// How long one call for a lock waits; then its transaction asks again. Far shorter than what makes a router believe that
/// the node is gone.
const LOCK_SLICE: Duration = Duration::from_millis(150);
/// How long one call about somebody else's transaction waits.
const PUSH_SLICE: Duration = Duration::from_millis(25);
/// How often it is looked whether a transaction is decided.
const PUSH_POLL: Duration = Duration::from_millis(2);
/// A lock that becomes free is noticed at once; one whose owner fell silent, after this.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// The locks of one shard.
#[derive(Default)]
struct ShardLocks {
    locks: Mutex<Locks>,
    /// Somebody gave locks back.
    freed: Notify,
}

/// What a node remembers of transactions: of the shards that it leads, and only to help them on.
#[derive(Default)]
pub(crate) struct Steps {
    shards: Mutex<BTreeMap<ShardId, Arc<ShardLocks>>>,
    pushes: Pushes,
    pub(crate) blockers: Blockers,
}

/// Where a step is carried out.
pub(crate) struct Place<'a> {
    pub(crate) node: &'a Node,
    pub(crate) group: &'a Arc<Group>,
    pub(crate) shard: ShardId,
}

impl Steps {
    /// Carries out a step for the shard that this replica leads.
    pub(crate) async fn take(&self, place: &Place<'_>, call: &TransactionCall) -> Result<TransactionReply> {
        match call {
            TransactionCall::Lock { transaction, key, wait } => self.lock(place, transaction, key, *wait).await,
            TransactionCall::Unlock { transaction, .. } => {
                self.release(place.shard, transaction.id);
                Ok(TransactionReply::Done)
            }
            TransactionCall::Status { transaction } => {
                place.group.read_barrier().await.map_err(read_error)?;
                status(place, transaction.id).await.map(TransactionReply::Status)
            }
            TransactionCall::Push { transaction, age } => self.push(place, transaction, *age).await,
            other => unreachable!("a command among the steps: {other:?}"),
        }
    }

    /// A transaction is about to be committed or prepared on a shard: the refusal, if it was wounded.
    pub(crate) fn enter(&self, place: &Place<'_>, transaction: &Transaction) -> Option<TransactionReply> {
        let locks = self.known(place.shard)?;
        let wounded = locks.locks.lock().commit(transaction.id, place.node.env().now()).err()?;
        Some(conflict(ConflictReason::Wounded, None, Some(wounded)))
    }

    /// A transaction has ended on a shard.
    pub(crate) fn release(&self, shard: ShardId, transaction: TransactionId) {
        if let Some(locks) = self.known(shard)
            && locks.locks.lock().release(transaction)
        {
            locks.freed.notify_waiters();
        }
    }

    /// Those that have locks on a shard, or wait for one.
    pub(crate) fn open(&self, shard: ShardId, node: &Node) -> Vec<OpenTransaction> {
        let Some(locks) = self.known(shard) else { return Vec::new() };
        let known = locks.locks.lock().known(node.env().now());
        let open = |known: Known| OpenTransaction {
            transaction: known.transaction,
            phase: if known.waits_for.is_some() { OpenPhase::Waiting } else { OpenPhase::Active },
            shard,
            elapsed: known.silent,
            locks: u32::try_from(known.locks).unwrap_or(u32::MAX),
            waits_for: known.waits_for,
        };
        known.into_iter().map(open).collect()
    }

    fn known(&self, shard: ShardId) -> Option<Arc<ShardLocks>> {
        self.shards.lock().get(&shard).cloned()
    }

    async fn lock(
        &self,
        place: &Place<'_>,
        transaction: &Transaction,
        key: &SpaceKey,
        wait: LockWait,
    ) -> Result<TransactionReply> {
        let env = place.node.env();
        let until = env.now() + LOCK_SLICE;
        let shard = self.shards.lock().entry(place.shard).or_default().clone();
        loop {
            let mut freed = std::pin::pin!(shard.freed.notified());
            freed.as_mut().enable();
            let grant = shard.locks.lock().ask(transaction, key, wait == LockWait::Wait, env.now());
            match grant {
                Grant::Held => return self.read_locked(place, transaction, key).await,
                Grant::Wounded { by } => {
                    return Ok(conflict(ConflictReason::Wounded, Some(key.clone()), Some(by)));
                }
                Grant::TooMany => return Err(too_many_locks(place.shard)),
                Grant::NoRoom => return Err(no_room_for_locks(place.shard)),
                Grant::Taken { .. } if wait == LockWait::SkipLocked => return Ok(TransactionReply::Skipped),
                Grant::Taken { by } if wait == LockWait::NoWait || env.now() >= until => {
                    return Ok(conflict(ConflictReason::Locked, Some(key.clone()), Some(by)));
                }
                Grant::Taken { .. } => drop(env.timeout(LOCK_POLL, freed).await),
            }
        }
    }

    /// The newest value of a key that is locked.
    async fn read_locked(
        &self,
        place: &Place<'_>,
        transaction: &Transaction,
        key: &SpaceKey,
    ) -> Result<TransactionReply> {
        let until = place.node.env().now() + LOCK_SLICE;
        loop {
            place.group.read_barrier().await.map_err(read_error)?;
            let by = match reads::newest(place.node.env(), place.group.tablet(), key).await {
                Ok((item, changed)) => return Ok(TransactionReply::Locked { item, changed }),
                Err(ReadFailed::Met(Obstacle::Blocked(by))) => by,
                Err(failed) => return Err(failed_read(failed)),
            };
            let mut in_the_way = InTheWay::new();
            note(&mut in_the_way, by, Some(transaction.age));
            if !self.blockers.clear(key.slot(), in_the_way).await && place.node.env().now() >= until {
                return Err(blocked(&by));
            }
        }
    }

    async fn push(
        &self,
        place: &Place<'_>,
        transaction: &Transaction,
        age: Option<Timestamp>,
    ) -> Result<TransactionReply> {
        let env = place.node.env();
        let until = env.now() + PUSH_SLICE;
        place.group.read_barrier().await.map_err(read_error)?;
        loop {
            let status = status(place, transaction.id).await?;
            let is_decided = matches!(status, TransactionStatus::Decided(_));
            if is_decided {
                self.pushes.forget(transaction.id);
            }
            if is_decided {
                return Ok(TransactionReply::Status(status));
            }
            // Without a record it is not decided: its coordinator may be at work, and has as long as others have patience.
            if env.now() >= until {
                return Ok(TransactionReply::Status(TransactionStatus::Pending));
            }
            if self.pushes.is_due(transaction, age, env.now()) {
                return Ok(match abort(place, transaction).await? {
                    // So old, and somebody meets what it left: it is not committed, or its record would be kept (TXN-24).
                    TransactionReply::Status(TransactionStatus::Unknown) => {
                        TransactionReply::Status(TransactionStatus::Decided(Decision::Aborted))
                    }
                    reply => reply,
                });
            }
            env.sleep(PUSH_POLL).await;
        }
    }
}

/// Has a transaction aborted, unless it is committed.
pub(crate) async fn abort(place: &Place<'_>, transaction: &Transaction) -> Result<TransactionReply> {
    metrics::counter!("strata_kv_transactions_aborted_total").increment(1);
    let operation = Operation::Transact(Box::new(TransactionCall::Abort { transaction: *transaction }));
    let command = encode_command(&Request { header: RequestHeader::default(), operation })?;
    let reply = place.group.propose(vec![command]).await.pop().expect("one command has one reply");
    match crate::writes::decode(reply.map_err(propose_error)?)? {
        Reply::Transact(reply) => Ok(reply),
        other => Err(Error::unknown(ErrorCode::Internal, format!("an abort was answered by {other:?}"))),
    }
}

async fn status(place: &Place<'_>, transaction: TransactionId) -> Result<TransactionStatus> {
    reads::status(place.node.env(), place.group.tablet(), transaction).await.map_err(failed_read)
}

fn failed_read(failed: ReadFailed) -> Error {
    match failed {
        ReadFailed::Storage(error) => storage_error(&error),
        ReadFailed::Met(obstacle) => crate::refusals::obstacle(obstacle),
        ReadFailed::NoRoom => Error::without_room(),
        ReadFailed::BrokeOff => Error::not_applied(ErrorCode::Internal, "reading the replica's tablet broke off"),
    }
}

fn too_many_locks(shard: ShardId) -> Error {
    let message =
        format!("the transaction has locked {TRANSACTION_LOCKS_MAX} keys of shard {shard}, the most that one may have");
    Error::not_applied(ErrorCode::TooLarge, message)
}

fn no_room_for_locks(shard: ShardId) -> Error {
    let most = SHARD_LOCK_BYTES_MAX >> 20;
    let message = format!("the keys that are locked on shard {shard} take {most} MiB already; nothing was locked");
    Error::not_applied(ErrorCode::Overloaded, message)
}

fn conflict(reason: ConflictReason, key: Option<SpaceKey>, rival: Option<TransactionId>) -> TransactionReply {
    TransactionReply::Conflict(Conflict { reason, key, rival, at: Timestamp(0) })
}

/// A barrier error of a step, for those who ask whether the whole batch belongs elsewhere.
pub(crate) fn not_leading(group: &Group) -> Option<ReadError> {
    let status = group.watch().borrow().clone();
    (!status.is_leader).then(|| ReadError::NotLeader { leader: status.leader.map(|(_, node)| node) })
}
