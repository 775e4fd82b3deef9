//! Snapshot reads and writes on all replicas at once while leaders come and go: nothing that is stamped at or below the
//! time of a read is missing from it, whoever stamped it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strata_raft::{Group, Host, ProposeError, Retention, Witness};
use strata_types::{NodeId, Operation, Reach, Timestamp};
use tokio::time::{sleep, timeout};

use crate::harness::{Cluster, put};

/// Longer than any answer takes of a node that runs.
const PATIENCE: Duration = Duration::from_secs(4);

/// How many write at once.
const WRITERS: usize = 6;

/// A read: its time, the keys that it was about unless it was about all, and those that the tablet then showed.
type Seen = (Timestamp, Option<BTreeSet<String>>, BTreeSet<String>);

/// What everybody knows.
#[derive(Default)]
struct Shared {
    /// The meta group: the highest timestamp that was handed out.
    handed_out: AtomicU64,
    /// How many keys each writer has proposed.
    proposed: [AtomicU64; WRITERS],
    acknowledged: Mutex<Vec<(String, Timestamp)>>,
    /// Keys that were surely not written.
    refused: Mutex<Vec<String>>,
    reads: Mutex<Vec<Seen>>,
    stop: AtomicBool,
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    async fn pause(&mut self, micros_max: u64) {
        sleep(Duration::from_micros(self.roll(micros_max))).await;
    }
}

/// Opens the clock whenever this replica leads and it is closed, as whoever asks the meta group does.
async fn opener(group: Arc<Group>, shared: Arc<Shared>, mut dice: Dice) {
    while shared.goes_on() {
        let status = group.status();
        if status.is_leader && group.clock().is_none() {
            let floor = shared.handed_out.load(Ordering::Relaxed);
            dice.pause(20_000).await;
            group.open_clock(status.term, Timestamp(floor + 1));
        }
        dice.pause(5_000).await;
    }
}

/// Writes each key once, wherever it is let.
async fn writer(groups: Vec<Arc<Group>>, shared: Arc<Shared>, id: usize, mut dice: Dice) {
    for n in 0.. {
        if !shared.goes_on() {
            return;
        }
        let key = format!("w{id}.{n}");
        shared.proposed[id].store(n, Ordering::Relaxed);
        let group = &groups[dice.roll(3) as usize];
        let group = groups.iter().find(|group| group.leads()).unwrap_or(group);
        let write = group.propose_within(vec![put(&key, "v")], reach(&key), Timestamp(0));
        let written = timeout(PATIENCE, write).await;
        match written.map(|mut all| all.remove(0)) {
            Ok(Ok(proposed)) => shared.acknowledged.lock().push((key, proposed.stamp)),
            Ok(Err(ProposeError::NotLeader { .. } | ProposeError::NoTime)) => shared.refused.lock().push(key),
            Ok(Err(ProposeError::Unknown { .. })) | Err(_) => {}
            Ok(Err(error)) => panic!("{error}"),
        }
        dice.pause(3_000).await;
    }
}

/// A timestamp as the meta group hands it out, on the way to a node and back. If it is handed out on the node of another voter,
/// that one may be a witness of the replica that leads.
async fn begin(group: &Group, voter: &Host, shared: &Shared, dice: &mut Dice) -> (Timestamp, Option<Witness>) {
    let ballot = group.ballot();
    dice.pause(3_000).await;
    let at = Timestamp(shared.handed_out.fetch_add(1, Ordering::Relaxed) + 1);
    let witness = ballot.and_then(|ballot| {
        let claim = ballot.claim_on(voter.node()).filter(|claim| voter.is_true(claim))?;
        Witness::new(ballot, claim.voter(), at)
    });
    let is_slow = dice.roll(10) == 0;
    dice.pause(if is_slow { 1_500_000 } else { 3_000 }).await;
    (at, witness)
}

async fn reader(group: Arc<Group>, voter: Arc<Host>, shared: Arc<Shared>, mut dice: Dice) {
    while shared.goes_on() {
        let (at, witness) = begin(&group, &voter, &shared, &mut dice).await;
        // The keys that are being written, or all.
        let some: Option<BTreeSet<String>> = (dice.roll(2) == 0).then(|| {
            let newest = |id: usize| shared.proposed[id].load(Ordering::Relaxed);
            (0..WRITERS).map(|id| format!("w{id}.{}", newest(id).saturating_sub(dice.roll(2)))).collect()
        });
        let some = some.map(|keys| keys.into_iter().take(1 + dice.roll(2) as usize).collect::<BTreeSet<_>>());
        let reached =
            some.as_ref().map_or(Reach::ALL, |keys| keys.iter().map(|key| reach(key)).fold(Reach::NOTHING, Reach::and));
        if let Ok(Ok(())) = timeout(PATIENCE, group.snapshot_barrier_for(at, &reached, witness.as_ref())).await {
            let mut keys = BTreeSet::new();
            let scanned = group.tablet().scan(b"w", b"x", &mut |key, _| {
                keys.insert(String::from_utf8(key.to_vec()).expect("text"));
                true
            });
            scanned.expect("memory");
            shared.reads.lock().push((at, some, keys));
        }
        dice.pause(8_000).await;
    }
}

fn reach(key: &str) -> Reach {
    Reach::of(&Operation::Get { key: key.to_owned().into() })
}

/// Leaders hand over, are cut off, and come back.
async fn disturb(cluster: &Cluster, dice: &mut Dice) {
    for _ in 0..12 {
        let Some(leader) = (1..=3).find(|node| cluster.group(*node).leads()) else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let group = cluster.group(leader);
        match dice.roll(3) {
            0 => {
                cluster.network.isolate(NodeId(leader), true);
                sleep(Duration::from_millis(200 + dice.roll(1_500))).await;
                cluster.network.isolate(NodeId(leader), false);
            }
            // There and back again at once, if it succeeds.
            1 => {
                for _ in 0..2 {
                    let leads = (1..=3).map(|node| cluster.group(node)).find(|group| group.leads());
                    if let Some(group) = leads
                        && let Some(successor) = group.best_successor()
                    {
                        group.transfer_leader(successor, Duration::from_secs(1)).await;
                    }
                }
            }
            _ => {
                if let Some(successor) = group.best_successor() {
                    group.transfer_leader(successor, Duration::from_secs(1)).await;
                }
            }
        }
        sleep(Duration::from_millis(dice.roll(400))).await;
    }
}

/// RAFT-12, RAFT-13, RAFT-14
#[tokio::test(start_paused = true)]
async fn a_snapshot_read_lacks_nothing_that_gets_a_stamp_at_or_below_it_whoever_leads() {
    let mut all = Figures::default();
    for seed in 140..146 {
        let cluster = Cluster::new(seed, Retention::default()).await;
        let groups: Vec<_> = (1..=3).map(|node| cluster.group(node).clone()).collect();
        for (node, group) in (1..=3).zip(&groups) {
            group.set_timed(true);
            cluster.world.node(node).set_latency(Duration::from_micros(100)..=Duration::from_millis(5));
        }
        let shared = Arc::new(Shared::default());
        let dice = |n: u64| Dice(seed * 1_000 + n);
        let mut tasks = Vec::new();
        for (n, group) in (0..).zip(&groups) {
            tasks.push(tokio::spawn(opener(group.clone(), shared.clone(), dice(n))));
            for (many, voter) in (1..=3).enumerate().filter(|(_, voter)| *voter != n + 1) {
                let voter = cluster.host(voter).clone();
                tasks.push(tokio::spawn(reader(
                    group.clone(),
                    voter,
                    shared.clone(),
                    dice(10 * (1 + many as u64) + n),
                )));
            }
        }
        for id in 0..WRITERS {
            tasks.push(tokio::spawn(writer(groups.clone(), shared.clone(), id, dice(40 + id as u64))));
        }
        disturb(&cluster, &mut dice(50)).await;
        shared.stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("no panic");
        }
        for node in 1..=3 {
            assert_eq!(cluster.world.node(node).halted(), None, "seed {seed}");
        }
        cluster.converge().await;
        check(&cluster, &shared, seed, &mut all);
    }
    assert!(all.held > 30_000 && all.by_name > 100 && all.refused > 100, "{all:?}");
}

/// What was to be seen: in all, and by those who read keys by name; and how many writes were refused.
#[derive(Debug, Default)]
struct Figures {
    held: usize,
    by_name: usize,
    refused: usize,
}

fn check(cluster: &Cluster, shared: &Shared, seed: u64, all: &mut Figures) {
    for (key, stamp) in shared.acknowledged.lock().iter() {
        assert_eq!(cluster.stamp(1, key), Some(*stamp), "seed {seed}: {key} was acknowledged");
    }
    for key in shared.refused.lock().iter() {
        assert_eq!(cluster.stamp(1, key), None, "seed {seed}: {key} was refused and is there");
    }
    let mut written = Vec::new();
    let scanned = cluster.group(1).tablet().scan(b"w", b"x", &mut |key, _| {
        let key = String::from_utf8(key.to_vec()).expect("text");
        // Each has a row beside it that notes its stamp.
        if !key.ends_with('@') {
            written.push(key);
        }
        true
    });
    scanned.expect("memory");
    let reads = shared.reads.lock();
    for key in &written {
        let stamp = cluster.stamp(1, key).expect("the group has time");
        let sees = |some: &Option<BTreeSet<String>>| some.as_ref().is_none_or(|some| some.contains(key));
        for (at, some, keys) in reads.iter().filter(|(at, some, _)| *at >= stamp && sees(some)) {
            assert!(keys.contains(key), "seed {seed}: {key} has stamp {stamp} and was not seen at {at}");
            all.held += 1;
            all.by_name += usize::from(some.is_some());
        }
    }
    all.refused += shared.refused.lock().len();
}
