//! One shard's part of a scan.

use std::collections::VecDeque;

use bytes::Bytes;
use strata_types::{Item, ShardId, SlotRange};

/// A page of one shard that was not returned yet, and where the next one starts.
///
/// The items of a page may share the memory of the message that brought them: it goes with the last one. So what stays
/// here for longer is copied.
pub(super) struct Cursor {
    pub(super) shard: ShardId,
    pub(super) slots: SlotRange,
    items: VecDeque<Item>,
    /// What `items` keep in memory.
    bytes: usize,
    /// Where its next page starts; `None` after the last one.
    next: Option<Bytes>,
    /// Whether that is an item which was here, and had to make room.
    gave_up: bool,
}

impl Cursor {
    /// One that has fetched nothing yet.
    pub(super) fn new(shard: ShardId, slots: SlotRange, start: Bytes) -> Cursor {
        Cursor { shard, slots, items: VecDeque::new(), bytes: 0, next: Some(start), gave_up: false }
    }

    /// The key of its first item, if that is here.
    pub(super) fn head(&self) -> Option<&Bytes> {
        self.items.front().map(|item| &item.key)
    }

    /// The key of its last item here.
    pub(super) fn tail(&self) -> Option<&Bytes> {
        self.items.back().map(|item| &item.key)
    }

    /// Where to fetch its next page, if it has no items left here and may have more.
    pub(super) fn start(&self) -> Option<&Bytes> {
        if self.items.is_empty() { self.next.as_ref() } else { None }
    }

    /// It has no key below this one any more; `None` if it has none at all.
    pub(super) fn least(&self) -> Option<&Bytes> {
        self.head().or(self.next.as_ref())
    }

    /// Whether its next page starts with an item that was here, and had to make room.
    pub(super) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Bytes that its items keep in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the page that was fetched from its `start`.
    pub(super) fn put(&mut self, items: Vec<Item>, resume: Option<Bytes>) {
        self.bytes = items.iter().map(size).sum();
        self.items = items.into();
        self.next = resume.as_deref().map(Bytes::copy_from_slice);
        self.gave_up = false;
    }

    /// Its first item.
    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        if self.items.is_empty() {
            self.bytes = 0;
        }
        Some(item)
    }

    /// Forgets its last item, which is fetched again when it is needed.
    pub(super) fn give_up_last(&mut self) {
        let Some(last) = self.items.pop_back() else { return };
        if self.gave_up {
            self.bytes -= size(&last);
        } else {
            for item in &mut self.items {
                item.key = Bytes::copy_from_slice(&item.key);
                item.value = Bytes::copy_from_slice(&item.value);
            }
            self.bytes = self.items.iter().map(size).sum();
        }
        if self.items.is_empty() {
            self.bytes = 0;
        }
        self.next = Some(Bytes::copy_from_slice(&last.key));
        self.gave_up = true;
    }
}

/// What an item counts.
pub(super) fn size(item: &Item) -> usize {
    item.key.len() + item.value.len()
}
