//! What somebody still has to act on: for recovery, and for operators.

use bytes::Bytes;
use strata_codec::{KeyKind, RecordState};
use strata_machine::View;
use strata_types::{Slot, Timestamp, Transaction};

use crate::rows::{decode_participant, decode_record, shard_state};

/// A transaction that is not done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Which one.
    pub transaction: Transaction,
    /// What this shard has of it.
    pub state: UnfinishedState,
}

/// What a shard has of a transaction that is not done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnfinishedState {
    /// A part that is prepared: it holds locks.
    Prepared {
        /// When it was prepared.
        at: Timestamp,
    },
    /// The record: committed, and not every participant has acknowledged that.
    Committed {
        /// All its writes have this timestamp.
        at: Timestamp,
        /// A slot of each other shard, where it was prepared.
        participants: Vec<Slot>,
    },
}

/// The first `max` of them: parts, then records.
pub fn unfinished(view: &dyn View, max: usize) -> Vec<Unfinished> {
    unfinished_from(view, None, max).0
}

/// The same from where an earlier look ended, and where the next one goes on; `None` when all was looked at.
pub fn unfinished_from(view: &dyn View, from: Option<&Bytes>, max: usize) -> (Vec<Unfinished>, Option<Bytes>) {
    let mut look = Look { view, max, found: Vec::new(), resume: None };
    let within_records = from.filter(|from| KeyKind::of(from) == Some(KeyKind::TransactionRecord));
    if within_records.is_none() && shard_state(view).prepared > 0 {
        look.each(KeyKind::Participant, from, |row| {
            let participant = decode_participant(row);
            let state = UnfinishedState::Prepared { at: participant.stamp };
            Some(Unfinished { transaction: participant.transaction, state })
        });
    }
    if look.resume.is_none() {
        look.each(KeyKind::TransactionRecord, within_records, |row| {
            let record = decode_record(row);
            let state = match record.state {
                RecordState::Committed { at, participants, .. } => UnfinishedState::Committed { at, participants },
                RecordState::Aborted => return None,
            };
            Some(Unfinished { transaction: record.transaction, state })
        });
    }
    (look.found, look.resume)
}

struct Look<'a> {
    view: &'a dyn View,
    max: usize,
    found: Vec<Unfinished>,
    resume: Option<Bytes>,
}

impl Look<'_> {
    fn each(&mut self, kind: KeyKind, from: Option<&Bytes>, read: impl Fn(Bytes) -> Option<Unfinished>) {
        let (first, last) = kind.range();
        let start = from.unwrap_or(&first);
        if self.found.len() >= self.max {
            self.resume = Some(start.clone());
            return;
        }
        let view = self.view;
        view.scan(start, &last, &mut |key, row| {
            self.found.extend(read(row.clone()));
            if self.found.len() >= self.max {
                self.resume = Some([key, &[0]].concat().into());
            }
            self.resume.is_none()
        });
    }
}
