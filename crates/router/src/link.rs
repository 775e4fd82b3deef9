//! How batches reach nodes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strata_types::{Epoch, Error, ErrorCode, NodeId, Result, ShardMap, Timestamp};

use crate::{ShardBatch, ShardReply};

/// Which timestamp is wanted of the meta group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampKind {
    /// A new one, above all that were handed out before the question.
    Begin,
    /// The last one that was handed out.
    Floor,
}

/// How long [`Link::hold`] lasts, at least. Who wants it for longer asks again before.
pub const HOLD_TIME: Duration = Duration::from_secs(60);

/// Carries batches to nodes. Makes one attempt; whether to try again is the router's business alone.
#[async_trait]
pub trait Link: Send + Sync {
    /// Sends a batch to a node and waits for its reply, at most `deadline`.
    ///
    /// Must say [`LinkError::NotSent`] only if no node has begun the batch, nor ever will. Dropping the future gives up
    /// waiting; the batch may still be carried out.
    async fn execute(
        &self,
        node: NodeId,
        batch: ShardBatch,
        deadline: Duration,
    ) -> std::result::Result<ShardReply, LinkError>;

    /// Asks any node for the shard map. May answer with a map that is not newer than `newer_than`; the caller then
    /// keeps what it has.
    async fn fetch_map(&self, newer_than: Epoch) -> Result<Arc<ShardMap>>;

    /// Asks the meta group for a timestamp, through any node, and waits at most `deadline`. The answer was found after
    /// the call began.
    async fn timestamp(&self, kind: TimestampKind, deadline: Duration) -> Result<Timestamp> {
        let message =
            format!("there are no timestamps on this way to the cluster: kind=`{kind:?}` deadline=`{deadline:?}`");
        Err(Error::not_applied(ErrorCode::Unavailable, message))
    }

    /// Has everything kept for [`HOLD_TIME`] that is needed to read what was committed up to `at`. Where that cannot be
    /// asked for it is kept as long as for anybody.
    async fn hold(&self, _at: Timestamp, _deadline: Duration) -> Result<()> {
        Ok(())
    }

    /// The node that this link runs inside, if it does: its own replicas are the nearest ones.
    fn own_node(&self) -> Option<NodeId> {
        None
    }
}

/// One attempt to reach a node failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nothing was sent, or the node said that it did not take it: nothing was applied.
    #[error("not sent: detail=`{detail}`")]
    NotSent {
        /// Why.
        detail: String,
    },
    /// It was sent, at least in part, and no answer came: nobody can tell what was applied.
    #[error("no answer: detail=`{detail}`")]
    Unknown {
        /// Why.
        detail: String,
    },
}
