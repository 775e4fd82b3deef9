//! The recorder. It keeps a read of a list as the length of a prefix, because in a right history every read of a list
//! is a prefix of the longest one: a transaction takes some tens of bytes, however long the lists are.

use strata_types::ClientId;

use super::numbering::Numbering;
use super::{Step, TransactionIndex, TransactionOutcome};

/// Of an unknown end, or none.
const NEVER: u64 = u64::MAX;

/// Transactions with their steps. Times are logical: only their order matters, and equal times count as concurrent.
#[derive(Clone, Debug, Default)]
pub struct TransactionHistory {
    entries: Vec<Entry>,
    steps: Vec<StoredStep>,
    keys: Numbering,
    kinds: Vec<KeyKind>,
    /// For each list the longest sequence of which the committed reads so far are prefixes, strange ones aside.
    orders: Vec<Vec<u64>>,
    /// Reads that are no such prefix.
    strange: Vec<Vec<u64>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    client: ClientId,
    began: u64,
    ended: u64,
    steps_from: u32,
    outcome: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Committed,
    Aborted,
    Unknown,
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// A list.
    List,
    /// A register.
    Register,
}

/// A step as it is kept: the number of the key, what was done, and a value that belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredStep {
    pub(crate) value: u64,
    pub(crate) key: u32,
    pub(crate) action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The value is written or appended.
    Write,
    /// A register held the value.
    ReadValue,
    /// A register held nothing.
    ReadNothing,
    /// A list held this many values of its order, and then the transaction's own.
    ReadPrefix,
    /// A list held what is at this position of the strange reads, and then the transaction's own.
    ReadStrange,
    /// A list did not end with the transaction's own values: all of it is at this position of the strange reads.
    ReadTorn,
}

impl TransactionHistory {
    /// An empty history.
    pub fn new() -> TransactionHistory {
        TransactionHistory::default()
    }

    /// Records a transaction that has ended, or of which no more will be heard. A client is who runs one transaction
    /// at a time; give a name of its own to each thread of a program.
    ///
    /// # Panics
    /// When it ends before it began, or a key is used both as a list and as a register: mistakes of the test.
    pub fn record(
        &mut self,
        client: ClientId,
        began: u64,
        steps: &[Step],
        outcome: TransactionOutcome,
    ) -> TransactionIndex {
        let index = TransactionIndex(u32::try_from(self.entries.len()).expect("fewer than 2^32 transactions"));
        let (outcome, ended) = match outcome {
            TransactionOutcome::Committed { at } => (Fate::Committed, at),
            TransactionOutcome::Aborted => (Fate::Aborted, NEVER),
            TransactionOutcome::Unknown => (Fate::Unknown, NEVER),
        };
        assert!(began <= ended, "transaction {index} ended before it began");
        let steps_from = u32::try_from(self.steps.len()).expect("fewer than 2^32 steps");
        self.entries.push(Entry { client, began, ended, steps_from, outcome });
        for step in steps {
            self.store(step, outcome, steps_from as usize);
        }
        index
    }

    /// How many transactions there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many transactions committed: a run with too few of them proves nothing.
    pub fn committed_count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.outcome == Fate::Committed).count()
    }

    fn store(&mut self, step: &Step, fate: Fate, own_from: usize) {
        let stored = match step {
            Step::Append { key, value } => {
                StoredStep { key: self.key(*key, KeyKind::List), value: *value, action: Action::Write }
            }
            Step::Write { key, value } => {
                StoredStep { key: self.key(*key, KeyKind::Register), value: *value, action: Action::Write }
            }
            // Nobody promised an aborted transaction anything.
            Step::ReadList { .. } | Step::Read { .. } if fate == Fate::Aborted => return,
            Step::ReadList { key, values } => {
                let key = self.key(*key, KeyKind::List);
                self.stored_list(key, values, fate, own_from)
            }
            Step::Read { key, value } => {
                let action = if value.is_some() { Action::ReadValue } else { Action::ReadNothing };
                StoredStep { key: self.key(*key, KeyKind::Register), value: value.unwrap_or_default(), action }
            }
        };
        self.steps.push(stored);
    }

    fn stored_list(&mut self, key: u32, values: &[u64], fate: Fate, own_from: usize) -> StoredStep {
        let own = self.steps[own_from..].iter().filter(|step| step.key == key && step.action == Action::Write);
        let mut others = values;
        for step in own.rev() {
            match others.split_last() {
                Some((last, before)) if *last == step.value => others = before,
                _ => return self.stored_strange(key, values, Action::ReadTorn),
            }
        }
        let order = &mut self.orders[key as usize];
        let common = others.len().min(order.len());
        let fits = others[..common] == order[..common];
        if !fits || (others.len() > common && fate != Fate::Committed) {
            return self.stored_strange(key, others, Action::ReadStrange);
        }
        order.extend_from_slice(&others[common..]);
        StoredStep { key, value: others.len() as u64, action: Action::ReadPrefix }
    }

    fn stored_strange(&mut self, key: u32, values: &[u64], action: Action) -> StoredStep {
        self.strange.push(values.to_vec());
        StoredStep { key, value: self.strange.len() as u64 - 1, action }
    }

    fn key(&mut self, name: u64, kind: KeyKind) -> u32 {
        let key = self.keys.number(name);
        if key as usize == self.kinds.len() {
            self.kinds.push(kind);
            self.orders.push(Vec::new());
        }
        assert!(self.kinds[key as usize] == kind, "key {name} is used as a list and as a register");
        key
    }
}

/// What the checkers ask.
impl TransactionHistory {
    pub(crate) fn steps(&self, transaction: u32) -> &[StoredStep] {
        let index = transaction as usize;
        let to = self.entries.get(index + 1).map_or(self.steps.len(), |next| next.steps_from as usize);
        &self.steps[self.entries[index].steps_from as usize..to]
    }

    pub(crate) fn client(&self, transaction: u32) -> ClientId {
        self.entries[transaction as usize].client
    }

    pub(crate) fn began(&self, transaction: u32) -> u64 {
        self.entries[transaction as usize].began
    }

    /// When it was known to be committed; the largest time if it never was.
    pub(crate) fn ended(&self, transaction: u32) -> u64 {
        self.entries[transaction as usize].ended
    }

    pub(crate) fn is_committed(&self, transaction: u32) -> bool {
        self.entries[transaction as usize].outcome == Fate::Committed
    }

    pub(crate) fn is_unknown(&self, transaction: u32) -> bool {
        self.entries[transaction as usize].outcome == Fate::Unknown
    }

    pub(crate) fn key_count(&self) -> usize {
        self.kinds.len()
    }

    pub(crate) fn key_name(&self, key: u32) -> u64 {
        self.keys.names()[key as usize]
    }

    pub(crate) fn is_list(&self, key: u32) -> bool {
        self.kinds[key as usize] == KeyKind::List
    }

    pub(crate) fn order(&self, key: u32) -> &[u64] {
        &self.orders[key as usize]
    }

    pub(crate) fn strange(&self, position: u64) -> &[u64] {
        &self.strange[position as usize]
    }

    /// All steps, those of earlier transactions first.
    pub(crate) fn all_steps(&self) -> &[StoredStep] {
        &self.steps
    }

    /// The list that a read found, without the transaction's own values at its end; all of it if it is torn.
    pub(crate) fn list(&self, step: &StoredStep) -> &[u64] {
        match step.action {
            Action::ReadPrefix => &self.order(step.key)[..step.value as usize],
            _ => self.strange(step.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_kept_as_prefixes_and_without_own_values() {
        let mut history = TransactionHistory::new();
        let read = |values: &[u64]| Step::ReadList { key: 9, values: values.to_vec() };
        let committed = TransactionOutcome::Committed { at: 5 };
        let steps = [read(&[1, 2]), Step::Append { key: 9, value: 3 }, read(&[1, 2, 3]), read(&[1, 2])];
        history.record(ClientId(1), 1, &steps, committed);
        history.record(ClientId(1), 1, &[read(&[1, 2, 3, 4]), read(&[2])], committed);
        history.record(ClientId(1), 1, &[read(&[1, 2, 3, 4, 5])], TransactionOutcome::Unknown);
        history.record(ClientId(1), 1, &[read(&[7])], TransactionOutcome::Aborted);
        let actions = |transaction| -> Vec<(Action, usize)> {
            let reads = history.steps(transaction).iter().filter(|step| step.action != Action::Write);
            reads.map(|step| (step.action, history.list(step).len())).collect()
        };
        assert_eq!(actions(0), [(Action::ReadPrefix, 2), (Action::ReadPrefix, 2), (Action::ReadTorn, 2)]);
        assert_eq!(actions(1), [(Action::ReadPrefix, 4), (Action::ReadStrange, 1)]);
        assert_eq!(actions(2), [(Action::ReadStrange, 5)]);
        assert_eq!(actions(3), []);
        assert_eq!(history.order(0), [1, 2, 3, 4]);
        assert_eq!((history.len(), history.committed_count()), (4, 2));
    }

    #[test]
    #[should_panic(expected = "as a list and as a register")]
    fn a_key_is_one_thing() {
        let mut history = TransactionHistory::new();
        let steps = [Step::Append { key: 1, value: 1 }, Step::Write { key: 1, value: 2 }];
        history.record(ClientId(1), 1, &steps, TransactionOutcome::Aborted);
    }
}
