//! Random operations and crashes against a model: after a crash the log is what some prefix of the calls made, and that
//! prefix has everything that was said to be durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use strata_env::sim::{SimNode, SimRng, SimWorld};
use strata_types::{LogIndex, ReplicaId};
use strata_wal::{ReplicaLog, Wal, WalOptions};

use crate::support::{replica, text, try_open};

const REPLICAS: u64 = 3;

/// One replica's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Log {
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<(u64, Bytes)>,
    entries: BTreeMap<u64, Bytes>,
}

/// What the disk can tell apart: a call that adds several entries may be cut between them.
#[derive(Clone, Debug)]
enum Step {
    Vote(Bytes),
    Committed(Bytes),
    Append(u64, Bytes),
    Truncate(Option<u64>),
    Purge(u64, Bytes),
    Remove,
}

type Logs = BTreeMap<u64, Log>;

fn apply(logs: &mut Logs, id: u64, step: &Step) {
    if matches!(step, Step::Remove) {
        logs.remove(&id);
        return;
    }
    let log = logs.entry(id).or_default();
    match step.clone() {
        Step::Vote(vote) => log.vote = Some(vote),
        Step::Committed(committed) => log.committed = Some(committed),
        Step::Append(index, bytes) => {
            log.entries.insert(index, bytes);
        }
        Step::Truncate(keep) => {
            log.entries.split_off(&keep.map_or(0, |keep| keep + 1));
        }
        Step::Purge(index, id) => {
            log.entries = log.entries.split_off(&(index + 1));
            log.purged = Some((index, id));
        }
        Step::Remove => unreachable!("handled above"),
    }
}

/// The model of a running log.
#[derive(Default)]
struct Model {
    /// What was recovered last.
    base: Logs,
    /// What was called since, in order.
    steps: Vec<(u64, Step)>,
    /// What the log says now; a committed position may be here before it is a step.
    now: Logs,
    waiting: BTreeMap<u64, Bytes>,
    /// So many steps are known to be durable.
    durable: Arc<AtomicUsize>,
}

impl Model {
    fn step(&mut self, id: u64, step: Step) {
        apply(&mut self.now, id, &step);
        self.steps.push((id, step));
    }

    /// A committed position travels behind the next change of its replica.
    fn carry_committed(&mut self, id: u64) {
        if let Some(committed) = self.waiting.remove(&id) {
            self.steps.push((id, Step::Committed(committed)));
        }
    }

    fn note_durable(&self) {
        self.durable.fetch_max(self.steps.len(), Ordering::Relaxed);
    }

    fn log(&mut self, id: u64) -> &mut Log {
        self.now.entry(id).or_default()
    }

    /// Takes over what was recovered, if it is allowed. Tells whether something was lost.
    fn recover(&mut self, found: Logs) -> Result<bool, String> {
        let durable = self.durable.load(Ordering::Relaxed);
        let mut state = self.base.clone();
        let mut matched = false;
        for position in 0..=self.steps.len() {
            if let Some((id, step)) = position.checked_sub(1).map(|last| &self.steps[last]) {
                apply(&mut state, *id, step);
            }
            matched |= position >= durable && without_blank(&state) == found;
        }
        if !matched {
            return Err(format!(
                "no prefix from {durable} to {} of these steps makes what was recovered\nbase {:?}\nsteps {:?}\nfound {found:?}",
                self.steps.len(),
                self.base,
                self.steps
            ));
        }
        let lost = without_blank(&state) != found;
        *self = Model { base: found.clone(), now: found, ..Model::default() };
        Ok(lost)
    }
}

fn without_blank(logs: &Logs) -> Logs {
    logs.iter().filter(|(_, log)| **log != Log::default()).map(|(id, log)| (*id, log.clone())).collect()
}

async fn contents(wal: &Arc<Wal>) -> Result<Logs, String> {
    let mut logs = Logs::new();
    for id in wal.replicas() {
        let log = wal.log(id);
        let state = log.state();
        let mut entries = BTreeMap::new();
        if let (Some(first), Some(last)) = (state.first, state.last) {
            let read = log.read(first, last.next(), usize::MAX).await.map_err(|error| error.to_string())?;
            entries.extend((first.0..=last.0).zip(read));
        }
        let purged = state.purged.map(|(index, id)| (index.0, id));
        logs.insert(id.0, Log { vote: state.vote, committed: state.committed, purged, entries });
    }
    Ok(without_blank(&logs))
}

/// What the runs went through: a model that never meets a crash proves nothing.
#[derive(Debug, Default)]
struct Coverage {
    recoveries: usize,
    /// Recoveries that lost some of what was called.
    losses: usize,
    /// Most segment files that one run had made by its end.
    segments_max: u64,
    /// Runs whose oldest segments had gone by their end.
    collected: usize,
}

struct Run {
    coverage: Coverage,
    node: SimNode,
    rng: SimRng,
    options: WalOptions,
    model: Model,
    counter: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        let world = SimWorld::new(seed);
        let (node, rng) = (world.node(1), world.rng(1));
        let segment_bytes = [4, 8, 16][rng.below(3) as usize] * 1024;
        let cache_bytes = [0, 2_000, 100_000][rng.below(3) as usize];
        let spare_segments = 1 + rng.below(2) as usize;
        let batch_bytes_max = [500, 8_000][rng.below(2) as usize];
        let options =
            WalOptions { segment_bytes, cache_bytes, spare_segments, batch_bytes_max, ..WalOptions::default() };
        if rng.coin() {
            node.set_latency(Duration::ZERO..=Duration::from_millis(rng.below(5)));
        }
        Run { coverage: Coverage::default(), node, rng, options, model: Model::default(), counter: 0 }
    }

    fn label(&mut self, kind: &str) -> Bytes {
        self.counter += 1;
        text(format!("{kind}{}", self.counter))
    }

    /// Opens the log, again if the node crashes meanwhile, and compares.
    async fn reopen(&mut self) -> Result<Arc<Wal>, String> {
        loop {
            if !self.node.is_up() {
                self.node.restart();
            }
            match try_open(&self.node, self.options.clone()).await {
                Ok(wal) if self.node.is_up() => {
                    let found = contents(&wal).await;
                    if !self.node.is_up() {
                        continue;
                    }
                    let lost = self.model.recover(found?)?;
                    self.coverage.recoveries += 1;
                    self.coverage.losses += usize::from(lost);
                    return Ok(wal);
                }
                Err(error) if self.node.is_up() => return Err(error.to_string()),
                _ => {}
            }
        }
    }

    fn entries(&mut self, id: u64) -> Vec<(LogIndex, Bytes)> {
        let start = self.counter;
        let log = self.model.log(id);
        let after_purge = log.purged.as_ref().map(|(index, _)| index + 1);
        let next = log.entries.last_key_value().map(|(index, _)| index + 1).or(after_purge).unwrap_or(start % 7);
        let count = 1 + self.rng.below(if self.rng.one_in(10) { 30 } else { 4 });
        let longest = if self.rng.one_in(20) { 6_000 } else { 300 };
        let mut entries = Vec::new();
        for index in next..next + count {
            let mut bytes = self.label("entry").to_vec();
            bytes.resize(bytes.len() + self.rng.below(longest) as usize, b'.');
            if self.rng.one_in(15) {
                bytes.clear();
            }
            entries.push((LogIndex(index), Bytes::from(bytes)));
        }
        entries
    }

    /// One operation; what is awaited may fail when the node crashes in it.
    async fn operate(&mut self, wal: &Arc<Wal>) -> Result<(), String> {
        let id = 1 + self.rng.below(REPLICAS);
        let log = replica(wal, id);
        match self.rng.below(20) {
            0..=8 => self.append(&log, id).await,
            9 | 10 => {
                let vote = self.label("vote");
                self.model.step(id, Step::Vote(vote.clone()));
                self.model.carry_committed(id);
                self.durable_if_ok(log.save_vote(vote).await.is_ok());
            }
            11 | 12 => self.truncate(&log, id).await,
            13..=15 => self.purge(&log, id).await,
            16 => {
                let committed = self.label("committed");
                log.save_committed(committed.clone());
                self.model.log(id).committed = Some(committed.clone());
                self.model.waiting.insert(id, committed);
            }
            17 if self.rng.one_in(4) => {
                if wal.replicas().contains(&ReplicaId(id)) {
                    self.model.step(id, Step::Remove);
                    self.model.waiting.remove(&id);
                    self.durable_if_ok(wal.remove(ReplicaId(id)).await.is_ok());
                }
            }
            18 => tokio::time::sleep(Duration::from_millis(self.rng.below(5))).await,
            _ => self.check_reads(&log, id).await?,
        }
        Ok(())
    }

    fn durable_if_ok(&self, ok: bool) {
        if ok {
            self.model.note_durable();
        }
    }

    async fn append(&mut self, log: &ReplicaLog, id: u64) {
        let entries = self.entries(id);
        for (index, bytes) in &entries {
            self.model.step(id, Step::Append(index.0, bytes.clone()));
        }
        self.model.carry_committed(id);
        let (durable, position) = (self.model.durable.clone(), self.model.steps.len());
        let (sender, receiver) = tokio::sync::oneshot::channel();
        log.append(
            entries,
            Box::new(move |result| {
                if result.is_ok() {
                    durable.fetch_max(position, Ordering::Relaxed);
                }
                let _ = sender.send(());
            }),
        );
        if self.rng.one_in(3) {
            let _ = receiver.await;
        }
    }

    async fn truncate(&mut self, log: &ReplicaLog, id: u64) {
        let entries = &self.model.log(id).entries;
        let Some((first, last)) = entries.first_key_value().zip(entries.last_key_value()) else { return };
        let (first, last) = (*first.0, *last.0);
        let keep = (first + self.rng.below(last - first + 1)).checked_sub(1);
        self.model.step(id, Step::Truncate(keep));
        self.model.carry_committed(id);
        let truncated = log.truncate_after(keep.map(LogIndex)).await;
        self.durable_if_ok(truncated.is_ok());
    }

    async fn purge(&mut self, log: &ReplicaLog, id: u64) {
        let Log { entries, purged, .. } = self.model.log(id).clone();
        let Some((first, last)) = entries.first_key_value().zip(entries.last_key_value()) else { return };
        // Sometimes beyond the end, as after a snapshot.
        let beyond = if self.rng.one_in(8) { 5 } else { 0 };
        let index = first.0 + self.rng.below(last.0 - first.0 + 1 + beyond);
        if purged.is_some_and(|(purged, _)| purged >= index) {
            return;
        }
        let purged = self.label("purged");
        self.model.step(id, Step::Purge(index, purged.clone()));
        self.model.carry_committed(id);
        // An error can only be that the node is down.
        let _ = log.purge(LogIndex(index), purged).await;
    }

    async fn check_reads(&mut self, log: &ReplicaLog, id: u64) -> Result<(), String> {
        let entries = self.model.log(id).entries.clone();
        let Some((first, last)) = entries.first_key_value().zip(entries.last_key_value()) else { return Ok(()) };
        let from = first.0 + self.rng.below(last.0 - first.0 + 1);
        let to = from + 1 + self.rng.below(last.0 - from + 3);
        match log.read(LogIndex(from), LogIndex(to), usize::MAX).await {
            Ok(read) => {
                let expected: Vec<Bytes> = entries.range(from..to).map(|(_, bytes)| bytes.clone()).collect();
                if read == expected {
                    Ok(())
                } else {
                    Err(format!("read {from}..{to} of {id}: {read:?} for {expected:?}"))
                }
            }
            Err(_) if !self.node.is_up() => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Ends this run of the log, one way or another.
    async fn stop(&mut self, wal: &Arc<Wal>) {
        match self.rng.below(4) {
            0 => {
                let waiting: Vec<u64> = self.model.waiting.keys().copied().collect();
                waiting.into_iter().for_each(|id| self.model.carry_committed(id));
                let stopped = wal.shutdown().await.is_ok();
                self.durable_if_ok(stopped);
                self.node.kill();
            }
            1 => self.node.kill(),
            _ => self.node.crash(),
        }
    }

    async fn all(&mut self) -> Result<(), String> {
        for _ in 0..4 {
            let wal = self.reopen().await?;
            if self.rng.coin() {
                let operation = self.node.operations() + 1 + self.rng.below(60);
                self.node.crash_at_operation(Some(operation));
            }
            for _ in 0..self.rng.below(50) {
                self.operate(&wal).await?;
                if !self.node.is_up() {
                    break;
                }
            }
            if self.node.is_up() {
                self.stop(&wal).await;
            }
            if let Some(halt) = self.node.halted() {
                return Err(halt.reason);
            }
            if self.rng.one_in(4) {
                // The next one happens while the log is read back, or soon after.
                self.node.restart();
                self.node.crash_at_operation(Some(self.node.operations() + 1 + self.rng.below(12)));
            }
        }
        self.node.crash_at_operation(None);
        self.reopen().await?;
        let number = |(path, _): &(std::path::PathBuf, u64)| {
            u64::from_str_radix(path.file_stem().unwrap().to_str().unwrap(), 16).unwrap()
        };
        let files = self.node.files();
        self.coverage.segments_max = files.last().map_or(0, number);
        self.coverage.collected = usize::from(files.first().map_or(0, number) > 1);
        Ok(())
    }
}

fn run(seed: u64, change: impl Fn(&mut WalOptions)) -> Result<Coverage, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut run = Run::new(seed);
        change(&mut run.options);
        run.all().await?;
        Ok(run.coverage)
    })
}

/// WAL-1, WAL-2, WAL-6, and WAL-7: a committed position is a step behind its entries, and what is recovered is a prefix
/// of the steps.
#[test]
fn a_crash_keeps_a_prefix_with_all_that_was_durable() {
    let mut all = Coverage::default();
    for seed in 0..3_000 {
        match run(seed, |_| {}) {
            Ok(coverage) => {
                all.recoveries += coverage.recoveries;
                all.losses += coverage.losses;
                all.segments_max = all.segments_max.max(coverage.segments_max);
                all.collected += coverage.collected;
            }
            Err(problem) => panic!("seed {seed}: {problem}"),
        }
    }
    let enough = all.recoveries > 10_000 && all.losses > 500 && all.segments_max > 15 && all.collected > 500;
    assert!(enough, "the runs did not meet enough: {all:?}");
}

/// WAL-1, WAL-2: their mutants.
#[cfg(debug_assertions)]
#[test]
fn the_model_finds_seeded_mistakes() {
    use strata_wal::Mutant;
    for mutant in [Mutant::AckBeforeSync, Mutant::TruncateNotDurable] {
        let found = (0..300).any(|seed| run(seed, |options| options.mutant = Some(mutant)).is_err());
        assert!(found, "{mutant:?} survived");
    }
}
