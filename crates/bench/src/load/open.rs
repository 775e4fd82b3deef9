//! An open loop: writes come on time, whether or not others are answered, as they do from many independent users.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use strata_client::{Client, ShardMap};
use strata_types::ShardId;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::attempts::{Attempts, Told};
use super::dice;
use super::numbers::Numbers;

/// How often the loop looks what is due.
const TICK: Duration = Duration::from_millis(1);
/// Most writes under way; what is due beyond them counts as not sent.
const UNDER_WAY_MAX: usize = 100_000;
/// Most different errors that are told apart.
const ERRORS_MAX: usize = 16;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is durable.
    Acked,
    /// It was refused, or never sent.
    Refused,
    /// Nobody can tell.
    Unknown,
}

/// One write. Times are microseconds since the loop began: a run may have ten million of these.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// Its key and value.
    pub(crate) number: u32,
    /// Where it was to go.
    pub(crate) shard: u16,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// When it was due.
    pub(crate) due: u32,
    /// When it was answered.
    pub(crate) done: u32,
}

/// What came of a load.
pub(crate) struct Written {
    /// All writes, in the order of their ends.
    pub(crate) events: Vec<Event>,
    /// How often each error came, by its sentence.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// A running loop that writes a new key each time.
pub(crate) struct OpenLoop {
    shared: Arc<Shared>,
    pacer: JoinHandle<()>,
}

struct Shared {
    client: Client,
    map: Arc<ShardMap>,
    value_bytes: usize,
    begin: Instant,
    events: Mutex<Vec<Event>>,
    errors: Mutex<BTreeMap<String, u64>>,
    /// For each shard, when the latest of its acknowledged writes was due.
    acked_dues: Vec<AtomicU64>,
    permits: Arc<Semaphore>,
    is_stopped: AtomicBool,
}

impl OpenLoop {
    /// Starts with key `first`, `rate` writes a second; keys come as they are numbered.
    pub(crate) fn start(client: Client, first: u32, rate: u32, value_bytes: usize) -> OpenLoop {
        let numbers = Numbers::in_order(client.map(), first);
        OpenLoop::with(client, numbers, rate, value_bytes)
    }

    /// As `start`, but shards take turns: the time between two writes to a shard then is always the same.
    pub(crate) fn start_even(client: Client, first: u32, rate: u32, value_bytes: usize) -> OpenLoop {
        let numbers = Numbers::even(client.map(), first);
        OpenLoop::with(client, numbers, rate, value_bytes)
    }

    fn with(client: Client, numbers: Numbers, rate: u32, value_bytes: usize) -> OpenLoop {
        let map = client.map();
        let shared = Arc::new(Shared {
            acked_dues: map.shards.iter().map(|_| AtomicU64::new(0)).collect(),
            client,
            map,
            value_bytes,
            begin: Instant::now(),
            events: Mutex::default(),
            errors: Mutex::default(),
            permits: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
            is_stopped: AtomicBool::new(false),
        });
        let pacer = tokio::spawn(pace(shared.clone(), numbers, rate));
        OpenLoop { shared, pacer }
    }

    /// Microseconds since the loop began.
    pub(crate) fn now(&self) -> u32 {
        self.shared.now()
    }

    /// What was told to whoever listens since it began, with when.
    pub(crate) fn told(&self, attempts: &Attempts) -> Vec<(u32, Told)> {
        let begin = self.shared.begin;
        let at = |told: &Told| u32::try_from(told.at.duration_since(begin).as_micros()).unwrap_or(u32::MAX);
        attempts.since(begin).into_iter().map(|told| (at(&told), told)).collect()
    }

    /// Shards without an acknowledged write that was sent since then: the answer of an earlier one may come late.
    pub(crate) fn silent_since(&self, since: u32) -> Vec<ShardId> {
        let silent = |&at: &usize| self.shared.acked_dues[at].load(Ordering::Relaxed) <= u64::from(since);
        (0..self.shared.acked_dues.len()).filter(silent).map(|at| self.shared.map.shards[at].shard).collect()
    }

    /// Ends the load, waits for what is under way, and returns all writes.
    pub(crate) async fn stop(self) -> Written {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        let _ = self.pacer.await;
        let _ = self.shared.permits.acquire_many(UNDER_WAY_MAX as u32).await;
        let (events, errors) = (&self.shared.events, &self.shared.errors);
        Written { events: std::mem::take(&mut *events.lock()), errors: std::mem::take(&mut *errors.lock()) }
    }
}

async fn pace(shared: Arc<Shared>, mut numbers: Numbers, rate: u32) {
    let mut ticks = tokio::time::interval(TICK);
    let mut sent = 0_u32;
    while !shared.is_stopped.load(Ordering::Relaxed) {
        ticks.tick().await;
        let due = (shared.begin.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        while sent < due {
            let since = (f64::from(sent) / f64::from(rate) * 1e6) as u32;
            let (number, shard) = numbers.draw();
            shared.clone().send(number, shard, since);
            sent += 1;
        }
    }
}

impl Shared {
    fn now(&self) -> u32 {
        u32::try_from(self.begin.elapsed().as_micros()).expect("a run takes less than an hour")
    }

    fn send(self: Arc<Self>, number: u32, shard: usize, due: u32) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return self.note(number, shard, due, Outcome::Refused);
        };
        tokio::spawn(async move {
            let (key, value) = (dice::key(u64::from(number)), dice::value_of(u64::from(number), self.value_bytes));
            let outcome = match self.client.put(key, value).await {
                Ok(_) => Outcome::Acked,
                Err(error) => self.failed(&error),
            };
            self.note(number, shard, due, outcome);
            drop(permit);
        });
    }

    fn failed(&self, error: &strata_types::Error) -> Outcome {
        let mut errors = self.errors.lock();
        let text = error.to_string();
        let is_known = errors.len() < ERRORS_MAX || errors.contains_key(&text);
        *errors.entry(if is_known { text } else { "others".to_owned() }).or_default() += 1;
        match error.outcome {
            strata_types::Outcome::NotApplied => Outcome::Refused,
            strata_types::Outcome::Applied | strata_types::Outcome::Unknown => Outcome::Unknown,
        }
    }

    fn note(&self, number: u32, shard: usize, due: u32, outcome: Outcome) {
        let done = self.now();
        if outcome == Outcome::Acked {
            self.acked_dues[shard].fetch_max(u64::from(due), Ordering::Relaxed);
        }
        let id = self.map.shards[shard].shard.0;
        let event = Event { number, shard: id as u16, outcome, due, done };
        self.events.lock().push(event);
    }
}
