//! A counter is never below what was surely added before a read began, nor above what may have been added until it
//! ended. An increment that is applied twice goes past the upper bound once the others have ended.

use super::{WorkloadReport, WriteOutcome};

/// A recorder of additions to one counter, which begins at zero, and of its reads. Reads are numbered from zero in the
/// order in which they are recorded.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    /// (began, amount, outcome)
    additions: Vec<(u64, i64, WriteOutcome)>,
    /// (began, ended, value)
    reads: Vec<(u64, u64, i64)>,
}

impl Counter {
    /// No additions, no reads.
    pub fn new() -> Counter {
        Counter::default()
    }

    /// Records an addition; a negative amount takes away.
    pub fn add(&mut self, amount: i64, began: u64, outcome: WriteOutcome) {
        self.additions.push((began, amount, outcome));
    }

    /// Records a read with both of its ends.
    pub fn read(&mut self, value: i64, began: u64, ended: u64) {
        self.reads.push((began, ended, value));
    }

    /// Judges all reads.
    pub fn check(&self) -> WorkloadReport {
        let possible = || self.additions.iter().filter(|(_, _, outcome)| *outcome != WriteOutcome::Refused);
        let begun = |is_wanted: fn(i64) -> bool| {
            Sums::of(possible().filter(|(_, amount, _)| is_wanted(*amount)).map(|(began, amount, _)| (*began, *amount)))
        };
        let ended = |is_wanted: fn(i64) -> bool| {
            let wanted = possible().filter(|(_, amount, _)| is_wanted(*amount));
            Sums::of(wanted.filter_map(|(_, amount, outcome)| Some((outcome.ended()?, *amount))))
        };
        let (more_begun, less_begun) = (begun(|amount| amount > 0), begun(|amount| amount < 0));
        let (more_ended, less_ended) = (ended(|amount| amount > 0), ended(|amount| amount < 0));
        let mut report = WorkloadReport { reads: self.reads.len(), ..WorkloadReport::default() };
        for (number, (began, ended, value)) in self.reads.iter().enumerate() {
            let low = more_ended.before(*began) + less_begun.until(*ended);
            let high = more_begun.until(*ended) + less_ended.before(*began);
            if !(low..=high).contains(&i128::from(*value)) {
                report.find(|| format!("read {number} has {value}, which is not between {low} and {high}"));
            }
        }
        report
    }
}

/// Amounts by time, summed up.
struct Sums(Vec<(u64, i128)>);

impl Sums {
    fn of(amounts: impl Iterator<Item = (u64, i64)>) -> Sums {
        let mut sums: Vec<(u64, i128)> = amounts.map(|(at, amount)| (at, i128::from(amount))).collect();
        sums.sort_unstable();
        let mut sum = 0;
        for (_, amount) in &mut sums {
            sum += *amount;
            *amount = sum;
        }
        Sums(sums)
    }

    fn before(&self, time: u64) -> i128 {
        self.first(self.0.partition_point(|(at, _)| *at < time))
    }

    fn until(&self, time: u64) -> i128 {
        self.first(self.0.partition_point(|(at, _)| *at <= time))
    }

    fn first(&self, count: usize) -> i128 {
        count.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lie_between_what_is_sure_and_what_is_possible() {
        let mut counter = Counter::new();
        counter.add(1, 1, WriteOutcome::Acknowledged { at: 3 });
        counter.add(2, 4, WriteOutcome::Acknowledged { at: 6 });
        counter.add(10, 7, WriteOutcome::Unknown);
        counter.add(100, 7, WriteOutcome::Refused);
        counter.add(-3, 8, WriteOutcome::Acknowledged { at: 9 });
        for (value, began, ended) in
            [(0, 1, 1), (1, 4, 5), (3, 4, 5), (3, 7, 7), (13, 7, 7), (10, 8, 8), (0, 10, 10), (10, 10, 10)]
        {
            counter.read(value, began, ended);
        }
        assert!(counter.check().is_clean(), "{}", counter.check());
        for (value, began, ended) in [(0, 4, 5), (4, 4, 5), (-1, 10, 10), (11, 10, 10), (2, 7, 7)] {
            counter.read(value, began, ended);
        }
        assert_eq!(
            counter.check().findings,
            [
                "read 8 has 0, which is not between 1 and 3",
                "read 9 has 4, which is not between 1 and 3",
                "read 10 has -1, which is not between 0 and 10",
                "read 11 has 11, which is not between 0 and 10",
                "read 12 has 2, which is not between 3 and 13",
            ]
        );
    }
}
