//! The search against trying every order: short histories with arbitrary answers, most of them wrong.

use bytes::Bytes;
use strata_check::{Answer, Call, History, HistoryOperation, Outcome, STEPS_DEFAULT, Verdict, check};
use strata_types::ClientId;

use crate::model::{Dice, apply, random_call};

/// Whether some order of the operations explains every answer, by trying all of them.
fn some_order_explains(operations: &[HistoryOperation]) -> bool {
    let open: Vec<&HistoryOperation> =
        operations.iter().filter(|operation| !matches!(operation.outcome, Outcome::Failed { .. })).collect();
    explains(&open, &mut vec![false; open.len()], &None)
}

fn explains(operations: &[&HistoryOperation], used: &mut Vec<bool>, register: &Option<Bytes>) -> bool {
    let end = |operation: &HistoryOperation| match operation.outcome {
        Outcome::Ok { at, .. } => Some(at),
        _ => None,
    };
    let left = || (0..operations.len()).filter(|index| !used[*index]);
    if left().all(|index| end(operations[index]).is_none()) {
        return true;
    }
    let first_end = left().filter_map(|index| end(operations[index])).min().unwrap_or(u64::MAX);
    let next: Vec<usize> = left().filter(|index| operations[*index].invoked <= first_end).collect();
    next.into_iter().any(|index| {
        let mut after = register.clone();
        let answers = [true, false].map(|detailed| {
            after = register.clone();
            apply(&mut after, &operations[index].call, detailed)
        });
        if let Outcome::Ok { answer, .. } = &operations[index].outcome
            && !answers.contains(answer)
        {
            return false;
        }
        used[index] = true;
        let explained = explains(operations, used, &after);
        used[index] = false;
        explained
    })
}

fn random_value(dice: &mut Dice) -> Option<Bytes> {
    match dice.below(3) {
        0 => None,
        number => Some(Bytes::from(format!("v{}", number - 1))),
    }
}

fn random_answer(dice: &mut Dice, call: &Call) -> Answer {
    match (call, dice.below(3)) {
        (Call::Get, _) => Answer::Value(random_value(dice)),
        (Call::Put { .. }, _) | (_, 0) => Answer::Done,
        (Call::Delete, _) => Answer::Existed(dice.percent(50)),
        (Call::CompareAndSet { .. }, 1) => Answer::Mismatch,
        (Call::CompareAndSet { .. }, _) => Answer::MismatchHolds(random_value(dice)),
    }
}

fn arbitrary_history(seed: u64) -> History {
    let mut dice = Dice::new(seed);
    let mut history = History::new();
    // Few values, so that several writes may explain one read and no shortcut for unique values applies.
    let values = 1 + dice.below(2);
    for number in 0..2 + dice.below(6) {
        let held = random_value(&mut dice);
        let call = random_call(&mut dice, values, number, &held);
        let invoked = dice.below(10);
        let id = history.invoke(ClientId(number), "k", call.clone(), invoked);
        let at = invoked + dice.below(6);
        match dice.below(10) {
            0 => history.fail(id, at),
            1 | 2 => history.unknown(id),
            _ => history.ok(id, random_answer(&mut dice, &call), at),
        }
    }
    history
}

/// CHECK-1, CHECK-2
#[test]
fn the_search_agrees_with_trying_every_order() {
    let (mut linearizable, mut violations) = (0, 0);
    for seed in 0..30_000 {
        let history = arbitrary_history(seed);
        let explained = some_order_explains(history.operations());
        match check(&history, STEPS_DEFAULT) {
            Verdict::Linearizable => assert!(explained, "seed {seed}: a violation was missed"),
            Verdict::Violation(found) => assert!(!explained, "seed {seed}: a false alarm: {}", found[0]),
            verdict => panic!("seed {seed}: {verdict}"),
        }
        linearizable += usize::from(explained);
        violations += usize::from(!explained);
    }
    assert!(linearizable > 1_000 && violations > 1_000, "{linearizable} and {violations}: both must be common");
}
