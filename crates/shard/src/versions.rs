//! Versions: a key has its newest value under its data key, and older ones, and removals, in its history.
//!
//! ```text
//!   data      k          5 at @9                            put at @9 again: in place, whoever reads sees one or none
//!   history   k @7       removed                            put at @12:     5 goes to history at @9
//!             k @4       3
//!   read at     @3: absent    @4..@6: 3    @7, @8: absent    @9...: 5
//! ```
//! History is kept only where a reader can need it: not between two writes of one timestamp, because nobody reads there,
//! and not below the horizon.

use bytes::Bytes;
use strata_codec::{
    StoredValue, Version, data_key, data_range, history_after_key, history_key, history_range, history_range_of_key,
};
use strata_machine::View;
use strata_types::{SpaceKey, SpaceRange, Timestamp};

use crate::rows::{decode_history_key, decode_value, decode_version, newest_value};
use crate::work::Work;

/// So many versions of one key are passed over one by one; then the walk jumps.
const STEPS_MAX: u32 = 16;
/// Bytes of the timestamp at the end of a history key.
const TIMESTAMP_BYTES: usize = 8;

/// When a key was last changed, be it that it was removed; zero when it never was, or not above the horizon.
pub fn newest_change(view: &dyn View, key: &SpaceKey) -> Timestamp {
    match newest_value(view, key) {
        Some((_, at)) => at,
        None => newest_version(view, key, Timestamp(u64::MAX)).map_or(Timestamp(0), |(at, _)| at),
    }
}

/// The value of a key at a timestamp (SHARD-6).
pub(crate) fn value_at(view: &dyn View, key: &SpaceKey, at: Timestamp) -> Option<StoredValue> {
    if let Some((stored, written)) = newest_value(view, key)
        && written <= at
    {
        return Some(decode_value(stored));
    }
    match decode_version(newest_version(view, key, at)?.1) {
        Version::Value(value) => Some(value),
        Version::Tombstone => None,
    }
}

/// Of the history of a key, the newest version that is not newer than `at`.
pub(crate) fn newest_version(view: &dyn View, key: &SpaceKey, at: Timestamp) -> Option<(Timestamp, Bytes)> {
    let (first, last) = history_range_of_key(key, at);
    let mut found = None;
    view.scan(&first, &last, &mut |row, stored| {
        found = Some((decode_history_key(row).1, stored.clone()));
        false
    });
    found
}

/// A change in a range after a timestamp, if there is one: the key and when it was changed.
pub(crate) fn change_after(view: &dyn View, range: &SpaceRange, after: Timestamp) -> Option<(SpaceKey, Timestamp)> {
    let space = range.space;
    let mut found = None;
    let (first, last) = data_range(space.database, space.key_space, &range.start, range.end.as_deref());
    if first >= last {
        return None;
    }
    view.scan(&first, &last, &mut |row, stored| {
        let at = decode_value(stored.clone()).timestamp;
        if at > after {
            let key = Bytes::copy_from_slice(strata_codec::user_key_slice(row));
            found = Some((SpaceKey { space, key }, at));
        }
        found.is_none()
    });
    if found.is_some() {
        return found;
    }
    let (first, last) = history_range(space, &range.start, range.end.as_deref());
    let mut walk = HistoryWalk { at: Timestamp(u64::MAX), rows_left: u64::MAX };
    walk.run(view, first, &last, &mut |key, at, _| {
        if at > after {
            found = Some((key, at));
        }
        found.is_none()
    });
    found
}

/// Whether at most so many rows of so many bytes lie in these ranges, older versions among them: all of that is read
/// where it is checked what has changed there. A range that is named twice counts twice.
pub fn are_short(view: &dyn View, ranges: &[SpaceRange], rows_max: u64, bytes_max: u64) -> bool {
    let (mut rows, mut bytes) = (0, 0);
    for range in ranges {
        let (space, end) = (range.space, range.end.as_deref());
        let newest = data_range(space.database, space.key_space, &range.start, end);
        for (first, last) in [newest, history_range(space, &range.start, end)] {
            if first < last {
                view.scan(&first, &last, &mut |row, stored| {
                    rows += 1;
                    bytes += (row.len() + stored.len()) as u64;
                    rows <= rows_max && bytes <= bytes_max
                });
            }
            if rows > rows_max || bytes > bytes_max {
                return false;
            }
        }
    }
    true
}

/// Walks a part of the history, and shows of each key the newest version that is not newer than `at`.
pub(crate) struct HistoryWalk {
    pub(crate) at: Timestamp,
    /// So many rows may still be looked at.
    pub(crate) rows_left: u64,
}

/// What the walk does after it has looked at a row.
enum Next {
    /// There is no more.
    End,
    /// It goes on at this row.
    Jump(Bytes),
    /// Here it ends, before its time: at this key.
    Stop(SpaceKey),
}

impl HistoryWalk {
    /// Calls `visit` for each key that has such a version, until it answers `false`. Returns the first key that was not
    /// dealt with to the end: the one that `visit` did not want, or the one where no row was left.
    pub(crate) fn run(
        &mut self,
        view: &dyn View,
        first: Bytes,
        last: &[u8],
        visit: &mut dyn FnMut(SpaceKey, Timestamp, &Bytes) -> bool,
    ) -> Option<SpaceKey> {
        let mut position = first;
        let mut shown = Vec::new();
        while position.as_ref() < last {
            match self.step(view, &position, last, &mut shown, visit) {
                Next::End => return None,
                Next::Jump(to) => position = to,
                Next::Stop(at) => return Some(at),
            }
        }
        None
    }

    /// One scan. `shown` is the beginning of the rows of the key that was shown last.
    fn step(
        &mut self,
        view: &dyn View,
        position: &[u8],
        last: &[u8],
        shown: &mut Vec<u8>,
        visit: &mut dyn FnMut(SpaceKey, Timestamp, &Bytes) -> bool,
    ) -> Next {
        let (mut next, mut passed) = (Next::End, 0);
        view.scan(position, last, &mut |row, stored| {
            let (key_part, _) = row.split_at(row.len().saturating_sub(TIMESTAMP_BYTES));
            if self.rows_left == 0 {
                next = Next::Stop(decode_history_key(row).0);
                return false;
            }
            self.rows_left -= 1;
            let is_shown = key_part == shown.as_slice();
            let (key, at) = decode_history_key(row);
            if !is_shown && at <= self.at {
                passed = 0;
                *shown = key_part.to_vec();
                let again = key.clone();
                let goes_on = visit(key, at, stored);
                if !goes_on {
                    next = Next::Stop(again);
                }
                return goes_on;
            }
            passed += 1;
            if passed > STEPS_MAX {
                next = Next::Jump(if is_shown { history_after_key(&key) } else { history_key(&key, self.at) });
                return false;
            }
            true
        });
        next
    }
}

impl Work<'_> {
    /// Makes a value, or with `None` the absence of one, the newest version of a key. Returns whether there was one
    /// before: removing what is not there changes nothing.
    pub(crate) fn write(&mut self, key: &SpaceKey, at: Timestamp, value: Option<&[u8]>) -> bool {
        let data = data_key(key.space.database, key.space.key_space, &key.key);
        let old = newest_value(self.view, key);
        let existed = old.is_some();
        if let Some((stored, written)) = old
            && written < at
            && self.state.horizon < at
        {
            self.view.put(history_key(key, written), stored);
        }
        match value {
            Some(value) => self.view.put(data, StoredValue::encode_plain(at, self.revision, value)),
            None if existed => {
                self.view.put(history_key(key, at), Bytes::from_static(Version::TOMBSTONE));
                self.view.delete(data);
            }
            None => {}
        }
        existed
    }
}
