//! Two readers must not disagree about which of two writes came first.
//!
//! Keys are written once. Readers read all keys of a group. In any one order of the writes what readers found grows:
//! put by size, each read is contained in the next one. That is all that has to be looked at.

use std::collections::BTreeMap;

use super::WorkloadReport;

/// A recorder of reads of groups of keys. Reads are numbered from zero in the order in which they are recorded.
#[derive(Clone, Debug, Default)]
pub struct LongFork {
    /// By group: what each read found, with its number.
    groups: BTreeMap<u64, Vec<(Vec<bool>, usize)>>,
    reads: usize,
}

impl LongFork {
    /// No reads.
    pub fn new() -> LongFork {
        LongFork::default()
    }

    /// Records what one transaction found of a group: for each of its keys, in order, whether it was written.
    ///
    /// # Panics
    /// When the group had another number of keys before: a mistake of the test.
    pub fn read(&mut self, group: u64, written: &[bool]) {
        let reads = self.groups.entry(group).or_default();
        let is_same = reads.last().is_none_or(|(other, _)| other.len() == written.len());
        assert!(is_same, "a group is read with all its keys: group=`{group}`");
        reads.push((written.to_vec(), self.reads));
        self.reads += 1;
    }

    /// Judges all reads.
    pub fn check(&self) -> WorkloadReport {
        let mut report = WorkloadReport { reads: self.reads, ..WorkloadReport::default() };
        for (group, reads) in &self.groups {
            let mut by_size: Vec<&(Vec<bool>, usize)> = reads.iter().collect();
            by_size.sort_by_key(|(written, _)| written.iter().filter(|written| **written).count());
            for pair in by_size.windows(2) {
                let ((fewer, first), (more, second)) = (pair[0], pair[1]);
                let place = |has: &[bool], misses: &[bool]| (0..has.len()).find(|key| has[*key] && !misses[*key]);
                // Of two reads of one size that differ each has a key that the other misses.
                if let (Some(only_first), Some(only_second)) = (place(fewer, more), place(more, fewer)) {
                    report.find(|| {
                        format!(
                            "group {group}: read {first} has key {only_first} and not {only_second}, \
                             read {second} has key {only_second} and not {only_first}"
                        )
                    });
                }
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_agree_on_the_order_of_writes() {
        let mut reads = LongFork::new();
        for written in [[true, true, false], [false, false, false], [true, false, false], [true, true, true]] {
            reads.read(1, &written);
            reads.read(2, &written);
        }
        assert!(reads.check().is_clean(), "{}", reads.check());
        reads.read(2, &[false, false, true]);
        let report = reads.check();
        assert_eq!(
            report.to_string(),
            "2 findings in 9 reads\n  \
             group 2: read 5 has key 0 and not 2, read 8 has key 2 and not 0\n  \
             group 2: read 8 has key 2 and not 0, read 1 has key 0 and not 2"
        );
    }
}
