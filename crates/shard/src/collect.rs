//! Rows that nobody needs above the horizon, so that what comes and goes does not pile up (SHARD-12).
//!
//! ```text
//!   history     a version after which there is another one, at the horizon or below it
//!               a removal at the horizon or below it, when no older version is left that it hides
//!   resolved    a participant                     } of a transaction that began below the horizon:
//!   closed      a record, aborted or acknowledged } whatever still comes of it is refused
//! ```
//! A leader looks for them ([`garbage`]) and proposes their keys; apply looks again before it removes them (SHARD-6), since
//! the shard has changed meanwhile.

use bytes::Bytes;
use strata_codec::{KeyKind, ResolvedParticipant, Version, history_after_key, history_key};
use strata_machine::View;
use strata_types::{SpaceKey, Timestamp, TransactionReply};

use crate::rows::{decode_history_key, decode_record, decoded, newest_value};
use crate::transactions::Answer;
use crate::work::Work;

/// So many rows are looked at for each that may be found.
const LOOKS_PER_ROW: usize = 16;
/// A look ends after the row with which apply would have to read so many bytes: of rows, and of what replaced them. It
/// reads them while the shard does nothing else.
const READ_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Rows to collect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Their tablet keys.
    pub rows: Vec<Bytes>,
    /// Where to go on looking; `None` when all was looked at.
    pub resume: Option<Bytes>,
}

/// Looks for rows that nobody needs above a horizon: `rows_max` of them at most, fewer if they are large, from where an
/// earlier look ended.
pub fn garbage(view: &dyn View, horizon: Timestamp, from: Option<&Bytes>, rows_max: usize) -> Garbage {
    let mut search = Search {
        view,
        horizon,
        rows_max: rows_max.max(1),
        looks_left: rows_max.max(1).saturating_mul(LOOKS_PER_ROW),
        bytes_left: READ_BYTES_MAX,
        found: Garbage::default(),
    };
    for kind in [KeyKind::History, KeyKind::ResolvedParticipant, KeyKind::ClosedRecord] {
        let (first, last) = kind.range();
        let start = from.map_or(&first, |from| from.max(&first));
        if *start >= last {
            continue;
        }
        match kind {
            KeyKind::History => search.history(start, &last),
            _ => search.ended(kind, start, &last),
        }
        if search.found.resume.is_some() {
            break;
        }
    }
    search.found
}

struct Search<'a> {
    view: &'a dyn View,
    horizon: Timestamp,
    rows_max: usize,
    looks_left: usize,
    bytes_left: usize,
    found: Garbage,
}

/// The version that was looked at last.
struct Looked {
    key: SpaceKey,
    at: Timestamp,
    /// Of the versions of the key so far the bytes of the longest one, which is what apply reads at most to see that an
    /// older one was replaced.
    longest: usize,
}

impl Search<'_> {
    /// Whether it must end at this row.
    fn stops_at(&mut self, row: &[u8]) -> bool {
        if self.found.rows.len() >= self.rows_max || self.looks_left == 0 || self.bytes_left == 0 {
            self.found.resume = Some(Bytes::copy_from_slice(row));
            return true;
        }
        self.looks_left -= 1;
        false
    }

    /// A row that may go, and what apply reads to see that.
    fn note(&mut self, row: Bytes, bytes: usize) {
        self.found.rows.push(row);
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }

    /// Versions. It may begin in the midst of those of a key: then at one that was looked at, or would have been next.
    fn history(&mut self, start: &[u8], last: &[u8]) {
        let mut newer: Option<Looked> = None;
        // A removal is hidden by nothing, but hides the older ones: it goes after them.
        let mut removal: Option<(Bytes, usize)> = None;
        let view = self.view;
        view.scan(start, last, &mut |row, stored| {
            let (key, at) = decode_history_key(row);
            let is_same_key = newer.as_ref().is_some_and(|newer| newer.key == key);
            if !is_same_key && let Some((row, bytes)) = removal.take() {
                self.note(row, bytes);
            }
            if self.stops_at(row) {
                return false;
            }
            let replaced = match &newer {
                Some(newer) if is_same_key => Some((newer.at, newer.longest)),
                _ => replaced(view, &key, at, self.horizon),
            };
            let longest = replaced.map_or(0, |(_, bytes)| bytes);
            if replaced.is_some_and(|(replaced_at, _)| replaced_at <= self.horizon) {
                self.note(Bytes::copy_from_slice(row), stored.len() + longest);
            } else if stored.as_ref() == Version::TOMBSTONE && at <= self.horizon {
                removal = Some((Bytes::copy_from_slice(row), stored.len() + longest));
            }
            newer = Some(Looked { key, at, longest: longest.max(stored.len()) });
            true
        });
        // When the search stopped, older versions may be left that it hides.
        if self.found.resume.is_none()
            && let Some((row, bytes)) = removal
        {
            self.note(row, bytes);
        }
    }

    /// Rows of transactions that have ended.
    fn ended(&mut self, kind: KeyKind, start: &[u8], last: &[u8]) {
        let view = self.view;
        view.scan(start, last, &mut |row, stored| {
            if self.stops_at(row) {
                return false;
            }
            if began(kind, stored).is_some_and(|began| began < self.horizon) {
                self.note(Bytes::copy_from_slice(row), stored.len());
            }
            true
        });
    }
}

impl Work<'_> {
    /// Raises the horizon, and removes those of the rows that nobody needs above it.
    pub(crate) fn collect(&mut self, horizon: Timestamp, rows: &[Bytes]) -> Answer {
        self.state.horizon = self.state.horizon.max(horizon);
        for row in rows {
            if self.may_go(row) {
                // A copy: the row is a part of a log entry, all of which would stay in memory with it.
                self.view.delete(Bytes::copy_from_slice(row));
            }
        }
        Ok(TransactionReply::Done)
    }

    fn may_go(&self, row: &Bytes) -> bool {
        let Some(kind @ (KeyKind::History | KeyKind::ResolvedParticipant | KeyKind::ClosedRecord)) = KeyKind::of(row)
        else {
            return false;
        };
        let Some(stored) = self.view.get(row) else { return false };
        if kind != KeyKind::History {
            return began(kind, &stored).is_some_and(|began| self.is_below_horizon(began));
        }
        let (key, at) = decode_history_key(row);
        let horizon = self.state.horizon;
        replaced(self.view, &key, at, horizon).is_some_and(|(replaced_at, _)| replaced_at <= horizon)
            || (stored.as_ref() == Version::TOMBSTONE && at <= horizon && is_oldest(self.view, &key, row))
    }
}

/// When the transaction of a row began that has ended.
fn began(kind: KeyKind, stored: &Bytes) -> Option<Timestamp> {
    let transaction = match kind {
        KeyKind::ResolvedParticipant => {
            decoded("resolved participant", ResolvedParticipant::decode(stored.clone())).transaction
        }
        _ => Some(decode_record(stored.clone())).filter(|record| record.is_settled())?.transaction,
    };
    Some(transaction.read_timestamp)
}

/// When a version was replaced by another one, if that was at the horizon or below it; else maybe later, maybe never.
/// And the bytes that were read to see that.
fn replaced(view: &dyn View, key: &SpaceKey, at: Timestamp, horizon: Timestamp) -> Option<(Timestamp, usize)> {
    let mut replaced = None;
    if at < horizon {
        view.scan(&history_key(key, horizon), &history_key(key, at), &mut |row, stored| {
            replaced = Some((decode_history_key(row).1, stored.len()));
            false
        });
    }
    replaced.or_else(|| newest_value(view, key).map(|(stored, written)| (written, stored.len())))
}

/// Whether a version has no older ones.
fn is_oldest(view: &dyn View, key: &SpaceKey, row: &[u8]) -> bool {
    let mut is_oldest = true;
    let after = [row, &[0]].concat();
    view.scan(&after, &history_after_key(key), &mut |_, _| {
        is_oldest = false;
        false
    });
    is_oldest
}
