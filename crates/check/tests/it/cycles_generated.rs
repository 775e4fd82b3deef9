//! Histories of transactions that are right by construction raise no alarm; ones that were bent do.

use strata_check::transactions::{Step, TransactionOutcome};
use strata_check::{check_serializable, check_strictly_serializable};

use crate::model::Dice;
use crate::transaction_model::{Recorded, TransactionShape, recorded, valid_transactions};

fn shape(dice: &mut Dice) -> TransactionShape {
    TransactionShape {
        transactions: 20 + dice.below(60) as usize,
        clients: 2 + dice.below(9) as usize,
        keys: 1 + dice.below(8),
        steps_max: 1 + dice.below(6),
        unknown_percent: dice.below(15),
        abort_percent: dice.below(15),
    }
}

/// CHECK-4
#[test]
fn ten_thousand_valid_histories_of_transactions_raise_no_alarm() {
    for seed in 0..10_000 {
        let shape = shape(&mut Dice::new(seed ^ 0x5A5A));
        let history = recorded(&valid_transactions(seed, &shape));
        let verdict = check_strictly_serializable(&history);
        assert!(verdict.is_clean(), "seed {seed}: {verdict}");
        assert!(verdict.judged >= history.committed_count());
        if seed % 10 == 0 {
            assert!(check_serializable(&history).is_clean(), "seed {seed}");
        }
    }
}

#[test]
fn long_histories_of_transactions_raise_no_alarm() {
    for clients in [1, 3, 200] {
        let shape = TransactionShape {
            transactions: 5_000,
            clients,
            keys: 60,
            steps_max: 5,
            unknown_percent: 2,
            abort_percent: 5,
        };
        let verdict = check_strictly_serializable(&recorded(&valid_transactions(7, &shape)));
        assert!(verdict.is_clean(), "{clients} clients: {verdict}");
        assert!(verdict.judged > 4_000);
    }
}

/// When a committed transaction was known to have ended.
fn ended(transaction: &Recorded) -> Option<u64> {
    match transaction.outcome {
        TransactionOutcome::Committed { at } => Some(at),
        _ => None,
    }
}

/// Who wrote a value, and whether it committed before a time.
fn was_written_before(transactions: &[Recorded], value: u64, before: u64) -> bool {
    let writes = |step: &Step| matches!(step, Step::Append { value: other, .. } | Step::Write { value: other, .. } if *other == value);
    let writer = transactions.iter().find(|transaction| transaction.steps.iter().any(writes));
    writer.and_then(ended).is_some_and(|ended| ended < before)
}

/// Ways to bend one step so that no order can explain it.
const WAYS: [&str; 6] = ["garbage", "stale", "duplicate", "hole", "aborted", "swap"];

/// The bent transactions; `None` where the history has no place for it.
fn bent(transactions: &[Recorded], way: &str, dice: &mut Dice) -> Option<Vec<Recorded>> {
    let mut bent = transactions.to_vec();
    let mut places: Vec<(usize, usize)> = Vec::new();
    for (index, transaction) in bent.iter().enumerate() {
        if ended(transaction).is_some() {
            places.extend((0..transaction.steps.len()).map(|step| (index, step)));
        }
    }
    let first = dice.below(places.len().max(1) as u64) as usize;
    places.rotate_left(first);
    for (index, number) in places {
        let began = bent[index].began;
        let steps = bent[index].steps.clone();
        let old = |value: u64| was_written_before(transactions, value, began);
        let replaced = match (&steps[number], way) {
            (Step::ReadList { key, values }, "garbage") => {
                Step::ReadList { key: *key, values: [&values[..], &[u64::MAX]].concat() }
            }
            (Step::Read { key, .. }, "garbage") => Step::Read { key: *key, value: Some(u64::MAX) },
            (Step::ReadList { key, values }, "stale") if values.last().is_some_and(|last| old(*last)) => {
                Step::ReadList { key: *key, values: values[..values.len() - 1].to_vec() }
            }
            (Step::Read { key, value: Some(value) }, "stale") if old(*value) => Step::Read { key: *key, value: None },
            (Step::ReadList { key, values }, "duplicate") if !values.is_empty() => {
                Step::ReadList { key: *key, values: [&values[..1], values].concat() }
            }
            (Step::ReadList { key, values }, "hole") if values.len() > 1 && old(values[0]) => {
                Step::ReadList { key: *key, values: values[1..].to_vec() }
            }
            // Somebody else must have read the right order.
            (Step::ReadList { key, values }, "swap") if values.len() > 1 && was_read(transactions, index, values) => {
                let mut values = values.clone();
                values.swap(0, 1);
                Step::ReadList { key: *key, values }
            }
            (Step::Append { value, .. } | Step::Write { value, .. }, "aborted")
                if is_seen(transactions, index, *value) =>
            {
                bent[index].outcome = TransactionOutcome::Aborted;
                return Some(bent);
            }
            _ => continue,
        };
        bent[index].steps[number] = replaced;
        return Some(bent);
    }
    None
}

fn was_read(transactions: &[Recorded], reader: usize, list: &[u64]) -> bool {
    let mut others =
        transactions.iter().enumerate().filter(|(index, other)| *index != reader && ended(other).is_some());
    others.any(|(_, other)| {
        other.steps.iter().any(|step| matches!(step, Step::ReadList { values, .. } if values.starts_with(&list[..2])))
    })
}

fn is_seen(transactions: &[Recorded], writer: usize, value: u64) -> bool {
    let mut others =
        transactions.iter().enumerate().filter(|(index, other)| *index != writer && ended(other).is_some());
    others.any(|(_, other)| {
        other.steps.iter().any(|step| match step {
            Step::ReadList { values, .. } => values.contains(&value),
            Step::Read { value: found, .. } => *found == Some(value),
            _ => false,
        })
    })
}

/// CHECK-5
#[test]
fn bent_histories_of_transactions_are_all_found() {
    for way in WAYS {
        let mut bent_count = 0;
        for seed in 0..400 {
            let mut dice = Dice::new(seed ^ 0x1234);
            let transactions = valid_transactions(seed, &shape(&mut dice));
            let Some(bent) = bent(&transactions, way, &mut dice) else { continue };
            bent_count += 1;
            let verdict = check_strictly_serializable(&recorded(&bent));
            assert!(!verdict.is_clean(), "{way}, seed {seed}");
        }
        assert!(bent_count > 200, "{way}: {bent_count}");
    }
}

/// CHECK-6
#[test]
fn equal_histories_of_transactions_get_equal_reports() {
    for seed in 0..50 {
        let mut dice = Dice::new(seed);
        let transactions = valid_transactions(seed, &shape(&mut dice));
        let Some(bent) = bent(&transactions, "stale", &mut dice) else { continue };
        let text = || check_strictly_serializable(&recorded(&bent)).to_string();
        assert_eq!(text(), text());
    }
}

/// Reads that are taken from the wrong moment make cycles of every kind; each name must be that of its own edges.
#[test]
fn snapshots_that_do_not_fit_together_are_found_among_many_transactions() {
    let shape = TransactionShape {
        transactions: 4_000,
        clients: 20,
        keys: 200,
        steps_max: 4,
        unknown_percent: 0,
        abort_percent: 0,
    };
    let mut transactions = valid_transactions(3, &shape);
    let mut dice = Dice::new(11);
    for _ in 0..50 {
        if let Some(bent) = bent(&transactions, "stale", &mut dice) {
            transactions = bent;
        }
    }
    let verdict = check_strictly_serializable(&recorded(&transactions));
    assert!(verdict.anomalies.len() > 10, "{verdict}");
    for anomaly in &verdict.anomalies {
        let (name, text) = (anomaly.kind.name(), anomaly.to_string());
        let replaced = text.matches("-rw").count();
        assert!(!text.contains("-realtime->") || name.ends_with("-realtime"), "{text}");
        assert!(!name.starts_with("G-single") || replaced <= 1, "{text}");
        assert!(!name.starts_with("G2") || replaced >= 2, "{text}");
    }
}
