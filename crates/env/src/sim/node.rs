//! One simulated machine.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::SimRng;
use super::clock::{ClockState, SimClock};
use super::disk::SimDisk;
use super::files::Files;
use super::rng::mix;
use super::tasks::SimTasks;
use super::turns::Turns;
use crate::{Disk, Env, Halt};

/// One simulated machine: a clock, tasks and a disk. A cheap handle.
#[derive(Clone)]
pub struct SimNode {
    inner: Arc<NodeInner>,
}

/// What all handles of a node share.
pub(super) struct NodeInner {
    number: u64,
    start: Instant,
    pub(super) state: Mutex<NodeState>,
    pub(super) files: Mutex<Files>,
    /// Wakes operations that are stuck.
    pub(super) unstuck: Notify,
    /// Choices of the disk: what a crash keeps, how long an operation takes.
    pub(super) rng: SimRng,
    pub(super) turns: Turns,
}

pub(super) struct NodeState {
    /// Rises with each start, crash, kill and halt; handles carry the one they were made in.
    generation: u64,
    up: bool,
    halt: Option<Halt>,
    tasks: BTreeMap<u64, AbortHandle>,
    next_task: u64,
    pub(super) clock: ClockState,
    pub(super) faults: DiskFaults,
}

/// The faults of a disk that are switched on.
pub(super) struct DiskFaults {
    pub(super) sync_latency: RangeInclusive<Duration>,
    pub(super) fail_next_sync: bool,
    pub(super) stuck: bool,
    /// Changing operations so far.
    pub(super) operations: u64,
    /// The node crashes in the operation that has this number.
    pub(super) crash_at: Option<u64>,
}

impl SimNode {
    pub(super) fn new(seed: u64, number: u64, start: Instant) -> SimNode {
        let faults = DiskFaults {
            sync_latency: Duration::ZERO..=Duration::ZERO,
            fail_next_sync: false,
            stuck: false,
            operations: 0,
            crash_at: None,
        };
        let state = NodeState {
            generation: 0,
            up: false,
            halt: None,
            tasks: BTreeMap::new(),
            next_task: 0,
            clock: ClockState::default(),
            faults,
        };
        let rng = SimRng::new(mix(seed) ^ mix(number.wrapping_add(1)));
        let (state, files) = (Mutex::new(state), Mutex::default());
        let (unstuck, turns) = (Notify::new(), Turns::default());
        let inner = NodeInner { number, start, state, files, unstuck, rng, turns };
        let node = SimNode { inner: Arc::new(inner) };
        node.restart();
        node
    }

    /// Its number in the world.
    pub fn number(&self) -> u64 {
        self.inner.number
    }

    /// Clock, randomness and tasks of the present generation.
    pub fn env(&self) -> Env {
        let generation = self.inner.state.lock().generation;
        Env {
            clock: Arc::new(SimClock(self.inner.clone())),
            rng: Arc::new(self.inner.rng.fork(generation)),
            tasks: Arc::new(SimTasks { node: self.inner.clone(), generation }),
        }
    }

    /// The disk, for the present generation.
    pub fn disk(&self) -> Arc<dyn Disk> {
        let generation = self.inner.state.lock().generation;
        Arc::new(SimDisk { node: self.inner.clone(), generation })
    }

    /// Power loss: tasks end, handles die, and of what was not synced some is kept and some is lost.
    pub fn crash(&self) {
        self.inner.crash();
    }

    /// The process ends (kill -9): tasks end and handles die, but what was written is still in the machine's cache.
    pub fn kill(&self) {
        self.inner.end_generation();
    }

    /// Starts the machine again after a crash, a kill or a halt; [`SimNode::env`] and [`SimNode::disk`] then give
    /// handles of the new generation. Ends the present generation if there is one.
    pub fn restart(&self) {
        self.inner.end_generation();
        let shows = Duration::from_millis(self.inner.rng.below(1_000_000));
        let world = self.inner.world_time();
        let mut state = self.inner.state.lock();
        state.generation += 1;
        state.up = true;
        state.halt = None;
        state.clock.boot(world, shows);
    }

    /// Whether it runs: not crashed, killed or halted since its last start.
    pub fn is_up(&self) -> bool {
        self.inner.state.lock().up
    }

    /// Why it stopped itself, if it did since its last start.
    pub fn halted(&self) -> Option<Halt> {
        self.inner.state.lock().halt.clone()
    }

    /// Moves the calendar clock away from the world's by this much.
    pub fn set_clock_offset(&self, millis: i64) {
        self.inner.state.lock().clock.set_offset(millis);
    }

    /// Lets both clocks, and everything that waits for them from now on, run faster (positive) or slower by so many
    /// millionths.
    pub fn set_clock_drift(&self, parts_per_million: i64) {
        let world = self.inner.world_time();
        self.inner.state.lock().clock.set_drift(world, parts_per_million);
    }

    /// How long a sync takes. Reads and writes only let other tasks run: the cache hides them.
    pub fn set_latency(&self, sync: RangeInclusive<Duration>) {
        self.inner.state.lock().faults.sync_latency = sync;
    }

    /// The next sync of a file fails: what it should have made durable is partly dropped, and that file fails all
    /// writes and syncs until the node restarts.
    pub fn fail_next_sync(&self) {
        self.inner.state.lock().faults.fail_next_sync = true;
    }

    /// While stuck, no disk operation completes.
    pub fn set_stuck(&self, stuck: bool) {
        self.inner.state.lock().faults.stuck = stuck;
        self.inner.unstuck.notify_waiters();
    }

    /// While sluggish, some of its tasks, which `choice` picks, get their turns late: as threads do that a busy machine
    /// lets wait. `None` ends that.
    pub fn set_sluggish(&self, choice: Option<u64>) {
        self.inner.turns.set_sluggish(choice);
    }

    /// Tasks of this name get no turn until others, or `None`, are held up: as a thread does that a busy machine does not
    /// let go on.
    pub fn hold_up(&self, name: Option<&'static str>) {
        self.inner.turns.hold_up(name);
    }

    /// Damages a stored file: flips the lowest bit of the byte at `offset`.
    pub fn flip_bit(&self, path: impl AsRef<Path>, offset: u64) -> io::Result<()> {
        self.inner.files.lock().flip_bit(path.as_ref(), offset)
    }

    /// The most bytes that all files may have together; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.inner.files.lock().set_capacity(bytes);
    }

    /// Files and their lengths, as the running node sees them.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.inner.files.lock().all()
    }

    /// Changing disk operations (creations, writes, syncs, renames, removals) so far.
    pub fn operations(&self) -> u64 {
        self.inner.state.lock().faults.operations
    }

    /// Crashes the node in the middle of its disk operation number `operation`, counted as [`SimNode::operations`]
    /// does from 1; `None` disarms.
    pub fn crash_at_operation(&self, operation: Option<u64>) {
        self.inner.state.lock().faults.crash_at = operation;
    }
}

impl NodeInner {
    pub(super) fn world_time(&self) -> Duration {
        self.start.elapsed()
    }

    /// Whether handles of `generation` still work (SIM-1).
    pub(super) fn is_alive(&self, generation: u64) -> bool {
        let state = self.state.lock();
        state.up && state.generation == generation
    }

    pub(super) fn next_task(&self, generation: u64) -> Option<u64> {
        let mut state = self.state.lock();
        if !state.up || state.generation != generation {
            return None;
        }
        state.next_task += 1;
        Some(state.next_task)
    }

    pub(super) fn register_task(&self, generation: u64, id: u64, task: AbortHandle) {
        let mut state = self.state.lock();
        if !state.up || state.generation != generation {
            task.abort();
        } else if !task.is_finished() {
            state.tasks.insert(id, task);
        }
    }

    pub(super) fn forget_task(&self, id: u64) {
        self.state.lock().tasks.remove(&id);
    }

    /// The node stops itself; the first reason counts. What an ended generation says is not heard.
    pub(super) fn halt(&self, generation: u64, halt: Halt) {
        {
            let mut state = self.state.lock();
            if !state.up || state.generation != generation {
                return;
            }
            state.halt = Some(halt);
        }
        self.end_generation();
    }

    pub(super) fn crash(&self) {
        self.end_generation();
        self.files.lock().crash(&self.rng);
    }

    fn end_generation(&self) {
        let tasks = {
            let mut state = self.state.lock();
            state.up = false;
            state.generation += 1;
            state.faults.stuck = false;
            state.faults.fail_next_sync = false;
            state.faults.crash_at = None;
            std::mem::take(&mut state.tasks)
        };
        self.files.lock().end_generation();
        self.unstuck.notify_waiters();
        // Outside the lock: a task that is dropped at once takes it to be forgotten.
        for task in tasks.into_values() {
            task.abort();
        }
    }
}
