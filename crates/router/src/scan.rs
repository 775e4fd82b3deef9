//! A scan of the whole key space: one stream of pages per shard, merged in key order.

mod cursor;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, FuturesUnordered, Stream, StreamExt};
use strata_types::{
    Epoch, Error, ErrorCode, Freshness, Item, ReadLevel, Reply, RequestHeader, Result, Timestamp,
    limits::SCAN_PAGE_ITEMS_MAX,
};

use crate::{Kv, PageRange};

use cursor::{Cursor, size};

/// Bytes that all shards' pages of one scan should hold together: bounds the memory of most scans, and how long others
/// wait for a core that makes the pages.
const BUFFER_BYTES_TARGET: usize = 2 * 1024 * 1024;
/// Bytes that they may hold together: two of the largest items, whatever the number of shards. Past it, what is needed
/// last is given up, and fetched again when it is needed.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes that one page should have, of a shard and of all together: a node encodes it, or merges it, in well under a
/// millisecond, during which its core does nothing else.
const PAGE_BYTES_TARGET: usize = 256 * 1024;
/// Shards asked at once: more would let one scan fill every queue, and every core.
const FETCHES_MAX: usize = 8;
/// Size of an item that is assumed before the first page arrived.
const ITEM_BYTES_GUESS: usize = 256;
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
    cursors: Vec<Cursor>,
    /// The first key of each cursor that has items.
    heads: BinaryHeap<Reverse<(Bytes, usize)>>,
    item_bytes: usize,
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
            cursors: Vec::new(),
            heads: BinaryHeap::new(),
            item_bytes: ITEM_BYTES_GUESS,
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
            let page = self.merge();
            if !page.is_empty() {
                return Ok(Some(page));
            }
            if self.cursors.iter().all(|cursor| cursor.least().is_none()) {
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

    /// Cursors of all shards of the newest map, from the present position on.
    fn start_over(&mut self) {
        let map = self.kv.map();
        self.epoch = map.epoch;
        self.heads.clear();
        self.cursors = map
            .shards
            .iter()
            .map(|placement| Cursor::new(placement.shard, placement.slots, self.position.clone()))
            .collect();
    }

    /// Starts over when shards own other slots than when their pages were asked for: a page then is no statement
    /// about all keys of its range. `true` if it did.
    fn follow_layout(&mut self) -> Result<bool> {
        let map = self.kv.map();
        if map.epoch == self.epoch && !self.cursors.is_empty() {
            return Ok(false);
        }
        self.epoch = map.epoch;
        let layout = map.shards.iter().map(|placement| (placement.shard, placement.slots));
        if !self.cursors.is_empty() && layout.eq(self.cursors.iter().map(|cursor| (cursor.shard, cursor.slots))) {
            return Ok(false);
        }
        self.count_layout_change()?;
        self.start_over();
        if self.cursors.is_empty() {
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
        let mut wanted = self.wanted();
        let mut fetches = FuturesUnordered::new();
        loop {
            while fetches.len() < FETCHES_MAX
                && let Some(place) = self.startable(&wanted, fetches.len())
            {
                let index = wanted.remove(place);
                let cursor = &self.cursors[index];
                let start = cursor.start().cloned().unwrap_or_default();
                let (header, end, limit) = (self.header.clone(), self.end.clone(), self.page_limit());
                let range = PageRange { header, start, end, limit };
                let (kv, shard, deadline) = (self.kv.clone(), cursor.shard, self.deadline);
                fetches.push(async move { (index, kv.scan_shard(shard, range, deadline).await) });
            }
            let Some((index, page)) = fetches.next().await else { return Ok(()) };
            match page {
                Ok(Reply::Scan { items, resume, freshness }) => {
                    self.note_level(freshness);
                    self.take_page(index, items, resume);
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

    /// The cursors without items that may have more, in the order in which these may be needed.
    fn wanted(&self) -> Vec<usize> {
        let starts = self.cursors.iter().enumerate();
        let mut starts: Vec<_> = starts.filter_map(|(index, cursor)| Some((cursor.start()?, index))).collect();
        starts.sort_unstable();
        starts.into_iter().map(|(_, index)| index).collect()
    }

    /// Which of `wanted` to fetch beside `under_way` others. What was given up is not fetched before it is needed: it
    /// would only be given up again. What is needed is fetched alone if there is no room.
    fn startable(&self, wanted: &[usize], under_way: usize) -> Option<usize> {
        let page = self.item_bytes.saturating_mul(self.page_limit() as usize);
        let has_room = self.held() + page.saturating_mul(under_way + 1) <= HELD_BYTES_MAX;
        let least = self.cursors.iter().filter_map(Cursor::least).min();
        wanted.iter().position(|index| {
            let cursor = &self.cursors[*index];
            let is_needed = cursor.start() == least;
            if has_room { is_needed || !cursor.gave_up() } else { is_needed && under_way == 0 }
        })
    }

    fn held(&self) -> usize {
        self.cursors.iter().map(Cursor::bytes).sum()
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

    fn take_page(&mut self, index: usize, items: Vec<Item>, resume: Option<Bytes>) {
        let count = items.len();
        let cursor = &mut self.cursors[index];
        cursor.put(items, resume);
        if let Some(first) = cursor.head() {
            self.item_bytes = (self.item_bytes + cursor.bytes() / count) / 2 + 1;
            self.heads.push(Reverse((first.clone(), index)));
        }
        self.make_room();
    }

    /// Gives up the items that are needed last while there are too many bytes. The one of the least key stays: it is
    /// needed now, and so each page that is fetched again brings the scan on.
    fn make_room(&mut self) {
        while self.held() > HELD_BYTES_MAX {
            let tails = self.cursors.iter().enumerate();
            let last = tails.filter_map(|(index, cursor)| Some((cursor.tail()?, index))).max();
            let (Some((tail, index)), Some(Reverse((least, _)))) = (last, self.heads.peek()) else { return };
            if tail == least {
                return;
            }
            self.cursors[index].give_up_last();
            self.heads.retain(|Reverse((_, other))| *other != index);
            if let Some(head) = self.cursors[index].head() {
                self.heads.push(Reverse((head.clone(), index)));
            }
        }
    }

    /// Items to ask each shard for: about its share of what is wanted, within the memory bound.
    fn page_limit(&self) -> u32 {
        let shards = self.cursors.iter().filter(|cursor| cursor.least().is_some()).count().max(1);
        let wanted = self.left.min(u64::from(SCAN_PAGE_ITEMS_MAX));
        // A fifth more than the share, because keys do not spread evenly.
        let share = wanted * 6 / (5 * shards as u64) + 1;
        let room = (BUFFER_BYTES_TARGET / shards).min(PAGE_BYTES_TARGET) / self.item_bytes;
        (share.min(wanted) as u32).clamp(1, (room as u32).clamp(1, SCAN_PAGE_ITEMS_MAX))
    }

    /// Takes items in key order, until it is a page, or a shard whose page is not here may hold the next one.
    fn merge(&mut self) -> Vec<Item> {
        let mut page = Vec::new();
        let end = self.cursors.iter().filter_map(Cursor::start).min().cloned();
        let mut bytes = 0;
        while self.left > 0 && bytes < PAGE_BYTES_TARGET {
            let Some(Reverse((head, _))) = self.heads.peek() else { break };
            if end.as_ref().is_some_and(|end| end <= head) {
                break;
            }
            let Some(Reverse((_, index))) = self.heads.pop() else { break };
            let cursor = &mut self.cursors[index];
            let Some(item) = cursor.pop() else { break };
            bytes += size(&item);
            page.push(item);
            self.left -= 1;
            match cursor.head() {
                Some(next) => self.heads.push(Reverse((next.clone(), index))),
                None if cursor.start().is_some() => break,
                None => {}
            }
        }
        if let Some(last) = page.last() {
            self.position = successor(&last.key);
        }
        page
    }
}

/// The smallest key above `key`.
fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
