//! The cluster of a node as administration sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strata_cluster::{CommandError, Node};
use strata_grpc::{ClusterView, TransactionList, TransactionOverview, TransactionPhase};
use strata_kv::{LocalShards, OpenPhase, OpenTransaction};
use strata_meta::{MetaCommand, MetaReply};
use strata_types::{ClusterOverview, Epoch, Error, ErrorCode, NodeId, Result, ShardMap};

/// How long an answer waits until this node has the map that the command made.
const MAP_PATIENCE: Duration = Duration::from_secs(1);
/// How long another node may take to tell of its transactions.
const TELL_PATIENCE: Duration = Duration::from_secs(2);

/// Gives the front door what the node knows, so that neither depends on the other.
pub(crate) struct NodeView {
    pub(crate) node: Arc<Node>,
    pub(crate) shards: Arc<LocalShards>,
}

#[async_trait]
impl ClusterView for NodeView {
    async fn overview(&self) -> Result<ClusterOverview> {
        Ok(self.node.overview().await)
    }

    fn map(&self) -> Arc<ShardMap> {
        self.node.map()
    }

    async fn command(&self, command: MetaCommand, deadline: Duration) -> Result<MetaReply> {
        let reply = self.node.administer(command, deadline).await.map_err(|error| error_of(&error))?;
        if let Some(epoch) = epoch_of(&reply) {
            let mut maps = self.node.watch_map();
            // Who asks next should not be told what was before; but what was done is done.
            let seen = async {
                let _ = maps.wait_for(|map| map.epoch >= epoch).await;
            };
            let _ = self.node.env().timeout(MAP_PATIENCE.min(deadline), seen).await;
        }
        Ok(reply)
    }

    async fn transactions(&self, deadline: Duration) -> Result<TransactionList> {
        let all = self.shards.all_open(deadline.min(TELL_PATIENCE)).await;
        let on_shards = all.on_shards.into_iter().map(|(node, open)| transaction_of(node, open));
        let transactions = on_shards.chain(all.kept.into_iter().map(TransactionOverview::from)).collect();
        Ok(TransactionList { transactions, problems: all.problems })
    }
}

fn transaction_of(node: NodeId, open: OpenTransaction) -> TransactionOverview {
    let anchor = match open.phase {
        OpenPhase::Prepared | OpenPhase::Committed => Some(open.transaction.anchor),
        // A lock that was taken before the first write names another slot.
        OpenPhase::Active | OpenPhase::Waiting => None,
    };
    let phase = match open.phase {
        OpenPhase::Active => TransactionPhase::Active,
        OpenPhase::Waiting => TransactionPhase::Waiting,
        OpenPhase::Prepared => TransactionPhase::Prepared,
        OpenPhase::Committed => TransactionPhase::Committed,
    };
    TransactionOverview {
        id: open.transaction.id,
        anchor,
        read_timestamp: open.transaction.read_timestamp,
        age: open.transaction.age,
        phase,
        node,
        shard: Some(open.shard),
        elapsed: open.elapsed,
        locks: open.locks,
        waits_for: open.waits_for,
    }
}

/// Every command may be repeated, so what became of one that nobody answered is for the caller to find out.
fn error_of(error: &CommandError) -> Error {
    let code = match error {
        CommandError::Timeout { .. } => ErrorCode::DeadlineExceeded,
        _ => ErrorCode::Internal,
    };
    Error::unknown(code, error.to_string())
}

fn epoch_of(reply: &MetaReply) -> Option<Epoch> {
    match reply {
        MetaReply::NodeStateSet { epoch, .. }
        | MetaReply::Done { epoch }
        | MetaReply::Started { epoch, .. }
        | MetaReply::Planned { epoch, .. } => Some(*epoch),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use strata_types::{ShardId, Slot, Timestamp, Transaction, TransactionId};

    use super::*;

    /// COORD-6
    #[test]
    fn locks_do_not_tell_where_a_record_would_be() {
        let anchor = Slot::of_key(b"locked before the first write");
        let transaction = Transaction { id: TransactionId(7), anchor, read_timestamp: Timestamp(5), age: Timestamp(4) };
        for (phase, is_told) in [
            (OpenPhase::Active, false),
            (OpenPhase::Waiting, false),
            (OpenPhase::Prepared, true),
            (OpenPhase::Committed, true),
        ] {
            let (shard, elapsed) = (ShardId(3), Duration::from_secs(2));
            let open = OpenTransaction { transaction, phase, shard, elapsed, locks: 1, waits_for: None };
            let told = transaction_of(NodeId(1), open);
            assert_eq!(told.anchor, is_told.then_some(anchor), "{phase:?}");
            assert_eq!((told.id, told.shard, told.locks), (TransactionId(7), Some(shard), 1));
        }
    }
}
