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
    let mut found = Vec::new();
    if shard_state(view).prepared > 0 {
        each(view, KeyKind::Participant, max, &mut found, |row| {
            let participant = decode_participant(row);
            let state = UnfinishedState::Prepared { at: participant.stamp };
            Some(Unfinished { transaction: participant.transaction, state })
        });
    }
    each(view, KeyKind::TransactionRecord, max, &mut found, |row| {
        let record = decode_record(row);
        let state = match record.state {
            RecordState::Committed { at, participants, .. } => UnfinishedState::Committed { at, participants },
            RecordState::Aborted => return None,
        };
        Some(Unfinished { transaction: record.transaction, state })
    });
    found
}

fn each(
    view: &dyn View,
    kind: KeyKind,
    max: usize,
    found: &mut Vec<Unfinished>,
    read: impl Fn(Bytes) -> Option<Unfinished>,
) {
    let (first, last) = kind.range();
    if found.len() < max {
        view.scan(&first, &last, &mut |_, row| {
            found.extend(read(row.clone()));
            found.len() < max
        });
    }
}
