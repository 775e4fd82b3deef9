//! What a node tells of the transactions that it keeps, and what it does about those that other nodes keep.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strata_router::{Keeper, KeptElsewhere, KeptStage, KeptTransaction};
use strata_txn::TransactionHandle;
use strata_types::{Result, TransactionId, TransactionStatus};

use super::entry::{Entry, State};
use super::over::Over;
use super::registry::Registry;

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
            drop(self.end(&mut entered, Over::GivenUp("an operator aborted the transaction".to_owned())));
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
        let others = async {
            match &self.others {
                Some(others) => others.find(handle.id, deadline.min(OTHERS_PATIENCE)).await.kept,
                None => None,
            }
        };
        let (asked, kept) = futures_util::future::join(self.ask(handle, deadline), others).await;
        if let Ok(TransactionStatus::Decided(_)) = asked {
            return asked;
        }
        match kept.map(|kept| kept.stage) {
            Some(KeptStage::Ended(decision)) => Ok(TransactionStatus::Decided(decision)),
            Some(KeptStage::Open | KeptStage::Committing) => Ok(TransactionStatus::Pending),
            Some(KeptStage::Unanswered) | None => asked,
        }
    }
}
