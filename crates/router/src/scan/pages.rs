//! The pages of all shards: which to fetch next, how large they may be, and their items in key order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;
use strata_types::{Item, ShardMap, ShardPlacement, limits::SCAN_PAGE_ITEMS_MAX};

use super::cursor::{Cursor, size};

/// Bytes that all shards' pages of one scan should hold together: bounds the memory of most scans, and how long others
/// wait for a core that makes the pages.
const BUFFER_BYTES_TARGET: usize = 2 * 1024 * 1024;
/// Bytes that they may hold together: two of the largest items, whatever the number of shards. Past it, what is needed
/// last is given up, and fetched again when it is needed.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes that one page should have, of a shard and of all together: a node encodes it, or merges it, in well under a
/// millisecond, during which its core does nothing else.
const PAGE_BYTES_TARGET: usize = 256 * 1024;
/// Size of an item that is assumed before the first page arrived.
const ITEM_BYTES_GUESS: usize = 256;

/// What was fetched of each shard and not returned yet. A shard is named by its place in the map.
pub(super) struct Pages {
    cursors: Vec<Cursor>,
    /// The first key of each cursor that has items.
    heads: BinaryHeap<Reverse<(Bytes, usize)>>,
    item_bytes: usize,
}

impl Pages {
    /// Of no shards.
    pub(super) fn new() -> Pages {
        Pages { cursors: Vec::new(), heads: BinaryHeap::new(), item_bytes: ITEM_BYTES_GUESS }
    }

    /// Forgets them all: nothing is fetched of the shards of this map, from `position` on.
    pub(super) fn start_over(&mut self, map: &ShardMap, position: &Bytes) {
        self.heads.clear();
        let fresh = |placement: &ShardPlacement| Cursor::new(placement.shard, placement.slots, position.clone());
        self.cursors = map.shards.iter().map(fresh).collect();
    }

    /// Whether there are shards at all.
    pub(super) fn has_shards(&self) -> bool {
        !self.cursors.is_empty()
    }

    /// Whether shards own the same slots in this map.
    pub(super) fn has_layout_of(&self, map: &ShardMap) -> bool {
        let layout = map.shards.iter().map(|placement| (placement.shard, placement.slots));
        layout.eq(self.cursors.iter().map(|cursor| (cursor.shard, cursor.slots)))
    }

    /// Whether no shard has any more items.
    pub(super) fn is_over(&self) -> bool {
        self.cursors.iter().all(|cursor| cursor.least().is_none())
    }

    /// The part of one shard.
    pub(super) fn cursor(&self, index: usize) -> &Cursor {
        &self.cursors[index]
    }

    /// The shards without items that may have more, in the order in which these may be needed.
    pub(super) fn wanted(&self) -> Vec<usize> {
        let starts = self.cursors.iter().enumerate();
        let mut starts: Vec<_> = starts.filter_map(|(index, cursor)| Some((cursor.start()?, index))).collect();
        starts.sort_unstable();
        starts.into_iter().map(|(_, index)| index).collect()
    }

    /// Which of `wanted` to fetch beside `under_way` others, if pages have so many items. What was given up is not
    /// fetched before it is needed: it would only be given up again. What is needed is fetched alone if there is no
    /// room.
    pub(super) fn startable(&self, wanted: &[usize], under_way: usize, limit: u32) -> Option<usize> {
        let page = self.item_bytes.saturating_mul(limit as usize);
        let has_room = self.held() + page.saturating_mul(under_way + 1) <= HELD_BYTES_MAX;
        let least = self.cursors.iter().filter_map(Cursor::least).min();
        wanted.iter().position(|index| {
            let cursor = &self.cursors[*index];
            let is_needed = cursor.start() == least;
            if has_room { is_needed || !cursor.gave_up() } else { is_needed && under_way == 0 }
        })
    }

    /// Items to ask each shard for: about its share of the `left` ones that are wanted, within the memory bound.
    pub(super) fn limit(&self, left: u64) -> u32 {
        let shards = self.cursors.iter().filter(|cursor| cursor.least().is_some()).count().max(1);
        let wanted = left.min(u64::from(SCAN_PAGE_ITEMS_MAX));
        // A fifth more than the share, because keys do not spread evenly.
        let share = wanted * 6 / (5 * shards as u64) + 1;
        let room = (BUFFER_BYTES_TARGET / shards).min(PAGE_BYTES_TARGET) / self.item_bytes;
        (share.min(wanted) as u32).clamp(1, (room as u32).clamp(1, SCAN_PAGE_ITEMS_MAX))
    }

    /// Takes the page of a shard.
    pub(super) fn take(&mut self, index: usize, items: Vec<Item>, resume: Option<Bytes>) {
        let count = items.len();
        let cursor = &mut self.cursors[index];
        cursor.put(items, resume);
        if let Some(first) = cursor.head() {
            self.item_bytes = (self.item_bytes + cursor.bytes() / count) / 2 + 1;
            self.heads.push(Reverse((first.clone(), index)));
        }
        self.make_room();
    }

    /// Gives out at most `left` items in key order, until it is a page, or a shard whose page is not here may hold the
    /// next one.
    pub(super) fn merge(&mut self, left: u64) -> Vec<Item> {
        let mut page = Vec::new();
        let end = self.cursors.iter().filter_map(Cursor::start).min().cloned();
        let mut bytes = 0;
        while (page.len() as u64) < left && bytes < PAGE_BYTES_TARGET {
            let Some(Reverse((head, _))) = self.heads.peek() else { break };
            if end.as_ref().is_some_and(|end| end <= head) {
                break;
            }
            let Some(Reverse((_, index))) = self.heads.pop() else { break };
            let cursor = &mut self.cursors[index];
            let Some(item) = cursor.pop() else { break };
            bytes += size(&item);
            page.push(item);
            match cursor.head() {
                Some(next) => self.heads.push(Reverse((next.clone(), index))),
                None if cursor.start().is_some() => break,
                None => {}
            }
        }
        page
    }

    fn held(&self) -> usize {
        self.cursors.iter().map(Cursor::bytes).sum()
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
}
