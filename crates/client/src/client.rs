//! The client.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use strata_env::{Env, real};
use strata_router::{Kv, Router, ScanRange};
use strata_txn::{TransactionOptions, Transactions};
use strata_types::{
    DatabaseId, Error, ErrorCode, Expected, Item, KeySpaceId, Operation, ReadLevel, Reply, Request, RequestHeader,
    Result, Revision, ShardMap, Timestamp, limits,
};

use crate::link::GrpcLink;
use crate::{Batch, ClientBuilder, CompareAndSet, Delete, KeyRange, Read, ReadOptions, Scan};

/// A cluster, ready to use. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    router: Arc<Router>,
    pub(crate) transactions: Transactions,
    pub(crate) header: RequestHeader,
    pub(crate) deadline: Duration,
}

impl Client {
    /// Finds the cluster through any of these addresses, with default settings.
    pub async fn connect<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Result<Client> {
        ClientBuilder::default().connect(addresses).await
    }

    /// Settings to change before connecting.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) async fn open(settings: ClientBuilder, addresses: Vec<String>) -> Result<Client> {
        let env = real::env();
        let dialer = settings.tls.map(|tls| tls.dialer(&env)).transpose();
        let dialer = dialer.map_err(|error| Error::not_applied(ErrorCode::InvalidArgument, error.to_string()))?;
        let link = GrpcLink::new(env.clone(), addresses, settings.connections, dialer)?;
        let map = link.first_map(settings.connect_deadline).await?;
        let router = Router::new(env.clone(), link, map, settings.router);
        env.spawn("client-map-refresh", keep_fresh(env.clone(), Arc::downgrade(&router), settings.map_refresh));
        let options = TransactionOptions { deadline: settings.deadline, ..TransactionOptions::default() };
        let transactions = Transactions::new(router.clone(), options);
        Ok(Client { router, transactions, header: RequestHeader::default(), deadline: settings.deadline })
    }

    /// The same cluster, another key space.
    pub fn key_space(&self, database: DatabaseId, key_space: KeySpaceId) -> Client {
        let header = RequestHeader { database, key_space, ..self.header.clone() };
        Client { header, ..self.clone() }
    }

    /// The same cluster, another deadline for each call.
    pub fn with_deadline(&self, deadline: Duration) -> Client {
        let deadline = deadline.min(limits::REQUEST_DEADLINE_MAX);
        Client { deadline, transactions: self.transactions.with_deadline(deadline), ..self.clone() }
    }

    /// The same cluster, reads of another freshness.
    pub fn with_read_level(&self, level: ReadLevel) -> Client {
        let header = RequestHeader { level, ..self.header.clone() };
        Client { header, ..self.clone() }
    }

    /// The same cluster, reads of another freshness or by other replicas. Reads of transactions and snapshots have no
    /// level: they see what their timestamp says, by any replica if that is preferred.
    pub fn with_reads(&self, options: ReadOptions) -> Client {
        let ReadOptions { level, prefer } = options;
        let header = RequestHeader { level, prefer, ..self.header.clone() };
        let options = TransactionOptions { deadline: self.deadline, prefer, ..TransactionOptions::default() };
        let transactions = Transactions::new(self.router.clone(), options);
        Client { header, transactions, ..self.clone() }
    }

    /// Reads one key.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Item>> {
        self.read(key).await.map(|read| read.item)
    }

    /// Reads one key, and tells how fresh the answer is.
    pub async fn read(&self, key: impl Into<Bytes>) -> Result<Read> {
        match self.call(Operation::Get { key: key.into() }).await? {
            Reply::Get { item, freshness } => Ok(Read { item, freshness }),
            other => Err(misfit(&other)),
        }
    }

    /// Writes one key whatever it holds.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Revision> {
        match self.call(Operation::Put { key: key.into(), value: value.into() }).await? {
            Reply::Put { revision } => Ok(revision),
            other => Err(misfit(&other)),
        }
    }

    /// Removes one key.
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<Delete> {
        match self.call(Operation::Delete { key: key.into() }).await? {
            Reply::Delete { existed, revision } => Ok(Delete { existed, revision }),
            other => Err(misfit(&other)),
        }
    }

    /// Writes one key, or removes it when `value` is `None`, if it holds what is expected.
    pub async fn compare_and_set(
        &self,
        key: impl Into<Bytes>,
        expected: Expected,
        value: Option<Bytes>,
    ) -> Result<CompareAndSet> {
        match self.call(Operation::CompareAndSet { key: key.into(), expected, value }).await? {
            Reply::CompareAndSet { succeeded, revision, current } => Ok(CompareAndSet { succeeded, revision, current }),
            other => Err(misfit(&other)),
        }
    }

    /// Several writes of one shard, all or none.
    pub async fn batch(&self, batch: Batch) -> Result<Revision> {
        match self.call(Operation::Batch { mutations: batch.into_mutations() }).await? {
            Reply::Batch { revision } => Ok(revision),
            other => Err(misfit(&other)),
        }
    }

    /// Items of a range in key order, page by page.
    pub fn scan(&self, range: KeyRange) -> Scan {
        let KeyRange { start, end, limit } = range;
        let range = ScanRange { header: self.header.clone(), start, end, limit };
        Scan(strata_router::Scan::new(self.router.clone(), range, self.deadline))
    }

    /// All items of a range in key order. Mind the memory: a limit is a good idea.
    pub async fn scan_all(&self, range: KeyRange) -> Result<Vec<Item>> {
        self.scan(range).0.collect().await
    }

    /// Logical time, not before that of anything that this client was told. Give it to another client
    /// ([`Client::follow`]) whose writes must come after that.
    pub fn time(&self) -> Timestamp {
        self.router.time()
    }

    /// What this client writes from now on comes after what another one had been told at its [`Client::time`]: who sees
    /// the one in a snapshot sees the other. A time that no node has named makes nodes refuse all further writes.
    pub fn follow(&self, time: Timestamp) {
        self.router.note_seen(time);
    }

    /// The shard map that the client routes by just now.
    pub fn map(&self) -> Arc<ShardMap> {
        self.router.map()
    }

    async fn call(&self, operation: Operation) -> Result<Reply> {
        self.router.send(Request { header: self.header.clone(), operation }, self.deadline).await
    }
}

/// Nodes move and change addresses while nobody asks the ones that know.
async fn keep_fresh(env: Env, router: Weak<Router>, interval: Duration) {
    loop {
        env.sleep(env.jittered(interval)).await;
        let Some(router) = router.upgrade() else { return };
        router.refresh();
    }
}

fn misfit(reply: &Reply) -> Error {
    Error::unknown(ErrorCode::Internal, format!("the node answered something else: {reply:?}"))
}
