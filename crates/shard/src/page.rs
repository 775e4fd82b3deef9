//! A page of a scan that is being filled.

use bytes::Bytes;
use strata_types::{Item, Reply, limits};

/// Most rows that one page looks at, kept or not, so that a page's time is bounded when few rows are kept.
const SCAN_PAGE_ROWS_MAX: u32 = limits::SCAN_PAGE_ITEMS_MAX;

/// The items so far, and what it may still hold and look at.
pub(crate) struct Page {
    items: Vec<Item>,
    resume: Option<Bytes>,
    items_left: u32,
    pub(crate) rows_left: u32,
    bytes: usize,
}

impl Page {
    /// An empty page of at most so many items; a limit of zero counts as one, so that a page always gets on.
    pub(crate) fn new(limit: u32) -> Page {
        let items_left = limit.clamp(1, limits::SCAN_PAGE_ITEMS_MAX);
        Page { items: Vec::new(), resume: None, items_left, rows_left: SCAN_PAGE_ROWS_MAX, bytes: 0 }
    }

    /// Whether it takes no further item.
    pub(crate) fn is_full(&self) -> bool {
        self.items_left == 0 || self.bytes > limits::SCAN_PAGE_BYTES_MAX
    }

    /// How many items it still takes.
    pub(crate) fn items_left(&self) -> u32 {
        self.items_left
    }

    /// Adds the next item, which fits.
    pub(crate) fn push(&mut self, item: Item) {
        self.items_left -= 1;
        self.bytes += item.key.len() + item.value.len();
        self.items.push(item);
    }

    /// Ends the page before a key: the next one starts there.
    pub(crate) fn end_before(&mut self, user_key: Bytes) {
        self.resume = Some(user_key);
    }

    /// Where the next page starts; `None` when nothing is left.
    pub(crate) fn resume(&self) -> Option<&Bytes> {
        self.resume.as_ref()
    }

    pub(crate) fn finish(self) -> Reply {
        Reply::Scan { items: self.items, resume: self.resume, freshness: None }
    }
}
