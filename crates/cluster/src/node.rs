//! One running node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use strata_env::{Env, Mono, TaskHandle};
use strata_meta::{MetaCommand, MetaReply};
use strata_net::Caller;
use strata_raft::Host;
use strata_types::{ClusterId, ClusterOverview, NodeId, NodeState, ShardMap};
use strata_wal::Wal;
use tokio::sync::watch;

use crate::closed::ClosedReplicas;
use crate::identity_file::Membership;
use crate::map_keeper::MapKeeper;
use crate::overview::assemble;
use crate::paces::Paces;
use crate::progress::Progress;
use crate::room_watch::RoomWatch;
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

/// One running node: everything but sockets. See the crate.
pub struct Node {
    core: NodeCore,
    timestamps: Arc<Timestamps>,
    paces: Paces,
    closed: ClosedReplicas,
    room_watch: Mutex<RoomWatch>,
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
            closed: ClosedReplicas::default(),
            room_watch: Mutex::default(),
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
        self.core.progress.phase()
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
        let mut phase = self.core.progress.subscribe();
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

    /// Replicas that could not be opened.
    pub(crate) fn closed(&self) -> &ClosedReplicas {
        &self.closed
    }

    /// What this node remembers of its room.
    pub(crate) fn room_watch(&self) -> MutexGuard<'_, RoomWatch> {
        self.room_watch.lock()
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
}
