//! What a scan holds of shards with large items, and how often it fetches them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use strata_router::{Kv, PageRange, Scan, ScanRange};
use strata_types::limits::SCAN_PAGE_BYTES_MAX;
use strata_types::{Item, LogIndex, Reply, Request, Result, Revision, ShardId, ShardMap, Slot, Timestamp};

use crate::model::{SECOND, map};

const MIB: usize = 1024 * 1024;
/// What a scan may hold, and pages that it may fetch at once.
const HELD_MAX: usize = 32 * MIB;
const FETCHES_MAX: usize = 8;

/// The bytes of pages that somebody holds now, and the most that were held.
#[derive(Default)]
struct Scale {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// The message of a page, which is in memory as long as any value of it is.
struct Weighed {
    content: Bytes,
    scale: Arc<Scale>,
}

impl Weighed {
    fn message(content: Bytes, scale: &Arc<Scale>) -> Bytes {
        let now = scale.now.fetch_add(content.len(), Ordering::Relaxed) + content.len();
        scale.most.fetch_max(now, Ordering::Relaxed);
        Bytes::from_owner(Weighed { content, scale: scale.clone() })
    }
}

impl AsRef<[u8]> for Weighed {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl Drop for Weighed {
    fn drop(&mut self) {
        self.scale.now.fetch_sub(self.content.len(), Ordering::Relaxed);
    }
}

/// Shards that answer with pages as a node does.
struct Shards {
    map: Arc<ShardMap>,
    /// Sizes of the values.
    items: BTreeMap<Bytes, usize>,
    /// What all messages are cut from.
    content: Bytes,
    scale: Arc<Scale>,
    /// Bytes of all pages.
    sent: AtomicUsize,
}

impl Shards {
    /// `sizes`: of the values, in key order.
    fn new(shards: u32, sizes: impl IntoIterator<Item = usize>) -> Arc<Shards> {
        let item = |(number, size): (usize, usize)| (Bytes::from(format!("{number:06}")), size);
        Arc::new(Shards {
            map: map(1, shards),
            items: sizes.into_iter().enumerate().map(item).collect(),
            content: Bytes::from(vec![b'v'; page_of(16 * MIB)]),
            scale: Arc::default(),
            sent: AtomicUsize::new(0),
        })
    }

    fn all_bytes(&self) -> usize {
        self.items.values().sum()
    }

    /// Scans everything, letting each page go at once: the keys that came, and the most bytes that were held.
    async fn scan(self: &Arc<Self>) -> (Vec<Bytes>, usize) {
        let mut scan = Scan::new(self.clone(), ScanRange::default(), SECOND);
        let mut keys = Vec::new();
        while let Some(page) = scan.next_page().await.expect("scanned") {
            keys.extend(page.into_iter().map(|item| item.key));
        }
        (keys, self.scale.most.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl Kv for Shards {
    async fn call(&self, request: Request, _deadline: Duration) -> Result<Reply> {
        panic!("not a scan: {request:?}")
    }

    async fn scan_shard(&self, shard: ShardId, range: PageRange, _deadline: Duration) -> Result<Reply> {
        let slots = self.map.shard(shard).expect("a shard of the map").slots;
        let mut here = self.items.range(range.start..).filter(|(key, _)| slots.contains(Slot::of_key(key)));
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < range.limit as usize && bytes <= SCAN_PAGE_BYTES_MAX {
            let Some((key, size)) = here.next() else { break };
            bytes += size;
            found.push((key.clone(), *size));
        }
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        let message = Weighed::message(self.content.slice(..bytes), &self.scale);
        let item = |(key, size): (Bytes, usize)| {
            let revision = Revision { index: LogIndex(1), position: 0 };
            Item { key, value: message.slice(..size), revision, timestamp: Timestamp(0) }
        };
        let items = found.into_iter().map(item).collect();
        let resume = here.next().map(|(key, _)| key.clone());
        drop(message);
        // All that are asked at once answer at once.
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(Reply::Scan { items, resume, freshness: None })
    }

    fn map(&self) -> Arc<ShardMap> {
        self.map.clone()
    }

    fn time(&self) -> Timestamp {
        Timestamp(0)
    }
}

/// The largest page of items of this size.
fn page_of(size: usize) -> usize {
    SCAN_PAGE_BYTES_MAX + size
}

/// That all came once, in order, and was not fetched for ever.
fn check(shards: &Shards, keys: &[Bytes], what: &str) {
    assert!(keys.iter().eq(shards.items.keys()), "{what}: {} keys came", keys.len());
    let (sent, all) = (shards.sent.load(Ordering::Relaxed), shards.all_bytes());
    assert!(sent <= 3 * all + 2 * HELD_MAX, "{what}: {sent} bytes were fetched for {all}");
}

#[tokio::test(start_paused = true)]
async fn what_a_scan_holds_does_not_grow_with_the_shards() {
    for (count, size) in [(16, 16 * MIB), (64, 4 * MIB), (256, MIB), (256, 300 * 1024), (256, 16 * MIB)] {
        let shards = Shards::new(count, (0..count as usize * 3).map(|_| size));
        let (keys, held) = shards.scan().await;
        check(&shards, &keys, &format!("{count} shards of {size} bytes"));
        let most = HELD_MAX + FETCHES_MAX * page_of(size) + size;
        assert!(held <= most, "{count} shards of {size} bytes: {held} are more than {most}");
    }
}

#[tokio::test(start_paused = true)]
async fn small_items_of_many_shards_are_fetched_once() {
    let shards = Shards::new(256, (0..20_000).map(|_| 100));
    let (keys, held) = shards.scan().await;
    assert_eq!(keys.len(), 20_000);
    assert!(held <= 4 * MIB, "{held}");
    let (sent, all) = (shards.sent.load(Ordering::Relaxed), shards.all_bytes());
    assert_eq!(sent, all, "each was fetched once");
}

/// Sizes that no page tells of the next one.
#[tokio::test(start_paused = true)]
async fn a_few_large_items_among_small_ones_are_not_fetched_again_and_again() {
    for (count, every) in [(2, 3), (16, 7), (16, 97), (64, 13), (256, 31)] {
        let size = |number: usize| if number.is_multiple_of(every) { 16 * MIB } else { 1 + number * 7_919 % 4_000 };
        let shards = Shards::new(count, (0..2_000).map(size));
        let (keys, held) = shards.scan().await;
        let what = format!("{count} shards, one of {every} is large");
        check(&shards, &keys, &what);
        assert!(held <= HELD_MAX + (FETCHES_MAX + 1) * page_of(16 * MIB), "{what}: {held}");
    }
}

/// One shard's items are large and far away: those of the others come first, and it waits.
#[tokio::test(start_paused = true)]
async fn large_items_that_come_last_are_fetched_last() {
    let shards = Shards::new(16, (0..4_000).map(|number| if number < 3_900 { 1_000 } else { 16 * MIB }));
    let (keys, _) = shards.scan().await;
    check(&shards, &keys, "large ones last");
}
