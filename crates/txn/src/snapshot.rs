//! Reads at one timestamp.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use strata_env::TaskHandle;
use strata_router::{HOLD_TIME, Scan, ScanRange};
use strata_types::{Item, Result, Space, SpaceKey, Timestamp};

use crate::core::Core;

/// Most snapshots are gone before it is worth telling that they are in use.
const FIRST_HOLD: Duration = Duration::from_secs(1);

/// What was committed up to a timestamp, on all shards, for as long as this or one of its clones or scans is there.
/// Reads change nothing and wait only for commits that are under way.
#[derive(Clone)]
pub struct Snapshot {
    core: Arc<Core>,
    space: Space,
    deadline: Duration,
    at: Timestamp,
    hold: Arc<Hold>,
}

/// Keeps a timestamp in use.
struct Hold(TaskHandle);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Snapshot {
    pub(crate) fn new(core: Arc<Core>, at: Timestamp) -> Snapshot {
        let (renewing, env) = (core.clone(), core.env().clone());
        let task = core.env().spawn("txn-hold", async move {
            let mut pause = FIRST_HOLD;
            loop {
                env.sleep(std::mem::replace(&mut pause, HOLD_TIME / 3)).await;
                if let Err(error) = renewing.router.hold(at, HOLD_TIME / 3).await {
                    tracing::debug!(%at, %error, "nobody knows that this snapshot is in use");
                }
            }
        });
        let deadline = core.options.deadline;
        Snapshot { core, space: Space::default(), deadline, at, hold: Arc::new(Hold(task)) }
    }

    /// Its timestamp. [`crate::Transactions::snapshot_at`] finds the same snapshot again.
    pub fn timestamp(&self) -> Timestamp {
        self.at
    }

    /// The same snapshot, keys of another space.
    pub fn with_space(&self, space: Space) -> Snapshot {
        Snapshot { space, ..self.clone() }
    }

    /// The same snapshot, another deadline for each call.
    pub fn with_deadline(&self, deadline: Duration) -> Snapshot {
        Snapshot { deadline, ..self.clone() }
    }

    /// Reads one key.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Item>> {
        let key = SpaceKey { space: self.space, key: key.into() };
        self.core.get(&key, self.at, self.deadline).await
    }

    /// The items from `start` up to but not including `end` in key order, at most `limit` of them, page by page.
    pub fn scan(&self, start: impl Into<Bytes>, end: Option<Bytes>, limit: Option<u64>) -> SnapshotScan {
        let range = ScanRange { header: self.core.header(self.space, self.at), start: start.into(), end, limit };
        let scan = Scan::new(self.core.router.clone(), range, self.deadline);
        SnapshotScan { scan, _hold: self.hold.clone() }
    }
}

/// A running scan of a [`Snapshot`].
pub struct SnapshotScan {
    scan: Scan,
    _hold: Arc<Hold>,
}

impl SnapshotScan {
    /// The next items, in key order; `None` after the last one. An error leaves the scan where it was: it may be asked
    /// again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Item>>> {
        self.scan.next_page().await
    }

    /// Where another scan would go on: every key below was returned.
    pub fn position(&self) -> &Bytes {
        self.scan.position()
    }

    /// Whether it ended because it returned as many items as were asked for.
    pub fn is_limit_reached(&self) -> bool {
        self.scan.is_limit_reached()
    }

    /// All items, or the first error.
    pub async fn collect(mut self) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        while let Some(mut page) = self.next_page().await? {
            items.append(&mut page);
        }
        Ok(items)
    }

    /// The pages as a stream, which ends after the first error.
    pub fn into_pages(self) -> impl Stream<Item = Result<Vec<Item>>> + Send {
        stream::try_unfold(self, |mut scan| async move { Ok(scan.next_page().await?.map(|page| (page, scan))) })
    }
}
