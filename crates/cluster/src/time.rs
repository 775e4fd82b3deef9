//! Timestamps: logical time, counted by the meta group.
//!
//! # Problem
//! Transactions and snapshots need one order of time for the whole cluster. Clocks of machines jump and drift, so time
//! is a counter of the meta group; but it must cost neither a write of the meta group nor a message for each who asks.
//!
//! # Model
//! ```text
//!   who waits --+                                      leader of the meta group
//!   who waits --+-- Line: one question at a time --->  Issuer: barrier, row `time`, block in memory ---> Timestamp
//!   who waits --+   (begin, floor: one line each)         |
//!                                                         +-- runs low: ReserveTimestamps, ahead of need
//!
//!   shard leader of a new term --- floor, asked for after it was seen to lead ---> Group::open_clock(term, floor + 1)
//!
//!   guards of T ---> oldest in use, once a second ---> HorizonKeeper: min(oldest in use, handed out a while ago)
//!                    <--- the cluster's horizon ---
//! ```
//! `begin` hands out a new timestamp, `floor` names the last one that was handed out. Whoever comes while a question is
//! on its way waits for the next one: the answer must be given after they asked. All who waited share it.
//!
//! # Path of a question at the leader
//! A `begin` is answered at once while this process has led since an answer that went the whole way: whoever asked makes
//! sure that it still does (`begun.rs`). Otherwise:
//! 1. A read barrier of the meta group that begins after the question came: this node leads, and the tablet here shows
//!    every reservation that was acknowledged before.
//! 2. If the row `time` names a later block than the one in memory, somebody else has led meanwhile, or this process is
//!    new: a block is reserved, above everything that anybody can have handed out.
//! 3. Now all timestamps above the last one handed out here, up to the row, belong to this process alone. The answer is
//!    the next one, or the last one. Terms need not be compared: who leads again after others finds their blocks in the
//!    row, and who led without reserving has not answered.
//!
//! # Invariants
//! - TIME-1: `begin` returns more than everything that `begin` or `floor` had returned, to anybody, before it was
//!   asked.
//! - TIME-2: `floor` returns no less than everything that `begin` had returned, to anybody, before it was asked; and
//!   what `begin` returns to who asks afterwards is more.
//! - TIME-3: an answer rests on a barrier of the meta group, or on votes for its leader, that were asked for after the question;
//!   nobody uses the answer of one that was deposed.
//! - TIME-4: a shard's clock is opened for a term with a floor that was asked for after its leader was seen in that
//!   term.
//! - TIME-5: no answer depends on a machine's clock. Clocks decide only when to ask, when to give up, and when to
//!   collect.
//! - TIME-6: the horizon of a node only rises.
//! - TIME-7: what a node takes for handed out was handed out: it was told by who did it, or by a node that knew.
//!
//! # Left out
//! The horizon is no promise: shards refuse reads below the horizon that they have applied, so a wrong one costs a
//! transaction, never an anomaly.

mod aim;
mod begun;
mod clocks;
mod desk;
mod error;
mod hearsay;
mod horizon;
mod in_use;
mod issuer;
mod line;
mod spreading;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::Env;
use strata_raft::Ballot;
use strata_types::{Feature, Timestamp};
use tokio::sync::Notify;

use crate::map_keeper::MapKeeper;
use crate::node::Node;

pub use begun::Begun;
pub use error::TimeError;
pub use in_use::TimestampGuard;

pub(crate) use clocks::adopt;
pub(crate) use hearsay::note_heard;
pub(crate) use issuer::{answer, answer_at_once};
pub(crate) use spreading::note_in_use;

use horizon::HorizonKeeper;
use in_use::InUse;
use issuer::Issuer;
use line::Line;

/// What can be asked of the leader of the meta group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A new timestamp.
    Begin,
    /// The last one that was handed out.
    Floor,
}

impl Ask {
    /// Its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Ask::Begin => "begin",
            Ask::Floor => "floor",
        }
    }
}

/// How long things are kept for readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// How far the horizon stays behind what is handed out, at least.
    pub retention: Duration,
    /// How long a timestamp in use can hold the horizon back.
    pub age_max: Duration,
}

impl Default for TimeLimits {
    fn default() -> TimeLimits {
        TimeLimits { retention: TimeLimits::RETENTION, age_max: TimeLimits::AGE_MAX }
    }
}

impl TimeLimits {
    /// Long enough for whoever reads a snapshot without telling, short enough that little history gathers.
    pub const RETENTION: Duration = Duration::from_secs(600);
    /// Longer than a report takes; a reader that was forgotten must not keep all history for ever.
    pub const AGE_MAX: Duration = Duration::from_secs(3_600);
}

/// A node's way to timestamps, and its part in handing them out.
pub struct Timestamps {
    env: Env,
    keeper: Arc<MapKeeper>,
    begins: Line,
    floors: Line,
    known: AtomicU64,
    /// The highest one that this node has handed out itself.
    handed_out: AtomicU64,
    /// That has changed.
    news: Notify,
    horizon: AtomicU64,
    in_use: Arc<InUse>,
    limits: Mutex<TimeLimits>,
    /// For when this node leads the meta group.
    issuer: Issuer,
    horizons: Mutex<HorizonKeeper>,
    /// A replica was opened.
    opened: Notify,
}

impl Timestamps {
    pub(crate) fn new(env: Env, keeper: Arc<MapKeeper>) -> Arc<Timestamps> {
        Arc::new(Timestamps {
            in_use: InUse::new(env.clone()),
            env,
            keeper,
            begins: Line::default(),
            floors: Line::default(),
            known: AtomicU64::new(0),
            handed_out: AtomicU64::new(0),
            news: Notify::new(),
            horizon: AtomicU64::new(0),
            limits: Mutex::default(),
            issuer: Issuer::default(),
            horizons: Mutex::default(),
            opened: Notify::new(),
        })
    }

    /// A new timestamp: above all that were returned to anybody before this call.
    pub async fn begin(&self, deadline: Duration) -> Result<Timestamp, TimeError> {
        let until = self.env.now() + deadline;
        loop {
            let begun = self.begin_at_once(None, until.since(self.env.now())).await?;
            match self.env.timeout(until.since(self.env.now()), begun.is_confirmed()).await {
                Ok(true) => return Ok(begun.at()),
                Ok(false) => {}
                Err(_) => return Err(TimeError::unconfirmed()),
            }
        }
    }

    /// The same, before it is certain that who handed it out leads the meta group: nothing that depends on it may leave
    /// this node before [`Begun::is_confirmed`]. Whatever rises above it may do so at once. For a leader of this node a
    /// witness may come with it.
    pub async fn begin_at_once(&self, leader: Option<Ballot>, deadline: Duration) -> Result<Begun, TimeError> {
        self.ask(Ask::Begin, leader, deadline).await
    }

    /// The last timestamp that was handed out: not below any that was returned to anybody before this call.
    pub async fn floor(&self, deadline: Duration) -> Result<Timestamp, TimeError> {
        Ok(self.ask(Ask::Floor, None, deadline).await?.at())
    }

    /// The highest timestamp that this node has heard of.
    pub fn known(&self) -> Timestamp {
        Timestamp(self.known.load(Ordering::Acquire))
    }

    /// Keeps the history that a reader at this timestamp needs, until the guard is dropped or is too old.
    pub fn register(&self, at: Timestamp) -> TimestampGuard {
        self.in_use.register(at)
    }

    /// What is below this may be collected. Only rises (TIME-6); zero until this node has heard of one.
    pub fn horizon(&self) -> Timestamp {
        Timestamp(self.horizon.load(Ordering::Acquire))
    }

    /// Sets how long things are kept: the retention counts on the leader of the meta group, the age where a timestamp
    /// is in use.
    pub fn set_limits(&self, limits: TimeLimits) {
        *self.limits.lock() = limits;
    }

    fn limits(&self) -> TimeLimits {
        *self.limits.lock()
    }

    async fn ask(&self, ask: Ask, leader: Option<Ballot>, deadline: Duration) -> Result<Begun, TimeError> {
        let map = self.keeper.map();
        // Before the map is known nobody can tell what the cluster has.
        if map.epoch.0 > 0 && !map.has(Feature::Transactions) {
            return Err(TimeError::Unsupported { version: map.version });
        }
        self.line(ask).join(&self.env, leader, deadline).await
    }

    fn line(&self, ask: Ask) -> &Line {
        match ask {
            Ask::Begin => &self.begins,
            Ask::Floor => &self.floors,
        }
    }

    pub(crate) fn note(&self, heard: Timestamp) {
        let before = self.known.fetch_max(heard.0, Ordering::AcqRel);
        metrics::gauge!("strata_time_known").set(before.max(heard.0) as f64);
    }

    fn note_handed_out(&self, last: Timestamp) {
        self.note(last);
        if self.handed_out.fetch_max(last.0, Ordering::AcqRel) < last.0 {
            self.news.notify_one();
        }
    }

    fn raise_horizon(&self, heard: Timestamp) {
        let before = self.horizon.fetch_max(heard.0, Ordering::AcqRel);
        metrics::gauge!("strata_time_horizon").set(before.max(heard.0) as f64);
    }

    /// Nobody is answered any more.
    pub(crate) fn close(&self) {
        self.begins.close();
        self.floors.close();
    }
}

/// Starts what keeps time on a node.
pub(crate) fn spawn(node: &Arc<Node>) {
    node.spawn("time-begin", line::run(node.clone(), Ask::Begin));
    node.spawn("time-floor", line::run(node.clone(), Ask::Floor));
    node.spawn("time-reserve", issuer::run(node.clone()));
    node.spawn("time-clocks", clocks::run(node.clone()));
    node.spawn("time-hearsay", hearsay::run(node.clone()));
    node.spawn("time-horizon", spreading::run(node.clone()));
}
