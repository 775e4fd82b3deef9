//! A history with what all inferences need: which transactions count, and who touched which key.

use crate::transactions::{Action, TransactionHistory};

/// What a transaction's writes are to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It committed, or nobody knew and somebody saw it.
    Counts,
    /// It aborted.
    Aborted,
    /// Nobody knows, and nobody saw it.
    Unseen,
}

/// The view.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) history: &'a TransactionHistory,
    standings: Vec<Standing>,
    /// Transactions by the keys they touch, each once for a key, in order.
    touching: Vec<u32>,
    touching_from: Vec<u32>,
}

impl<'a> View<'a> {
    pub(crate) fn new(history: &'a TransactionHistory) -> View<'a> {
        let (touching, touching_from) = touching(history);
        View { history, standings: standings(history), touching, touching_from }
    }

    pub(crate) fn transactions(&self) -> u32 {
        self.standings.len() as u32
    }

    pub(crate) fn standing(&self, transaction: u32) -> Standing {
        self.standings[transaction as usize]
    }

    pub(crate) fn counts(&self, transaction: u32) -> bool {
        self.standing(transaction) == Standing::Counts
    }

    /// The transactions with a step on a key, in order.
    pub(crate) fn touching(&self, key: u32) -> &[u32] {
        let key = key as usize;
        &self.touching[self.touching_from[key] as usize..self.touching_from[key + 1] as usize]
    }
}

/// Counting sort of the pairs (key, transaction).
fn touching(history: &TransactionHistory) -> (Vec<u32>, Vec<u32>) {
    let transactions = history.len() as u32;
    let mut from = vec![0u32; history.key_count() + 2];
    // One more than the last transaction that was seen with the key.
    let mut last = vec![0u32; history.key_count()];
    for transaction in 0..transactions {
        for step in history.steps(transaction) {
            let key = step.key as usize;
            if last[key] != transaction + 1 {
                last[key] = transaction + 1;
                from[key + 2] += 1;
            }
        }
    }
    for key in 2..from.len() {
        from[key] += from[key - 1];
    }
    let mut touching = vec![0u32; from.last().map_or(0, |count| *count as usize)];
    last.fill(0);
    for transaction in 0..transactions {
        for step in history.steps(transaction) {
            let key = step.key as usize;
            if last[key] != transaction + 1 {
                last[key] = transaction + 1;
                touching[from[key + 1] as usize] = transaction;
                from[key + 1] += 1;
            }
        }
    }
    from.pop();
    (touching, from)
}

/// Decides about the unknown ones: a write that a transaction which counts has seen makes its writer count, and then
/// that one's reads may show others.
fn standings(history: &TransactionHistory) -> Vec<Standing> {
    let transactions = history.len() as u32;
    let mut writes: Vec<(u32, u64, u32)> = Vec::new();
    let mut standings = Vec::with_capacity(transactions as usize);
    for transaction in 0..transactions {
        standings.push(match () {
            () if history.is_committed(transaction) => Standing::Counts,
            () if history.is_unknown(transaction) => Standing::Unseen,
            () => Standing::Aborted,
        });
        if history.is_unknown(transaction) {
            let steps = history.steps(transaction).iter().filter(|step| step.action == Action::Write);
            writes.extend(steps.map(|step| (step.key, step.value, transaction)));
        }
    }
    if writes.is_empty() {
        return standings;
    }
    writes.sort_unstable();
    let mut is_open = vec![false; history.key_count()];
    writes.iter().for_each(|(key, _, _)| is_open[*key as usize] = true);
    let mut news: Vec<u32> = Vec::new();
    let see = |standings: &mut [Standing], news: &mut Vec<u32>, key: u32, value: u64, by: Option<u32>| {
        let from = writes.partition_point(|write| (write.0, write.1) < (key, value));
        if let Some(&(found_key, found_value, writer)) = writes.get(from)
            && (found_key, found_value) == (key, value)
            && by != Some(writer)
            && standings[writer as usize] == Standing::Unseen
        {
            standings[writer as usize] = Standing::Counts;
            news.push(writer);
        }
    };
    // The orders are made of what committed transactions read.
    for key in (0..history.key_count() as u32).filter(|key| is_open[*key as usize]) {
        history.order(key).iter().for_each(|value| see(&mut standings, &mut news, key, *value, None));
    }
    let look = |standings: &mut [Standing], news: &mut Vec<u32>, transaction: u32| {
        for step in history.steps(transaction).iter().filter(|step| is_open[step.key as usize]) {
            match step.action {
                Action::ReadValue => see(standings, news, step.key, step.value, Some(transaction)),
                Action::ReadStrange | Action::ReadTorn => {
                    let list = history.strange(step.value).iter();
                    list.for_each(|value| see(standings, news, step.key, *value, Some(transaction)));
                }
                Action::Write | Action::ReadNothing | Action::ReadPrefix => {}
            }
        }
    };
    for transaction in (0..transactions).filter(|transaction| history.is_committed(*transaction)) {
        look(&mut standings, &mut news, transaction);
    }
    while let Some(transaction) = news.pop() {
        look(&mut standings, &mut news, transaction);
    }
    standings
}

#[cfg(test)]
mod tests {
    use strata_types::ClientId;

    use super::*;
    use crate::transactions::{Step, TransactionOutcome};

    #[test]
    fn unknown_transactions_count_when_seen_even_by_one_another() {
        let mut history = TransactionHistory::new();
        let mut record = |steps: &[Step], outcome| history.record(ClientId(1), 1, steps, outcome);
        let write = |key, value| Step::Write { key, value };
        let read = |key, value| Step::Read { key, value: Some(value) };
        record(&[read(1, 10)], TransactionOutcome::Committed { at: 9 });
        record(&[write(1, 10), read(2, 20)], TransactionOutcome::Unknown);
        record(&[write(2, 20), write(3, 30)], TransactionOutcome::Unknown);
        record(&[write(4, 40), read(4, 40)], TransactionOutcome::Unknown);
        record(&[write(5, 50)], TransactionOutcome::Aborted);
        let view = View::new(&history);
        let standings: Vec<_> = (0..view.transactions()).map(|transaction| view.standing(transaction)).collect();
        use Standing::{Aborted, Counts, Unseen};
        assert_eq!(standings, [Counts, Counts, Counts, Unseen, Aborted]);
        let key = history.steps(2)[0].key;
        assert_eq!(view.touching(key), [1, 2]);
    }
}
