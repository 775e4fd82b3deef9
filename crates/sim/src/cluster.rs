//! The simulated cluster: machines, their nodes, and the network between them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strata_cluster::{Node, NodeParts, NodeSettings};
use strata_env::TaskHandle;
use strata_env::sim::{SimNode, SimWorld};
use strata_kv::{LocalShards, NodeLink};
use strata_net::{Caller, Inbox, Switchboard};
use strata_raft::{GroupStatus, Retention, SNAPSHOT_BYTES_PER_SECOND, Timing};
use strata_storage::memory::{Durable, MemoryTablets};
use strata_types::{GroupId, VersionRange};
use strata_wal::WalOptions;

use crate::dice::Dice;
use crate::fabric::{Fabric, Host, SimTransport, address_of};
use crate::invariants::Invariants;
use crate::trace::{Trace, trace};

/// The shape of one run, from its seed.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    pub(crate) shards: u32,
    pub(crate) retention: Retention,
}

impl Shape {
    /// 3 to 5 nodes, 3 to 6 shards; logs are cut early, so that followers that were away need snapshots.
    pub(crate) fn roll(dice: &mut Dice) -> Shape {
        let retention = Retention {
            flush_bytes: dice.between(500, 20_000),
            keep_bytes: dice.between(500, 8_000),
            keep_bytes_max: dice.between(8_000, 40_000),
            log_bytes: 200_000,
            flush_age: Duration::from_secs(dice.between(5, 60)),
        };
        Shape { nodes: *dice.pick(&[3, 3, 4, 5]), shards: dice.between(3, 6) as u32, retention }
    }
}

/// One machine and what runs on it.
struct Seat {
    machine: SimNode,
    tablets: Arc<Durable>,
    /// Counts the lives of the node.
    life: u64,
    running: Option<Running>,
}

struct Running {
    transport: Arc<SimTransport>,
    /// Keeps the inbox that the network points to.
    _switchboard: Arc<Switchboard>,
    /// The node, once it has found its cluster.
    node: Arc<Mutex<Option<Arc<Node>>>>,
    starting: TaskHandle,
}

/// All machines and the network.
pub(crate) struct Cluster {
    pub(crate) fabric: Arc<Fabric>,
    pub(crate) trace: Arc<Trace>,
    pub(crate) invariants: Mutex<Invariants>,
    shape: Shape,
    seats: Mutex<Vec<Seat>>,
}

impl Cluster {
    /// How long a healthy disk takes to sync.
    pub(crate) const SYNC_LATENCY: std::ops::RangeInclusive<Duration> =
        Duration::from_micros(100)..=Duration::from_micros(600);

    pub(crate) fn new(world: &SimWorld, fabric: Arc<Fabric>, trace: Arc<Trace>, shape: Shape) -> Arc<Cluster> {
        let seat = |host| {
            let machine = world.node(host as u64 + 1);
            machine.set_latency(Cluster::SYNC_LATENCY);
            Seat { machine, tablets: Durable::new(), life: 0, running: None }
        };
        let seats = Mutex::new((0..shape.nodes).map(seat).collect());
        Arc::new(Cluster { fabric, trace, invariants: Mutex::default(), shape, seats })
    }

    /// Number of machines.
    pub(crate) fn size(&self) -> usize {
        self.shape.nodes
    }

    /// Number of ends of the network that faults may cut off: the machines and the clients behind them.
    pub(crate) fn ends(&self) -> usize {
        self.shape.nodes
    }

    pub(crate) fn machine(&self, host: Host) -> SimNode {
        self.seats.lock()[host].machine.clone()
    }

    /// Starts the node of a machine, on what its disk kept. Does nothing if it runs.
    pub(crate) fn start(&self, host: Host) {
        let mut seats = self.seats.lock();
        let seat = &mut seats[host];
        if seat.running.is_some() && seat.machine.is_up() {
            return;
        }
        seat.machine.restart();
        seat.life += 1;
        let env = seat.machine.env();
        let transport = SimTransport::new(self.fabric.clone(), host);
        let caller = Caller::new(env.clone(), transport.clone());
        let switchboard = Switchboard::new(caller.clone(), transport.clone());
        let inbox: Arc<dyn Inbox> = switchboard.clone();
        self.fabric.attach(host, Arc::downgrade(&inbox));
        let parts = NodeParts {
            env: env.clone(),
            disk: seat.machine.disk(),
            tablets: Arc::new(MemoryTablets::over(seat.tablets.clone())),
            transport: transport.clone(),
            switchboard: switchboard.clone(),
            caller,
            settings: self.settings(host),
            progress: Arc::new(|_| ()),
        };
        let node = Arc::new(Mutex::new(None));
        let (found, board, trace) = (node.clone(), switchboard.clone(), self.trace.clone());
        let starting = env.spawn("sim-start", async move {
            match Node::start(parts).await {
                Ok(node) => {
                    let shards = Arc::new(LocalShards::new(node.clone()));
                    NodeLink::new(shards).register(&board);
                    *found.lock() = Some(node);
                }
                Err(error) => trace!(trace, "host-{host} does not start: {error}"),
            }
        });
        seat.running = Some(Running { transport, _switchboard: switchboard, node, starting });
        trace!(self.trace, "host-{host} starts, life {}", seat.life);
    }

    fn settings(&self, host: Host) -> NodeSettings {
        NodeSettings {
            peer_address: address_of(host),
            client_address: format!("host-{host}:7400"),
            zone: String::new(),
            join: (0..self.size()).map(address_of).collect(),
            weight: 1,
            versions: VersionRange::default(),
            expect: Some(self.size() as u32),
            shards: Some(self.shape.shards),
            cores: 2,
            timing: Timing::default(),
            replace_after: NodeSettings::REPLACE_AFTER,
            retention: self.shape.retention,
            snapshot_bytes_per_second: SNAPSHOT_BYTES_PER_SECOND,
            wal: WalOptions { segment_bytes: 128 * 1024, ..WalOptions::default() },
        }
    }

    /// Stops the node of a machine at once: a killed process, or a machine without power.
    pub(crate) fn stop(&self, host: Host, power_loss: bool) {
        let mut seats = self.seats.lock();
        let seat = &mut seats[host];
        let Some(running) = seat.running.take() else { return };
        running.transport.unplug();
        running.starting.abort();
        if power_loss {
            seat.machine.crash();
        } else {
            seat.machine.kill();
        }
        seat.tablets.crash();
        let node = running.node.lock().take();
        if let Some(node) = node {
            // Tasks of the Raft library do not belong to the machine: end them, so that they do not pile up.
            tokio::spawn(async move { node.host().abandon().await });
        }
        trace!(self.trace, "host-{host} stops, power loss: {power_loss}");
    }

    /// The nodes that run and know who they are.
    pub(crate) fn nodes(&self) -> Vec<(Host, u64, Arc<Node>)> {
        let seats = self.seats.lock();
        let node = |(host, seat): (usize, &Seat)| {
            let node = seat.running.as_ref()?.node.lock().clone()?;
            seat.machine.is_up().then_some((host, seat.life, node))
        };
        seats.iter().enumerate().filter_map(node).collect()
    }

    /// Starts again what stopped itself. A node may do so only because its disk failed.
    pub(crate) fn revive(&self) {
        for host in 0..self.size() {
            let halted = self.seats.lock()[host].machine.halted();
            if let Some(halt) = halted {
                trace!(self.trace, "host-{host} halted: {}", halt.reason);
                if halt.reason.contains("panic") {
                    self.invariants.lock().report(format!("SIM-NODE-1 no panics: host-{host}: {}", halt.reason));
                }
                self.stop(host, true);
                self.start(host);
            }
        }
    }

    /// A machine that leads some group of the present.
    pub(crate) fn some_leader(&self) -> Option<Host> {
        let leads = |node: &Node| node.host().groups().iter().any(|group| group.status().is_leader);
        self.nodes().into_iter().find(|(_, _, node)| leads(node)).map(|(host, _, _)| host)
    }

    /// Checks every invariant on the present state of every running node.
    pub(crate) fn check(&self) {
        let mut invariants = self.invariants.lock();
        for (_, life, node) in self.nodes() {
            for group in node.host().groups() {
                invariants.see_replica(life, &group.status());
            }
            let map = node.map();
            if !map.shards.is_empty() {
                invariants.see_map(node.identity().node, life, &map);
            }
        }
    }

    /// The state of every replica of every running node, by group.
    pub(crate) fn statuses(&self) -> Vec<GroupStatus> {
        let groups = |(_, _, node): (Host, u64, Arc<Node>)| node.host().groups();
        let mut statuses: Vec<_> = self.nodes().into_iter().flat_map(groups).map(|group| group.status()).collect();
        statuses.sort_by_key(|status| (status.group, status.replica));
        statuses
    }

    /// Whether every group has all its replicas up, a leader, and all of them at the same place.
    pub(crate) fn converged(&self) -> bool {
        let statuses = self.statuses();
        let groups: Vec<GroupId> = (0..=u64::from(self.shape.shards)).map(GroupId).collect();
        groups.iter().all(|group| {
            let of: Vec<_> = statuses.iter().filter(|status| status.group == *group).collect();
            let Some(first) = of.first() else { return false };
            of.len() == first.voters.len().max(1)
                && of.iter().filter(|status| status.is_leader).count() == 1
                && of.iter().all(|s| s.applied == s.last && s.applied == first.applied && s.chain == first.chain)
        })
    }
}
