//! Makes the load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::bench::mix::{Dice, Drawn, Mix};
use crate::bench::recorder::Kind;
use crate::bench::{Recorder, Target};
use crate::failure::Failure;

/// Error code of an operation that was due while too many others were under way.
const NOT_SENT: &str = "not_sent";
/// Keys written at once before gets are measured, and removed at once after that.
const FILL_CONCURRENCY: usize = 256;
/// How often an open loop looks what is due.
const OPEN_TICK: Duration = Duration::from_millis(1);

/// How fast operations come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each caller sends its next operation when the last one is answered.
    Closed {
        /// Callers.
        clients: u32,
    },
    /// Operations come on time, answered or not.
    Open {
        /// Each second.
        rate: u32,
        /// At most so many at once.
        under_way_max: u32,
    },
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How fast.
    pub pace: Pace,
    /// What.
    pub mix: Mix,
    /// Before measuring.
    pub warmup: Duration,
    /// While measuring.
    pub measured: Duration,
    /// Same seed, same operations.
    pub seed: u64,
}

/// One run of a plan.
pub struct Load {
    plan: Plan,
    target: Target,
    recorder: Recorder,
    begin: Instant,
}

impl Load {
    /// Writes every key once, so that gets find something. `told` hears how many were written.
    pub async fn fill(target: &Target, plan: &Plan, told: &(dyn Fn(u64) + Sync)) -> Result<(), Failure> {
        let mut dice = Dice::new(plan.seed, u64::MAX);
        let writes = (0..plan.mix.keys).map(|number| {
            let drawn = Drawn::Put(Mix::key(number), plan.mix.value(&mut dice));
            let target = target.clone();
            async move { target.carry_out(number as usize, drawn).await.1 }
        });
        let mut written = stream::iter(writes).buffer_unordered(FILL_CONCURRENCY).enumerate();
        while let Some((number, result)) = written.next().await {
            result.map_err(|code| Failure::new(format!("the keys could not be written first: {}", code.name())))?;
            told(number as u64 + 1);
        }
        Ok(())
    }

    /// Removes keys.
    pub async fn remove(target: &Target, keys: Vec<Bytes>) -> Result<(), Failure> {
        let removals = keys.into_iter().enumerate().map(|(number, key)| {
            let target = target.clone();
            async move { target.carry_out(number, Drawn::Delete(key)).await.1 }
        });
        let mut removed = stream::iter(removals).buffer_unordered(FILL_CONCURRENCY);
        while let Some(result) = removed.next().await {
            result.map_err(|code| Failure::new(format!("a key could not be removed ({})", code.name())))?;
        }
        Ok(())
    }

    /// Starts the clock.
    pub fn new(target: Target, plan: Plan) -> Arc<Load> {
        Arc::new(Load { plan, target, recorder: Recorder::new(), begin: Instant::now() })
    }

    /// Makes the load until the plan is over and everything is answered.
    pub async fn run(self: &Arc<Load>) {
        match self.plan.pace {
            Pace::Closed { clients } => self.run_closed(clients).await,
            Pace::Open { rate, under_way_max } => self.run_open(rate, under_way_max).await,
        }
    }

    /// What was measured so far.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn end(&self) -> Instant {
        self.begin + self.plan.warmup + self.plan.measured
    }

    async fn run_closed(self: &Arc<Load>, clients: u32) {
        let mut callers = JoinSet::new();
        for caller in 0..clients {
            let load = self.clone();
            callers.spawn(async move {
                let mut dice = Dice::new(load.plan.seed, u64::from(caller));
                while Instant::now() < load.end() {
                    let drawn = load.plan.mix.draw(&mut dice);
                    load.carry_out(caller as usize, drawn, Instant::now()).await;
                }
            });
        }
        while callers.join_next().await.is_some() {}
    }

    async fn run_open(self: &Arc<Load>, rate: u32, under_way_max: u32) {
        let permits = Arc::new(Semaphore::new(under_way_max as usize));
        let mut dice = Dice::new(self.plan.seed, 0);
        let mut ticks = tokio::time::interval(OPEN_TICK);
        let mut sent = 0_u64;
        loop {
            ticks.tick().await;
            let now = Instant::now().min(self.end());
            while self.due(sent, rate) < now {
                let (due, caller) = (self.due(sent, rate), sent as usize);
                sent += 1;
                let drawn = self.plan.mix.draw(&mut dice);
                match permits.clone().try_acquire_owned() {
                    Ok(permit) => {
                        let load = self.clone();
                        tokio::spawn(async move {
                            load.carry_out(caller, drawn, due).await;
                            drop(permit);
                        });
                    }
                    Err(_) => self.note(caller, kind_of(&drawn), due, Err(NOT_SENT)),
                }
            }
            if now >= self.end() {
                break;
            }
        }
        // Everything is answered when every permit is back.
        let _ = permits.acquire_many(under_way_max).await;
    }

    /// When operation number `number` of an open loop is due.
    fn due(&self, number: u64, rate: u32) -> Instant {
        self.begin + Duration::from_secs_f64(number as f64 / f64::from(rate))
    }

    async fn carry_out(&self, caller: usize, drawn: Drawn, since: Instant) {
        let (kind, result) = self.target.carry_out(caller, drawn).await;
        self.note(caller, kind, since, result.map(|()| since.elapsed()).map_err(|code| code.name()));
    }

    /// Counts what began while measuring, whenever it ended: leaving out what ended late would flatter the tail.
    fn note(&self, caller: usize, kind: Kind, since: Instant, result: Result<Duration, &'static str>) {
        if since >= self.begin + self.plan.warmup {
            self.recorder.record(caller, kind, result);
        }
    }
}

fn kind_of(drawn: &Drawn) -> Kind {
    match drawn {
        Drawn::Get(_) => Kind::Read,
        Drawn::Put(..) | Drawn::Delete(_) => Kind::Write,
    }
}
