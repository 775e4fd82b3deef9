//! The transactions that shards have something of, and those that nodes keep for their clients, for people.

mod telling;
mod wire;

use std::time::Duration;

use strata_router::KeptTransaction;
use strata_shard::{Unfinished, UnfinishedState};
use strata_types::{NodeId, ShardId, Transaction, TransactionId};

use crate::LocalShards;
use crate::reads::survey;
use crate::tidying::led;

pub(crate) use telling::Teller;

/// Most transactions of one shard, or of one node for its clients, that are told.
const TOLD_MAX: usize = 1_000;

/// How far a transaction is on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenPhase {
    /// It has locks in the leader's memory.
    Active,
    /// The shard has its part.
    Prepared,
    /// It is committed, and not resolved everywhere.
    Committed,
    /// It waits for a lock.
    Waiting,
}

/// A transaction on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    /// Which one. Its anchor is certain if it is prepared or committed; a lock may be older than its first write.
    pub transaction: Transaction,
    /// How far it is there.
    pub phase: OpenPhase,
    /// The shard.
    pub shard: ShardId,
    /// How long its leader has known it, as far as it looks.
    pub elapsed: Duration,
    /// How many locks it has there.
    pub locks: u32,
    /// Who has what it waits for.
    pub waits_for: Option<TransactionId>,
}

/// What all nodes have told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllOpen {
    /// What shards have something of, each with the node that leads the shard; the oldest first.
    pub on_shards: Vec<(NodeId, OpenTransaction)>,
    /// What other nodes keep for their clients.
    pub kept: Vec<KeptTransaction>,
    /// A sentence for each node that has not told everything.
    pub problems: Vec<String>,
}

impl LocalShards {
    /// What the shards that this node leads have of transactions.
    pub async fn open_transactions(&self) -> Vec<OpenTransaction> {
        let mut open = Vec::new();
        for (shard, _, group) in led(self) {
            let tablet = group.tablet();
            let found = survey(self.node().env(), tablet, |view| strata_shard::unfinished(view, TOLD_MAX)).await;
            for Unfinished { transaction, state } in found.unwrap_or_default() {
                let phase = match state {
                    UnfinishedState::Prepared { .. } => OpenPhase::Prepared,
                    UnfinishedState::Committed { .. } => OpenPhase::Committed,
                };
                let elapsed = self.unfinished_for(shard, transaction.id);
                open.push(OpenTransaction { transaction, phase, shard, elapsed, locks: 0, waits_for: None });
            }
            open.extend(self.steps().open(shard, self.node()));
        }
        open
    }
}
