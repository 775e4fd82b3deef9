//! The cluster as administration sees it: told by whoever runs the node.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strata_meta::{MetaCommand, MetaReply};
use strata_types::{ClusterOverview, Result, ShardMap};

use crate::TransactionList;

/// Answers questions about the cluster, and passes on what is wished of it.
#[async_trait]
pub trait ClusterView: Send + Sync {
    /// How every node, shard and replica is just now, as far as this node could find out.
    async fn overview(&self) -> Result<ClusterOverview>;

    /// The newest shard map that this node has; empty before the cluster is founded.
    fn map(&self) -> Arc<ShardMap>;

    /// Has the meta group carry out a command, which may be tried several times until the deadline. A refusal is a
    /// reply. When it returns, `map` shows what the command did, unless this node hears of it late.
    async fn command(&self, command: MetaCommand, deadline: Duration) -> Result<MetaReply>;

    /// The transactions that are open, or decided and not yet settled everywhere, in all places of the cluster that could
    /// be asked by the deadline. Who knows of none may leave this as it is.
    async fn transactions(&self, _deadline: Duration) -> Result<TransactionList> {
        Ok(TransactionList::default())
    }
}
