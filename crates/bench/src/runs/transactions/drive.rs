//! A closed loop over any kind of work: each caller begins its next one when the last one has ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::{Recorder, Samples};

/// Work that takes longer than this after the end of a run is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// A caller whose work failed waits so long: errors must not become a load of their own.
const AFTER_ERROR: Duration = Duration::from_millis(2);

/// Something that a caller does again and again.
pub(super) trait Work: Send + 'static {
    /// Once. An error in words when it was not done.
    fn once(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

/// What came out.
pub(super) struct Driven {
    /// Of work that began within the measured time, also where it ended later: or a stall at its end would not be seen.
    pub(super) samples: Samples,
    /// Pieces of work a second: those that ended within the measured time.
    pub(super) throughput: f64,
    /// What each caller has done within the measured time.
    pub(super) done: Vec<u64>,
    /// The longest time in which nobody got anything done.
    pub(super) longest_gap: Duration,
}

/// Puts load on a target with one caller for each worker, and measures it. What is under way at the end is waited for.
pub(super) async fn drive<W: Work>(workers: Vec<W>, warmup: Duration, measured: Duration) -> Result<Driven> {
    let recorder = Arc::new(Recorder::new());
    let from = Instant::now() + warmup;
    let until = from + measured;
    let gap = Arc::new(Mutex::new(Gap { last: from, longest: Duration::ZERO }));
    let (mut callers, mut done) = (JoinSet::new(), vec![0; workers.len()]);
    for (number, worker) in workers.into_iter().enumerate() {
        callers.spawn(call(number, worker, recorder.clone(), gap.clone(), from, until));
    }
    let joined = async {
        while let Some(ended) = callers.join_next().await {
            let (number, count) = ended?;
            done[number] = count;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout_at(until + STUCK, joined).await {
        Ok(joined) => joined?,
        Err(_) => bail!("some callers are stuck {} s after the end", STUCK.as_secs()),
    }
    let mut gap = gap.lock();
    gap.note(until);
    let throughput = done.iter().sum::<u64>() as f64 / measured.as_secs_f64();
    Ok(Driven { samples: recorder.samples(), throughput, done, longest_gap: gap.longest })
}

/// When the last piece of work was done.
struct Gap {
    last: Instant,
    longest: Duration,
}

impl Gap {
    fn note(&mut self, at: Instant) {
        // Notes of several callers may come in another order than their times.
        self.longest = self.longest.max(at.saturating_duration_since(self.last));
        self.last = self.last.max(at);
    }
}

async fn call<W: Work>(
    number: usize,
    mut worker: W,
    recorder: Arc<Recorder>,
    gap: Arc<Mutex<Gap>>,
    from: Instant,
    until: Instant,
) -> (usize, u64) {
    let mut done = 0;
    let mut begin = Instant::now();
    while begin < until {
        let result = worker.once().await;
        let end = Instant::now();
        let is_failure = result.is_err();
        if !is_failure && from <= end && end < until {
            done += 1;
            gap.lock().note(end);
        }
        if from <= begin {
            recorder.record(number, result.map(|()| end - begin));
        }
        if is_failure {
            tokio::time::sleep(AFTER_ERROR).await;
        }
        begin = Instant::now();
    }
    (number, done)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(bool);

    impl Work for Fails {
        async fn once(&mut self) -> Result<(), String> {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if self.0 { Err("no".to_owned()) } else { Ok(()) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_succeeds_counts_and_each_caller_has_its_own_count() {
        let driven = drive(vec![Fails(false), Fails(true)], Duration::ZERO, Duration::from_millis(50)).await;
        let driven = driven.expect("nobody is stuck");
        assert!(driven.done[0] > 0 && driven.done[1] == 0, "{:?}", driven.done);
        assert!(driven.samples.count() >= driven.done[0] && driven.samples.failed() > 0);
        assert!((driven.throughput - driven.done[0] as f64 / 0.05).abs() < 1e-6, "{}", driven.throughput);
        assert!(driven.longest_gap > Duration::ZERO);
    }

    /// Quick until a moment; what begins after it takes longer than the measurement.
    struct Stalls(Instant);

    impl Work for Stalls {
        async fn once(&mut self) -> Result<(), String> {
            let is_stalled = Instant::now() >= self.0;
            tokio::time::sleep(Duration::from_millis(if is_stalled { 5_000 } else { 1 })).await;
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_is_under_way_at_the_end_is_timed_and_is_no_throughput() {
        let workers = vec![Stalls(Instant::now() + Duration::from_millis(50))];
        let driven = drive(workers, Duration::ZERO, Duration::from_millis(100)).await.expect("nobody is stuck");
        assert_eq!(driven.samples.count(), driven.done[0] + 1);
        assert!(driven.samples.millis_max() > 4_900.0, "{}", driven.samples.millis_max());
        assert!(driven.longest_gap >= Duration::from_millis(45), "{:?}", driven.longest_gap);
    }

    #[test]
    fn gaps_are_between_neighbours_in_time() {
        let begin = Instant::now();
        let mut gap = Gap { last: begin, longest: Duration::ZERO };
        for millis in [10, 40, 30, 60] {
            gap.note(begin + Duration::from_millis(millis));
        }
        assert_eq!(gap.longest, Duration::from_millis(30));
    }
}
