//! What a leader has to see to, some at a time.

use strata_codec::{
    Participant, RecordState, SHARD_STATE_KEY, ShardState, TransactionRecord, participant_key, record_key,
};
use strata_shard::testing::Rows;
use strata_types::{Slot, Timestamp, Transaction, TransactionId};

/// Parts with the ids from 0 on, then records with those from 100 on.
fn filled(parts: u64, records: u64) -> Rows {
    let of = |id: u64| Transaction {
        id: TransactionId(id.into()),
        anchor: Slot::of_key(b"anchor"),
        read_timestamp: Timestamp(1),
        age: Timestamp(1),
    };
    let mut rows = Rows::default();
    let state = ShardState { prepared: parts, ..ShardState::default() };
    rows.0.insert(SHARD_STATE_KEY.into(), state.encode());
    for transaction in (0..parts).map(of) {
        let part = Participant { transaction, stamp: Timestamp(2), has_ranges: false, keys: Vec::new() };
        rows.0.insert(participant_key(transaction.id), part.encode());
    }
    for transaction in (100..100 + records).map(of) {
        let state = RecordState::Committed { at: Timestamp(2), acknowledged: false, participants: Vec::new() };
        rows.0.insert(record_key(transaction.id), TransactionRecord { transaction, state }.encode());
    }
    rows
}

#[test]
fn nobody_is_hidden_by_those_before_him_and_nobody_is_shown_twice() {
    for (parts, records) in [(0, 0), (1, 0), (0, 5), (4, 5), (6, 3), (7, 1)] {
        let rows = filled(parts, records);
        let all: Vec<u128> = (0..parts).chain(100..100 + records).map(u128::from).collect();
        for max in [1, 2, 3, 5, 100] {
            let (mut seen, mut from) = (Vec::new(), None);
            loop {
                let (found, resume) = strata_shard::unfinished_from(&rows, from.as_ref(), max);
                assert!(found.len() <= max && (resume.is_none() || found.len() == max), "{found:?}");
                seen.extend(found.into_iter().map(|found| found.transaction.id.0));
                from = resume;
                if from.is_none() {
                    break;
                }
            }
            assert_eq!(seen, all, "{parts} parts, {records} records, {max} at once");
        }
    }
}
