//! How long answers took lately, and from when on one is late.

use std::time::Duration;

use parking_lot::Mutex;

/// Answers that are remembered.
const REMEMBERED: usize = 64;
/// Nothing is said before so many were seen.
const SEEN_MIN: usize = 16;
/// The quantile is computed anew after so many answers.
const EVERY: usize = 8;
/// One answer of twenty is late: about as many as may be asked of a second replica.
const LATE_PERCENT: usize = 95;

/// The latest latencies of one kind of batch to one shard.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ring: Vec<Duration>,
    next: usize,
    late: Option<Duration>,
}

impl Latencies {
    /// An answer came after so long, or had not come by then.
    pub(crate) fn record(&self, latency: Duration) {
        let mut state = self.0.lock();
        let place = state.next % REMEMBERED;
        match state.ring.get_mut(place) {
            Some(oldest) => *oldest = latency,
            None => state.ring.push(latency),
        }
        state.next += 1;
        if state.next >= SEEN_MIN && state.next.is_multiple_of(EVERY) {
            let mut sorted = state.ring.clone();
            let rank = sorted.len() * LATE_PERCENT / 100;
            let (_, late, _) = sorted.select_nth_unstable(rank);
            state.late = Some(*late);
        }
    }

    /// From when on an answer is late; `None` while too little is known.
    pub(crate) fn late(&self) -> Option<Duration> {
        self.0.lock().late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_twenty_is_late_and_old_answers_are_forgotten() {
        let latencies = Latencies::default();
        let record = |from: u64, to: u64| (from..to).for_each(|n| latencies.record(Duration::from_millis(n)));
        record(0, 15);
        assert_eq!(latencies.late(), None);
        record(15, 64);
        assert_eq!(latencies.late(), Some(Duration::from_millis(60)));
        (0..64).for_each(|_| latencies.record(Duration::from_millis(2)));
        assert_eq!(latencies.late(), Some(Duration::from_millis(2)));
    }
}
