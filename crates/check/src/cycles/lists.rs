//! What the reads of one list tell. Its longest read is the order of its versions: each append makes the next one.

use super::anomaly::AnomalyKind;
use super::edges::Why;
use super::inference::Inference;
use super::view::View;
use super::writes::{Writes, Written};
use crate::transactions::{Action, StoredStep};

/// Not in the order, or nobody.
const NONE: u32 = u32::MAX;

/// Adds the edges that follow from a list, and reports what is wrong with its reads.
pub(crate) fn infer(inference: &mut Inference<'_>, key: u32) {
    let writes = Writes::of(&inference.view, key);
    let chosen = choose_order(&inference.view, key, &writes);
    let order = chosen.as_deref().unwrap_or_else(|| inference.view.history.order(key)).to_vec();
    let mut list = List::new(&inference.view, key, writes, order, chosen.is_none());
    list.chain(inference);
    let touching = inference.view.touching(key).to_vec();
    for transaction in touching {
        let read = list.look_inside(inference, transaction);
        if let Some(read) = read.filter(|_| inference.view.counts(transaction)) {
            list.judge(inference, transaction, &read);
        }
    }
    // What nobody saw comes after all that somebody saw.
    let unseen = std::mem::take(&mut list.unseen);
    let last = list.writers.iter().rev().find(|writer| **writer != NONE);
    if let Some(last) = last {
        inference.add_all(&[*last], &unseen, Why::WriteWrite);
    }
    inference.add_all(&list.full_readers, &unseen, Why::ReadWrite);
}

/// The strange read that is a better order than the usual one, if there is one: the longest without a fault.
fn choose_order(view: &View<'_>, key: u32, writes: &Writes) -> Option<Vec<u64>> {
    let faultless = |values: &[u64]| {
        let mut met = vec![false; writes.all.len()];
        let good = values.iter().take_while(|value| {
            let Some(found) = writes.find(**value) else { return false };
            view.counts(writes.all[found].transaction) && !std::mem::replace(&mut met[found], true)
        });
        good.count()
    };
    let mut best: Option<(usize, Vec<u64>)> = None;
    for &transaction in view.touching(key).iter().filter(|transaction| view.counts(**transaction)) {
        let steps = view.history.steps(transaction).iter();
        for step in steps.filter(|step| step.key == key && step.action == Action::ReadStrange) {
            let length_best = best.as_ref().map_or_else(|| faultless(view.history.order(key)), |best| best.0);
            let values = view.history.strange(step.value);
            let length = if values.len() > length_best { faultless(values) } else { 0 };
            if length > length_best {
                best = Some((length, values.to_vec()));
            }
        }
    }
    best.map(|(_, values)| values)
}

struct List {
    key: u32,
    writes: Writes,
    order: Vec<u64>,
    /// Whether reads that are kept as prefixes are prefixes of this order.
    is_usual: bool,
    /// For each position of the order who wrote it, if that is a transaction that counts and this its first time.
    writers: Vec<u32>,
    /// For each write its position in the order.
    positions: Vec<u32>,
    /// Positions with something wrong, and how many of them were reported.
    faults: Vec<usize>,
    faults_told: usize,
    is_incompatibility_told: bool,
    /// For each length of a read the first transaction that read it and appended.
    updaters: Vec<u32>,
    /// The write at which the search of the current transaction's own ones goes on.
    cursor: usize,
    /// Transactions that count with an append that nobody saw.
    unseen: Vec<u32>,
    /// Those that saw the whole order.
    full_readers: Vec<u32>,
}

/// What one transaction read and wrote.
struct Read {
    step: StoredStep,
    /// Whether it appended to the list too.
    is_update: bool,
    /// The first position of an append of its own.
    own_position: u32,
}

impl List {
    fn new(view: &View<'_>, key: u32, writes: Writes, order: Vec<u64>, is_usual: bool) -> List {
        let mut positions = vec![NONE; writes.all.len()];
        let mut writers = Vec::with_capacity(order.len());
        let mut faults = Vec::new();
        for (position, value) in order.iter().enumerate() {
            let found = writes.find(*value).filter(|found| positions[*found] == NONE);
            let writer = found.map(|found| {
                positions[found] = position as u32;
                writes.all[found].transaction
            });
            let writer = writer.filter(|writer| view.counts(*writer));
            if writer.is_none() {
                faults.push(position);
            }
            writers.push(writer.unwrap_or(NONE));
        }
        let updaters = vec![NONE; order.len() + 1];
        List {
            key,
            writes,
            order,
            is_usual,
            writers,
            positions,
            faults,
            faults_told: 0,
            is_incompatibility_told: false,
            updaters,
            cursor: 0,
            unseen: Vec::new(),
            full_readers: Vec::new(),
        }
    }

    /// Each version's writer comes before the next one's.
    fn chain(&self, inference: &mut Inference<'_>) {
        let mut before = NONE;
        for &writer in self.writers.iter().filter(|writer| **writer != NONE) {
            if before != NONE {
                inference.edges.add(before, writer, Why::WriteWrite);
            }
            before = writer;
        }
    }

    /// Compares a transaction with itself, and returns its read of what others wrote, if there is one.
    fn look_inside(&mut self, inference: &mut Inference<'_>, transaction: u32) -> Option<Read> {
        let history = inference.view.history;
        let counts = inference.view.counts(transaction);
        let mut read: Option<StoredStep> = None;
        let (mut contradiction, mut is_update) = (None, false);
        let (mut own_position, mut before, mut is_unseen) = (NONE, None, false);
        for step in history.steps(transaction).iter().filter(|step| step.key == self.key) {
            match (step.action, read) {
                (Action::Write, _) => {
                    let position = self.positions[self.cursor];
                    self.cursor += 1;
                    is_update = true;
                    is_unseen |= position == NONE;
                    own_position = own_position.min(position);
                    if position != NONE && before.is_some_and(|before| before == NONE || before > position) {
                        contradiction = Some("has its own writes missing or out of order in reads");
                    }
                    before = Some(position);
                }
                (Action::ReadTorn, _) => contradiction = Some("missed its own writes in a read"),
                (_, None) => read = Some(*step),
                (_, Some(first)) if history.list(&first) != history.list(step) => {
                    contradiction = Some("got different answers to two reads");
                }
                _ => {}
            }
        }
        if !counts {
            return None;
        }
        if let Some(contradiction) = contradiction {
            inference.report_internal(transaction, self.key, contradiction);
        }
        if is_unseen {
            self.unseen.push(transaction);
        }
        read.map(|step| Read { step, is_update, own_position })
    }

    fn judge(&mut self, inference: &mut Inference<'_>, reader: u32, read: &Read) {
        let history = inference.view.history;
        let values = history.list(&read.step);
        let fits = match self.is_usual && read.step.action == Action::ReadPrefix {
            true => true,
            false => self.order.starts_with(values),
        };
        if !fits {
            self.judge_strange(inference, reader, values);
            return;
        }
        let length = values.len();
        while self.faults.get(self.faults_told).is_some_and(|position| *position < length) {
            let position = self.faults[self.faults_told];
            self.faults_told += 1;
            self.tell_fault(inference, reader, self.order[position]);
        }
        if (read.own_position as usize) < length && read.own_position != NONE {
            inference.report_internal(reader, self.key, "saw its own writes too early in a read");
        }
        self.connect_to_last(inference, reader, values);
        match self.writers[length..].iter().find(|writer| **writer != NONE) {
            Some(next) => inference.edges.add(reader, *next, Why::ReadWrite),
            None => self.full_readers.push(reader),
        }
        if read.is_update {
            match self.updaters[length] {
                NONE => self.updaters[length] = reader,
                first => {
                    let version = format!("{length} values");
                    inference.report_lost_update(first, reader, self.key, &version);
                }
            }
        }
    }

    /// A read that does not fit the order. Reports why, in most cases.
    fn judge_strange(&mut self, inference: &mut Inference<'_>, reader: u32, values: &[u64]) {
        let fine = values.iter().all(|value| {
            let written = self.written(*value);
            inference.may_see(reader, self.key, *value, written)
        });
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let duplicate = sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        if let Some(value) = duplicate {
            self.tell_duplicate(inference, reader, value);
        }
        let common = values.iter().zip(&self.order).take_while(|(left, right)| left == right).count();
        let is_explained = !fine || duplicate.is_some() || self.faults.contains(&common);
        if !is_explained && !self.is_incompatibility_told {
            self.is_incompatibility_told = true;
            let (name, ours, theirs) = (inference.view.history.key_name(self.key), values[common], self.order[common]);
            let other = self.reader_beyond(&inference.view, common);
            let story = format!(
                "t{reader} read key {name} with {ours} at position {common}, t{other} with {theirs}: \
                 neither list begins the other"
            );
            inference.report(AnomalyKind::IncompatibleOrder, &[reader, other], self.key, story);
        }
        self.connect_to_last(inference, reader, values);
    }

    /// Whoever wrote what a read ended with comes before the reader.
    fn connect_to_last(&self, inference: &mut Inference<'_>, reader: u32, values: &[u64]) {
        let written = values.iter().rev().filter_map(|value| self.written(*value));
        let Some(last) = written.into_iter().find(|written| inference.view.counts(written.transaction)) else {
            return;
        };
        inference.edges.add(last.transaction, reader, Why::WriteRead);
        let saw_final = || {
            let mut own = self.writes.all.iter().filter(|written| written.transaction == last.transaction);
            own.any(|written| written.is_last && values.contains(&written.value))
        };
        // Where the last one stands before this one, the order is wrong, and that is told elsewhere.
        if values.last() == Some(&last.value) && (last.is_last || !saw_final()) {
            inference.check_is_final(reader, self.key, last);
        }
    }

    fn tell_fault(&self, inference: &mut Inference<'_>, reader: u32, value: u64) {
        let written = self.written(value);
        if inference.may_see(reader, self.key, value, written) {
            self.tell_duplicate(inference, reader, value);
        }
    }

    fn tell_duplicate(&self, inference: &mut Inference<'_>, reader: u32, value: u64) {
        let story = format!("t{reader} found {value} twice in key {}", inference.view.history.key_name(self.key));
        inference.report(AnomalyKind::Duplicate, &[reader], self.key, story);
    }

    /// A transaction that read the order beyond a position, or else the writer there.
    fn reader_beyond(&self, view: &View<'_>, position: usize) -> u32 {
        let sees = |transaction: &&u32| {
            let mut steps = view.history.steps(**transaction).iter();
            view.counts(**transaction)
                && steps.any(|step| {
                    step.key == self.key
                        && matches!(step.action, Action::ReadPrefix | Action::ReadStrange)
                        && view.history.list(step).get(..=position) == Some(&self.order[..=position])
                })
        };
        view.touching(self.key).iter().find(sees).copied().unwrap_or(self.writers[position])
    }

    fn written(&self, value: u64) -> Option<Written> {
        self.writes.find(value).map(|found| self.writes.all[found])
    }
}
