//! One key's operations, reduced to what the search needs: a condition on the value, a new value, two ends.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::{Answer, Call, HistoryOperation, OperationId, Outcome};

/// A value of the register, interned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct State(u32);

/// The state of a key that nobody wrote.
pub(crate) const ABSENT: State = State(0);

/// Every value that no answer and no condition names: nothing can tell such values apart.
const UNNAMED: State = State(u32::MAX);

/// What must hold when an operation takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    Any,
    /// The register holds this.
    Is(State),
    /// The register holds something else.
    Not(State),
    /// It cannot: the answer contradicts itself.
    Never,
}

/// An operation as the search sees it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Where it stands in the history.
    pub(crate) id: OperationId,
    /// What must hold when it takes effect.
    pub(crate) condition: Condition,
    /// What the register then holds; `None` leaves it as it is.
    pub(crate) becomes: Option<State>,
    /// Its beginning.
    pub(crate) invoked: u64,
    /// Its end; `None` for an operation that may also never take effect.
    pub(crate) returned: Option<u64>,
}

impl Condition {
    /// Whether it holds in a state.
    pub(crate) fn holds(self, state: State) -> bool {
        match self {
            Condition::Any => true,
            Condition::Is(wanted) => wanted == state,
            Condition::Not(unwanted) => unwanted != state,
            Condition::Never => false,
        }
    }

    /// Whether somebody must have made the state what it is for this to hold.
    pub(crate) fn depends_on(self, state: State) -> bool {
        self != Condition::Any && self.holds(state)
    }
}

/// The steps of one key, without those that no answer depends on.
pub(crate) fn steps<'a>(operations: impl Iterator<Item = (OperationId, &'a HistoryOperation)>) -> Vec<Step> {
    let mut states = States::default();
    let mut steps: Vec<Step> = operations.filter_map(|(id, operation)| step(&mut states, id, operation)).collect();
    while drop_unobserved(&mut steps) {}
    bound_observed(&mut steps);
    merge_unnamed(&mut steps);
    steps
}

#[derive(Default)]
struct States<'a> {
    known: BTreeMap<&'a Bytes, State>,
}

impl<'a> States<'a> {
    fn of(&mut self, value: Option<&'a Bytes>) -> State {
        let Some(value) = value else { return ABSENT };
        let next = State(u32::try_from(self.known.len() + 1).expect("fewer than 2^32 values fit memory"));
        *self.known.entry(value).or_insert(next)
    }
}

fn step<'a>(states: &mut States<'a>, id: OperationId, operation: &'a HistoryOperation) -> Option<Step> {
    let (answer, returned) = match &operation.outcome {
        Outcome::Ok { answer, at } => (Some(answer), Some(*at)),
        Outcome::Unknown => (None, None),
        Outcome::Failed { .. } => return None,
    };
    let (condition, becomes) = match (&operation.call, answer) {
        (Call::Get, Some(Answer::Value(value))) => (Condition::Is(states.of(value.as_ref())), None),
        (Call::Put { value }, _) => (Condition::Any, Some(states.of(Some(value)))),
        (Call::Delete, Some(Answer::Existed(false))) => (Condition::Is(ABSENT), None),
        // A delete that nobody heard of changes nothing where there is nothing.
        (Call::Delete, Some(Answer::Existed(true)) | None) => (Condition::Not(ABSENT), Some(ABSENT)),
        (Call::Delete, Some(_)) => (Condition::Any, Some(ABSENT)),
        (Call::CompareAndSet { expected, .. }, Some(Answer::Mismatch)) => {
            (Condition::Not(states.of(expected.as_ref())), None)
        }
        (Call::CompareAndSet { expected, .. }, Some(Answer::MismatchHolds(held))) => {
            let condition = if expected == held { Condition::Never } else { Condition::Is(states.of(held.as_ref())) };
            (condition, None)
        }
        (Call::CompareAndSet { expected, value }, _) => {
            let (expected, value) = (states.of(expected.as_ref()), states.of(value.as_ref()));
            (Condition::Is(expected), (expected != value).then_some(value))
        }
        // A read without an answer says nothing.
        (Call::Get, _) => return None,
    };
    let says_nothing = becomes.is_none() && returned.is_none();
    (!says_nothing).then_some(Step { id, condition, becomes, invoked: operation.invoked, returned })
}

/// Drops unanswered writes whose value no other operation depends on, and says whether it dropped any.
///
/// In any order that contains such a write, what follows it is another unconditional write or the end, so the order
/// without it explains the same answers. This keeps a run with many timeouts cheap.
fn drop_unobserved(steps: &mut Vec<Step>) -> bool {
    let needed: Vec<bool> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| match step.becomes {
            Some(state) if step.returned.is_none() => steps.iter().enumerate().any(|(other, observer)| {
                let in_time = observer.returned.is_none_or(|returned| returned >= step.invoked);
                other != index && in_time && observer.condition.depends_on(state)
            }),
            _ => true,
        })
        .collect();
    let before = steps.len();
    let mut needed = needed.into_iter();
    steps.retain(|_| needed.next().expect("one flag for each step"));
    steps.len() < before
}

/// Gives an unanswered write an end where one follows from what others saw: if it alone can have written a value that
/// an answered operation found, it took effect before that answer.
fn bound_observed(steps: &mut [Step]) {
    let mut writers: BTreeMap<State, usize> = BTreeMap::new();
    let mut first_seen: BTreeMap<State, u64> = BTreeMap::new();
    for step in steps.iter() {
        if let Some(state) = step.becomes {
            *writers.entry(state).or_default() += 1;
        }
        if let (Condition::Is(state), Some(returned)) = (step.condition, step.returned) {
            first_seen.entry(state).and_modify(|seen| *seen = returned.min(*seen)).or_insert(returned);
        }
    }
    for step in steps.iter_mut().filter(|step| step.returned.is_none()) {
        let Some(state) = step.becomes.filter(|state| *state != ABSENT && writers[state] == 1) else { continue };
        step.returned = first_seen.get(&state).copied().filter(|seen| *seen >= step.invoked);
    }
}

/// Merges the values that no condition names into one, so that unanswered writes of them become interchangeable.
fn merge_unnamed(steps: &mut [Step]) {
    let mut named = BTreeSet::from([ABSENT]);
    for step in steps.iter() {
        if let Condition::Is(state) | Condition::Not(state) = step.condition {
            named.insert(state);
        }
    }
    for becomes in steps.iter_mut().filter_map(|step| step.becomes.as_mut()) {
        if !named.contains(becomes) {
            *becomes = UNNAMED;
        }
    }
}
