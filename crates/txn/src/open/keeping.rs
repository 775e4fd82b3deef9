//! What a node tells of the transactions that it keeps, and what it does about those that other nodes keep.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strata_router::{Keeper, KeptElsewhere, KeptStage, KeptTransaction};
use strata_types::{Result, TransactionId, TransactionStatus};

use super::entry::{Entry, State};
use super::over::Over;
use super::registry::Registry;
use crate::TransactionHandle;

/// How long other nodes may take to say whether they keep a transaction.
const OTHERS_PATIENCE: Duration = Duration::from_secs(2);

#[async_trait]
impl Keeper for Registry {
    fn list(&self) -> Vec<KeptTransaction> {
        let entries: Vec<Arc<Entry>> = self.table.lock().entries.values().cloned().collect();
        entries.iter().map(|entry| self.kept(entry)).filter(|kept| kept.stage.is_open()).collect()
    }

    fn find(&self, id: TransactionId) -> Option<KeptTransaction> {
        self.entry(id).map(|entry| self.kept(&entry))
    }

    async fn abort(&self, id: TransactionId, deadline: Duration) -> Option<KeptTransaction> {
        let entry = self.entry(id)?;
        // A commit that is under way does not end for anybody here.
        if entry.told().stage == KeptStage::Open
            && let Ok(mut entered) = self.wait_for(entry.clone(), deadline).await
            && !matches!(&*entered.state, State::Over(_))
        {
            let why = "an operator aborted the transaction, or who owns it settled it";
            drop(self.end(&mut entered, Over::GivenUp(why.to_owned())));
        }
        Some(self.kept(&entry))
    }
}

impl Registry {
    fn kept(&self, entry: &Entry) -> KeptTransaction {
        entry.kept(self.node, self.env().now())
    }

    /// Ends a transaction wherever it is kept.
    pub(super) async fn abort_anywhere(&self, id: TransactionId, deadline: Duration) -> KeptElsewhere {
        if let kept @ Some(_) = self.abort(id, deadline).await {
            return KeptElsewhere { kept, silent: Vec::new() };
        }
        match &self.others {
            Some(others) => others.abort(id, deadline.min(OTHERS_PATIENCE)).await,
            None => KeptElsewhere::default(),
        }
    }

    /// What has become of a transaction that this node does not keep. Of a commit that is under way elsewhere the shard of
    /// the record knows nothing yet, but the node does that has sent it.
    pub(super) async fn outcome_elsewhere(
        &self,
        handle: TransactionHandle,
        deadline: Duration,
    ) -> Result<TransactionStatus> {
        let (asked, kept) = self.ask_everybody(handle, deadline).await;
        kept.and_then(status_of).map_or(asked, Ok)
    }

    /// The same for a client that has asked for the commit: where nobody who answers is at work on it, it is settled.
    pub(super) async fn settled_elsewhere(
        &self,
        handle: TransactionHandle,
        deadline: Duration,
    ) -> Result<TransactionStatus> {
        let until = self.env().now() + deadline;
        let (asked, kept) = self.ask_everybody(handle, deadline / 2).await;
        match (asked, kept.and_then(status_of)) {
            (asked @ Ok(TransactionStatus::Decided(_)), _) => asked,
            (_, Some(status)) => Ok(status),
            (_, None) => self.settle(handle, until.since(self.env().now())).await,
        }
    }

    /// What the shard of the record says, and how far the transaction is where it is kept.
    async fn ask_everybody(
        &self,
        handle: TransactionHandle,
        deadline: Duration,
    ) -> (Result<TransactionStatus>, Option<KeptStage>) {
        let others = async {
            let others = self.others.as_ref()?;
            others.find(handle.id, deadline.min(OTHERS_PATIENCE)).await.kept
        };
        let (asked, kept) = futures_util::future::join(self.ask(handle, deadline), others).await;
        match asked {
            // Nobody knows it better.
            Ok(TransactionStatus::Decided(_)) => (asked, None),
            _ => (asked, kept.map(|kept| kept.stage)),
        }
    }
}

/// What the node says that keeps it; `None` if only the shard of the record can tell.
fn status_of(stage: KeptStage) -> Option<TransactionStatus> {
    match stage {
        KeptStage::Ended(decision) => Some(TransactionStatus::Decided(decision)),
        KeptStage::Open | KeptStage::Committing => Some(TransactionStatus::Pending),
        KeptStage::Unanswered => None,
    }
}
