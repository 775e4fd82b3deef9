//! What the transactions of one program share: the way to the shards, and the work that goes on behind their ends.

use std::sync::Arc;
use std::time::Duration;

use strata_env::Env;
use strata_router::{Kv as _, Router, TimestampKind};
use strata_types::{
    Error, ErrorCode, Freshness, Item, Operation, ReadLevel, ReadPreference, Reply, Request, RequestHeader, Result,
    ShardMap, Space, SpaceKey, Timestamp, TransactionCall, TransactionId, TransactionReply,
};
use tokio::sync::Semaphore;

use crate::TransactionOptions;

/// Shared by everything of one [`crate::Transactions`].
pub(crate) struct Core {
    pub(crate) router: Arc<Router>,
    pub(crate) options: TransactionOptions,
    /// Room for work in the background.
    background: Arc<Semaphore>,
}

impl Core {
    pub(crate) fn new(router: Arc<Router>, options: TransactionOptions) -> Arc<Core> {
        let background = Arc::new(Semaphore::new(options.background));
        Arc::new(Core { router, options, background })
    }

    pub(crate) fn with_deadline(&self, deadline: Duration) -> Arc<Core> {
        let options = TransactionOptions { deadline, ..self.options.clone() };
        Arc::new(Core { router: self.router.clone(), options, background: self.background.clone() })
    }

    pub(crate) fn env(&self) -> &Env {
        self.router.env()
    }

    /// An id that nobody else has.
    pub(crate) fn fresh_id(&self) -> TransactionId {
        TransactionId::drawn(self.env().clock.unix_millis(), [self.env().rng.next_u64(), self.env().rng.next_u64()])
    }

    /// A timestamp above all that were handed out before.
    pub(crate) async fn begin(&self, deadline: Duration) -> Result<Timestamp> {
        self.router.timestamp(TimestampKind::Begin, deadline).await
    }

    pub(crate) async fn map(&self, deadline: Duration) -> Result<Arc<ShardMap>> {
        let map = self.router.map();
        if map.shards.is_empty() { self.router.known_map(deadline).await } else { Ok(map) }
    }

    /// One step of a transaction, at one shard.
    pub(crate) async fn step(&self, call: TransactionCall, deadline: Duration) -> Result<TransactionReply> {
        let operation = Operation::Transact(Box::new(call));
        match self.router.send(Request { header: RequestHeader::default(), operation }, deadline).await? {
            Reply::Transact(reply) => Ok(reply),
            other => Err(misfit(&other)),
        }
    }

    /// How to read what was committed up to a timestamp.
    pub(crate) fn header(&self, space: Space, at: Timestamp) -> RequestHeader {
        RequestHeader {
            database: space.database,
            key_space: space.key_space,
            level: ReadLevel::Linearizable,
            prefer: self.options.prefer,
            at: Some(at),
            ..RequestHeader::default()
        }
    }

    /// What a key held at a timestamp.
    pub(crate) async fn get(&self, key: &SpaceKey, at: Timestamp, deadline: Duration) -> Result<Option<Item>> {
        let operation = Operation::Get { key: key.key.clone() };
        match self.router.send(Request { header: self.header(key.space, at), operation }, deadline).await? {
            Reply::Get { item, .. } => Ok(item),
            other => Err(Error::not_applied(ErrorCode::Internal, misfit(&other).message)),
        }
    }

    /// A new timestamp, and what a key held then: one question, where the node that has the key asks for the timestamp.
    pub(crate) async fn begin_get(&self, key: &SpaceKey, deadline: Duration) -> Result<(Timestamp, Option<Item>)> {
        if self.options.prefer == ReadPreference::Leader {
            let header = RequestHeader { at: None, begins: true, ..self.header(key.space, Timestamp::default()) };
            let operation = Operation::Get { key: key.key.clone() };
            match self.router.send(Request { header, operation }, deadline).await? {
                Reply::Get { item, freshness: Some(Freshness { at: Some(at), .. }) } => return Ok((at, item)),
                // An older program has read what there is now.
                Reply::Get { .. } => {}
                other => return Err(Error::not_applied(ErrorCode::Internal, misfit(&other).message)),
            }
        }
        let at = self.begin(deadline).await?;
        Ok((at, self.get(key, at, deadline).await?))
    }

    /// Does something that nobody waits for. While too much of that goes on it is left undone: whoever meets what it
    /// would have tidied up does it then.
    pub(crate) fn in_background(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(room) = self.background.clone().try_acquire_owned() else {
            return tracing::debug!(name, "too much is tidied up already; others will have to");
        };
        self.env().spawn(name, async move {
            work.await;
            drop(room);
        });
    }
}

/// A node answered something that is no answer to what was asked.
pub(crate) fn misfit(reply: &impl std::fmt::Debug) -> Error {
    Error::unknown(ErrorCode::Internal, format!("the node answered something else: {reply:?}"))
}
