//! Where transactions and snapshots begin.

use std::sync::Arc;
use std::time::Duration;

use strata_router::{Router, TimestampKind};
use strata_types::{
    Error, ErrorCode, Result, Timestamp, TransactionCall, TransactionId, TransactionReply, TransactionStatus,
};

use crate::core::{Core, misfit};
use crate::{BeginOptions, Snapshot, Transaction, TransactionHandle, TransactionOptions};

/// Begins transactions and snapshots. Cheap to clone.
#[derive(Clone)]
pub struct Transactions {
    pub(crate) core: Arc<Core>,
}

impl Transactions {
    /// Transactions over what a router reaches.
    pub fn new(router: Arc<Router>, options: TransactionOptions) -> Transactions {
        Transactions { core: Core::new(router, options) }
    }

    /// The same ones, another deadline for each call.
    pub fn with_deadline(&self, deadline: Duration) -> Transactions {
        Transactions { core: self.core.with_deadline(deadline) }
    }

    /// An id that nobody else has.
    pub fn fresh_id(&self) -> TransactionId {
        self.core.fresh_id()
    }

    /// A transaction that begins with its first read: it sees everything that was committed before that. Asks nobody.
    pub fn open(&self, options: BeginOptions) -> Transaction {
        Transaction::open(self.core.clone(), options)
    }

    /// Begins a transaction at once: it sees everything that was committed before.
    pub async fn begin(&self, options: BeginOptions) -> Result<Transaction> {
        let mut transaction = self.open(options);
        transaction.begun().await?;
        Ok(transaction)
    }

    /// A snapshot of everything that was committed before.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let at = self.core.begin(self.core.options.deadline).await?;
        Ok(Snapshot::new(self.core.clone(), at))
    }

    /// A snapshot of what was committed up to a timestamp: an earlier one of [`Snapshot::timestamp`], or what a commit
    /// returned. Refused if it lies ahead: what is going to be committed below it would change the snapshot.
    pub async fn snapshot_at(&self, at: Timestamp) -> Result<Snapshot> {
        let deadline = self.core.options.deadline;
        let mut newest = self.core.router.timestamp(TimestampKind::Floor, deadline).await?;
        // What was just committed may be one above what was handed out. Then the next one is needed to see it.
        if at == newest.next() {
            newest = self.core.begin(deadline).await?;
        }
        if at > newest {
            let message = format!("there is no snapshot at {at} yet: the newest timestamp is {newest}");
            return Err(Error::not_applied(ErrorCode::InvalidArgument, message));
        }
        if at == Timestamp::default() {
            let message = "there is no snapshot at @0: timestamps begin with 1";
            return Err(Error::not_applied(ErrorCode::InvalidArgument, message));
        }
        self.core.router.hold(at, deadline).await?;
        Ok(Snapshot::new(self.core.clone(), at))
    }

    /// What became of a transaction. `Unknown`: it was never prepared, or it ended so long ago that nobody remembers
    /// it. A commit that is still under way may be `Unknown` or `Pending` now and committed later.
    pub async fn outcome(&self, handle: TransactionHandle) -> Result<TransactionStatus> {
        self.ask(TransactionCall::Status { transaction: handle.transaction() }).await
    }

    /// What became of a transaction, for good: one that is not committed by now never will be. Nobody has to be there but
    /// the shard of its record. `Unknown`: it ended so long ago that nobody remembers it. One that wrote nothing leaves no
    /// record: `Aborted` says only that nothing was written.
    ///
    /// The handle must be that of the commit: taken after the last read, or named by the commit's error. An older one may
    /// name an earlier timestamp, and then what keeps a late commit out is forgotten earlier, too.
    pub async fn settle(&self, handle: TransactionHandle) -> Result<TransactionStatus> {
        if handle.read_timestamp == Timestamp::default() {
            // The mark that keeps a late commit out would not last.
            let message = "the handle is from before the transaction began to read: take the one that its commit named";
            return Err(Error::not_applied(ErrorCode::InvalidArgument, message));
        }
        self.ask(TransactionCall::Abort { transaction: handle.transaction() }).await
    }

    async fn ask(&self, call: TransactionCall) -> Result<TransactionStatus> {
        match self.core.step(call, self.core.options.deadline).await? {
            TransactionReply::Status(status) => Ok(status),
            other => Err(Error::not_applied(ErrorCode::Internal, misfit(&other).message)),
        }
    }
}
