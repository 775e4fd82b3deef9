//! Transactions and snapshots of a client.

use strata_txn::{Attempt, BeginOptions, Snapshot, Transaction, TransactionHandle};
use strata_types::{Result, Timestamp, TransactionStatus};

use crate::Client;

impl Client {
    /// Begins a transaction over any keys: it sees everything that was committed before its first read, and its own
    /// writes. Asks nobody yet: the timestamp at which it reads comes with the first read.
    pub async fn begin(&self) -> Result<Transaction> {
        Ok(self.transactions.open(self.begin_options()))
    }

    /// Does some work in a transaction and commits it; again, if another transaction came in between. `work` may run
    /// several times. An error of its own ends it, and nothing is written.
    ///
    /// ```no_run
    /// # async fn example(client: strata_client::Client) -> strata_client::Result<()> {
    /// use strata_client::LockWait;
    ///
    /// client.transact(|mut txn| async move {
    ///     let visits = txn.get_for_update("visits", LockWait::Wait).await?;
    ///     let count = visits.map_or(0, |item| item.value.len());
    ///     txn.put("visits", vec![b'|'; count + 1]).await
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn transact<T, F>(&self, work: impl FnMut(Attempt) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.transactions.transact_with(self.begin_options(), work).await
    }

    /// Everything that was committed before, on all shards, to be read at leisure.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(self.set_up(self.transactions.snapshot().await?))
    }

    /// What was committed up to a timestamp: that of an earlier snapshot, or what a commit returned.
    pub async fn snapshot_at(&self, at: Timestamp) -> Result<Snapshot> {
        Ok(self.set_up(self.transactions.snapshot_at(at).await?))
    }

    /// What became of a transaction whose commit got no clear answer.
    pub async fn outcome(&self, handle: TransactionHandle) -> Result<TransactionStatus> {
        self.transactions.outcome(handle).await
    }

    /// The same, for good: what is not committed by now never will be.
    pub async fn settle(&self, handle: TransactionHandle) -> Result<TransactionStatus> {
        self.transactions.settle(handle).await
    }

    fn begin_options(&self) -> BeginOptions {
        BeginOptions { space: self.header.space(), deadline: Some(self.deadline), age: None }
    }

    fn set_up(&self, snapshot: Snapshot) -> Snapshot {
        snapshot.with_space(self.header.space()).with_deadline(self.deadline)
    }
}
