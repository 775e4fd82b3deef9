//! Reads: they look at a view of the tablet and do not go through the log.
//!
//! A read at a timestamp may look at a tablet that goes on being written: everything stamped up to then is applied, and
//! what comes later has a later stamp. So it looks at the locks first, then at the value, then at the history: what it no
//! longer finds at one place has got to the next. The horizon may rise meanwhile, so it is looked at again in the end.

use bytes::Bytes;
use strata_codec::{Intent, ShardState, StoredValue, data_key, data_range, user_key_slice};
use strata_machine::View;
use strata_types::{Item, Reply, RequestHeader, SpaceKey, Timestamp, Transaction};

use crate::locks::{first_writer, in_space, writer_of};
use crate::page::Page;
use crate::rows::{newest_value, shard_state};
use crate::snapshot_page;
use crate::versions::{newest_version, value_at};

/// Why a read cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It meets a write of this transaction, which is not decided.
    Blocked(Transaction),
    /// It is from below the horizon: what it would have to see may be gone.
    TooOld {
        /// The horizon.
        horizon: Timestamp,
    },
}

/// The item that a stored row is.
///
/// # Panics
/// When the row does not decode: it was written by apply and the engine checks its bytes, so this is a broken invariant.
pub fn decode_item(user_key: Bytes, stored: Bytes) -> Item {
    let value = StoredValue::decode(stored).unwrap_or_else(|error| panic!("a stored value must decode: {error}"));
    item(user_key, value)
}

pub(crate) fn item(user_key: Bytes, value: StoredValue) -> Item {
    Item { key: user_key, value: value.payload, revision: value.revision, timestamp: value.timestamp }
}

/// Reads one key, as it is now or as it was at the timestamp of the header.
///
/// # Errors
/// When a transaction is in the way that is not decided, or when the timestamp is below the horizon.
pub fn get(view: &dyn View, header: &RequestHeader, key: &Bytes) -> Result<Option<Item>, Obstacle> {
    let key = in_space(header.space(), key);
    check_way(view, &key, header.at)?;
    let Some(at) = header.at else {
        let stored = view.get(&data_key(header.database, header.key_space, &key.key));
        return Ok(stored.map(|stored| decode_item(key.key, stored)));
    };
    let value = value_at(view, &key, at);
    check_horizon(&shard_state(view), header.at)?;
    Ok(value.map(|value| item(key.key, value)))
}

/// Reads one key as it is now, and when it was last changed, be it that it was removed. A key that is there is one row, and
/// may be read from a tablet that goes on being written; for one that is not, the view must be one state.
///
/// # Errors
/// When a transaction is in the way that is not decided.
pub fn newest(view: &dyn View, key: &SpaceKey) -> Result<(Option<Item>, Timestamp), Obstacle> {
    check_way(view, key, None)?;
    Ok(match newest_value(view, key) {
        Some((stored, at)) => (Some(decode_item(key.key.clone(), stored)), at),
        None => (None, newest_version(view, key, Timestamp(u64::MAX)).map_or(Timestamp(0), |(at, _)| at)),
    })
}

/// Whether a key can be read: now, or as it was at a timestamp.
fn check_way(view: &dyn View, key: &SpaceKey, at: Option<Timestamp>) -> Result<(), Obstacle> {
    let state = shard_state(view);
    check_horizon(&state, at)?;
    match (state.prepared > 0).then(|| writer_of(view, key)).flatten() {
        Some(intent) if is_in_the_way(&intent, at) => Err(Obstacle::Blocked(intent.transaction)),
        _ => Ok(()),
    }
}

/// Reads one page of the keys from `start` up to but not including `end`, in key order, of those that `keep` wants, as they
/// are now or as they were at the timestamp of the header. The page ends after `limit` items, after the item that passes
/// [`strata_types::limits::SCAN_PAGE_BYTES_MAX`], or after so many rows, versions included; its `resume` is then the first
/// key that it did not look at. A limit of zero counts as one: a page always gets on.
///
/// # Errors
/// As [`get`].
pub fn scan(
    view: &dyn View,
    header: &RequestHeader,
    start: &[u8],
    end: Option<&[u8]>,
    limit: u32,
    keep: &dyn Fn(&[u8]) -> bool,
) -> Result<Reply, Obstacle> {
    let state = shard_state(view);
    check_horizon(&state, header.at)?;
    let mut page = Page::new(limit);
    match header.at {
        None => fill(view, header, start, end, &mut page, keep),
        Some(at) => snapshot_page::fill(view, header.space(), (start, end), at, &mut page, keep),
    }
    if state.prepared > 0 {
        let end = page.resume().map(Bytes::as_ref).or(end);
        let wanted = |key: &[u8], intent: &Intent| keep(key) && is_in_the_way(intent, header.at);
        if let Some(by) = first_writer(view, header.space(), start, end, &wanted) {
            return Err(Obstacle::Blocked(by));
        }
    }
    check_horizon(&shard_state(view), header.at)?;
    Ok(page.finish())
}

/// Fills a page with what there is now.
fn fill(
    view: &dyn View,
    header: &RequestHeader,
    start: &[u8],
    end: Option<&[u8]>,
    page: &mut Page,
    keep: &dyn Fn(&[u8]) -> bool,
) {
    let (first, last) = data_range(header.database, header.key_space, start, end);
    if first >= last {
        return;
    }
    view.scan(&first, &last, &mut |key, stored| {
        let user_key = Bytes::copy_from_slice(user_key_slice(key));
        if page.is_full() || page.rows_left == 0 {
            page.end_before(user_key);
            return false;
        }
        page.rows_left -= 1;
        if keep(&user_key) {
            page.push(decode_item(user_key, stored.clone()));
        }
        true
    });
}

/// What is read at a timestamp must not be gone (SHARD-11).
fn check_horizon(state: &ShardState, at: Option<Timestamp>) -> Result<(), Obstacle> {
    match at {
        Some(at) if at < state.horizon && !mutated!(HorizonIgnored) => Err(Obstacle::TooOld { horizon: state.horizon }),
        _ => Ok(()),
    }
}

/// Whether a reader must know what becomes of a write. It is not committed before it was prepared.
fn is_in_the_way(intent: &Intent, at: Option<Timestamp>) -> bool {
    at.is_none_or(|at| intent.stamp <= at) && !mutated!(IntentIgnoredByReads)
}
