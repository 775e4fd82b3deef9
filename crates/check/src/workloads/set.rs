//! Elements are added once and never removed; reads return all of them. What was acknowledged, or once seen, is in
//! every read that begins later.

use std::collections::BTreeMap;
use std::fmt;

use super::WriteOutcome;

/// Most elements of each kind that a report prints.
const PRINTED_MAX: usize = 10;

/// A recorder of additions to a set, and of its reads.
#[derive(Clone, Debug, Default)]
pub struct SetHistory {
    additions: BTreeMap<u64, WriteOutcome>,
    /// (began, ended, elements in order)
    reads: Vec<(u64, u64, Vec<u64>)>,
}

/// What became of the elements. An element stands in one list at most but for the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetReport {
    /// Reads that were judged.
    pub reads: usize,
    /// Elements whose addition was acknowledged.
    pub acknowledged: usize,
    /// Elements of unknown outcome that were seen; nothing is wrong with them.
    pub recovered: usize,
    /// Elements that were known to be there and that no read found from some time on.
    pub lost: Vec<u64>,
    /// Elements that were known to be there, that a later read missed, and that a still later one found.
    pub stale: Vec<u64>,
    /// Elements that were found although their addition was refused, or that nobody added.
    pub unexpected: Vec<u64>,
    /// Elements that a read returned twice.
    pub duplicated: Vec<u64>,
}

impl SetHistory {
    /// Nothing added, nothing read.
    pub fn new() -> SetHistory {
        SetHistory::default()
    }

    /// Records an addition.
    ///
    /// # Panics
    /// When the element was added before: a mistake of the test.
    pub fn add(&mut self, element: u64, outcome: WriteOutcome) {
        assert!(self.additions.insert(element, outcome).is_none(), "added twice: element=`{element}`");
    }

    /// Records a read with both of its ends.
    pub fn read(&mut self, began: u64, ended: u64, elements: &[u64]) {
        let mut elements = elements.to_vec();
        elements.sort_unstable();
        self.reads.push((began, ended, elements));
    }

    /// Judges all reads.
    pub fn check(&self) -> SetReport {
        let acknowledged = self.additions.values().filter(|outcome| outcome.ended().is_some()).count();
        let mut report = SetReport { reads: self.reads.len(), acknowledged, ..SetReport::default() };
        let seen = self.seen(&mut report);
        // When each element was known to be there first.
        let known = self.additions.iter().filter_map(|(element, outcome)| {
            let first_seen = seen.get(element).map(|seen| seen.first_ended);
            let at = outcome.ended().into_iter().chain(first_seen).min()?;
            (*outcome != WriteOutcome::Refused).then_some((at, *element))
        });
        let mut known: Vec<(u64, u64)> = known.collect();
        known.sort_unstable();
        for (element, began) in self.missed(&known) {
            match seen.get(&element).is_some_and(|seen| seen.last_began > began) {
                true => report.stale.push(element),
                false => report.lost.push(element),
            }
        }
        let unknown = |element: &&u64| self.additions.get(*element) == Some(&WriteOutcome::Unknown);
        report.recovered = seen.keys().filter(unknown).count();
        report
    }

    /// When each element was seen. Reports those that should not be.
    fn seen(&self, report: &mut SetReport) -> BTreeMap<u64, Seen> {
        let mut seen: BTreeMap<u64, Seen> = BTreeMap::new();
        for (began, ended, elements) in &self.reads {
            for (index, element) in elements.iter().enumerate() {
                if index > 0 && elements[index - 1] == *element {
                    report.duplicated.push(*element);
                }
                let entry = seen.entry(*element).or_insert(Seen { first_ended: *ended, last_began: *began });
                entry.first_ended = entry.first_ended.min(*ended);
                entry.last_began = entry.last_began.max(*began);
            }
        }
        let is_unexpected = |element: &&u64| matches!(self.additions.get(*element), None | Some(WriteOutcome::Refused));
        report.unexpected = seen.keys().filter(is_unexpected).copied().collect();
        report.duplicated.sort_unstable();
        report.duplicated.dedup();
        seen
    }

    /// Elements that some read missed although they were known before it began, with the beginning of the last such
    /// read. What a read misses is sought among as many elements as it should have.
    fn missed(&self, known: &[(u64, u64)]) -> BTreeMap<u64, u64> {
        let mut missed: BTreeMap<u64, u64> = BTreeMap::new();
        for (began, _, elements) in &self.reads {
            let due = &known[..known.partition_point(|(at, _)| at < began)];
            for (_, element) in due.iter().filter(|(_, element)| elements.binary_search(element).is_err()) {
                let last = missed.entry(*element).or_insert(*began);
                *last = (*last).max(*began);
            }
        }
        missed
    }
}

struct Seen {
    first_ended: u64,
    last_began: u64,
}

impl SetReport {
    /// Whether nothing is wrong. A run without acknowledged additions proves nothing: look at
    /// [`SetReport::acknowledged`] too.
    pub fn is_clean(&self) -> bool {
        [&self.lost, &self.stale, &self.unexpected, &self.duplicated].into_iter().all(Vec::is_empty)
    }
}

impl fmt::Display for SetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reads, acknowledged, recovered) = (self.reads, self.acknowledged, self.recovered);
        write!(f, "{acknowledged} acknowledged, {recovered} of unknown outcome found, {reads} reads")?;
        let kinds = [
            ("lost", &self.lost),
            ("missed by a read and found later", &self.stale),
            ("found and not expected", &self.unexpected),
            ("found twice in one read", &self.duplicated),
        ];
        for (kind, elements) in kinds.into_iter().filter(|(_, elements)| !elements.is_empty()) {
            write!(f, "\n  {} {kind}:", elements.len())?;
            elements.iter().take(PRINTED_MAX).try_for_each(|element| write!(f, " {element}"))?;
            if elements.len() > PRINTED_MAX {
                f.write_str(" ...")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> SetHistory {
        let mut history = SetHistory::new();
        history.add(1, WriteOutcome::Acknowledged { at: 2 });
        history.add(2, WriteOutcome::Acknowledged { at: 5 });
        history.add(3, WriteOutcome::Unknown);
        history.add(4, WriteOutcome::Unknown);
        history.add(5, WriteOutcome::Refused);
        history
    }

    #[test]
    fn known_elements_stay() {
        let mut history = history();
        for (began, ended, elements) in [(1, 2, &[][..]), (2, 4, &[2]), (5, 6, &[1, 2]), (7, 9, &[3, 2, 1])] {
            history.read(began, ended, elements);
        }
        history.read(8, 10, &[1, 2]);
        let report = history.check();
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.acknowledged, report.recovered, report.reads), (2, 1, 5));
    }

    #[test]
    fn elements_are_lost_stale_unexpected_or_doubled() {
        let mut history = history();
        // Misses 1, which comes back, and sees 3, which does not.
        history.read(6, 7, &[2, 3]);
        history.read(8, 9, &[1, 2, 2]);
        history.read(10, 11, &[1, 5, 6]);
        assert_eq!(
            history.check().to_string(),
            "2 acknowledged, 1 of unknown outcome found, 3 reads\n  2 lost: 2 3\n  \
             1 missed by a read and found later: 1\n  2 found and not expected: 5 6\n  1 found twice in one read: 2"
        );
    }
}
