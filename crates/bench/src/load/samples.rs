//! Latencies and errors of many callers.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// Few enough to be small, enough that callers seldom meet.
const SLOTS: usize = 16;
/// Shortest and longest latency that is told apart.
const NANOS_MIN: u64 = 100;
const NANOS_MAX: u64 = 120_000_000_000;
/// Digits of a latency that are exact.
const DIGITS: u8 = 3;
/// Most different errors that are told apart: sentences may hold addresses and numbers.
const ERRORS_MAX: usize = 16;

/// Latencies of operations that succeeded, and how often others failed.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    latencies: Histogram<u64>,
    /// How often each error came, by its sentence.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Samples {
    /// None yet.
    pub(crate) fn new() -> Samples {
        let latencies = Histogram::new_with_bounds(NANOS_MIN, NANOS_MAX, DIGITS).expect("the bounds are valid");
        Samples { latencies, errors: BTreeMap::new() }
    }

    /// Notes one that succeeded.
    pub(crate) fn add(&mut self, latency: Duration) {
        self.latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(NANOS_MAX));
    }

    /// Notes one that failed.
    pub(crate) fn fail(&mut self, error: String) {
        let is_known = self.errors.len() < ERRORS_MAX || self.errors.contains_key(&error);
        *self.errors.entry(if is_known { error } else { "others".to_owned() }).or_default() += 1;
    }

    /// How many succeeded.
    pub(crate) fn count(&self) -> u64 {
        self.latencies.len()
    }

    /// How many failed.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// A quantile in milliseconds; zero when there are no samples.
    pub(crate) fn millis(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e6
    }

    /// The longest in milliseconds.
    pub(crate) fn millis_max(&self) -> f64 {
        self.latencies.max() as f64 / 1e6
    }

    fn merge(&mut self, other: &Samples) {
        self.latencies.add(&other.latencies).expect("equal bounds");
        for (error, count) in &other.errors {
            *self.errors.entry(error.clone()).or_default() += count;
        }
    }
}

/// Samples that many callers fill at once.
pub(crate) struct Recorder {
    slots: Vec<Mutex<Samples>>,
}

impl Recorder {
    /// An empty one.
    pub(crate) fn new() -> Recorder {
        Recorder { slots: (0..SLOTS).map(|_| Mutex::new(Samples::new())).collect() }
    }

    /// Notes how an operation of a caller ended.
    pub(crate) fn record(&self, caller: usize, result: Result<Duration, String>) {
        let mut samples = self.slots[caller % SLOTS].lock();
        match result {
            Ok(latency) => samples.add(latency),
            Err(error) => samples.fail(error),
        }
    }

    /// All of them together.
    pub(crate) fn samples(&self) -> Samples {
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
            recorder.record(caller, Ok(Duration::from_millis(caller as u64 + 1)));
            recorder.record(caller, Err("no leader".to_owned()));
        }
        let samples = recorder.samples();
        assert_eq!((samples.count(), samples.failed()), (100, 100));
        assert!((samples.millis(0.5) - 50.0).abs() < 0.1, "{}", samples.millis(0.5));
        assert!((samples.millis_max() - 100.0).abs() < 0.1);
    }
}
