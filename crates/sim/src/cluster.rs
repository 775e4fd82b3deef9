//! The simulated cluster: machines, their nodes, and the network between them.

mod disks;
mod ends;
mod lives;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use strata_cluster::Node;
use strata_env::sim::{SimNode, SimWorld};
use strata_raft::GroupStatus;
use strata_storage::memory::Durable;
use strata_types::{GroupId, NodeId, ShardMap, VersionRange};

use crate::fabric::{Fabric, Host};
use crate::invariants::Invariants;
use crate::seat::Seat;
use crate::shape::Shape;
use crate::time_rules::TimeRules;
use crate::trace::{Trace, trace};
use crate::version_rules::VersionRules;

pub(crate) use disks::Full;

/// Number of the first client's machine, far from the nodes'.
pub(crate) const FIRST_CLIENT_HOST: Host = 100;
/// Disks that replace wiped ones are numbered from here on.
const FRESH_DISKS: u64 = 1_000;

/// All machines and the network.
pub(crate) struct Cluster {
    pub(crate) fabric: Arc<Fabric>,
    pub(crate) trace: Arc<Trace>,
    pub(crate) invariants: Mutex<Invariants>,
    pub(crate) time: Mutex<TimeRules>,
    pub(crate) versions: Mutex<VersionRules>,
    pub(crate) shape: Shape,
    world: SimWorld,
    seats: Mutex<Vec<Seat>>,
    wipes: AtomicU64,
    dead: Mutex<BTreeSet<NodeId>>,
}

impl Cluster {
    /// How long a healthy disk takes to sync.
    pub(crate) const SYNC_LATENCY: std::ops::RangeInclusive<Duration> =
        Duration::from_micros(100)..=Duration::from_micros(600);

    pub(crate) fn new(world: &SimWorld, fabric: Arc<Fabric>, trace: Arc<Trace>, shape: Shape) -> Arc<Cluster> {
        let seat = |host| {
            let machine = world.node(host as u64 + 1);
            machine.set_latency(Cluster::SYNC_LATENCY);
            Seat {
                machine,
                tablets: Durable::new(),
                in_service: false,
                may_found: host < shape.founders,
                versions: VersionRange { most: shape.version, ..VersionRange::SUPPORTED },
                life: 0,
                failure: None,
                running: None,
            }
        };
        let seats = Mutex::new((0..shape.machines()).map(seat).collect());
        let (world, wipes) = (world.clone(), AtomicU64::new(0));
        Arc::new(Cluster {
            fabric,
            trace,
            invariants: Mutex::default(),
            time: Mutex::default(),
            versions: Mutex::new(VersionRules::new(shape.version)),
            shape,
            world,
            seats,
            wipes,
            dead: Mutex::default(),
        })
    }

    /// Number of machines, in service or not.
    pub(crate) fn size(&self) -> usize {
        self.shape.machines()
    }

    /// The machines that are meant to run.
    pub(crate) fn in_service(&self) -> Vec<Host> {
        let seats = self.seats.lock();
        (0..seats.len()).filter(|host| seats[*host].in_service).collect()
    }

    /// Machines that were never in service.
    pub(crate) fn unused(&self) -> Vec<Host> {
        let seats = self.seats.lock();
        (0..seats.len()).filter(|host| seats[*host].life == 0).collect()
    }

    /// Machines whose disks say that they are a node.
    pub(crate) fn seated(&self) -> Vec<(Host, NodeId)> {
        (0..self.size()).filter_map(|host| Some((host, self.fabric.node_at(host)?))).collect()
    }

    /// Nodes whose disks are gone for ever.
    pub(crate) fn dead(&self) -> BTreeSet<NodeId> {
        self.dead.lock().clone()
    }

    /// The machines of clients.
    pub(crate) fn client_machines(&self) -> Vec<SimNode> {
        let clients = FIRST_CLIENT_HOST as u64..FRESH_DISKS;
        self.world.nodes().into_iter().filter(|machine| clients.contains(&machine.number())).collect()
    }

    pub(crate) fn machine(&self, host: Host) -> SimNode {
        self.seats.lock()[host].machine.clone()
    }

    /// What the program of a machine knows.
    pub(crate) fn program(&self, host: Host) -> VersionRange {
        self.seats.lock()[host].versions
    }

    /// A stopped machine gets another program.
    pub(crate) fn set_program(&self, host: Host, versions: VersionRange) {
        let mut seats = self.seats.lock();
        assert!(seats[host].running.is_none(), "only the program of a stopped machine is exchanged");
        seats[host].versions = versions;
        trace!(self.trace, "host-{host} has a program of {versions}");
    }

    /// A machine is meant to run from now on, and starts.
    pub(crate) fn bring_in(self: &Arc<Self>, host: Host) {
        self.seats.lock()[host].in_service = true;
        self.start(host);
    }

    /// A machine is not meant to run any more, and stops.
    pub(crate) fn take_out(&self, host: Host) {
        self.stop(host, false);
        self.seats.lock()[host].in_service = false;
    }

    /// The nodes that run and know who they are.
    pub(crate) fn nodes(&self) -> Vec<(Host, u64, Arc<Node>)> {
        let seats = self.seats.lock();
        let node = |(host, seat): (usize, &Seat)| Some((host, seat.life, seat.node()?));
        seats.iter().enumerate().filter_map(node).collect()
    }

    /// The newest map that any node ever had.
    pub(crate) fn newest_map(&self) -> Arc<ShardMap> {
        self.invariants.lock().maps.newest()
    }

    /// The machine that leads the meta group.
    pub(crate) fn meta_leader(&self) -> Option<Host> {
        let leads = |node: &Node| node.host().group(GroupId::META).is_some_and(|group| group.status().is_leader);
        self.nodes().into_iter().find(|(_, _, node)| leads(node)).map(|(host, _, _)| host)
    }

    /// A machine that leads some group of the present.
    pub(crate) fn some_leader(&self) -> Option<Host> {
        let leads = |node: &Node| node.host().groups().iter().any(|group| group.status().is_leader);
        self.nodes().into_iter().find(|(_, _, node)| leads(node)).map(|(host, _, _)| host)
    }

    /// Checks every invariant on the present state of every running node.
    pub(crate) fn check(&self) {
        let nodes = self.nodes();
        let mut invariants = self.invariants.lock();
        for (_, life, node) in &nodes {
            let (id, map) = (node.identity().node, node.map());
            invariants.see_map(id, *life, &map);
            if let Some(text) = self.versions.lock().see(id, *life, node.settings().versions, map.version) {
                invariants.report(text);
            }
        }
        let mut groups = Vec::new();
        for (_, life, node) in &nodes {
            for group in node.host().groups() {
                let status = group.status();
                invariants.see_replica(*life, node.identity().node, &status);
                groups.push((status, group.members()));
            }
        }
        invariants.see_members(&groups);
        for violation in invariants.news() {
            trace!(self.trace, "VIOLATION {violation}");
        }
    }

    /// The state of every replica of every running node, by group.
    pub(crate) fn statuses(&self) -> Vec<GroupStatus> {
        let groups = |(_, _, node): (Host, u64, Arc<Node>)| node.host().groups();
        let mut statuses: Vec<_> = self.nodes().into_iter().flat_map(groups).map(|group| group.status()).collect();
        statuses.sort_by_key(|status| (status.group, status.replica));
        statuses
    }
}
