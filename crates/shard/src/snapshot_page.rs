//! A page of what there was at a timestamp: newest values that are old enough, and versions of those that are not.
//!
//! ```text
//!   data      a@3        c@9   d@2           read at @5, a stretch of keys at a time:
//!   history        b@4!  c@5 c@1               a and d as they are; c as it was at @5; b had been removed
//! ```
//! A key that is written all the time has a long history: the walk jumps over what is too new and what is too old, and the
//! rows that it looks at count, so that no page takes for ever.

use std::collections::BTreeMap;

use bytes::Bytes;
use strata_codec::{StoredValue, Version, data_range, history_range, user_key_slice};
use strata_machine::View;
use strata_types::{Space, Timestamp, limits};

use crate::page::Page;
use crate::reads::item;
use crate::rows::{decode_value, decode_version};
use crate::versions::HistoryWalk;

/// Data rows of one stretch: few enough to be held, many enough that the walk through the history pays.
const STRETCH_ROWS: std::ops::RangeInclusive<u32> = 16..=512;

/// Fills a page with the keys from `start` up to but not including `end`, as they were.
pub(crate) fn fill(
    view: &dyn View,
    space: Space,
    (start, end): (&[u8], Option<&[u8]>),
    at: Timestamp,
    page: &mut Page,
    keep: &dyn Fn(&[u8]) -> bool,
) {
    if end.is_some_and(|end| start >= end) {
        return;
    }
    let mut position = Bytes::copy_from_slice(start);
    loop {
        let mut stretch = Stretch { view, space, at, items: BTreeMap::new(), bytes: 0 };
        let after_data = stretch.take_data(&position, end, page);
        let next = stretch.take_history(&position, after_data.as_deref().or(end), page).or(after_data);
        for (user_key, value) in stretch.items.into_iter().filter(|(user_key, _)| keep(user_key)) {
            if page.is_full() {
                return page.end_before(user_key);
            }
            page.push(item(user_key, value));
        }
        match next {
            None => return,
            Some(next) if page.is_full() || page.rows_left == 0 => return page.end_before(next),
            Some(next) => position = next,
        }
    }
}

/// Keys next to each other, as they were.
struct Stretch<'a> {
    view: &'a dyn View,
    space: Space,
    at: Timestamp,
    items: BTreeMap<Bytes, StoredValue>,
    bytes: usize,
}

impl Stretch<'_> {
    /// Takes the newest values that are old enough. Returns where it stopped, if it did.
    fn take_data(&mut self, start: &[u8], end: Option<&[u8]>, page: &mut Page) -> Option<Bytes> {
        let (first, last) = data_range(self.space.database, self.space.key_space, start, end);
        let mut rows = page.items_left().saturating_mul(2).clamp(*STRETCH_ROWS.start(), *STRETCH_ROWS.end());
        let mut stopped = None;
        self.view.scan(&first, &last, &mut |row, stored| {
            let user_key = Bytes::copy_from_slice(user_key_slice(row));
            if rows == 0 || page.rows_left == 0 || self.is_large() {
                stopped = Some(user_key);
                return false;
            }
            rows -= 1;
            page.rows_left -= 1;
            let value = decode_value(stored.clone());
            if value.timestamp <= self.at {
                self.add(user_key, value);
            }
            true
        });
        stopped
    }

    /// Takes the versions of the other keys. Returns where it stopped, if it did; nothing from there on is left.
    fn take_history(&mut self, start: &[u8], end: Option<&[u8]>, page: &mut Page) -> Option<Bytes> {
        let (first, last) = history_range(self.space, start, end);
        let mut walk = HistoryWalk { at: self.at, rows_left: page.rows_left.into() };
        self.bytes = 0;
        let stopped = walk.run(self.view, first, &last, &mut |key, _, stored| {
            if self.is_large() {
                return false;
            }
            if !self.items.contains_key(&key.key)
                && let Version::Value(value) = decode_version(stored.clone())
            {
                self.add(key.key, value);
            }
            true
        });
        page.rows_left = u32::try_from(walk.rows_left).unwrap_or(0);
        let stopped = stopped?.key;
        self.items.split_off(&stopped);
        Some(stopped)
    }

    fn add(&mut self, user_key: Bytes, value: StoredValue) {
        self.bytes += user_key.len() + value.payload.len();
        self.items.insert(user_key, value);
    }

    fn is_large(&self) -> bool {
        self.bytes > limits::SCAN_PAGE_BYTES_MAX
    }
}
