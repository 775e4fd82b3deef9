//! A closed loop: each caller sends its next operation when the last one is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use super::{Caller, Dice, Recorder, Samples, Target, dice};
use crate::args::Operation;
use crate::procs::CpuMeter;

/// Callers that write all keys before anything is measured.
const FILL_CALLERS: usize = 128;
/// An operation that takes longer than this after the end of a run is stuck.
const STUCK: Duration = Duration::from_secs(30);
/// A caller whose operation failed waits so long: errors must not become a load of their own.
const AFTER_ERROR: Duration = Duration::from_millis(2);

/// One measured point.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) operation: Operation,
    pub(crate) callers: usize,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
    pub(crate) seed: u64,
}

/// What came out.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Of operations that began within the measured time, also where they ended later: or a stall at its end would not
    /// be seen.
    pub(crate) samples: Samples,
    /// Operations a second: those that ended within the measured time.
    pub(crate) throughput: f64,
    /// CPU cores that the servers used; `None` where the system does not tell.
    pub(crate) server_cores: Option<f64>,
    /// CPU cores that this process used.
    pub(crate) client_cores: Option<f64>,
}

/// Puts load on a target for a while and measures it. What is under way at the end is waited for.
pub(crate) async fn measure(target: &Target, plan: &Plan, servers: &CpuMeter) -> Result<Measured> {
    let recorder = Arc::new(Recorder::new());
    let from = Instant::now() + plan.warmup;
    let until = from + plan.measured;
    let mut callers = JoinSet::new();
    for number in 0..plan.callers {
        let (caller, plan, recorder) = (target.caller(number), plan.clone(), recorder.clone());
        callers.spawn(call(number, caller, plan, recorder, from, until));
    }

    let own = CpuMeter::new(vec![std::process::id()]);
    tokio::time::sleep_until(from.into()).await;
    let before = (servers.read(), own.read());
    tokio::time::sleep_until(until.into()).await;
    let after = (servers.read(), own.read());
    let mut done = 0;
    let all_answered = tokio::time::timeout(STUCK, async {
        while let Some(ended) = callers.join_next().await {
            done += ended?;
        }
        anyhow::Ok(())
    });
    let Ok(answered) = all_answered.await else {
        bail!("{} of {} callers are stuck {} s after the end", callers.len(), plan.callers, STUCK.as_secs());
    };
    answered?;

    let seconds = plan.measured.as_secs_f64();
    let cores = |before: Option<Duration>, after: Option<Duration>| {
        Some(after?.saturating_sub(before?).as_secs_f64() / seconds)
    };
    Ok(Measured {
        samples: recorder.samples(),
        throughput: done as f64 / seconds,
        server_cores: cores(before.0, after.0),
        client_cores: cores(before.1, after.1),
    })
}

/// Returns how many operations succeeded within the measured time.
async fn call(
    number: usize,
    mut caller: Caller,
    plan: Plan,
    recorder: Arc<Recorder>,
    from: Instant,
    until: Instant,
) -> u64 {
    let mut done = 0;
    let mut dice = Dice::new(plan.seed, number as u64);
    let mut begin = Instant::now();
    while begin < until {
        let key = dice::key(dice.below(plan.keys));
        let result = match plan.operation {
            Operation::Put => caller.put(key, dice.value(plan.value_bytes)).await,
            Operation::Get => caller.get(key).await,
        };
        let end = Instant::now();
        let is_failure = result.is_err();
        done += u64::from(!is_failure && from <= end && end < until);
        if from <= begin {
            recorder.record(number, result.map(|()| end - begin));
        }
        if is_failure {
            tokio::time::sleep(AFTER_ERROR).await;
        }
        begin = Instant::now();
    }
    done
}

/// Writes every key once.
pub(crate) async fn fill(target: &Target, keys: u64, value_bytes: usize) -> Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for number in 0..FILL_CALLERS {
        let (mut caller, next) = (target.caller(number), next.clone());
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= keys {
                    return Ok::<(), String>(());
                }
                caller.put(dice::key(number), dice::value_of(number, value_bytes)).await?;
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        if let Err(error) = done? {
            bail!("the keys could not be written first: {error}");
        }
    }
    Ok(())
}
