//! The Rust SDK.
//!
//! ```no_run
//! # async fn example() -> strata_client::Result<()> {
//! let client = strata_client::Client::connect(["127.0.0.1:7400"]).await?;
//! client.put("greeting", "hello").await?;
//! let item = client.get("greeting").await?.expect("just written");
//! assert_eq!(item.value, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Problem
//! A program with many concurrent callers should get the full speed of the cluster without thinking about it: no
//! extra hop, few messages, and errors that say what became of a write.
//!
//! # Model
//! ```text
//!   callers --> Client --> strata_router::Router --> GrpcLink --> one HTTP/2 stream a node --> leader
//!                          map, queues, retries      pipes, shard map from Admin.ShardMap
//! ```
//! Calls of many tasks share messages: call from as many tasks as you like, and clone the [`Client`] freely. It runs
//! on the tokio runtime it was connected on.
//!
//! With certificates ([`ClientBuilder::tls`]) every connection is encrypted, and each node has shown that it is one.
//!
//! # What an error means
//! [`Error::outcome`] of a write is `Applied`, `NotApplied` or `Unknown`. The client retries by itself, until the
//! deadline, whatever cannot apply a write twice. With [`ClientBuilder::sessions`] that is every write. Retries that
//! ask nodes for work again are at most a share of all requests ([`ClientBuilder::retry_share`]); past it the caller
//! gets the error of the last try. What it does under each fault is in `docs/sdk-under-faults.md`.
//!
//! # Reads
//! [`ReadOptions`] chooses how fresh reads must be and who may answer. A read whose answer is late is asked of a second
//! replica, within a budget ([`ClientBuilder::hedged_reads`]).
//!
//! # Transactions
//! [`Client::begin`] and [`Client::transact`]: any keys of any shards, all or nothing, as if one transaction ran after
//! the other. [`Client::snapshot`]: everything at one point in time, now or in the past.
//!
//! ```no_run
//! # async fn example(client: strata_client::Client) -> strata_client::Result<()> {
//! let mut txn = client.begin().await?;
//! let balance = txn.get("acct/1").await?;
//! txn.put("acct/1", "90").await?;
//! txn.put("acct/2", "110").await?;
//! txn.commit().await?;
//! # drop(balance);
//! # Ok(())
//! # }
//! ```
//!
//! # Invariants
//! - CLIENT-1: a batch is called "not sent" only if no byte of it can have reached a node, or if the node said with the
//!   last message of its stream that it took nothing but what it has answered (GRPC-6).
//! - CLIENT-2: what waits for a node is bounded in bytes; callers wait for room, by their deadline.

mod batch;
mod builder;
mod client;
mod link;
mod read_options;
mod replies;
mod scan;
mod transactions;

pub use batch::Batch;
pub use builder::ClientBuilder;
pub use client::Client;
pub use read_options::ReadOptions;
pub use replies::{CompareAndSet, Delete, Read};
pub use scan::{KeyRange, Scan};
pub use strata_net::tls::ClientTls;
pub use strata_txn::{Attempt, Savepoint, Snapshot, SnapshotScan, Transaction, TransactionHandle, TransactionScan};
pub use strata_types::{
    Conflict, ConflictReason, DatabaseId, Decision, Error, ErrorCode, Expected, Freshness, Item, KeySpaceId, LockWait,
    LogIndex, Outcome, ReadLevel, ReadPreference, Result, Retry, Revision, ShardMap, Space, SpaceKey, Timestamp,
    TransactionId, TransactionStatus,
};
