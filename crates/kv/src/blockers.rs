//! Getting out of the way what is not decided.
//!
//! Whoever meets an intent, or a lock that a prepared transaction left, asks for the transaction's record. If it is
//! decided, what is left of it here is resolved, through this shard's log; then one tries again (KV-7). If it is not, its
//! coordinator may be at work, or dead: the shard of the record waits a little, and aborts it then.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use strata_router::{Kv as _, Router};
use strata_types::{
    Decision, Error, ErrorCode, Operation, Reply, Request, RequestHeader, Result, Slot, Timestamp, Transaction,
    TransactionCall, TransactionId, TransactionReply, TransactionStatus,
};

/// How long those who are in the way are dealt with at once: shorter than routers wait for a node, so that whoever waits
/// is told what for.
const CLEAR_PATIENCE: Duration = Duration::from_millis(300);
/// How long one step may take: finding the leader of a shard after a failover, and a round of it.
const STEP_DEADLINE: Duration = Duration::from_secs(2);

/// A transaction that is in the way, and the oldest of those that it keeps waiting.
pub(crate) type InTheWay = BTreeMap<TransactionId, (Transaction, Option<Timestamp>)>;

/// Notes that somebody, of this age if it is a transaction, waits for a transaction.
pub(crate) fn note(in_the_way: &mut InTheWay, by: Transaction, age: Option<Timestamp>) {
    let oldest = &mut in_the_way.entry(by.id).or_insert((by, None)).1;
    *oldest = match (*oldest, age) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
}

/// The way of a node's shards to the records of transactions.
#[derive(Default)]
pub(crate) struct Blockers {
    router: OnceLock<Weak<Router>>,
}

impl Blockers {
    /// Records are asked for through this router of the same node.
    pub(crate) fn set_router(&self, router: &Arc<Router>) {
        assert!(self.router.set(Arc::downgrade(router)).is_ok(), "a node has one router");
    }

    /// Has what is decided resolved on the shard of `slot`. Returns whether anything was: then it is worth trying again.
    pub(crate) async fn clear(&self, slot: Slot, in_the_way: InTheWay) -> bool {
        let Some(router) = self.router.get().and_then(Weak::upgrade) else { return false };
        let one = |(transaction, age)| self.clear_one(slot, transaction, age);
        let clear = futures_util::future::join_all(in_the_way.into_values().map(one));
        // Steps may be given up, and taken again, at any time.
        router.env().timeout(CLEAR_PATIENCE, clear).await.is_ok_and(|cleared| cleared.contains(&true))
    }

    async fn clear_one(&self, slot: Slot, transaction: Transaction, age: Option<Timestamp>) -> bool {
        match self.call(TransactionCall::Push { transaction, age }).await {
            Ok(TransactionReply::Status(TransactionStatus::Decided(decision))) => {
                self.resolve(slot, transaction, decision).await.is_ok()
            }
            Ok(_) => false,
            Err(error) => {
                tracing::debug!(transaction = %transaction.id, %error, "a transaction in the way cannot be asked for");
                false
            }
        }
    }

    /// Makes a transaction's writes on the shard of `slot` what they have become.
    pub(crate) async fn resolve(&self, slot: Slot, transaction: Transaction, decision: Decision) -> Result<()> {
        self.call(TransactionCall::Resolve { transaction, slot, decision }).await.map(drop)
    }

    /// Has a step carried out by whoever leads its shard.
    pub(crate) async fn call(&self, call: TransactionCall) -> Result<TransactionReply> {
        let stopped = || Error::unknown(ErrorCode::NotReady, "the node is starting or stopping");
        let router = self.router.get().and_then(Weak::upgrade).ok_or_else(stopped)?;
        let request = Request { header: RequestHeader::default(), operation: Operation::Transact(Box::new(call)) };
        match router.call(request, STEP_DEADLINE).await? {
            Reply::Transact(reply) => Ok(reply),
            other => {
                let message = format!("a step of a transaction was answered by {other:?}");
                Err(Error::unknown(ErrorCode::Internal, message))
            }
        }
    }
}

/// What a request is told that met a transaction for too long.
pub(crate) fn blocked(by: &Transaction) -> Error {
    let message = format!("transaction {}, which is not decided yet, is in the way; nothing was applied", by.id);
    Error::not_applied(ErrorCode::Blocked, message)
}
