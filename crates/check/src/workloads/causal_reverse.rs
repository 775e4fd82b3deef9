//! Who sees a write sees all writes that ended before it began.

use std::collections::BTreeMap;

use super::{WorkloadReport, WriteOutcome};

/// A recorder of writes of keys, each written once, and of reads of all keys. Reads are numbered from zero in the
/// order in which they are recorded.
#[derive(Clone, Debug, Default)]
pub struct CausalReverse {
    /// (began, outcome) by key.
    writes: BTreeMap<u64, (u64, WriteOutcome)>,
    reads: Vec<Vec<u64>>,
}

impl CausalReverse {
    /// Nothing written, nothing read.
    pub fn new() -> CausalReverse {
        CausalReverse::default()
    }

    /// Records a write of a key.
    ///
    /// # Panics
    /// When the key was written before: a mistake of the test.
    pub fn write(&mut self, key: u64, began: u64, outcome: WriteOutcome) {
        assert!(self.writes.insert(key, (began, outcome)).is_none(), "a key is written once: key=`{key}`");
    }

    /// Records the keys that one transaction found written, in any order.
    pub fn read(&mut self, keys: &[u64]) {
        self.reads.push(keys.to_vec());
    }

    /// Judges all reads.
    pub fn check(&self) -> WorkloadReport {
        let ended = self.writes.iter().filter_map(|(key, (_, outcome))| Some((outcome.ended()?, *key)));
        let mut by_end: Vec<(u64, u64)> = ended.collect();
        by_end.sort_unstable();
        let mut report = WorkloadReport { reads: self.reads.len(), ..WorkloadReport::default() };
        for (number, keys) in self.reads.iter().enumerate() {
            let mut keys = keys.clone();
            keys.sort_unstable();
            let mut latest: Option<(u64, u64)> = None;
            for key in &keys {
                match self.writes.get(key) {
                    Some((_, WriteOutcome::Refused)) => {
                        report.find(|| format!("read {number} has key {key}, whose write was refused"));
                    }
                    Some((began, _)) => latest = latest.max(Some((*began, *key))),
                    None => report.find(|| format!("read {number} has key {key}, which nobody wrote")),
                }
            }
            // The first write to end that it misses: at most as many steps as keys it has.
            let missed = by_end.iter().find(|(_, key)| keys.binary_search(key).is_err());
            if let (Some((began, seen)), Some((ended, missed))) = (latest, missed)
                && *ended < began
            {
                report.find(|| {
                    format!("read {number} has key {seen}, written from {began} on, and not key {missed}, which was there at {ended}")
                });
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_write_is_not_seen_without_an_earlier_one() {
        let mut history = CausalReverse::new();
        history.write(1, 1, WriteOutcome::Acknowledged { at: 4 });
        history.write(2, 5, WriteOutcome::Unknown);
        history.write(3, 4, WriteOutcome::Acknowledged { at: 9 });
        history.write(4, 2, WriteOutcome::Refused);
        history.read(&[]);
        history.read(&[1]);
        // Key 3 began when key 1 ended: they are concurrent.
        history.read(&[3]);
        history.read(&[3, 2, 1]);
        assert!(history.check().is_clean(), "{}", history.check());
        history.read(&[3, 2]);
        history.read(&[1, 4]);
        history.read(&[7]);
        assert_eq!(
            history.check().findings,
            [
                "read 4 has key 2, written from 5 on, and not key 1, which was there at 4",
                "read 5 has key 4, whose write was refused",
                "read 6 has key 7, which nobody wrote",
            ]
        );
    }
}
