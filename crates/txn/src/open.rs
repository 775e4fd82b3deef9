//! The transactions of clients that leave them to a node: each is found again by its id, whatever the client speaks.
//!
//! ```text
//!   begin ------> OpenTransactions: id -> Entry { what is told of it | State }
//!   get, put ---> enter(id): one call at a time holds the State; waits for it by its deadline
//!   commit -----> a task holds the State until the answer is there, also if the client has left; the answer is kept
//!   another node asks: what is kept here, and is it to end? (Keeper); of what is not kept here the others are asked
//!   each second:  who was idle or is open for too long is rolled back; what was kept for long enough is forgotten
//! ```

mod calls;
mod entry;
mod keeping;
mod over;
mod registry;
mod scan;

use std::sync::{Arc, Weak};
use std::time::Duration;

use strata_env::Env;
use strata_router::{Keeper, Keepers, KeptElsewhere, KeptStage, KeptTransaction, Router};
use strata_types::{Decision, Error, ErrorCode, NodeId, Result, Timestamp, TransactionId, TransactionStatus};
use tokio::sync::oneshot;

use crate::{TransactionHandle, sooner};

pub use calls::Heartbeat;
pub use entry::Told;
pub use registry::OpenWish;
pub use scan::OpenScan;

use entry::{Entered, State};
use over::{Over, aborted, answer_of, rolled_back};
use registry::{Registry, Room, too_late};

/// The transactions that a node keeps for its clients, and how those ended that did so a moment ago (COORD-7). Cheap
/// to clone.
///
/// Every call names a transaction by its id, and how long it may take; it ends by then. Calls of one transaction wait
/// for each other.
#[derive(Clone)]
pub struct OpenTransactions {
    registry: Arc<Registry>,
}

impl OpenTransactions {
    /// None yet. They are told to be at `node`, and reach the shards through `router`.
    pub fn new(router: Arc<Router>, node: NodeId) -> OpenTransactions {
        OpenTransactions { registry: Registry::new(router, node, None) }
    }

    /// The same, of a node that is not alone: others keep some too.
    pub fn among(router: Arc<Router>, node: NodeId, others: Arc<dyn Keepers>) -> OpenTransactions {
        OpenTransactions { registry: Registry::new(router, node, Some(others)) }
    }

    /// For who tells other nodes what is kept here.
    pub fn keeper(&self) -> Weak<dyn Keeper> {
        let keeper: Arc<dyn Keeper> = self.registry.clone();
        Arc::downgrade(&keeper)
    }

    /// What is open here, for administration.
    pub fn list(&self) -> Vec<KeptTransaction> {
        self.registry.list()
    }

    /// Ends a transaction that is open here or at another node, unless its commit is under way. What the node that
    /// keeps it knows then.
    pub async fn abort(&self, id: TransactionId, deadline: Duration) -> KeptElsewhere {
        self.registry.abort_anywhere(id, deadline).await
    }

    /// The way to the shards.
    pub fn router(&self) -> &Arc<Router> {
        &self.registry.router
    }

    /// Time and tasks.
    pub fn env(&self) -> &Env {
        self.registry.env()
    }

    /// Opens one. Only who only reads may name a timestamp.
    pub async fn begin(&self, wish: OpenWish, deadline: Duration) -> Result<Told> {
        if wish.at.is_some() && !wish.is_reader {
            return Err(invalid("only a transaction that only reads can name the timestamp up to which it reads"));
        }
        let _room = Room::take(&self.registry)?;
        let begun = self.env().timeout(deadline, self.registry.open(wish, sooner(deadline))).await;
        let entry = Arc::new(begun.map_err(|_| too_late("no timestamp came"))??);
        let told = entry.told();
        self.registry.table.lock().entries.insert(told.handle.id, entry);
        Ok(told)
    }

    /// Waits until no other call works on the transaction.
    async fn enter(&self, id: TransactionId, deadline: Duration) -> Result<Entered> {
        let Some(entry) = self.registry.entry(id) else { return Err(not_here(id)) };
        self.registry.wait_for(entry, deadline).await
    }

    /// Ends it without its writes. Doing so twice does no harm. `handle`: where to ask if nobody here knows.
    pub async fn roll_back(
        &self,
        id: TransactionId,
        handle: Option<TransactionHandle>,
        deadline: Duration,
    ) -> Result<()> {
        check_handle(id, handle)?;
        let Some(entry) = self.registry.entry(id) else {
            let Some(handle) = handle else { return Err(unknown_end(id)) };
            return rolled_back(self.settle(handle, deadline).await?, &handle);
        };
        let mut entered = self.registry.wait_for(entry, deadline).await?;
        if let State::Over(over) = &*entered.state {
            return match over.status() {
                Some(TransactionStatus::Decided(Decision::Aborted)) => Ok(()),
                Some(_) => Err(over.error()),
                // Nobody is at work on its commit any more.
                None => {
                    let handle = entered.entry.told().handle;
                    rolled_back(self.registry.settle(handle, deadline).await?, &handle)
                }
            };
        }
        if let State::Writer(transaction) = self.registry.end(&mut entered, Over::RolledBack) {
            drop(entered);
            // Its locks end by themselves if this takes too long.
            let _ = self.env().timeout(deadline, transaction.rollback()).await;
        }
        Ok(())
    }

    /// Commits it, or says again how that went. `handle`: where to ask if nobody here knows.
    pub async fn commit(
        &self,
        id: TransactionId,
        handle: Option<TransactionHandle>,
        deadline: Duration,
    ) -> Result<Timestamp> {
        check_handle(id, handle)?;
        let Some(entry) = self.registry.entry(id) else {
            let Some(handle) = handle else { return Err(unknown_end(id)) };
            return answer_of(self.registry.settled_elsewhere(handle, deadline).await?, &handle);
        };
        let mut entered = self.registry.wait_for(entry, deadline).await?;
        if let State::Over(over) = &*entered.state {
            if let Some(answer) = over.commit_answer() {
                return answer;
            }
            let handle = entered.entry.told().handle;
            return answer_of(self.registry.settle(handle, deadline).await?, &handle);
        }
        if let State::Reader(snapshot) = &*entered.state {
            let at = snapshot.timestamp();
            self.registry.end(&mut entered, Over::Answered(Ok(at)));
            return Ok(at);
        }
        // Nobody can take it back once it is sent: it goes on even if the client leaves, and its answer is kept.
        let (answer, receiver) = oneshot::channel();
        let registry = self.registry.clone();
        self.env().spawn("txn-open-commit", async move {
            let State::Writer(mut transaction) = registry.begin_commit(&mut entered) else { return };
            transaction.with_deadline(sooner(deadline));
            let result = transaction.commit().await;
            registry.end_commit(&mut entered, &result);
            drop(entered);
            // Whoever has left does not want to know.
            let _ = answer.send(result);
        });
        let late =
            || Error::unknown(ErrorCode::DeadlineExceeded, "the commit was not answered by the deadline: ask again");
        match self.env().timeout(deadline, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(late()),
        }
    }

    /// What has become of a transaction that may be open here or not.
    pub async fn outcome(&self, handle: TransactionHandle, deadline: Duration) -> Result<TransactionStatus> {
        let Some(entry) = self.registry.entry(handle.id) else {
            return self.registry.outcome_elsewhere(handle, deadline).await;
        };
        let Ok(state) = entry.state.try_lock() else { return Ok(TransactionStatus::Pending) };
        let State::Over(over) = &*state else { return Ok(TransactionStatus::Pending) };
        match over.status() {
            Some(status) => Ok(status),
            None => {
                drop(state);
                self.registry.ask(entry.told().handle, deadline).await
            }
        }
    }

    /// The same, for good: it ends where it is kept, and if its commit was sent, the shard of its record decides.
    pub async fn settle(&self, handle: TransactionHandle, deadline: Duration) -> Result<TransactionStatus> {
        let until = self.env().now() + deadline;
        let kept = self.registry.abort_anywhere(handle.id, deadline / 2).await.kept;
        if let Some(KeptTransaction { stage: KeptStage::Ended(decision), .. }) = kept {
            return Ok(TransactionStatus::Decided(decision));
        }
        // Whoever keeps it knows best where its record would be, and at which timestamp its commit reads: what keeps a
        // late commit out lasts as long as that one says.
        let (anchor, read_timestamp) = match kept {
            Some(kept) => (kept.anchor, kept.read_timestamp.max(handle.read_timestamp)),
            None => (Some(handle.anchor), handle.read_timestamp),
        };
        let Some(anchor) = anchor else { return Ok(TransactionStatus::Pending) };
        let handle = TransactionHandle { id: handle.id, anchor, read_timestamp };
        self.registry.settle(handle, until.since(self.env().now())).await
    }

    /// The handle of a transaction, as far as this node knows it.
    pub fn handle_of(&self, id: TransactionId) -> Option<TransactionHandle> {
        self.registry.entry(id).map(|entry| entry.told().handle)
    }
}

/// A handle that comes with an id is of the same transaction.
fn check_handle(id: TransactionId, handle: Option<TransactionHandle>) -> Result<()> {
    match handle {
        Some(handle) if handle.id != id => Err(invalid("the handle is that of another transaction")),
        _ => Ok(()),
    }
}

fn invalid(sentence: &str) -> Error {
    Error::not_applied(ErrorCode::InvalidArgument, sentence)
}

fn not_here(id: TransactionId) -> Error {
    let sentence = format!(
        "this node has no open transaction {id}: it has ended, the node was started anew, or it began at another node; if \
         its commit was not sent, nothing was written: begin anew"
    );
    Error { message: sentence, ..aborted("") }
}

fn unknown_end(id: TransactionId) -> Error {
    let sentence = format!(
        "this node does not know transaction {id}: if it was to be committed before, ask again with the handle that \
         the last of its reads and writes answered"
    );
    Error::unknown(ErrorCode::InvalidArgument, sentence)
}

#[cfg(test)]
mod tests;
