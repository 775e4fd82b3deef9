//! The verdict on a history, and what it says about a violation.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::register;
use crate::search::{Found, search};
use crate::{Answer, Call, History, HistoryOperation, OperationId, Outcome};

/// Steps for each key that suffice for every history a test of ours makes: some seconds of work at the very most.
pub const STEPS_DEFAULT: u64 = 1_000_000;

/// Operations before the unexplained one that a report shows: enough to see what the key should have held.
const WINDOW_WRITES_BEFORE: usize = 3;
/// Most operations of a report.
const WINDOW_MAX: usize = 16;

/// Whether a history is linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Linearizable,
    /// It is not, at these keys.
    Violation(Vec<Violation>),
    /// The step budget did not suffice for these keys; no other key has a violation. Not a pass.
    Unknown {
        /// The keys.
        keys: Vec<Bytes>,
    },
}

/// One key whose answers contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key.
    pub key: Bytes,
    /// The operation whose answer no order explains.
    pub operation: OperationId,
    /// What about it is wrong, as far as a look at the values tells.
    pub hint: &'static str,
    /// The operation among those that matter to it, by their beginnings.
    pub window: Vec<(OperationId, HistoryOperation)>,
}

/// Judges a history of keys that nobody wrote before it began, with a budget of search steps for each key. Keys are
/// judged in their order, and nothing is drawn or timed (CHECK-3).
pub fn check(history: &History, steps_max: u64) -> Verdict {
    let mut keys: BTreeMap<&Bytes, Vec<(OperationId, &HistoryOperation)>> = BTreeMap::new();
    for (index, operation) in history.operations().iter().enumerate() {
        keys.entry(&operation.key).or_default().push((OperationId(index), operation));
    }
    let (mut violations, mut undecided) = (Vec::new(), Vec::new());
    for (key, operations) in keys {
        match search(&register::steps(operations.iter().copied()), steps_max) {
            Found::Order => {}
            Found::Contradiction(id) => violations.push(describe(key, &operations, id)),
            Found::OutOfSteps => undecided.push(key.clone()),
        }
    }
    match (violations.is_empty(), undecided.is_empty()) {
        (false, _) => Verdict::Violation(violations),
        (true, false) => Verdict::Unknown { keys: undecided },
        (true, true) => Verdict::Linearizable,
    }
}

fn describe(key: &Bytes, operations: &[(OperationId, &HistoryOperation)], id: OperationId) -> Violation {
    let culprit = operations.iter().find(|(other, _)| *other == id).expect("the search names a step of this key").1;
    let found = found(culprit);
    let wrote_found = |operation: &HistoryOperation| found.is_some() && operation.call.written() == found;
    let mut before: Vec<_> = operations
        .iter()
        .filter(|(_, other)| is_effective_write(other) && end(other) < culprit.invoked)
        .map(|(other, operation)| (end(operation), *other))
        .collect();
    before.sort_unstable();
    let before = &before[before.len().saturating_sub(WINDOW_WRITES_BEFORE)..];
    // Most telling first, because the window is cut to size.
    let rank = |(other, operation): &(OperationId, &HistoryOperation)| {
        let overlaps = operation.invoked <= end(culprit) && culprit.invoked <= end(operation);
        match () {
            () if *other == id => Some(0),
            () if wrote_found(operation) && operation.invoked <= end(culprit) => Some(1),
            () if before.iter().any(|(_, write)| write == other) => Some(2),
            () if overlaps && operation.call.written().is_some() => Some(3),
            () if overlaps => Some(4),
            () => None,
        }
    };
    let mut window: Vec<_> = operations.iter().filter_map(|entry| rank(entry).map(|rank| (rank, *entry))).collect();
    // Of equally telling ones the latest.
    window.sort_by_key(|(rank, (other, operation))| (*rank, std::cmp::Reverse((operation.invoked, *other))));
    window.truncate(WINDOW_MAX);
    let mut window: Vec<_> = window.into_iter().map(|(_, (other, operation))| (other, operation.clone())).collect();
    window.sort_by_key(|(other, operation)| (operation.invoked, *other));
    Violation { key: key.clone(), operation: id, hint: hint(culprit, operations), window }
}

/// What the operation found the key to hold, if its answer or condition tells.
fn found(operation: &HistoryOperation) -> Option<Option<&Bytes>> {
    match (&operation.call, &operation.outcome) {
        (_, Outcome::Ok { answer: Answer::Value(value) | Answer::MismatchHolds(value), .. }) => Some(value.as_ref()),
        (Call::CompareAndSet { expected, .. }, Outcome::Ok { answer: Answer::Done, .. }) => Some(expected.as_ref()),
        (_, Outcome::Ok { answer: Answer::Existed(false), .. }) => Some(None),
        _ => None,
    }
}

fn hint(culprit: &HistoryOperation, operations: &[(OperationId, &HistoryOperation)]) -> &'static str {
    let Some(found) = found(culprit) else { return "no order of the writes explains this answer" };
    let writers: Vec<_> = operations.iter().filter(|(_, other)| other.call.written() == Some(found)).collect();
    let started = |operation: &HistoryOperation| operation.invoked <= end(culprit);
    let effective = |operation: &HistoryOperation| started(operation) && is_effective_write(operation);
    if found.is_none() {
        return "the key is absent although a write of it is in force";
    }
    if writers.is_empty() {
        return "nobody ever wrote the value it found";
    }
    if writers.iter().any(|(_, writer)| effective(writer)) {
        return "the value it found was replaced before, or it is missing from what others found";
    }
    match writers.iter().any(|(_, writer)| started(writer)) {
        true => "the value it found belongs to a write that was not applied",
        false => "the value it found was written only later",
    }
}

/// Whether it is a write that may have taken effect.
fn is_effective_write(operation: &HistoryOperation) -> bool {
    let effective = match &operation.outcome {
        Outcome::Ok { answer, .. } => matches!(answer, Answer::Done | Answer::Existed(true)),
        Outcome::Failed { .. } => false,
        Outcome::Unknown => true,
    };
    effective && operation.call.written().is_some()
}

fn end(operation: &HistoryOperation) -> u64 {
    match operation.outcome {
        Outcome::Ok { at, .. } | Outcome::Failed { at } => at,
        Outcome::Unknown => u64::MAX,
    }
}

impl Verdict {
    /// Whether the history is known to be linearizable.
    pub fn is_linearizable(&self) -> bool {
        matches!(self, Verdict::Linearizable)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Linearizable => f.write_str("linearizable"),
            Verdict::Violation(violations) => {
                write!(f, "{} keys are not linearizable", violations.len())?;
                violations.iter().try_for_each(|violation| write!(f, "\n{violation}"))
            }
            Verdict::Unknown { keys } => {
                write!(f, "unknown: the step budget did not suffice for {} keys:", keys.len())?;
                keys.iter().try_for_each(|key| write!(f, " `{}`", key.escape_ascii()))
            }
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key `{}` is not linearizable: {}", self.key.escape_ascii(), self.hint)?;
        for (id, operation) in &self.window {
            let mark = if *id == self.operation { '>' } else { ' ' };
            write!(f, "\n  {mark} {operation}")?;
        }
        Ok(())
    }
}
