//! What the tests share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use strata_env::sim::SimNode;
use strata_types::{LogIndex, ReplicaId};
use strata_wal::{Completion, ReplicaLog, Wal, WalError, WalOptions};

pub(crate) const DIR: &str = "log";

pub(crate) fn small() -> WalOptions {
    WalOptions { segment_bytes: 16 * 1024, cache_bytes: 4 * 1024, batch_bytes_max: 8 * 1024, ..WalOptions::default() }
}

pub(crate) async fn try_open(node: &SimNode, options: WalOptions) -> Result<Arc<Wal>, WalError> {
    Wal::open(node.env(), node.disk(), Path::new(DIR), options, &|_| {}).await
}

pub(crate) async fn open(node: &SimNode, options: WalOptions) -> Arc<Wal> {
    try_open(node, options).await.unwrap()
}

pub(crate) fn replica(wal: &Arc<Wal>, id: u64) -> ReplicaLog {
    wal.log(ReplicaId(id))
}

pub(crate) fn text(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

/// Entries `from` to `to`, inclusive, each of `length` bytes that name it.
pub(crate) fn entries(from: u64, to: u64, length: usize) -> Vec<(LogIndex, Bytes)> {
    (from..=to).map(|index| (LogIndex(index), entry(index, length))).collect()
}

pub(crate) fn entry(index: u64, length: usize) -> Bytes {
    let mut bytes = format!("{index:04}").into_bytes();
    bytes.resize(length, b'.');
    Bytes::from(bytes)
}

/// Appends and waits until that is durable.
pub(crate) async fn append(log: &ReplicaLog, entries: Vec<(LogIndex, Bytes)>) -> Result<(), WalError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    log.append(entries, Box::new(move |result| sender.send(result).unwrap()));
    receiver.await.unwrap_or(Err(WalError::Closed))
}

pub(crate) async fn read_all(log: &ReplicaLog) -> Vec<Bytes> {
    let state = log.state();
    let (Some(first), Some(last)) = (state.first, state.last) else { return Vec::new() };
    let entries = log.read(first, last.next(), usize::MAX).await.unwrap();
    assert_eq!(entries.len() as u64, last.0 - first.0 + 1);
    entries
}

/// Notes completions in the order in which they come.
#[derive(Clone, Default)]
pub(crate) struct Journal {
    calls: Arc<Mutex<Vec<(u64, bool)>>>,
    next: Arc<AtomicU64>,
}

impl Journal {
    /// A completion with the next number.
    pub(crate) fn completion(&self) -> Completion {
        let (number, calls) = (self.next.fetch_add(1, Ordering::Relaxed), self.calls.clone());
        Box::new(move |result| calls.lock().push((number, result.is_ok())))
    }

    pub(crate) fn calls(&self) -> Vec<(u64, bool)> {
        self.calls.lock().clone()
    }
}
