//! Machines on one desk: simulated disks and clocks, memory tablets, and a network that only forgets the dead, unless it
//! is told otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use strata_cluster::{ClusterName, Node, NodeParts, NodeSettings, Phase, StartError};
use strata_env::sim::{SimNode, SimWorld};
use strata_net::{Caller, Inbox, Lane, Message, NetError, Switchboard, Transport};
use strata_raft::{Retention, Timing};
use strata_storage::Tablets;
use strata_storage::memory::{Durable, MemoryTablets};
use strata_types::{ClusterId, NodeId, VersionRange};
use strata_wal::WalOptions;
use tokio::sync::mpsc;

type Mail = (Lane, Message, Weak<Switchboard>);

/// Who listens at which address.
pub(crate) struct Hub {
    listeners: Mutex<BTreeMap<String, Weak<Switchboard>>>,
    queue: mpsc::UnboundedSender<Mail>,
    /// Nothing comes from or to these addresses.
    cut: Mutex<BTreeSet<String>>,
    /// What these addresses are sent waits.
    held: Mutex<BTreeMap<String, Vec<Mail>>>,
    /// Who introduces itself to these addresses gets no answer, not even that nobody is there.
    silent: Mutex<BTreeSet<String>>,
}

impl Hub {
    pub(crate) fn new() -> Arc<Hub> {
        let (queue, mut mail) = mpsc::unbounded_channel::<Mail>();
        tokio::spawn(async move {
            while let Some((lane, message, to)) = mail.recv().await {
                if let Some(to) = to.upgrade() {
                    to.deliver(lane, message);
                }
            }
        });
        let (listeners, cut, held) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Hub { listeners, queue, cut, held, silent: Mutex::default() })
    }

    fn listener(&self, address: &str) -> Option<Weak<Switchboard>> {
        self.listeners.lock().get(address).cloned()
    }
}

/// One node's end of the network.
struct Desk {
    hub: Arc<Hub>,
    own: String,
    /// Tasks that were not started through the environment outlive a kill; what they say is not heard.
    is_alive: Arc<AtomicBool>,
    addresses: Mutex<BTreeMap<NodeId, String>>,
}

#[async_trait]
impl Transport for Desk {
    fn send(&self, lane: Lane, message: Message) -> Result<(), NetError> {
        let address = self.addresses.lock().get(&message.to).cloned().unwrap_or_default();
        if [&self.own, &address].into_iter().any(|end| self.hub.cut.lock().contains(end)) {
            return Ok(());
        }
        let to = self.hub.listener(&address).filter(|_| self.is_alive.load(Ordering::Acquire));
        let nobody = || NetError::Unreachable { target: message.to.to_string(), detail: "nobody is there".into() };
        let to = to.ok_or_else(nobody)?;
        match self.hub.held.lock().get_mut(&address) {
            Some(held) => held.push((lane, message, to)),
            None => drop(self.hub.queue.send((lane, message, to))),
        }
        Ok(())
    }

    fn identify(&self, _cluster: ClusterId, _node: NodeId) {}

    fn set_address(&self, node: NodeId, address: &str) {
        self.addresses.lock().insert(node, address.to_owned());
    }

    async fn introduce(&self, address: &str, body: Bytes, deadline: Duration) -> Result<Bytes, NetError> {
        let unreachable = || NetError::Unreachable { target: address.to_owned(), detail: "connection refused".into() };
        let no_answer = |_| NetError::NoAnswer { target: address.to_owned(), detail: "too slow".into() };
        let is_silent = self.hub.silent.lock().contains(address);
        if is_silent {
            return tokio::time::timeout(deadline, std::future::pending()).await.map_err(no_answer)?;
        }
        let listener = self.hub.listener(address).and_then(|listener| listener.upgrade()).ok_or_else(unreachable)?;
        tokio::time::timeout(deadline, listener.introduce(body)).await.map_err(no_answer)?
    }
}

/// A machine with its disk and its tablets.
pub(crate) struct Machine {
    pub(crate) sim: SimNode,
    pub(crate) durable: Arc<Durable>,
    /// A replica whose tablet is damaged.
    pub(crate) damaged: Arc<Mutex<Option<strata_types::ReplicaId>>>,
    pub(crate) phases: Arc<Mutex<Vec<Phase>>>,
    /// Called at each phase, within the process.
    pub(crate) on_phase: Arc<Mutex<Option<OnPhase>>>,
    hub: Arc<Hub>,
    /// Those of the last process: others would be a new process to the machine.
    tablets: Mutex<Option<Arc<dyn Tablets>>>,
    /// The running process; dropping it closes its port.
    process: Arc<Mutex<Option<Process>>>,
}

pub(crate) type OnPhase = Box<dyn Fn(&Phase) + Send>;

struct Process {
    address: String,
    _switchboard: Arc<Switchboard>,
    is_alive: Arc<AtomicBool>,
}

impl Machine {
    pub(crate) fn new(world: &SimWorld, hub: &Arc<Hub>, number: u64) -> Machine {
        Machine {
            sim: world.node(number),
            durable: Durable::new(),
            damaged: Arc::default(),
            phases: Arc::default(),
            on_phase: Arc::default(),
            hub: hub.clone(),
            tablets: Mutex::default(),
            process: Arc::default(),
        }
    }

    /// Starts a process; ends the one that runs.
    pub(crate) async fn start(&self, settings: NodeSettings) -> Result<(Arc<Node>, Arc<Switchboard>), StartError> {
        self.kill();
        self.sim.restart();
        let env = self.sim.env();
        let is_alive = Arc::new(AtomicBool::new(true));
        let desk = Desk {
            hub: self.hub.clone(),
            own: settings.peer_address.clone(),
            is_alive: is_alive.clone(),
            addresses: Mutex::default(),
        };
        let transport: Arc<dyn Transport> = Arc::new(desk);
        let caller = Caller::new(env.clone(), transport.clone());
        let switchboard = Switchboard::new(caller.clone(), transport.clone());
        let address = settings.peer_address.clone();
        self.hub.listeners.lock().insert(address.clone(), Arc::downgrade(&switchboard));
        *self.process.lock() = Some(Process { address, _switchboard: switchboard.clone(), is_alive });
        let (phases, on_phase) = (self.phases.clone(), self.on_phase.clone());
        let inner = MemoryTablets::over(self.durable.clone());
        let tablets: Arc<dyn Tablets> = Arc::new(SomeDamaged { inner, damaged: self.damaged.clone() });
        *self.tablets.lock() = Some(tablets.clone());
        let parts = NodeParts {
            env,
            disk: self.sim.disk(),
            tablets,
            transport,
            switchboard: switchboard.clone(),
            caller,
            settings,
            progress: Arc::new(move |phase| {
                if let Some(on_phase) = &*on_phase.lock() {
                    on_phase(&phase);
                }
                phases.lock().push(phase);
            }),
        };
        Node::start(parts).await.map(|node| (node, switchboard))
    }

    /// The replicas that have tablets.
    pub(crate) fn replicas(&self) -> Vec<strata_types::ReplicaId> {
        let tablets = self.tablets.lock();
        let mut replicas = tablets.as_ref().expect("it was started").list().expect("a list");
        replicas.sort_unstable();
        replicas
    }

    /// From now on nothing comes from or to this machine, and nobody is told.
    pub(crate) fn cut_off(&self) {
        self.hub.cut.lock().insert(self.address());
    }

    /// From now on what this machine is sent waits.
    pub(crate) fn hold(&self) {
        self.hub.held.lock().entry(self.address()).or_default();
    }

    /// The network is as it should be again, and delivers what waited.
    pub(crate) fn heal(&self) {
        let address = self.address();
        self.hub.cut.lock().remove(&address);
        for mail in self.hub.held.lock().remove(&address).unwrap_or_default() {
            let _ = self.hub.queue.send(mail);
        }
    }

    fn address(&self) -> String {
        self.process.lock().as_ref().map(|process| process.address.clone()).expect("it runs")
    }

    /// The process ends, and its port is free.
    pub(crate) fn kill(&self) {
        self.killer()();
    }

    /// The machine is gone without a trace: whoever looks for it at its address waits in vain.
    pub(crate) fn vanish(&self) {
        let address = self.address();
        self.kill();
        self.hub.silent.lock().insert(address);
    }

    /// What ends the process, for those who do not hold the machine.
    pub(crate) fn killer(&self) -> impl Fn() + Send + 'static {
        let (sim, hub, process) = (self.sim.clone(), self.hub.clone(), self.process.clone());
        move || {
            sim.kill();
            if let Some(process) = process.lock().take() {
                process.is_alive.store(false, Ordering::Release);
                hub.listeners.lock().remove(&process.address);
            }
        }
    }
}

/// Tablets of which one may be damaged.
struct SomeDamaged {
    inner: MemoryTablets,
    damaged: Arc<Mutex<Option<strata_types::ReplicaId>>>,
}

impl Tablets for SomeDamaged {
    fn open(&self, replica: strata_types::ReplicaId) -> strata_storage::StorageResult<Arc<dyn strata_storage::Engine>> {
        if *self.damaged.lock() == Some(replica) {
            let (file, detail) = ("000012.sst".to_owned(), "checksum mismatch".to_owned());
            return Err(strata_storage::StorageError::Corrupt { file, detail });
        }
        self.inner.open(replica)
    }

    fn receive(
        &self,
        replica: strata_types::ReplicaId,
    ) -> strata_storage::StorageResult<Box<dyn strata_storage::Receiver>> {
        self.inner.receive(replica)
    }

    fn install(
        &self,
        replica: strata_types::ReplicaId,
        received: Arc<dyn strata_storage::Engine>,
    ) -> strata_storage::StorageResult<()> {
        self.inner.install(replica, received)
    }

    fn remove(&self, replica: strata_types::ReplicaId) -> strata_storage::StorageResult<()> {
        self.inner.remove(replica)
    }

    fn list(&self) -> strata_storage::StorageResult<Vec<strata_types::ReplicaId>> {
        self.inner.list()
    }
}

/// Settings of a small node.
pub(crate) fn settings(own: &str, join: &[&str]) -> NodeSettings {
    NodeSettings {
        cluster: ClusterName::default(),
        peer_address: own.to_owned(),
        client_address: format!("client.{own}"),
        zone: String::new(),
        join: join.iter().map(|&address| address.to_owned()).collect(),
        weight: 1,
        versions: VersionRange::SUPPORTED,
        expect: Some(join.len().max(1) as u32),
        shards: Some(4),
        cores: 1,
        replace_after: NodeSettings::REPLACE_AFTER,
        timing: Timing { lease_reads: true, ..Timing::default() },
        retention: Retention::default(),
        snapshot_bytes_per_second: strata_raft::SNAPSHOT_BYTES_PER_SECOND,
        wal: WalOptions { segment_bytes: 1 << 20, spare_segments: 1, ..WalOptions::default() },
    }
}

/// Starts all machines at once with one line and waits until they are ready.
pub(crate) async fn start_all(machines: &[Machine], addresses: &[&str]) -> Vec<(Arc<Node>, Arc<Switchboard>)> {
    let starts = machines.iter().zip(addresses).map(|(machine, own)| machine.start(settings(own, addresses)));
    let mut nodes = Vec::new();
    for started in futures_util::future::join_all(starts).await {
        let (node, switchboard) = started.expect("a node starts");
        node.wait_ready().await;
        nodes.push((node, switchboard));
    }
    nodes
}
