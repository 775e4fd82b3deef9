//! What the reads of one register tell. The order of its versions is known in part only:
//! - nothing comes before every value;
//! - a transaction that reads one value and writes another puts the second directly after the first;
//! - where real time counts, a write that ended before another began comes before it, and what a reader found was
//!   written after all that ended before the reader began.

use super::edges::Why;
use super::inference::Inference;
use super::writes::Writes;
use crate::transactions::{Action, StoredStep};

/// Adds the edges that follow from a register, and reports what is wrong with its reads.
pub(crate) fn infer(inference: &mut Inference<'_>, key: u32) {
    let writes = Writes::of(&inference.view, key);
    let mut touching = inference.view.touching(key).to_vec();
    touching.retain(|transaction| inference.view.counts(*transaction));
    let mut reads = Vec::new();
    for transaction in touching {
        let Some(read) = look_inside(inference, key, transaction) else { continue };
        reads.extend(judge(inference, key, &writes, transaction, read));
    }
    // By version, and in the order of the readers.
    reads.sort_unstable_by_key(|read: &Read| (read.version, read.reader));
    let mut writers: Vec<u32> =
        writes.all.iter().filter(|written| written.is_last).map(|last| last.transaction).collect();
    writers.retain(|writer| inference.view.counts(*writer));
    for same in reads.chunk_by(|left, right| left.version == right.version) {
        match same[0].version {
            None => {
                report_lost_updates(inference, key, same);
                let readers: Vec<u32> = same.iter().map(|read| read.reader).collect();
                inference.add_all(&readers, &writers, Why::ReadWrite);
            }
            Some(version) => {
                let writer = writes.all[version as usize].transaction;
                connect(inference, key, writer, same);
            }
        }
    }
    if inference.is_strict {
        InTime::new(inference, &writers).connect(inference, &writes, &reads);
    }
}

/// A read of what others wrote.
#[derive(Clone, Copy, Debug)]
struct Read {
    /// The position of the write that was seen; `None` for nothing.
    version: Option<u32>,
    value: u64,
    reader: u32,
    is_update: bool,
}

/// Compares a transaction with itself, and returns its read of what others wrote, if there is one, and whether it
/// wrote too.
fn look_inside(inference: &mut Inference<'_>, key: u32, transaction: u32) -> Option<(StoredStep, bool)> {
    let (mut read, mut expected, mut wrote, mut is_contradicted) = (None, None, false, false);
    for step in inference.view.history.steps(transaction).iter().filter(|step| step.key == key) {
        let found = (step.action != Action::ReadNothing).then_some(step.value);
        if step.action == Action::Write {
            wrote = true;
        } else if expected.is_none() {
            read = Some(*step);
        } else {
            is_contradicted |= expected != Some(found);
        }
        expected = Some(found);
    }
    if is_contradicted {
        let what = match wrote {
            true => "found something else than it wrote or found before in a read",
            false => "got different answers to two reads",
        };
        inference.report_internal(transaction, key, what);
    }
    read.map(|read| (read, wrote))
}

/// The read, if it may be: who wrote what it found comes before it.
fn judge(
    inference: &mut Inference<'_>,
    key: u32,
    writes: &Writes,
    reader: u32,
    (step, is_update): (StoredStep, bool),
) -> Option<Read> {
    if step.action == Action::ReadNothing {
        return Some(Read { version: None, value: 0, reader, is_update });
    }
    let found = writes.find(step.value);
    let written = found.map(|found| writes.all[found]);
    if !inference.may_see(reader, key, step.value, written) {
        return None;
    }
    let (version, written) = (found?, written?);
    if written.transaction == reader {
        inference.report_internal(reader, key, "saw its own writes too early in a read");
        return None;
    }
    inference.check_is_final(reader, key, written);
    inference.edges.add(written.transaction, reader, Why::WriteRead);
    Some(Read { version: Some(version as u32), value: step.value, reader, is_update })
}

fn report_lost_updates(inference: &mut Inference<'_>, key: u32, same: &[Read]) {
    let mut updates = same.iter().filter(|read| read.is_update);
    let Some(first) = updates.next() else { return };
    for second in updates {
        let version = if second.version.is_some() { second.value.to_string() } else { "nothing".to_owned() };
        inference.report_lost_update(first.reader, second.reader, key, &version);
    }
}

/// The readers of one version come before the one that replaced it, and its writer too.
fn connect(inference: &mut Inference<'_>, key: u32, writer: u32, same: &[Read]) {
    report_lost_updates(inference, key, same);
    let Some(next) = same.iter().find(|read| read.is_update).map(|read| read.reader) else { return };
    for read in same {
        inference.edges.add(read.reader, next, Why::ReadWrite);
        if read.is_update {
            inference.edges.add(writer, read.reader, Why::WriteWrite);
            inference.edges.add(next, read.reader, Why::ReadWrite);
        }
    }
}

/// Writers of a register in time.
struct InTime {
    /// (began, ended, writer)
    by_beginning: Vec<(u64, u64, u32)>,
    /// (ended, began, writer)
    by_end: Vec<(u64, u64, u32)>,
}

impl InTime {
    fn new(inference: &Inference<'_>, writers: &[u32]) -> InTime {
        let history = inference.view.history;
        let times = |writer: &u32| (history.began(*writer), history.ended(*writer), *writer);
        let mut by_beginning: Vec<_> = writers.iter().map(times).collect();
        by_beginning.sort_unstable();
        let mut by_end: Vec<_> = by_beginning.iter().map(|(began, ended, writer)| (*ended, *began, *writer)).collect();
        by_end.sort_unstable();
        InTime { by_beginning, by_end }
    }

    fn connect(&self, inference: &mut Inference<'_>, writes: &Writes, reads: &[Read]) {
        let history = inference.view.history;
        for read in reads {
            let Some(version) = read.version else { continue };
            let writer = writes.all[version as usize].transaction;
            self.replaced(inference, writer, read.reader, history.ended(read.reader));
            self.written_over(inference, writer, history.began(read.reader));
        }
    }

    /// Whoever began after the writer ended replaced what the reader saw. Of those only the first ones are told: the
    /// others began after one of them ended.
    fn replaced(&self, inference: &mut Inference<'_>, writer: u32, reader: u32, reader_ended: u64) {
        let ended = inference.view.history.ended(writer);
        let from = self.by_beginning.partition_point(|entry| entry.0 <= ended);
        let mut end_min = u64::MAX;
        for &(began, ended, other) in &self.by_beginning[from..] {
            // Past the reader's end real time says it already.
            if began > end_min || began > reader_ended {
                break;
            }
            end_min = end_min.min(ended);
            inference.edges.add(reader, other, Why::ReadWriteInTime);
        }
    }

    /// Whoever ended before the reader began was replaced by what the reader saw. Of those only the last ones are
    /// told.
    fn written_over(&self, inference: &mut Inference<'_>, writer: u32, reader_began: u64) {
        let (writer_began, writer_ended) = (inference.view.history.began(writer), inference.view.history.ended(writer));
        let to = self.by_end.partition_point(|entry| entry.0 < reader_began);
        let mut began_max = 0;
        for &(ended, began, other) in self.by_end[..to].iter().rev() {
            if ended < began_max || ended < writer_began {
                break;
            }
            began_max = began_max.max(began);
            // If it began after the writer ended, the reader comes before it by the other rule: a contradiction already.
            if began <= writer_ended {
                inference.edges.add(other, writer, Why::WriteWriteInTime);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use strata_types::ClientId;

    use crate::transactions::{Step, TransactionHistory, TransactionOutcome};
    use crate::{AnomalyKind, CycleVerdict, cycles};

    fn judged(transactions: &[(u64, u64, Vec<Step>)]) -> CycleVerdict {
        let mut history = TransactionHistory::new();
        for (client, (began, ended, steps)) in transactions.iter().enumerate() {
            history.record(ClientId(client as u64), *began, steps, TransactionOutcome::Committed { at: *ended });
        }
        cycles::check_strictly_serializable(&history)
    }

    #[test]
    fn of_three_lost_updates_each_is_told_with_the_first() {
        let update = |value| vec![Step::Read { key: 1, value: None }, Step::Write { key: 1, value }];
        let verdict = judged(&[(1, 9, update(1)), (1, 9, update(2)), (1, 9, update(3))]);
        let kinds: Vec<_> = verdict.anomalies.iter().map(|anomaly| anomaly.kind).collect();
        assert_eq!(kinds, [AnomalyKind::LostUpdate, AnomalyKind::LostUpdate]);
    }

    #[test]
    fn blind_writes_are_put_into_the_order_of_time() {
        let write = |value| vec![Step::Write { key: 1, value }];
        let read = |value| vec![Step::Read { key: 1, value: Some(value) }];
        let writes = [(1, 2, write(1)), (3, 6, write(2)), (4, 5, write(3))];
        let with = |reads: &[(u64, u64, Vec<Step>)]| judged(&[&writes[..], reads].concat());
        assert!(with(&[(7, 8, read(2)), (9, 9, read(2))]).is_clean());
        assert!(with(&[(7, 8, read(3)), (7, 9, read(3))]).is_clean());
        assert_eq!(with(&[(7, 8, read(2)), (9, 9, read(3))]).names(), ["G-single-realtime"]);
        assert_eq!(with(&[(7, 8, read(1))]).names(), ["G-single-realtime"]);
    }
}
