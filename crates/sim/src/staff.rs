//! Those who work on the cluster, and the clients that use it.

use std::sync::Arc;
use std::time::Duration;

use strata_env::sim::SimWorld;
use strata_router::{Router, RouterOptions};
use strata_types::{ClientId, ClusterVersion, ReadLevel, ShardMap};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::{Client, Record};
use crate::cluster::{Cluster, FIRST_CLIENT_HOST};
use crate::dice::Dice;
use crate::exchange::Exchange;
use crate::fabric::{Fabric, SimTransport};
use crate::former_leader::FormerLeader;
use crate::full_disks::FullDisks;
use crate::link::ClientLink;
use crate::operator::Operator;
use crate::probe::{FIRST_PROBE_HOST, Probe};
use crate::promises::Promises;
use crate::repeated_prepare::RepeatedPrepare;
use crate::run::Plan;
use crate::txn::Transactors;

/// Clients of a run. Few: the checker's cost is in operations that overlap.
const CLIENTS: u64 = 4;

/// Those who work on the cluster.
pub(crate) struct Staff {
    pub(crate) operator: Option<Operator>,
    /// Where programs are old.
    pub(crate) exchange: Option<Exchange>,
    /// Where disks fill up.
    pub(crate) full_disks: Option<FullDisks>,
}

/// The same, at work.
pub(crate) struct StaffAtWork {
    operator: Option<JoinHandle<Operator>>,
    exchange: Option<JoinHandle<Exchange>>,
    full_disks: Option<JoinHandle<FullDisks>>,
}

impl Staff {
    pub(crate) fn hire(plan: &Plan, cluster: &Arc<Cluster>) -> Staff {
        let (dice, shape) = (|part| Dice::new(plan.seed, part), &cluster.shape);
        let operator = shape.has_operator.then(|| Operator::new(cluster.clone(), dice("operator")));
        let is_old = shape.version < ClusterVersion::NEWEST;
        let exchange = is_old.then(|| Exchange::new(cluster.clone(), dice("exchange")));
        let full_disks = shape.full_disks.then(|| FullDisks::new(cluster.clone(), dice("which disks")));
        Staff { operator, exchange, full_disks }
    }

    /// All of them work until told to stop.
    pub(crate) fn begin(self, stop: &watch::Receiver<bool>) -> StaffAtWork {
        StaffAtWork {
            operator: self.operator.map(|operator| tokio::spawn(operator.work(stop.clone()))),
            exchange: self.exchange.map(|exchange| tokio::spawn(exchange.work(stop.clone()))),
            full_disks: self.full_disks.map(|full_disks| tokio::spawn(full_disks.work(stop.clone()))),
        }
    }
}

impl StaffAtWork {
    /// What they came to.
    pub(crate) async fn ended(self) -> Staff {
        Staff {
            operator: ended(self.operator).await,
            exchange: ended(self.exchange).await,
            full_disks: ended(self.full_disks).await,
        }
    }
}

async fn ended<T>(task: Option<JoinHandle<T>>) -> Option<T> {
    match task {
        Some(task) => Some(task.await.expect("who works on the cluster does not panic")),
        None => None,
    }
}

/// Those who use single keys.
pub(crate) struct Clients {
    pub(crate) routers: Vec<(ClientId, Arc<Router>)>,
    /// How they read.
    pub(crate) level: ReadLevel,
    /// Keeps their ends of the network.
    _links: Vec<Arc<ClientLink>>,
    pub(crate) seed: u64,
    pub(crate) map: Arc<ShardMap>,
}

impl Clients {
    /// They know the map as it is now.
    pub(crate) fn start(plan: &Plan, world: &SimWorld, fabric: &Arc<Fabric>, cluster: &Arc<Cluster>) -> Clients {
        let first = cluster.nodes().first().map(|(_, _, node)| node.map());
        let map = first.unwrap_or_else(|| Arc::new(ShardMap::default()));
        let level = if cluster.shape.lease_reads { ReadLevel::Lease } else { ReadLevel::Linearizable };
        let mut clients = Clients { routers: Vec::new(), level, _links: Vec::new(), seed: plan.seed, map: map.clone() };
        for number in 1..=CLIENTS {
            let host = FIRST_CLIENT_HOST + number as usize;
            let env = world.node(host as u64).env();
            let transport = SimTransport::new(fabric.clone(), host);
            let link = ClientLink::new(env.clone(), cluster, transport, host, map.cluster);
            // Half of the clients use sessions, so that their writes are retried and must still apply once.
            let options = RouterOptions { sessions: number % 2 == 0, ..RouterOptions::default() };
            clients.routers.push((ClientId(number), Router::new(env, link.clone(), map.clone(), options)));
            clients._links.push(link);
        }
        clients
    }

    /// All of them work until told to stop.
    pub(crate) fn begin(&self, record: &Arc<Record>, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let begin = |(id, router): &(ClientId, Arc<Router>)| {
            let mut dice = Dice::new(self.seed, &format!("client {id}"));
            let think_max = Duration::from_millis(dice.between(20, 400));
            let client = Client::new(*id, router.clone(), record.clone(), dice, think_max, self.level);
            tokio::spawn(client.work(stop.clone()))
        };
        self.routers.iter().map(begin).collect()
    }
}

/// For those that forget what they promised, where leaders rest on it.
pub(crate) fn promises(
    world: &SimWorld,
    cluster: &Arc<Cluster>,
    record: &Arc<Record>,
    map: &ShardMap,
) -> Option<Promises> {
    let probes = [0, 1].map(|number| Probe::new(number, world, cluster, record, map));
    cluster.shape.lease_reads.then(|| Promises::new(cluster.clone(), probes, FIRST_CLIENT_HOST..FIRST_PROBE_HOST))
}

/// For those that lead again, and for what is prepared twice, where timestamps are used.
pub(crate) fn former_leader_and_repeated_prepare(
    world: &SimWorld,
    cluster: &Arc<Cluster>,
    transactors: &Transactors,
    record: &Arc<Record>,
    map: &ShardMap,
) -> Option<(FormerLeader, RepeatedPrepare)> {
    if cluster.shape.stories.is_empty() {
        return None;
    }
    let [writer, reader, third] = [2, 3, 4].map(|number| Probe::new(number, world, cluster, record, map));
    let book = &transactors.book;
    let clients = FIRST_CLIENT_HOST..FIRST_PROBE_HOST;
    let former_leader = FormerLeader::new(cluster.clone(), book.clone(), [writer, reader], clients);
    Some((former_leader, RepeatedPrepare::new(cluster.clone(), book.clone(), third)))
}
