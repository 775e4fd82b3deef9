//! One node with its ports.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use strata_cluster::{Identity, Node, NodeParts, NodeSettings, Phase, TimeLimits};
use strata_env::Env;
use strata_env::real::{self, RealDisk};
use strata_grpc::{HealthSwitch, Parts};
use strata_http::{Metrics, UPKEEP_INTERVAL};
use strata_kv::Gateway;
use strata_net::tls::NodeTls;
use strata_raft::{Retention, Timing};
use strata_router::RouterOptions;
use strata_storage::{StorageResult, Tablets};
use strata_txn::OpenTransactions;
use strata_types::ShardMap;
use strata_wal::WalOptions;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;

use crate::front::Front;
use crate::inbound_bodies::InboundBodies;
use crate::late_tablets::LateTablets;
use crate::network::Network;
use crate::outbound_bodies::OutboundBodies;
use crate::protocols::{Grpc, Http};
use crate::readiness::Life;
use crate::settings::{Address, Settings};
use crate::sniff::Protocol;
use crate::stopping::stopped;
use crate::view::NodeView;
use crate::{DataDirectory, Ports, StartError};

/// How long connections of clients may take to finish what is under way when the server stops. Streams of the SDK end
/// when what they took is answered.
const CLIENT_DRAIN_DEADLINE: Duration = Duration::from_secs(2);
/// Most connections end in this time once they are told to; only for the others a stop says that it waits.
const CLIENT_DRAIN_QUICK: Duration = Duration::from_millis(100);
/// How long connections of other nodes may take.
const PEER_DRAIN_DEADLINE: Duration = Duration::from_secs(2);
/// Where tablets lie in the data directory.
const TABLETS: &str = "shards";

/// Opens the tablets in a directory: here the engine is chosen.
pub type OpenTablets = Box<dyn FnOnce(&Path) -> StorageResult<Arc<dyn Tablets>> + Send>;
/// Hears of each step of a start and of a stop; must not block.
pub type Listener = Arc<dyn Fn(Phase) + Send + Sync>;

/// What a server is made of.
pub struct ServerParts {
    /// Settings of the node.
    pub settings: Settings,
    /// Figures of the process.
    pub metrics: Metrics,
    /// Opens the tablets, once the data directory is ours and of a format that this program knows.
    pub tablets: OpenTablets,
    /// Hears of each step.
    pub progress: Listener,
}

/// A node that serves.
pub struct Server {
    node: Arc<Node>,
    life: Arc<Life>,
    health: HealthSwitch,
    front: Arc<Front>,
    /// True tells the client port to stop.
    stop_clients: watch::Sender<bool>,
    /// True tells the peer port to stop.
    stop_peers: watch::Sender<bool>,
    peers: JoinHandle<()>,
    progress: Listener,
    client_address: Address,
    peer_address: Address,
    /// What the services answer with.
    _gateway: Gateway,
    /// Given up last.
    _data: DataDirectory,
}

impl Server {
    /// Starts a node and returns when it serves. Dropping the future stops what was started.
    pub async fn start(parts: ServerParts) -> Result<Server, StartError> {
        let ServerParts { settings, metrics, tablets, progress } = parts;
        let env = real::env();
        let tls = certificates(&env, &settings).await?;
        let data = DataDirectory::open(&settings.data)?;
        let ports = Ports::take(&settings).await?;
        let tablets = LateTablets::new(data.path().join(TABLETS), tablets);
        let network = Network::new(&env, tls.clone());

        let (stop_peers, peers_stopping) = watch::channel(false);
        let peers = network.serve(ports.peer, peers_stopping);
        let life = Life::new();
        let routes = Arc::new(OnceLock::new());
        let (stop_clients, clients_stopping) = watch::channel(false);
        let front = client_port(&env, &life, &routes, &metrics, &settings, tls, clients_stopping.clone());
        tokio::spawn(front.clone().serve(ports.client));
        tokio::spawn(keep_up(metrics, clients_stopping));

        let started = Node::start(NodeParts {
            env: env.clone(),
            disk: RealDisk::new(data.path().to_owned()),
            tablets: tablets.clone(),
            transport: network.transport.clone(),
            switchboard: network.switchboard.clone(),
            caller: network.caller.clone(),
            settings: node_settings(&settings, &ports.client_address, &ports.peer_address),
            progress: tell_both(&life, progress.clone()),
        });
        let node = started.await.map_err(|error| match tablets.failure() {
            Some(cause) => StartError::Tablets(cause),
            None => StartError::Cluster(error),
        })?;
        node.timestamps().set_limits(time_limits(&settings));
        let gateway = Gateway::open(&node, &network.switchboard, RouterOptions::default());
        let (services, health) = services(env, &node, &gateway).await?;
        // Let in before the groups have leaders: a node without a quorum answers with the reason.
        assert!(routes.set(services).is_ok(), "the services are set once");
        life.set_node(node.clone());
        node.wait_ready().await;
        health.set_serving(true).await;
        Ok(Server {
            node,
            life,
            health,
            front,
            stop_clients,
            stop_peers,
            peers,
            progress,
            client_address: ports.client_address,
            peer_address: ports.peer_address,
            _gateway: gateway,
            _data: data,
        })
    }

    /// Where clients connect on this machine.
    pub fn client_address(&self) -> &Address {
        &self.client_address
    }

    /// Where other nodes connect on this machine.
    pub fn peer_address(&self) -> &Address {
        &self.peer_address
    }

    /// Which node of which cluster.
    pub fn identity(&self) -> Identity {
        self.node.identity()
    }

    /// The shard map as this node knows it.
    pub fn map(&self) -> Arc<ShardMap> {
        self.node.map()
    }

    /// Stops: leaders move to other nodes, everything becomes durable, connections end (SERVER-4). The listener given at
    /// the start hears of each step. Clients are served until the leaders have moved.
    pub async fn shutdown(self) {
        self.life.set_stopping();
        self.health.set_serving(false).await;
        self.node.shutdown().await;
        self.stop_clients.send_replace(true);
        self.health.end_streams();
        let mut left = self.front.drain(CLIENT_DRAIN_QUICK).await;
        if left > 0 {
            let seconds = CLIENT_DRAIN_DEADLINE.as_secs();
            let reason = format!("waiting up to {seconds} s for clients to disconnect ({left} connected)");
            (self.progress)(Phase::Waiting { reason });
            left = self.front.drain(CLIENT_DRAIN_DEADLINE).await;
        }
        if left > 0 {
            tracing::info!(left, "client connections were cut");
        }
        self.stop_peers.send_replace(true);
        if tokio::time::timeout(PEER_DRAIN_DEADLINE, self.peers).await.is_err() {
            tracing::info!("connections of other nodes were cut");
        }
    }
}

/// The certificates of the node, if it has any, looked at again while it runs.
async fn certificates(env: &Env, settings: &Settings) -> Result<Option<Arc<NodeTls>>, StartError> {
    let Some(files) = settings.tls.clone() else { return Ok(None) };
    // Paths are as the user wrote them.
    let tls = NodeTls::open(env.clone(), RealDisk::new(PathBuf::new()), files, settings.client_auth).await?;
    tls.keep_fresh();
    Ok(Some(tls))
}

fn client_port(
    env: &Env,
    life: &Arc<Life>,
    routes: &Arc<OnceLock<Routes>>,
    metrics: &Metrics,
    settings: &Settings,
    tls: Option<Arc<NodeTls>>,
    stopping: watch::Receiver<bool>,
) -> Arc<Front> {
    let router = strata_http::router(metrics.clone(), life.clone());
    let (bodies, replies) = (InboundBodies::new(env), OutboundBodies::new(env));
    let grpc = Grpc { routes: routes.clone(), router: router.clone(), readiness: life.clone(), bodies, replies };
    let http = Http { router, replies: OutboundBodies::of_http1(env) };
    let protocols: Vec<Arc<dyn Protocol>> = vec![Arc::new(grpc), Arc::new(http)];
    Front::new(protocols, tls, settings.connections_max, stopping)
}

async fn services(env: Env, node: &Arc<Node>, gateway: &Gateway) -> Result<(Routes, HealthSwitch), StartError> {
    let (executor, kv) = (gateway.executor.clone(), gateway.router.clone());
    let view = Arc::new(NodeView { node: node.clone(), shards: gateway.executor.clone() });
    let transactions = OpenTransactions::among(kv.clone(), node.identity().node, executor.clone());
    executor.set_keeper(transactions.keeper());
    Ok(strata_grpc::routes(Parts { env, kv, executor, view, transactions: Some(transactions) }).await?)
}

/// Folds histograms until the server stops.
async fn keep_up(metrics: Metrics, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = tokio::time::sleep(UPKEEP_INTERVAL) => metrics.upkeep(),
        }
    }
}

fn tell_both(life: &Arc<Life>, progress: Listener) -> Listener {
    let life = life.clone();
    Arc::new(move |phase: Phase| {
        life.set_phase(phase.to_string());
        progress(phase);
    })
}

fn time_limits(settings: &Settings) -> TimeLimits {
    TimeLimits { retention: settings.history, age_max: settings.reader_age_max }
}

fn node_settings(settings: &Settings, client: &Address, peer: &Address) -> NodeSettings {
    let advertised = |address: &Option<Address>, own: &Address| address.as_ref().unwrap_or(own).to_string();
    NodeSettings {
        cluster: settings.cluster.clone(),
        peer_address: advertised(&settings.advertise_peer, peer),
        client_address: advertised(&settings.advertise, client),
        zone: settings.zone.clone(),
        join: settings.join.clone(),
        weight: settings.weight,
        versions: settings.versions,
        expect: settings.expect,
        shards: settings.shards,
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        timing: Timing {
            heartbeat: settings.heartbeat,
            election_min: settings.election_min,
            election_max: settings.election_max,
            lease_reads: settings.lease_reads,
        },
        replace_after: settings.replace_after,
        retention: Retention::default(),
        snapshot_bytes_per_second: settings.snapshot_bytes_per_second,
        wal: WalOptions {
            segment_bytes: settings.log_segment,
            cache_bytes: usize::try_from(settings.log_cache).unwrap_or(usize::MAX),
            ..WalOptions::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use strata_cluster::ClusterName;

    use super::*;
    use crate::settings::Resolved;

    /// The defaults that users read are those of the crates that know why.
    #[test]
    fn default_settings_are_the_defaults_below() {
        let settings = Resolved::of_layers(Vec::new()).expect("valid").settings;
        let node = node_settings(&settings, &settings.listen, &settings.listen_peer);
        assert_eq!(node.cluster, ClusterName::default());
        assert_eq!(node.timing, Timing::default());
        assert_eq!(node.replace_after, NodeSettings::REPLACE_AFTER);
        let wal = WalOptions::default();
        assert_eq!((node.wal.segment_bytes, node.wal.cache_bytes), (wal.segment_bytes, wal.cache_bytes));
        assert_eq!(node.snapshot_bytes_per_second, strata_raft::SNAPSHOT_BYTES_PER_SECOND);
        assert_eq!(time_limits(&settings), TimeLimits::default());
        assert_eq!(settings.connections_max as usize, strata_types::limits::CLIENT_CONNECTIONS_MAX);
        assert_eq!((node.peer_address.as_str(), node.client_address.as_str()), ("127.0.0.1:7401", "127.0.0.1:7400"));
    }
}
