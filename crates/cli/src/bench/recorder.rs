//! Collects latencies and errors from many callers.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// Slots of the recorder: few enough to be small, enough that callers seldom meet.
const SLOTS: usize = 16;
/// Longest latency that is told apart.
const MICROS_MAX: u64 = 120_000_000;
/// Digits of a latency that are exact.
const DIGITS: u8 = 3;

/// Which kind of operation a latency belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A get.
    Read,
    /// A put.
    Write,
}

/// Latencies in microseconds, and errors by code.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Of gets that were answered.
    pub reads: Histogram<u64>,
    /// Of puts that were acknowledged.
    pub writes: Histogram<u64>,
    /// How often each error came.
    pub errors: BTreeMap<&'static str, u64>,
}

impl Samples {
    /// None yet.
    pub fn new() -> Samples {
        let empty = || Histogram::new_with_bounds(1, MICROS_MAX, DIGITS).expect("the bounds are valid");
        Samples { reads: empty(), writes: empty(), errors: BTreeMap::new() }
    }

    fn add(&mut self, kind: Kind, result: Result<Duration, &'static str>) {
        match result {
            Ok(latency) => {
                let micros = u64::try_from(latency.as_micros()).unwrap_or(MICROS_MAX);
                let histogram = if kind == Kind::Read { &mut self.reads } else { &mut self.writes };
                histogram.saturating_record(micros);
            }
            Err(code) => *self.errors.entry(code).or_default() += 1,
        }
    }

    fn merge(&mut self, other: &Samples) {
        self.reads.add(&other.reads).expect("equal bounds");
        self.writes.add(&other.writes).expect("equal bounds");
        for (code, count) in &other.errors {
            *self.errors.entry(code).or_default() += count;
        }
    }
}

/// Samples of all callers of one phase.
pub struct Recorder {
    slots: Vec<Mutex<Samples>>,
}

impl Recorder {
    /// An empty one.
    pub fn new() -> Recorder {
        Recorder { slots: (0..SLOTS).map(|_| Mutex::new(Samples::new())).collect() }
    }

    /// Notes how one operation ended: its latency or the code of its error.
    pub fn record(&self, caller: usize, kind: Kind, result: Result<Duration, &'static str>) {
        self.slots[caller % SLOTS].lock().add(kind, result);
    }

    /// Operations that succeeded so far.
    pub fn succeeded(&self) -> u64 {
        let count = |samples: &Samples| samples.reads.len() + samples.writes.len();
        self.slots.iter().map(|slot| count(&slot.lock())).sum()
    }

    /// All samples so far.
    pub fn samples(&self) -> Samples {
        let mut all = Samples::new();
        for slot in &self.slots {
            all.merge(&slot.lock());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_all_callers_come_together() {
        let recorder = Recorder::new();
        for caller in 0..100 {
            recorder.record(caller, Kind::Write, Ok(Duration::from_micros(caller as u64 + 1)));
            recorder.record(caller, Kind::Read, Err("unavailable"));
        }
        recorder.record(0, Kind::Read, Ok(Duration::from_secs(3_600)));
        let samples = recorder.samples();
        assert_eq!((samples.writes.len(), samples.reads.len(), recorder.succeeded()), (100, 1, 101));
        assert_eq!(samples.errors, BTreeMap::from([("unavailable", 100)]));
        assert_eq!(samples.writes.value_at_quantile(0.5), 50);
        assert!(samples.reads.max() >= MICROS_MAX, "longer ones count as the longest");
    }
}
