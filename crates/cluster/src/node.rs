//! One running node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::{Env, Mono, TaskHandle};
use strata_meta::{MetaCommand, MetaReply};
use strata_net::Caller;
use strata_raft::Host;
use strata_types::{ClusterId, ClusterOverview, GroupId, NodeId, NodeState, ReplicaId, ShardMap};
use strata_wal::Wal;
use tokio::sync::watch;

use crate::identity_file::Membership;
use crate::map_keeper::MapKeeper;
use crate::overview::assemble;
use crate::paces::Paces;
use crate::report::GroupReport;
use crate::{CommandError, NodeSettings, Phase, Timestamps, commanding};

/// How long a node that stops waits until the others know.
const STOP_DEADLINE: Duration = Duration::from_millis(300);

/// Which node of which cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

/// What a node is made of once it has its identity and its log.
pub(crate) struct NodeCore {
    pub(crate) env: Env,
    pub(crate) settings: NodeSettings,
    pub(crate) started: Mono,
    pub(crate) membership: Arc<Membership>,
    pub(crate) keeper: Arc<MapKeeper>,
    pub(crate) host: Arc<Host>,
    pub(crate) wal: Arc<Wal>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) progress: Arc<Progress>,
}

/// Tells of each phase once, and remembers the last one.
pub(crate) struct Progress {
    sink: Arc<dyn Fn(Phase) + Send + Sync>,
    phase: watch::Sender<Phase>,
}

impl Progress {
    pub(crate) fn new(sink: Arc<dyn Fn(Phase) + Send + Sync>) -> Progress {
        Progress { sink, phase: watch::Sender::new(Phase::Stopped) }
    }

    pub(crate) fn report(&self, phase: Phase) {
        let is_news = self.phase.send_if_modified(|last| {
            let is_news = *last != phase;
            last.clone_from(&phase);
            is_news
        });
        if is_news {
            (self.sink)(phase);
        }
    }
}

/// A replica that could not be opened, and why.
struct Closed {
    replica: ReplicaId,
    problem: String,
    /// It was found damaged and refuses to serve. Otherwise there was no room, and it is tried again.
    is_damaged: bool,
}

/// One running node: everything but sockets. See the crate.
pub struct Node {
    core: NodeCore,
    timestamps: Arc<Timestamps>,
    paces: Paces,
    /// Replicas that could not be opened.
    closed: Mutex<BTreeMap<GroupId, Closed>>,
    ready: AtomicBool,
    stopping: AtomicBool,
    tasks: Mutex<Vec<TaskHandle>>,
}

impl Node {
    pub(crate) fn new(core: NodeCore) -> Arc<Node> {
        let timestamps = Timestamps::new(core.env.clone(), core.keeper.clone());
        Arc::new(Node {
            core,
            timestamps,
            paces: Paces::default(),
            closed: Mutex::default(),
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            tasks: Mutex::default(),
        })
    }

    /// Which node of which cluster.
    pub fn identity(&self) -> Identity {
        Identity { cluster: self.core.membership.charter.cluster, node: self.core.membership.node }
    }

    /// The newest shard map; epoch 0 and no shards before the cluster is founded.
    pub fn map(&self) -> Arc<ShardMap> {
        self.core.keeper.map()
    }

    /// Changes with each newer map.
    pub fn watch_map(&self) -> watch::Receiver<Arc<ShardMap>> {
        self.core.keeper.watch()
    }

    /// The groups of this node.
    pub fn host(&self) -> &Arc<Host> {
        &self.core.host
    }

    /// Timestamps of the meta group.
    pub fn timestamps(&self) -> &Arc<Timestamps> {
        &self.timestamps
    }

    /// How busy the replicas of this node are.
    pub fn paces(&self) -> &Paces {
        &self.paces
    }

    /// Calls to other nodes.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.core.caller
    }

    /// Time, randomness, tasks.
    pub fn env(&self) -> &Env {
        &self.core.env
    }

    /// The log.
    pub fn wal(&self) -> &Arc<Wal> {
        &self.core.wal
    }

    /// What it was started with.
    pub fn settings(&self) -> &NodeSettings {
        &self.core.settings
    }

    /// Where it is on its way up or down.
    pub fn phase(&self) -> Phase {
        self.core.progress.phase.borrow().clone()
    }

    /// Whether this node can serve, or one sentence that says what is missing.
    pub fn ready(&self) -> Result<(), String> {
        if self.stopping.load(Ordering::Acquire) || !self.is_ready() {
            return Err(self.phase().to_string());
        }
        let groups = self.host().groups();
        let with_quorum = groups.iter().filter(|group| group.status().has_quorum).count();
        if with_quorum == 0 && !groups.is_empty() {
            let count = groups.len();
            return Err(format!(
                "none of the {count} groups of this node has a majority: it is cut off from the others, or they are down"
            ));
        }
        Ok(())
    }

    /// Completes when the node has become ready for the first time.
    pub async fn wait_ready(&self) {
        let mut phase = self.core.progress.phase.subscribe();
        // An error means that the sender, which this node holds, is gone.
        let _ = phase.wait_for(|phase| *phase == Phase::Ready).await;
    }

    /// How every node, shard and replica is just now; nodes that do not answer within a second are marked.
    pub async fn overview(&self) -> ClusterOverview {
        let map = self.map();
        let asked = map.nodes.iter().map(|node| async { Some((node.id, self.ask_report(node.id).await?)) });
        let reports = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
        assemble(&self.membership().cluster, self.identity().node, &map, &reports)
    }

    /// Has the meta group carry out an operator's command. A refusal is a reply.
    pub async fn administer(&self, command: MetaCommand, deadline: Duration) -> Result<MetaReply, CommandError> {
        let end = self.env().now() + deadline;
        // The machine cannot know who is alive. Who is comes back by itself, as if nothing had been wished.
        if let MetaCommand::SetNodeState { node, wanted: NodeState::Lost, .. } = command
            && self.would_come_back(node)
            && let Ok(Some(_)) = self.env().timeout(deadline / 2, self.ask_report(node)).await
        {
            return Ok(MetaReply::Refused(commanding::alive(node)));
        }
        commanding::command(self, command, end.since(self.env().now())).await
    }

    /// Whether a node that is lost, or declared so, is taken back when it answers. Who is to go stays given up.
    fn would_come_back(&self, node: NodeId) -> bool {
        let state = self.map().node(node).map(|known| known.state);
        state.is_some_and(|state| state.keeps() || state == NodeState::Lost)
    }

    /// Gives leaders away, makes everything durable and stops. Tells of its phases as the start did.
    pub async fn shutdown(&self) {
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        self.abort_tasks();
        self.announce_stop().await;
        // A leader that nobody can take over from is not moved, and nobody is told that it would be.
        let movable = self.host().movable();
        if movable > 0 {
            self.report_phase(Phase::MovingLeaders { remaining: movable });
        }
        // Also when there is nothing to move: another node may be handing over to this one just now.
        let remaining = self.host().hand_over().await;
        if movable > 0 {
            self.report_phase(Phase::MovingLeaders { remaining });
        }
        self.report_phase(Phase::Closing);
        self.host().shutdown().await;
        if let Err(error) = self.core.wal.shutdown().await {
            tracing::warn!(%error, "the log was not closed cleanly");
        }
        self.report_phase(Phase::Stopped);
    }

    /// Asks that others lead, and that nothing new comes here, until the next start. Nobody depends on it, so it may
    /// fail, and must not take long where nobody answers.
    async fn announce_stop(&self) {
        let own = self.identity().node;
        if !self.map().nodes.iter().any(|node| node.id != own && node.state.is_counted_on()) {
            return;
        }
        let wish = MetaCommand::SetNodeState { node: own, wanted: NodeState::Stopping, force: false };
        match self.env().timeout(STOP_DEADLINE, commanding::command(self, wish, STOP_DEADLINE)).await {
            Ok(Ok(MetaReply::NodeStateSet { .. })) => {}
            other => tracing::debug!(?other, "nobody was told that this node stops"),
        }
    }

    pub(crate) fn membership(&self) -> &Membership {
        &self.core.membership
    }

    pub(crate) fn keeper(&self) -> &MapKeeper {
        &self.core.keeper
    }

    pub(crate) fn report_phase(&self, phase: Phase) {
        self.core.progress.report(phase);
    }

    /// Time since its start.
    pub(crate) fn uptime(&self) -> Duration {
        self.env().now().since(self.core.started)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self) {
        if !self.stopping.load(Ordering::Acquire) {
            self.ready.store(true, Ordering::Release);
            self.report_phase(Phase::Ready);
        }
    }

    /// Runs a task until the node stops.
    pub(crate) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.env().spawn(name, task);
        self.tasks.lock().push(handle);
    }

    pub(crate) fn abort_tasks(&self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.timestamps.close();
    }

    /// A replica is damaged and stays closed.
    pub(crate) fn refuse(&self, group: GroupId, replica: ReplicaId, problem: String) {
        tracing::error!(%group, %replica, problem, "replica refuses to serve");
        metrics::counter!("strata_cluster_replicas_refused_total").increment(1);
        self.closed.lock().insert(group, Closed { replica, problem, is_damaged: true });
    }

    /// There is no room to open a replica; it is tried again.
    pub(crate) fn wait_for_room(&self, group: GroupId, replica: ReplicaId, problem: String) {
        tracing::warn!(%group, %replica, problem, "a replica waits for room");
        self.closed.lock().insert(group, Closed { replica, problem, is_damaged: false });
    }

    /// The replica of a group that refuses, if one does.
    pub(crate) fn refused(&self, group: GroupId) -> Option<ReplicaId> {
        self.closed.lock().get(&group).filter(|closed| closed.is_damaged).map(|closed| closed.replica)
    }

    /// A replica that could not be opened is open, or deleted.
    pub(crate) fn forget_closed(&self, group: GroupId, replica: ReplicaId) {
        let mut closed = self.closed.lock();
        if closed.get(&group).is_some_and(|closed| closed.replica == replica) {
            closed.remove(&group);
        }
    }

    /// Forgets those replicas that the map does not know.
    pub(crate) fn keep_closed(&self, is_known: impl Fn(GroupId, ReplicaId) -> bool) {
        self.closed.lock().retain(|group, closed| is_known(*group, closed.replica));
    }

    /// What is to be said of the replicas that could not be opened.
    pub(crate) fn closed(&self) -> Vec<GroupReport> {
        let report = |(&group, closed): (&GroupId, &Closed)| GroupReport {
            group,
            replica: closed.replica,
            problem: Some(closed.problem.clone()),
            is_damaged: closed.is_damaged,
            ..GroupReport::default()
        };
        self.closed.lock().iter().map(report).collect()
    }
}
