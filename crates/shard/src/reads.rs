//! Reads: they look at a view of the tablet and do not go through the log.

use bytes::Bytes;
use strata_codec::{StoredValue, data_key, data_range, user_key_slice};
use strata_machine::View;
use strata_types::{Item, Reply, RequestHeader, limits};

/// Most rows that one page looks at, kept or not, so that a page's time is bounded when few rows are kept.
const SCAN_PAGE_ROWS_MAX: u32 = limits::SCAN_PAGE_ITEMS_MAX;

/// The item that a stored row is.
///
/// # Panics
/// When the row does not decode: it was written by apply and the engine checks its bytes, so this is a broken invariant.
pub fn decode_item(user_key: Bytes, stored: Bytes) -> Item {
    let value = StoredValue::decode(stored).unwrap_or_else(|error| panic!("a stored value must decode: {error}"));
    Item { key: user_key, value: value.payload, revision: value.revision, timestamp: value.timestamp }
}

/// Reads one key.
pub fn get(view: &dyn View, header: &RequestHeader, key: &Bytes) -> Option<Item> {
    let stored = view.get(&data_key(header.database, header.key_space, key))?;
    Some(decode_item(key.clone(), stored))
}

/// Reads one page of the keys from `start` up to but not including `end`, in key order, of those that `keep` wants. The
/// page ends after `limit` items, or after the item that passes [`limits::SCAN_PAGE_BYTES_MAX`]; its `resume` is then
/// the first key that it did not look at. A limit of zero counts as one: a page always gets on.
pub fn scan(
    view: &dyn View,
    header: &RequestHeader,
    start: &[u8],
    end: Option<&[u8]>,
    limit: u32,
    keep: &dyn Fn(&[u8]) -> bool,
) -> Reply {
    let mut page = Page::new(limit);
    let (first, last) = data_range(header.database, header.key_space, start, end);
    if first < last {
        view.scan(&first, &last, &mut |key, stored| page.visit(user_key_slice(key), stored, keep));
    }
    Reply::Scan { items: page.items, resume: page.resume, freshness: None }
}

/// A page that is being filled.
struct Page {
    items: Vec<Item>,
    resume: Option<Bytes>,
    items_left: u32,
    rows_left: u32,
    bytes: usize,
}

impl Page {
    fn new(limit: u32) -> Page {
        let items_left = limit.clamp(1, limits::SCAN_PAGE_ITEMS_MAX);
        Page { items: Vec::new(), resume: None, items_left, rows_left: SCAN_PAGE_ROWS_MAX, bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.items_left == 0 || self.rows_left == 0 || self.bytes > limits::SCAN_PAGE_BYTES_MAX
    }

    /// Takes the next row; `false` when it did not fit and the page is done.
    fn visit(&mut self, user_key: &[u8], stored: &Bytes, keep: &dyn Fn(&[u8]) -> bool) -> bool {
        if self.is_full() {
            self.resume = Some(Bytes::copy_from_slice(user_key));
            return false;
        }
        self.rows_left -= 1;
        if keep(user_key) {
            let item = decode_item(Bytes::copy_from_slice(user_key), stored.clone());
            self.items_left -= 1;
            self.bytes += item.key.len() + item.value.len();
            self.items.push(item);
        }
        true
    }
}
