//! A cluster of replicas of one group.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use strata_codec::{Decoder, Encoder};
use strata_env::sim::SimWorld;
use strata_env::{BoxFuture, Halt, TaskHandle, Tasks};
use strata_machine::{CommandContext, Machine, ViewMut};
use strata_net::{Caller, Inbox, Lane, Message, MessageKind, NetError, Switchboard, Transport};
use strata_raft::{
    Group, GroupSpec, GroupStatus, Host, HostParts, OpenError, ProposeError, Retention, SNAPSHOT_BYTES_PER_SECOND,
    Timing,
};
use strata_storage::StorageResult;
use strata_storage::memory::{Durable, MemoryTablets};
use strata_types::{ClusterId, GroupId, NodeId, ReplicaId, Timestamp};
use strata_wal::{Wal, WalOptions};
use tokio::time::Instant;

pub(crate) const GROUP: GroupId = GroupId(1);

/// Sets keys, notes the stamps that they got, and says where it was applied.
pub(crate) struct Register;

impl Machine for Register {
    fn apply(&self, view: &mut dyn ViewMut, context: CommandContext, command: &Bytes) -> Bytes {
        let mut input = Decoder::new(command.clone());
        let key = input.bytes("key").expect("a test's command");
        let value = input.bytes("value").expect("a test's command");
        let before = view.get(&key).unwrap_or_default();
        if context.stamp > Timestamp(0) {
            view.put(stamp_key(&key), Bytes::copy_from_slice(&context.stamp.0.to_be_bytes()));
        }
        view.put(key, value);
        let mut reply = Encoder::default();
        reply.bytes(&before).u64(context.index.0).u32(context.position);
        reply.finish()
    }
}

/// Where the stamp of a key is noted.
fn stamp_key(key: &[u8]) -> Bytes {
    [key, b"@"].concat().into()
}

pub(crate) fn put(key: &str, value: &str) -> Bytes {
    let mut command = Encoder::default();
    command.bytes(key.as_bytes()).bytes(value.as_bytes());
    command.finish()
}

/// Delivers at once to whoever is up and not cut off.
#[derive(Default)]
pub(crate) struct Network {
    inboxes: Mutex<BTreeMap<NodeId, Weak<Switchboard>>>,
    cut: Mutex<BTreeSet<(NodeId, NodeId)>>,
    /// How long messages take from one node to another, where it is not at once.
    pub(crate) delays: Mutex<BTreeMap<(NodeId, NodeId), Duration>>,
    /// The same for entries and answers to them alone.
    pub(crate) entry_delays: Mutex<BTreeMap<(NodeId, NodeId), Duration>>,
    /// What happens to pieces of snapshots.
    pub(crate) pieces: Mutex<Pieces>,
    held: Mutex<Vec<Message>>,
    /// All pieces that were sent: when, from where, to where and how many bytes.
    pub(crate) sent: Mutex<Vec<(Instant, NodeId, NodeId, usize)>>,
    /// What receivers said when they refused a message.
    pub(crate) refusals: Mutex<Vec<String>>,
    /// Questions of followers that want to read.
    pub(crate) asked: AtomicUsize,
    /// Entries, and notices of what is committed.
    pub(crate) appends: AtomicUsize,
    /// Whom leaders asked whether they still lead.
    pub(crate) roll_calls: Mutex<Vec<NodeId>>,
}

/// What happens to pieces of snapshots on their way.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// They are delivered.
    #[default]
    Pass,
    /// They wait until they are released.
    Wait,
    /// In the first one that is longer than this a bit is flipped; what comes after it waits.
    Damage(usize),
    /// So many more are delivered, then they are lost.
    Lose(usize),
    /// The last ones of their snapshots are lost.
    LoseLast,
}

/// Where a piece says what it is: behind the two replicas. And what the last one says.
const PIECE_KIND_AT: usize = 16;
const LAST_PIECE: u8 = 5;

impl Network {
    /// How many pieces of snapshots wait.
    pub(crate) fn held(&self) -> usize {
        self.held.lock().len()
    }

    /// Delivers the pieces that waited, in order, and all that come.
    pub(crate) fn release(&self) {
        *self.pieces.lock() = Pieces::Pass;
        for message in std::mem::take(&mut *self.held.lock()) {
            if let Some(inbox) = self.inbox(message.to) {
                inbox.deliver(Lane::Bulk, message);
            }
        }
    }

    /// Bytes of all pieces that were sent.
    pub(crate) fn sent_bytes(&self) -> usize {
        self.sent.lock().iter().map(|(_, _, _, bytes)| bytes).sum()
    }

    fn inbox(&self, node: NodeId) -> Option<Arc<Switchboard>> {
        self.inboxes.lock().get(&node).and_then(Weak::upgrade)
    }

    /// What becomes of a piece of a snapshot: `None` when it waits.
    fn pass(&self, mut message: Message) -> Option<Message> {
        self.sent.lock().push((Instant::now(), message.from, message.to, message.body.len()));
        let mut pieces = self.pieces.lock();
        match *pieces {
            Pieces::Pass => Some(message),
            Pieces::Damage(longer) if message.body.len() <= longer => Some(message),
            Pieces::Damage(_) => {
                *pieces = Pieces::Wait;
                let mut body = message.body.to_vec();
                *body.last_mut().expect("it is long") ^= 1;
                message.body = body.into();
                Some(message)
            }
            Pieces::LoseLast if message.body[PIECE_KIND_AT] == LAST_PIECE => None,
            Pieces::LoseLast => Some(message),
            Pieces::Lose(0) => None,
            Pieces::Lose(more) => {
                *pieces = Pieces::Lose(more - 1);
                Some(message)
            }
            Pieces::Wait => {
                self.held.lock().push(message);
                None
            }
        }
    }

    /// Cuts some nodes off from the others, and not from each other.
    pub(crate) fn split(&self, some: &[u64], is_split: bool) {
        let mut cut = self.cut.lock();
        for (one, other) in some.iter().flat_map(|one| (1..=9).map(move |other| (NodeId(*one), NodeId(other)))) {
            if some.contains(&other.0) {
                continue;
            }
            for link in [(one, other), (other, one)] {
                if is_split {
                    cut.insert(link)
                } else {
                    cut.remove(&link)
                };
            }
        }
    }

    /// Loses what one node sends to another from now on.
    pub(crate) fn cut_link(&self, from: u64, to: u64) {
        self.cut.lock().insert((NodeId(from), NodeId(to)));
    }

    pub(crate) fn isolate(&self, node: NodeId, isolated: bool) {
        for other in (1..=9).map(NodeId).filter(|other| *other != node) {
            for link in [(node, other), (other, node)] {
                let mut cut = self.cut.lock();
                if isolated {
                    cut.insert(link)
                } else {
                    cut.remove(&link)
                };
            }
        }
    }
}

struct End {
    network: Arc<Network>,
}

#[async_trait]
impl Transport for End {
    fn send(&self, lane: Lane, message: Message) -> Result<(), NetError> {
        if message.kind == MessageKind::RollCall {
            self.network.roll_calls.lock().push(message.to);
        }
        if self.network.cut.lock().contains(&(message.from, message.to)) {
            return Ok(());
        }
        let Some(inbox) = self.network.inbox(message.to) else {
            return Err(NetError::Unreachable { target: message.to.to_string(), detail: "down".into() });
        };
        if message.kind == MessageKind::Refusal {
            self.network.refusals.lock().push(String::from_utf8_lossy(&message.body).into_owned());
        }
        let counted = match (message.kind, lane) {
            (MessageKind::ReadIndex, _) => Some(&self.network.asked),
            (MessageKind::Append, Lane::Data) => Some(&self.network.appends),
            _ => None,
        };
        if let Some(count) = counted {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let is_piece = message.kind == MessageKind::Snapshot;
        let Some(message) = (if is_piece { self.network.pass(message) } else { Some(message) }) else {
            return Ok(());
        };
        let link = (message.from, message.to);
        let of_link = |delays: &Mutex<BTreeMap<_, _>>| delays.lock().get(&link).copied();
        let of_entries = (lane == Lane::Data).then(|| of_link(&self.network.entry_delays)).flatten();
        let delay = of_entries.or_else(|| of_link(&self.network.delays));
        tokio::spawn(async move {
            if let Some(delay) = delay {
                tokio::time::sleep(delay).await;
            }
            inbox.deliver(lane, message);
        });
        Ok(())
    }

    fn identify(&self, _cluster: ClusterId, _node: NodeId) {}

    fn set_address(&self, _node: NodeId, _address: &str) {}

    async fn introduce(&self, address: &str, _body: Bytes, _deadline: Duration) -> Result<Bytes, NetError> {
        Err(NetError::Unreachable { target: address.into(), detail: "not part of these tests".into() })
    }
}

struct Running {
    host: Arc<Host>,
    wal: Arc<Wal>,
    group: Option<Arc<Group>>,
    /// Keeps the inbox that the network points to.
    _switchboard: Arc<Switchboard>,
}

pub(crate) struct Cluster {
    pub(crate) world: SimWorld,
    pub(crate) network: Arc<Network>,
    tablets: BTreeMap<u64, Arc<Durable>>,
    running: BTreeMap<u64, Running>,
    /// The replica that lives on a node; changes when a node comes back without its disk. Those of the first three
    /// nodes are the group's at its birth, the others join later.
    pub(crate) replicas: BTreeMap<u64, ReplicaId>,
    pub(crate) retention: Retention,
    /// The nodes that found the group when they start.
    pub(crate) founders: BTreeSet<u64>,
    /// How many bytes of snapshots nodes that are started from now on send and take a second.
    pub(crate) snapshot_bytes_per_second: u64,
    /// How quickly leaders are replaced, and whether nodes that are started from now on read by lease.
    pub(crate) timing: Timing,
    /// How long each call takes that may block, in nodes that are started from now on.
    pub(crate) pool_delay: Duration,
}

/// Tasks whose pool for what may block is slow.
struct SlowPool {
    inner: Arc<dyn Tasks>,
    delay: Duration,
}

impl Tasks for SlowPool {
    fn spawn(&self, name: &'static str, future: BoxFuture<()>) -> TaskHandle {
        self.inner.spawn(name, future)
    }

    fn dedicated(&self, name: &'static str, future: BoxFuture<()>) -> TaskHandle {
        self.inner.dedicated(name, future)
    }

    fn blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        let (inner, delay) = (self.inner.clone(), self.delay);
        let later = async move {
            tokio::time::sleep(delay).await;
            inner.blocking(work);
        };
        self.inner.spawn("slow-pool", Box::pin(later));
    }

    fn halt(&self, halt: Halt) {
        self.inner.halt(halt);
    }
}

/// The replicas of the group at its birth, and their nodes.
pub(crate) fn members() -> BTreeMap<ReplicaId, NodeId> {
    (1..=3).map(|node| (ReplicaId(10 * node), NodeId(node))).collect()
}

impl Cluster {
    /// Three nodes with one replica each, and a leader.
    pub(crate) async fn new(seed: u64, retention: Retention) -> Cluster {
        let mut cluster = Cluster::unborn(seed, retention, [1]);
        for node in 1..=3 {
            cluster.start(node).await;
        }
        cluster.leader().await;
        cluster
    }

    /// Three nodes that do not run yet, and two more that may join.
    pub(crate) fn unborn(seed: u64, retention: Retention, founders: impl IntoIterator<Item = u64>) -> Cluster {
        Cluster {
            world: SimWorld::new(seed),
            network: Arc::default(),
            tablets: (1..=5).map(|node| (node, Durable::new())).collect(),
            running: BTreeMap::new(),
            replicas: (1..=5).map(|node| (node, ReplicaId(10 * node))).collect(),
            retention,
            founders: founders.into_iter().collect(),
            snapshot_bytes_per_second: SNAPSHOT_BYTES_PER_SECOND,
            timing: Timing { lease_reads: true, ..Timing::default() },
            pool_delay: Duration::ZERO,
        }
    }

    /// Starts a node and opens its replica.
    pub(crate) async fn start(&mut self, node: u64) {
        self.boot(node).await;
        self.start_open(node).await;
    }

    /// Opens the replica of a node that runs, for good.
    pub(crate) async fn start_open(&mut self, node: u64) {
        let group = self.open(node).await.expect("group opens");
        self.running.get_mut(&node).expect("it runs").group = Some(group);
    }

    /// Opens the replica of a node that runs.
    pub(crate) async fn open(&self, node: u64) -> Result<Arc<Group>, OpenError> {
        let spec = GroupSpec {
            group: GROUP,
            replica: self.replicas[&node],
            members: if self.founders.contains(&node) { members() } else { BTreeMap::new() },
            machine: Arc::new(Register),
            initialize: self.founders.contains(&node),
        };
        self.host(node).open(spec).await
    }

    /// Starts a node without its replica.
    pub(crate) async fn boot(&mut self, node: u64) {
        let machine = self.world.node(node);
        machine.restart();
        let mut env = machine.env();
        if self.pool_delay > Duration::ZERO {
            env.tasks = Arc::new(SlowPool { inner: env.tasks, delay: self.pool_delay });
        }
        let transport = Arc::new(End { network: self.network.clone() });
        let caller = Caller::new(env.clone(), transport.clone());
        caller.identify(NodeId(node));
        let switchboard = Switchboard::new(caller.clone(), transport);
        self.network.inboxes.lock().insert(NodeId(node), Arc::downgrade(&switchboard));
        let options = WalOptions { segment_bytes: 256 * 1024, ..WalOptions::default() };
        let wal = Wal::open(env.clone(), machine.disk(), Path::new("log"), options, &|_| ()).await.expect("log opens");
        let host = Host::new(HostParts {
            env,
            node: NodeId(node),
            wal: wal.clone(),
            tablets: Arc::new(MemoryTablets::over(self.tablets[&node].clone())),
            caller,
            timing: self.timing,
            retention: self.retention,
            snapshot_bytes_per_second: self.snapshot_bytes_per_second,
            cores: 2,
        });
        host.register(&switchboard);
        host.roll_call().set_understood();
        self.running.insert(node, Running { host, wal, group: None, _switchboard: switchboard });
    }

    /// Power loss.
    pub(crate) async fn crash(&mut self, node: u64) {
        let running = self.running.remove(&node).expect("it runs");
        self.world.node(node).crash();
        self.tablets[&node].crash();
        running.host.abandon().await;
    }

    pub(crate) fn runs(&self, node: u64) -> bool {
        self.running.contains_key(&node)
    }

    pub(crate) fn host(&self, node: u64) -> &Arc<Host> {
        &self.running[&node].host
    }

    /// The disk of a node's tablets has no room any more, or has some again.
    pub(crate) fn set_full(&self, node: u64, full: bool) {
        self.tablets[&node].set_full(full);
    }

    /// The same, but a tablet can still be opened.
    pub(crate) fn set_nearly_full(&self, node: u64, full: bool) {
        self.tablets[&node].set_nearly_full(full);
    }

    /// The tablet of a node cannot be read any more.
    pub(crate) fn damage(&self, node: u64) {
        assert!(self.tablets[&node].damage(self.replicas[&node]), "it has one");
    }

    /// The same, and only who gets a snapshot of it can tell.
    pub(crate) fn damage_unseen(&self, node: u64) {
        assert!(self.tablets[&node].damage_unseen(self.replicas[&node]), "it has one");
    }

    pub(crate) fn group(&self, node: u64) -> &Arc<Group> {
        self.running[&node].group.as_ref().expect("it is open")
    }

    fn groups(&self) -> impl Iterator<Item = (u64, &Arc<Group>)> {
        self.running.iter().filter_map(|(node, running)| Some((*node, running.group.as_ref()?)))
    }

    /// Deletes the replica of a node.
    pub(crate) async fn delete(&mut self, node: u64) -> StorageResult<()> {
        let running = self.running.get_mut(&node).expect("it runs");
        running.group = None;
        running.host.delete(GROUP, self.replicas[&node]).await
    }

    /// Whether a node holds log entries of a replica.
    pub(crate) fn holds_log(&self, node: u64, replica: ReplicaId) -> bool {
        self.running[&node].wal.log(replica).bytes() > 0
    }

    /// Whether a node holds a tablet or log entries of a replica. A tablet is damaged by asking.
    pub(crate) fn holds(&self, node: u64, replica: ReplicaId) -> bool {
        self.holds_log(node, replica) || self.tablets[&node].damage(replica)
    }

    pub(crate) async fn maintain(&self) {
        for running in self.running.values() {
            running.host.maintain().await;
        }
    }

    pub(crate) fn statuses(&self) -> Vec<GroupStatus> {
        self.groups().map(|(_, group)| group.status()).collect()
    }

    /// Waits for a leader that can write, and returns its node.
    pub(crate) async fn leader(&self) -> u64 {
        for _ in 0..2_000 {
            for (node, group) in self.groups() {
                if group.status().is_leader && group.read_barrier().await.is_ok() {
                    return node;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no leader: {:?}", self.statuses());
    }

    /// Writes on the leader, wherever it is.
    pub(crate) async fn write(&self, key: &str, value: &str) -> Bytes {
        loop {
            let leader = self.leader().await;
            match self.group(leader).propose(vec![put(key, value)]).await.remove(0) {
                Ok(reply) => return reply,
                Err(ProposeError::NotLeader { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until all running replicas applied the same entries and hold the same bytes.
    pub(crate) async fn converge(&self) {
        for _ in 0..3_000 {
            let statuses = self.statuses();
            let first = &statuses[0];
            if statuses.iter().all(|s| s.applied == first.applied && s.last == first.last && s.applied == s.last) {
                assert!(statuses.iter().all(|status| status.chain == first.chain), "{statuses:?}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("replicas did not converge: {:?}", self.statuses());
    }

    /// The stamp with which a key was set, as a replica shows it.
    pub(crate) fn stamp(&self, node: u64, key: &str) -> Option<Timestamp> {
        let row = self.group(node).tablet().get(&stamp_key(key.as_bytes())).expect("memory")?;
        Some(Timestamp(u64::from_be_bytes(row[..].try_into().expect("eight bytes"))))
    }

    pub(crate) fn value(&self, node: u64, key: &str) -> Option<Bytes> {
        self.group(node).tablet().get(key.as_bytes()).expect("memory")
    }
}
