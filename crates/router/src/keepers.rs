//! Transactions that nodes keep for clients: who keeps them, and the way to those of other nodes.

use std::time::Duration;

use async_trait::async_trait;
use strata_types::{Decision, NodeId, Slot, Timestamp, TransactionId};

/// What a node knows of a transaction that it keeps, or kept until a moment ago, for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptTransaction {
    /// The node that keeps it.
    pub node: NodeId,
    /// Who it is.
    pub id: TransactionId,
    /// A slot of the shard that will have its record; `None` before its first write.
    pub anchor: Option<Slot>,
    /// It sees what was committed up to this timestamp.
    pub read_timestamp: Timestamp,
    /// When its first attempt began.
    pub age: Timestamp,
    /// How long it has been there.
    pub elapsed: Duration,
    /// How far it is.
    pub stage: KeptStage,
}

/// How far a transaction is at the node that keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptStage {
    /// Its client has not said how it is to end.
    Open,
    /// Its commit is under way: only the shard of its record can stop it.
    Committing,
    /// Its commit was not answered: only the shard of its record can tell.
    Unanswered,
    /// It has ended.
    Ended(Decision),
}

impl KeptStage {
    /// Whether it is not over, as far as its node knows.
    pub fn is_open(self) -> bool {
        matches!(self, KeptStage::Open | KeptStage::Committing)
    }
}

/// Keeps transactions for the clients of one node.
#[async_trait]
pub trait Keeper: Send + Sync {
    /// What is open.
    fn list(&self) -> Vec<KeptTransaction>;

    /// What is known of a transaction.
    fn find(&self, id: TransactionId) -> Option<KeptTransaction>;

    /// Ends a transaction that is open; waits for a call that is under way, but not longer than the deadline. What is known
    /// of it then: it is still open if the call went on for too long.
    async fn abort(&self, id: TransactionId, deadline: Duration) -> Option<KeptTransaction>;
}

/// What other nodes know of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptElsewhere {
    /// What the one that keeps it knows.
    pub kept: Option<KeptTransaction>,
    /// The nodes that could not be asked, if nobody keeps it.
    pub silent: Vec<NodeId>,
}

/// The keepers of all other nodes. Every question ends by its deadline, whoever is silent.
#[async_trait]
pub trait Keepers: Send + Sync {
    /// As [`Keeper::find`].
    async fn find(&self, id: TransactionId, deadline: Duration) -> KeptElsewhere;

    /// As [`Keeper::abort`].
    async fn abort(&self, id: TransactionId, deadline: Duration) -> KeptElsewhere;
}
