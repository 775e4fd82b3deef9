//! Transactions as administration sees them.

use std::collections::BTreeSet;
use std::time::Duration;

use strata_proto::{transaction_id_bytes, v1};
use strata_router::{KeptStage, KeptTransaction};
use strata_types::{NodeId, ShardId, Slot, Timestamp, TransactionId};

/// The transactions of the cluster. One that is known in several places is there several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionList {
    /// In any order.
    pub transactions: Vec<TransactionOverview>,
    /// One sentence for each node or shard that did not answer.
    pub problems: Vec<String>,
}

/// A transaction in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionOverview {
    /// Who it is.
    pub id: TransactionId,
    /// A slot of the shard that has its record, or will have it; `None` before its first write, and where only its
    /// locks are known, which do not tell.
    pub anchor: Option<Slot>,
    /// It sees what was committed up to this timestamp.
    pub read_timestamp: Timestamp,
    /// When its first attempt began.
    pub age: Timestamp,
    /// How far it is in this place.
    pub phase: TransactionPhase,
    /// The node that says so.
    pub node: NodeId,
    /// The shard that has something of it; `None` where a client's open transaction is kept.
    pub shard: Option<ShardId>,
    /// How long it has been there.
    pub elapsed: Duration,
    /// Keys and ranges that it keeps from others there.
    pub locks: u32,
    /// For whom it waits.
    pub waits_for: Option<TransactionId>,
}

/// How far a transaction is in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionPhase {
    /// It reads and collects writes.
    Active,
    /// It waits for another transaction.
    Waiting,
    /// The shard has its part, and nobody here knows what was decided.
    Prepared,
    /// It is committed, and not every shard has made its writes visible.
    Committed,
    /// The node that keeps it has sent its commit, and has no answer yet.
    Committing,
}

impl From<KeptTransaction> for TransactionOverview {
    fn from(kept: KeptTransaction) -> TransactionOverview {
        let KeptTransaction { node, id, anchor, read_timestamp, age, elapsed, stage } = kept;
        let phase = match stage {
            KeptStage::Open => TransactionPhase::Active,
            KeptStage::Committing | KeptStage::Unanswered | KeptStage::Ended(_) => TransactionPhase::Committing,
        };
        TransactionOverview {
            id,
            anchor,
            read_timestamp,
            age,
            phase,
            node,
            shard: None,
            elapsed,
            locks: 0,
            waits_for: None,
        }
    }
}

impl From<TransactionPhase> for v1::TransactionPhase {
    fn from(phase: TransactionPhase) -> v1::TransactionPhase {
        match phase {
            TransactionPhase::Active => v1::TransactionPhase::Active,
            TransactionPhase::Waiting => v1::TransactionPhase::Waiting,
            TransactionPhase::Prepared => v1::TransactionPhase::Prepared,
            TransactionPhase::Committed => v1::TransactionPhase::Committed,
            TransactionPhase::Committing => v1::TransactionPhase::Committing,
        }
    }
}

impl From<TransactionOverview> for v1::OpenTransaction {
    fn from(open: TransactionOverview) -> v1::OpenTransaction {
        v1::OpenTransaction {
            handle: Some(v1::TransactionHandle {
                id: transaction_id_bytes(open.id),
                anchor: open.anchor.map(|slot| slot.number().into()),
                read_timestamp: open.read_timestamp.0,
                age: open.age.0,
            }),
            phase: v1::TransactionPhase::from(open.phase).into(),
            node: open.node.0,
            shard: open.shard.map(|shard| shard.0),
            elapsed_millis: u64::try_from(open.elapsed.as_millis()).unwrap_or(u64::MAX),
            locks: open.locks,
            waits_for: open.waits_for.map(transaction_id_bytes).unwrap_or_default(),
        }
    }
}

impl TransactionList {
    /// The same with what is kept here, unless it was told already; the oldest first.
    pub(crate) fn with(mut self, kept: Vec<TransactionOverview>) -> TransactionList {
        self.transactions.extend(kept);
        let mut told = BTreeSet::new();
        self.transactions.retain(|open| told.insert((open.id, open.node, open.shard)));
        self.transactions.sort_by_key(|open| (open.age, open.id, open.shard, open.node));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(id: u128, age: u64, shard: Option<u32>) -> TransactionOverview {
        TransactionOverview {
            id: TransactionId(id),
            anchor: Slot::new(3),
            read_timestamp: Timestamp(9),
            age: Timestamp(age),
            phase: TransactionPhase::Prepared,
            node: NodeId(2),
            shard: shard.map(ShardId),
            elapsed: Duration::from_millis(1_500),
            locks: 4,
            waits_for: Some(TransactionId(7)),
        }
    }

    #[test]
    fn the_oldest_comes_first_and_none_twice_for_a_place() {
        let told = vec![open(1, 5, Some(0)), open(2, 3, Some(0)), open(1, 5, None)];
        let overview = TransactionList { transactions: told, problems: Vec::new() };
        let overview = overview.with(vec![open(1, 5, None), open(3, 4, None)]);
        let seen: Vec<_> = overview.transactions.iter().map(|open| (open.id.0, open.shard)).collect();
        assert_eq!(seen, [(2, Some(ShardId(0))), (3, None), (1, None), (1, Some(ShardId(0)))]);
    }

    #[test]
    fn nothing_is_lost_on_the_way() {
        let wire = v1::OpenTransaction::from(open(1, 5, Some(6)));
        let handle = wire.handle.clone().expect("set");
        assert_eq!((&handle.id[..], handle.anchor), (&1_u128.to_be_bytes()[..], Some(3)));
        assert_eq!((handle.read_timestamp, handle.age), (9, 5));
        assert_eq!((wire.phase(), wire.node, wire.shard), (v1::TransactionPhase::Prepared, 2, Some(6)));
        assert_eq!((wire.elapsed_millis, wire.locks), (1_500, 4));
        assert_eq!(wire.waits_for[..], 7_u128.to_be_bytes());
    }
}
