//! Histories that are right by construction raise no alarm; ones that were bent do.

use bytes::Bytes;
use strata_check::{Answer, Call, History, Outcome, STEPS_DEFAULT, Verdict, check};

use crate::model::{Dice, Shape, valid_history};

/// CHECK-1
#[test]
fn ten_thousand_valid_histories_raise_no_alarm() {
    for seed in 0..10_000 {
        let mut dice = Dice::new(seed ^ 0xA5A5);
        let shape = Shape {
            operations: 20 + dice.below(60) as usize,
            clients: 2 + dice.below(8) as usize,
            keys: 1 + dice.below(3) as usize,
            values: [0, 0, 2, 5][dice.below(4) as usize],
            unknown_percent: dice.below(15),
        };
        let verdict = check(&valid_history(seed, &shape), STEPS_DEFAULT);
        assert!(verdict.is_linearizable(), "seed {seed}: {verdict}");
    }
}

#[test]
fn twenty_thousand_operations_over_a_hundred_keys_fit_a_small_budget() {
    for (seed, unknown_percent) in [(1, 0), (2, 2), (3, 10)] {
        let shape = Shape { operations: 20_000, clients: 200, keys: 100, values: 0, unknown_percent };
        let history = valid_history(seed, &shape);
        assert!(history.ok_count() > 10_000);
        // Each key has about 200 operations: a few steps for each is what a search without detours takes.
        assert_eq!(check(&history, 20_000), Verdict::Linearizable, "seed {seed}");
    }
}

#[test]
fn one_key_with_a_long_history_needs_no_deep_stack() {
    let shape = Shape { operations: 20_000, clients: 4, keys: 1, values: 0, unknown_percent: 0 };
    assert_eq!(check(&valid_history(7, &shape), STEPS_DEFAULT), Verdict::Linearizable);
}

/// Copies a history with one answer replaced.
fn with_answer(history: &History, position: usize, replacement: &Answer) -> History {
    let mut bent = History::new();
    for (index, operation) in history.operations().iter().enumerate() {
        let id = bent.invoke(operation.client, operation.key.clone(), operation.call.clone(), operation.invoked);
        match &operation.outcome {
            Outcome::Ok { at, .. } if index == position => bent.ok(id, replacement.clone(), *at),
            Outcome::Ok { answer, at } => bent.ok(id, answer.clone(), *at),
            Outcome::Failed { at } => bent.fail(id, *at),
            Outcome::Unknown => bent.unknown(id),
        }
    }
    bent
}

#[test]
fn bent_histories_are_all_found() {
    let mut bent_count = 0;
    for seed in 0..500 {
        let shape = Shape { operations: 60, clients: 5, keys: 2, values: 0, unknown_percent: 5 };
        let history = valid_history(seed, &shape);
        let mut dice = Dice::new(seed);
        let reads: Vec<usize> = (0..history.operations().len())
            .filter(|index| {
                let operation = &history.operations()[*index];
                operation.call == Call::Get && matches!(operation.outcome, Outcome::Ok { .. })
            })
            .collect();
        if reads.is_empty() {
            continue;
        }
        let position = reads[dice.below(reads.len() as u64) as usize];
        let invented = Answer::Value(Some(Bytes::from_static(b"invented")));
        let bent = with_answer(&history, position, &invented);
        let verdict = check(&bent, STEPS_DEFAULT);
        let Verdict::Violation(violations) = &verdict else { panic!("seed {seed}: {verdict}") };
        assert_eq!(violations[0].key, history.operations()[position].key, "seed {seed}");
        bent_count += 1;
    }
    assert!(bent_count > 450);
}
