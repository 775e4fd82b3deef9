//! Transfers that come on time, whether or not others are answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use strata_client::{Attempt, Client, Error, ErrorCode};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::accounts::{amount_of, draw_pair, with_amount};
use crate::load::{Dice, Samples, key};

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(1);
/// Most transfers under way; what is due beyond them counts as failed.
const UNDER_WAY_MAX: u32 = 20_000;

/// A running open loop of transfers between random accounts.
pub(super) struct Transfers {
    shared: Arc<Shared>,
    pacer: JoinHandle<()>,
}

struct Shared {
    client: Client,
    begin: Instant,
    /// When each one was due, and when it was done.
    done: Mutex<Vec<(Duration, Duration)>>,
    /// When those that failed were due, by the error.
    failed: Mutex<BTreeMap<String, Vec<Duration>>>,
    permits: Arc<Semaphore>,
    is_stopped: AtomicBool,
}

impl Transfers {
    /// Starts `rate` transfers a second between the accounts `0..accounts`.
    pub(super) fn start(client: Client, rate: u32, accounts: u32) -> Transfers {
        let shared = Arc::new(Shared {
            client,
            begin: Instant::now(),
            done: Mutex::default(),
            failed: Mutex::default(),
            permits: Arc::new(Semaphore::new(UNDER_WAY_MAX as usize)),
            is_stopped: AtomicBool::new(false),
        });
        let pacer = tokio::spawn(pace(shared.clone(), rate, accounts));
        Transfers { shared, pacer }
    }

    /// The time since it began.
    pub(super) fn now(&self) -> Duration {
        self.shared.begin.elapsed()
    }

    /// Ends the load, and waits for what is under way.
    pub(super) async fn stop(self) -> Transferred {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        let _ = self.pacer.await;
        let _ = self.shared.permits.acquire_many(UNDER_WAY_MAX).await;
        let (done, failed) = (&self.shared.done, &self.shared.failed);
        Transferred { done: std::mem::take(&mut *done.lock()), failed: std::mem::take(&mut *failed.lock()) }
    }
}

/// What came of it.
pub(super) struct Transferred {
    done: Vec<(Duration, Duration)>,
    failed: BTreeMap<String, Vec<Duration>>,
}

impl Transferred {
    /// Latencies of those that were due within this time, from when they were due; and its errors.
    pub(super) fn during(&self, from: Duration, to: Duration) -> Samples {
        let mut samples = Samples::new();
        let is_in = |due: Duration| from <= due && due < to;
        for (due, done) in self.done.iter().filter(|(due, _)| is_in(*due)) {
            samples.add(done.saturating_sub(*due));
        }
        for (error, dues) in &self.failed {
            dues.iter().filter(|due| is_in(**due)).for_each(|_| samples.fail(error.clone()));
        }
        samples
    }
}

async fn pace(shared: Arc<Shared>, rate: u32, accounts: u32) {
    let (mut dice, map) = (Dice::new(7, 7), shared.client.map());
    let mut ticks = tokio::time::interval(TICK);
    let mut sent = 0_u32;
    while !shared.is_stopped.load(Ordering::Relaxed) {
        ticks.tick().await;
        let due = (shared.begin.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        while sent < due {
            let since = Duration::from_secs_f64(f64::from(sent) / f64::from(rate));
            let (from, to) = draw_pair(&mut dice, &map, 0, u64::from(accounts));
            shared.clone().send(from, to, since);
            sent += 1;
        }
    }
}

impl Shared {
    fn send(self: Arc<Self>, from: u64, to: u64, due: Duration) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return self.note_failure("never sent: too many are under way".to_owned(), due);
        };
        tokio::spawn(async move {
            match transfer(&self.client, from, to).await {
                Ok(()) => self.done.lock().push((due, self.begin.elapsed())),
                Err(error) => self.note_failure(error.to_string(), due),
            }
            drop(permit);
        });
    }

    fn note_failure(&self, error: String, due: Duration) {
        self.failed.lock().entry(error).or_default().push(due);
    }
}

/// Moves 1, if there is anything left; again if others come in between.
async fn transfer(client: &Client, from: u64, to: u64) -> Result<(), Error> {
    let bad = |message: String| Error::not_applied(ErrorCode::Internal, message);
    let work = |mut txn: Attempt| async move {
        let here = amount_of(txn.get(key(from)).await?.as_ref()).map_err(bad)?;
        let there = amount_of(txn.get(key(to)).await?.as_ref()).map_err(bad)?;
        let moved = here.min(1);
        txn.put(key(from), with_amount(here - moved)).await?;
        txn.put(key(to), with_amount(there + moved)).await
    };
    client.transact(work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_count_from_when_a_transfer_was_due() {
        let at = Duration::from_millis;
        let transferred = Transferred {
            done: vec![(at(10), at(15)), (at(20), at(120)), (at(90), at(91))],
            failed: [("no".to_owned(), vec![at(30), at(95)])].into(),
        };
        let samples = transferred.during(at(0), at(50));
        assert_eq!((samples.count(), samples.failed()), (2, 1));
        assert!((samples.millis_max() - 100.0).abs() < 0.1);
    }
}
