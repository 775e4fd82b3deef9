//! What clients do with an open transaction, call by call.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use strata_types::{
    Conflict, ConflictReason, Error, ErrorCode, Item, LockWait, Result, SpaceKey, Timestamp, TransactionId,
};

use super::OpenTransactions;
use super::entry::{Entered, IDLE_MAX, State, Told};
use super::registry::OPEN_BYTES_MAX;
use crate::{Savepoint, Transaction, sooner};

/// What a client hears that said that it is there.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// How long the transaction may be without a call.
    pub idle_max: Duration,
    /// How long it may go on.
    pub left: Duration,
    /// How it is.
    pub told: Told,
}

impl OpenTransactions {
    /// Reads one key.
    pub async fn get(&self, id: TransactionId, key: Bytes, deadline: Duration) -> Result<(Option<Item>, Told)> {
        let read = async {
            let mut entered = self.enter(id, deadline).await?;
            let bytes = weight(&key, 0);
            let item = match &mut *entered.state {
                State::Reader(snapshot) => snapshot.with_deadline(sooner(deadline)).get(key).await?,
                State::Writer(transaction) => {
                    let item = patient(transaction, deadline).get(key).await?;
                    self.charge(&entered, bytes)?;
                    item
                }
                State::Over(over) => return Err(over.error()),
            };
            Ok((item, entered.leave()))
        };
        self.within(deadline, read).await
    }

    /// Locks one key, and reads it. `patience`: how long a lock that another one has is waited for; `None` for all the
    /// time of the call.
    pub async fn get_for_update(
        &self,
        id: TransactionId,
        key: Bytes,
        wait: LockWait,
        patience: Option<Duration>,
        deadline: Duration,
    ) -> Result<(Option<Item>, Told)> {
        let patience = match patience {
            Some(patience) if wait == LockWait::Wait => patience.min(deadline),
            _ => deadline,
        };
        let mut entered = self.entered(id, deadline).await?;
        let transaction = patient(entered.writer()?, patience);
        let locked = transaction.get_for_update(key.clone(), wait);
        let item = match self.env().timeout(patience, locked).await {
            Ok(item) => item?,
            Err(_) if patience < deadline => return Err(taken(&entered, &key)),
            Err(_) => return Err(late()),
        };
        self.charge(&entered, weight(&key, 0))?;
        Ok((item, entered.leave()))
    }

    /// Writes one key when the transaction commits.
    pub async fn put(&self, id: TransactionId, key: Bytes, value: Bytes, deadline: Duration) -> Result<Told> {
        let mut entered = self.entered(id, deadline).await?;
        entered.writer()?;
        self.charge(&entered, weight(&key, value.len()))?;
        entered.writer()?.put(key, value).await?;
        entered.note_write();
        Ok(entered.leave())
    }

    /// Removes one key when the transaction commits.
    pub async fn delete(&self, id: TransactionId, key: Bytes, deadline: Duration) -> Result<Told> {
        let mut entered = self.entered(id, deadline).await?;
        entered.writer()?;
        self.charge(&entered, weight(&key, 0))?;
        entered.writer()?.delete(key).await?;
        entered.note_write();
        Ok(entered.leave())
    }

    /// Marks the present state of its writes.
    pub async fn savepoint(&self, id: TransactionId, deadline: Duration) -> Result<Savepoint> {
        let mut entered = self.entered(id, deadline).await?;
        entered.writer()?;
        self.charge(&entered, weight(&Bytes::new(), 0))?;
        Ok(entered.writer()?.savepoint())
    }

    /// Takes back the writes made since a savepoint.
    pub async fn rollback_to(&self, id: TransactionId, savepoint: Savepoint, deadline: Duration) -> Result<()> {
        self.entered(id, deadline).await?.writer()?.rollback_to(savepoint)
    }

    /// Says that its client is there.
    pub async fn heartbeat(&self, id: TransactionId, deadline: Duration) -> Result<Heartbeat> {
        let entered = self.entered(id, deadline).await?;
        if let State::Over(over) = &*entered.state {
            return Err(over.error());
        }
        let left = entered.entry.time_left(self.env().now());
        Ok(Heartbeat { idle_max: IDLE_MAX, left, told: entered.leave() })
    }

    /// Waits until no other call works on the transaction, but no longer than the deadline, whoever keeps it.
    pub(super) async fn entered(&self, id: TransactionId, deadline: Duration) -> Result<Entered> {
        self.within(deadline, self.enter(id, deadline)).await
    }

    /// A read or a write that is only remembered: whatever ends it, nothing was applied.
    async fn within<T>(&self, deadline: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.env().timeout(deadline, work).await.unwrap_or_else(|_| Err(late()))
    }

    /// Makes room for something that the transaction is going to hold.
    pub(super) fn charge(&self, entered: &Entered, bytes: usize) -> Result<()> {
        let held = self.registry.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > OPEN_BYTES_MAX {
            self.registry.bytes.fetch_sub(bytes, Ordering::Relaxed);
            let sentence = format!("open transactions hold {} MiB on this node already", OPEN_BYTES_MAX >> 20);
            return Err(Error::not_applied(ErrorCode::Overloaded, sentence));
        }
        entered.entry.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// What a read or written key takes of the room for all transactions.
pub(super) fn weight(key: &Bytes, value: usize) -> usize {
    key.len() + value + strata_router::RESULT_OVERHEAD
}

fn patient(transaction: &mut Transaction, deadline: Duration) -> &mut Transaction {
    transaction.with_deadline(sooner(deadline))
}

/// The lock was not given in the time that the client wanted to wait.
fn taken(entered: &Entered, key: &Bytes) -> Error {
    let key = Some(SpaceKey { space: entered.entry.space, key: key.clone() });
    Error::of_conflict(Conflict { reason: ConflictReason::Locked, key, rival: None, at: Timestamp::default() })
}

fn late() -> Error {
    Error::not_applied(ErrorCode::DeadlineExceeded, "the call was not answered by its deadline; nothing was written")
}
