//! One run: start, work under faults, heal, judge.

use std::sync::Arc;
use std::time::Duration;

use strata_check::{STEPS_DEFAULT, Verdict};
use strata_env::sim::SimWorld;
use strata_types::{ClusterVersion, Feature};
use tokio::task::JoinError;

use crate::client::Record;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fabric::Fabric;
use crate::full_disks;
use crate::healing::heal;
use crate::nemesis::Nemesis;
use crate::settled::unsettled;
use crate::shape::Shape;
use crate::staff::{Clients, Staff, former_leader_and_repeated_prepare, promises};
use crate::trace::{Trace, trace};
use crate::txn::{Stories, Transactors, prepared_too_late};

/// How often invariants are checked.
const STEP: Duration = Duration::from_millis(20);
/// Every so many steps it is also looked at parts of transactions.
const PARTS_STEPS: u64 = 5;
/// A fresh cluster is ready within this time.
const FOUNDING_MAX: Duration = Duration::from_secs(30);

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// Simulated time under faults.
    pub seconds: u64,
    /// How many nodes; the seed decides when this is `None`.
    pub nodes: Option<usize>,
    /// What clients with transactions do; the seed decides when this is `None`.
    pub stories: Option<Stories>,
    /// The newest version that programs know at first; the seed decides when this is `None`.
    pub version: Option<ClusterVersion>,
    /// Whether disks fill up; the seed decides when this is `None`.
    pub full_disks: Option<bool>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Everything that was broken; empty is good.
    pub violations: Vec<String>,
    /// Simulated time, all phases.
    pub simulated: Duration,
    /// Faults installed.
    pub faults: u64,
    /// Operations answered with success.
    pub acknowledged: u64,
    /// Messages sent between machines.
    pub messages: u64,
    /// Replica states checked.
    pub checks: u64,
    /// Nodes that joined after the founding, or came back as new ones.
    pub joins: usize,
    /// Changes of members that were made.
    pub moves: u64,
    /// Transactions that were committed, snapshots among them.
    pub committed: u64,
    /// Transactions that were refused or given up.
    pub aborted: u64,
    /// Nodes that were removed, or replaced after their disks were lost.
    pub removals: usize,
    /// Programs that were exchanged for newer or older ones.
    pub exchanges: u64,
    /// Disks that filled up.
    pub full_disks: u64,
    /// What happened, line by line.
    pub trace: String,
}

/// Runs a plan on a runtime of its own, with simulated time and a seeded scheduler.
pub fn run(plan: Plan) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&plan.seed.to_be_bytes()))
        .build()
        .expect("a runtime without I/O needs nothing that could fail");
    runtime.block_on(simulate(plan))
}

async fn simulate(plan: Plan) -> Report {
    let trace = Arc::new(Trace::new());
    let world = SimWorld::new(plan.seed);
    let mut shape = Shape::roll(&mut Dice::new(plan.seed, "shape"), plan.nodes);
    if let Some(stories) = plan.stories {
        shape.stories = stories.list();
    }
    shape.version = plan.version.unwrap_or(shape.version);
    shape.full_disks = plan.full_disks.unwrap_or_else(|| shape.has_operator && full_disks::are_chosen(plan.seed));
    let founders = shape.founders;
    trace!(trace, "seed {} {shape:?}", plan.seed);
    let fabric = Fabric::new(Dice::new(plan.seed, "fabric"));
    let cluster = Cluster::new(&world, fabric.clone(), trace.clone(), shape);
    for host in 0..founders {
        cluster.bring_in(host);
    }
    let watch = tokio::spawn(watch(cluster.clone()));
    let record = Record::new(&cluster);
    let (mut counts, mut exchanges, mut full_disks) = ((0, 0), 0, 0);
    let mut nemesis = Nemesis::new(cluster.clone(), Dice::new(plan.seed, "nemesis"));

    if within(FOUNDING_MAX, || unsettled(&cluster).is_none()).await {
        let mut clients = Clients::start(&plan, &world, &fabric, &cluster);
        let map = clients.map.clone();
        nemesis.promises = promises(&world, &cluster, &record, &map);
        let transactors = Transactors::new(plan.seed, &world, &cluster, &record, map.clone());
        (nemesis.former_leader, nemesis.repeated_prepare) =
            former_leader_and_repeated_prepare(&world, &cluster, &transactors, &record, &map).unzip();
        if clients.map.has(Feature::Transactions) {
            transactors.prepare().await;
        }
        let staff = Staff::hire(&plan, &cluster);
        let staff = under_faults(&plan, &mut nemesis, staff, &mut clients, (&record, &transactors)).await;
        exchanges = staff.exchange.as_ref().map_or(0, |exchange| exchange.made);
        full_disks = staff.full_disks.as_ref().map_or(0, |full_disks| full_disks.made);
        if cluster.invariants.lock().violations().is_empty() {
            heal(&cluster, staff, (&record, &transactors), &mut clients).await;
        }
        transactors.judge();
        counts = transactors.book.counts();
    } else {
        let missing = unsettled(&cluster).unwrap_or_default();
        report(&cluster, format!("SIM-LIVE-1 a fresh cluster becomes ready: {missing}"));
    }
    if watch.is_finished() {
        report(&cluster, "SIM-NODE-1 nobody ends without need: the simulator's own watch".into());
    }
    watch.abort();
    judge(&cluster, &record, nemesis.installed);
    let invariants = cluster.invariants.lock();
    let maps = &invariants.maps;
    Report {
        seed: plan.seed,
        violations: invariants.violations().to_vec(),
        simulated: trace.elapsed(),
        faults: nemesis.installed,
        acknowledged: record.acknowledged(),
        messages: fabric.counts().0,
        checks: invariants.checks(),
        joins: maps.nodes_ever().saturating_sub(founders),
        moves: maps.changes(),
        removals: maps.nodes_removed(),
        exchanges,
        full_disks,
        committed: counts.0,
        aborted: counts.1,
        trace: trace.text(),
    }
}

pub(crate) fn report(cluster: &Cluster, violation: String) {
    cluster.invariants.lock().report(violation);
    cluster.check();
}

/// SIM-NODE-1, of a task that runs on no machine.
pub(crate) fn no_panic(cluster: &Cluster, ended: Result<(), JoinError>) {
    let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) else { return };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("not a text");
    report(cluster, format!("SIM-NODE-1 nobody ends without need: a client panicked: {text}"));
}

/// Checks invariants and restarts nodes that stopped themselves, for ever.
async fn watch(cluster: Arc<Cluster>) {
    for step in 1u64.. {
        tokio::time::sleep(STEP).await;
        cluster.check();
        cluster.revive();
        cluster.look_at_clients();
        if step.is_multiple_of(PARTS_STEPS)
            && !cluster.shape.stories.is_empty()
            && let Some(late) = prepared_too_late(&cluster)
        {
            report(&cluster, format!("SIM-TXN-6 what is prepared can be resolved: {late}"));
        }
    }
}

pub(crate) async fn within(time: Duration, done: impl Fn() -> bool) -> bool {
    let until = tokio::time::Instant::now() + time;
    while !done() {
        if tokio::time::Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(STEP).await;
    }
    true
}

async fn under_faults(
    plan: &Plan,
    nemesis: &mut Nemesis,
    staff: Staff,
    clients: &mut Clients,
    (record, transactors): (&Arc<Record>, &Arc<Transactors>),
) -> Staff {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let staff = staff.begin(&stopped);
    let mut working = clients.begin(record, &stopped);
    working.extend(transactors.start(&stopped));
    let until = tokio::time::Instant::now() + Duration::from_secs(plan.seconds);
    // What comes after the first violation is mostly its consequence.
    while tokio::time::Instant::now() < until && nemesis.cluster.invariants.lock().violations().is_empty() {
        nemesis.strike().await;
    }
    let _ = stop.send(true);
    for client in working {
        no_panic(&nemesis.cluster, client.await);
    }
    staff.ended().await
}

/// SIM-CLIENT-1: what clients were told is what one copy of the data could have told them. SIM-LIVE-8: they were told
/// something, and there were faults.
fn judge(cluster: &Cluster, record: &Record, faults: u64) {
    cluster.look_at_clients();
    match strata_check::check(&record.history(), STEPS_DEFAULT) {
        Verdict::Linearizable => {}
        verdict => report(cluster, format!("SIM-CLIENT-1 linearizable keys: {verdict:?}")),
    }
    let (is_clean, acknowledged) = (cluster.invariants.lock().violations().is_empty(), record.acknowledged());
    if is_clean && (faults == 0 || acknowledged == 0) {
        let text = format!("{faults} faults, {acknowledged} operations acknowledged");
        report(cluster, format!("SIM-LIVE-8 a run proves something: {text}"));
    }
}
