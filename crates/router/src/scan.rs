//! A scan of the whole key space: one stream of pages per shard, merged in key order.

mod cursor;
mod pages;

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, FuturesUnordered, Stream, StreamExt};
use strata_types::{Epoch, Error, ErrorCode, Freshness, Item, ReadLevel, Reply, RequestHeader, Result, Timestamp};

use crate::{Kv, PageRange};

use pages::Pages;

/// Shards asked at once: more would let one scan fill every queue, and every core.
const FETCHES_MAX: usize = 8;
/// Starts over because the shards changed; more often than that in one scan means that something is wrong.
const LAYOUT_CHANGES_MAX: u32 = 64;

/// What to scan.
#[derive(Clone, Debug, Default)]
pub struct ScanRange {
    /// Name space, freshness.
    pub header: RequestHeader,
    /// First key.
    pub start: Bytes,
    /// One past the last key; `None` for no bound.
    pub end: Option<Bytes>,
    /// Most items of the whole scan; `None` for all.
    pub limit: Option<u64>,
}

/// A running scan: items in key order over all shards, with bounded memory: 32 MiB, and the pages that are just being
/// fetched. Linearizable per shard; what was committed up to one timestamp if the header names it.
pub struct Scan {
    kv: Arc<dyn Kv>,
    header: RequestHeader,
    end: Option<Bytes>,
    /// Items still wanted.
    left: u64,
    /// Every key below it was returned.
    position: Bytes,
    /// Of each page.
    deadline: Duration,
    epoch: Epoch,
    pages: Pages,
    layout_changes: u32,
    /// The weakest level of the pages that were fetched.
    level: Option<ReadLevel>,
    /// Whether a page came without saying how fresh it is.
    is_level_lost: bool,
}

impl Scan {
    /// A scan that has asked nobody yet. `deadline` is that of each page.
    pub fn new(kv: Arc<dyn Kv>, range: ScanRange, deadline: Duration) -> Scan {
        let mut scan = Scan {
            kv,
            header: range.header,
            end: range.end,
            left: range.limit.unwrap_or(u64::MAX),
            position: range.start,
            deadline,
            epoch: Epoch(0),
            pages: Pages::new(),
            layout_changes: 0,
            level: None,
            is_level_lost: false,
        };
        scan.start_over();
        scan
    }

    /// The next items, in key order; `None` after the last one. An error leaves the scan where it was: it may be
    /// asked again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Item>>> {
        if self.left == 0 || self.end.as_ref().is_some_and(|end| *end <= self.position) {
            return Ok(None);
        }
        loop {
            self.follow_layout()?;
            self.fill().await?;
            if self.follow_layout()? {
                continue;
            }
            let page = self.pages.merge(self.left);
            if let Some(last) = page.last() {
                self.left -= page.len() as u64;
                self.position = successor(&last.key);
                return Ok(Some(page));
            }
            if self.pages.is_over() {
                return Ok(None);
            }
        }
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

    /// Whether the scan ended because it returned as many items as were asked for, not because there were no more.
    pub fn is_limit_reached(&self) -> bool {
        self.left == 0
    }

    /// Logical time, not below that of anything that was read so far.
    pub fn time(&self) -> Timestamp {
        self.kv.time()
    }

    /// The level that all shards kept which were asked so far; `None` if that is not known.
    pub fn level(&self) -> Option<ReadLevel> {
        self.level
    }

    /// Where another scan would go on: one past the last item returned.
    pub fn position(&self) -> &Bytes {
        &self.position
    }

    /// All shards of the newest map, from the present position on.
    fn start_over(&mut self) {
        let map = self.kv.map();
        self.epoch = map.epoch;
        self.pages.start_over(&map, &self.position);
    }

    /// Starts over when shards own other slots than when their pages were asked for: a page then is no statement
    /// about all keys of its range. `true` if it did.
    fn follow_layout(&mut self) -> Result<bool> {
        let map = self.kv.map();
        if map.epoch == self.epoch && self.pages.has_shards() {
            return Ok(false);
        }
        self.epoch = map.epoch;
        if self.pages.has_shards() && self.pages.has_layout_of(&map) {
            return Ok(false);
        }
        self.count_layout_change()?;
        self.start_over();
        if !self.pages.has_shards() {
            return Err(Error::not_applied(ErrorCode::NotReady, "the cluster has no shard map yet"));
        }
        Ok(true)
    }

    fn count_layout_change(&mut self) -> Result<()> {
        self.layout_changes += 1;
        if self.layout_changes > LAYOUT_CHANGES_MAX {
            let message = format!("the shards changed {LAYOUT_CHANGES_MAX} times during one scan");
            return Err(Error::not_applied(ErrorCode::StaleRoute, message));
        }
        Ok(())
    }

    /// Fetches a page for every shard that has none left, while there is room; what may hold the next key, in any case.
    async fn fill(&mut self) -> Result<()> {
        let mut wanted = self.pages.wanted();
        let mut fetches = FuturesUnordered::new();
        loop {
            while fetches.len() < FETCHES_MAX {
                let limit = self.pages.limit(self.left);
                let Some(place) = self.pages.startable(&wanted, fetches.len(), limit) else { break };
                let index = wanted.remove(place);
                let cursor = self.pages.cursor(index);
                let start = cursor.start().cloned().unwrap_or_default();
                let (header, end) = (self.header.clone(), self.end.clone());
                let range = PageRange { header, start, end, limit };
                let (kv, shard, deadline) = (self.kv.clone(), cursor.shard, self.deadline);
                fetches.push(async move { (index, kv.scan_shard(shard, range, deadline).await) });
            }
            let Some((index, page)) = fetches.next().await else { return Ok(()) };
            match page {
                Ok(Reply::Scan { items, resume, freshness }) => {
                    self.note_level(freshness);
                    self.pages.take(index, items, resume);
                }
                Ok(other) => {
                    let message = format!("a node answered a scan with something else: {other:?}");
                    return Err(Error::not_applied(ErrorCode::Internal, message));
                }
                Err(error) if error.code == ErrorCode::StaleRoute => {
                    self.count_layout_change()?;
                    self.start_over();
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn note_level(&mut self, freshness: Option<Freshness>) {
        self.level = match (self.level, freshness) {
            (Some(level), Some(page)) => Some(level.weaker(page.level)),
            (None, Some(page)) if !self.is_level_lost => Some(page.level),
            _ => {
                self.is_level_lost = true;
                None
            }
        };
    }
}

/// The smallest key above `key`.
fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
