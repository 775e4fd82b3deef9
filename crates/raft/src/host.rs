//! All groups of one node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use strata_env::Env;
use strata_net::{Caller, MessageKind, Switchboard};
use strata_storage::{StorageError, Tablets};
use strata_types::{GroupId, NodeId, ReplicaId};
use strata_wal::Wal;
use tokio::sync::{Mutex, Semaphore};

use crate::batcher::Traffic;
use crate::beats;
use crate::claims::Voters;
use crate::error::OpenError;
use crate::group::{Group, GroupSpec};
use crate::inbound::Inbound;
use crate::maintain;
use crate::removal;
use crate::replica::Replica;
use crate::roll_call::RollCall;
use crate::timing::{Retention, Timing};
use crate::transfers::Transfers;

/// How long a leader that stops waits for another replica to take over.
pub(crate) const HANDOVER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a node that stops waits until everything that was proposed here has its outcome.
const SETTLE_PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked whether leadership has come that was on its way here.
const OFFER_POLL: Duration = Duration::from_millis(10);
/// Groups that are opened at once. Opening reads files and waits for the disk, so that a few overlap well; each also
/// takes memory of its own while it reads.
const OPENINGS_MAX: usize = 4;

/// What the groups of a node share.
pub struct HostParts {
    /// Time, randomness, tasks.
    pub env: Env,
    /// This node.
    pub node: NodeId,
    /// The node's log.
    pub wal: Arc<Wal>,
    /// The node's tablets.
    pub tablets: Arc<dyn Tablets>,
    /// The way to other nodes.
    pub caller: Arc<Caller>,
    /// How quickly leaders are replaced.
    pub timing: Timing,
    /// When logs are cut.
    pub retention: Retention,
    /// How many bytes of snapshots may come and go a second, all groups together.
    pub snapshot_bytes_per_second: u64,
    /// Cores of the machine: how much it can do at once.
    pub cores: u32,
}

/// All groups of one node.
pub struct Host {
    pub(crate) parts: HostParts,
    traffic: Arc<Traffic>,
    pub(crate) transfers: Arc<Transfers>,
    roll_call: Arc<RollCall>,
    groups: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    /// A lock for each group that was ever asked for: opening one twice at once would run one log under two cores, and
    /// deleting one while it is opened would leave half of it.
    opening: parking_lot::Mutex<BTreeMap<GroupId, Arc<Mutex<()>>>>,
    openings: Semaphore,
}

impl Host {
    /// A host without groups.
    pub fn new(parts: HostParts) -> Arc<Host> {
        let openings = Semaphore::new(OPENINGS_MAX);
        let traffic = Traffic::new(parts.cores);
        let transfers = Transfers::new(parts.env.clone(), parts.snapshot_bytes_per_second);
        let roll_call = RollCall::new(parts.node, parts.env.clone(), parts.caller.clone());
        let (groups, opening) = (RwLock::default(), parking_lot::Mutex::default());
        let (env, heartbeat) = (parts.env.clone(), parts.timing.heartbeat);
        let host = Arc::new(Host { parts, traffic, transfers, roll_call, groups, opening, openings });
        env.spawn("raft-beats", beats::run(Arc::downgrade(&host), env.clone(), heartbeat));
        host
    }

    /// Takes the messages that belong to Raft from now on.
    pub fn register(self: &Arc<Self>, switchboard: &Switchboard) {
        for kind in Inbound::KINDS {
            switchboard.set_handler(kind, Arc::new(Inbound::new(Arc::downgrade(self), kind)));
        }
        switchboard.set_handler(MessageKind::RollCall, Arc::new(Voters::new(Arc::downgrade(self))));
    }

    /// Opens a group from what this node holds of it, or as an empty replica. Returns the open one if it is. Different
    /// groups may be opened at once; some then wait for the others. A group has one replica here at a time.
    pub async fn open(&self, spec: GroupSpec) -> Result<Arc<Group>, OpenError> {
        let alone = self.alone(spec.group);
        let _alone = alone.lock().await;
        if let Some(open) = self.group(spec.group) {
            let detail = match open.replica() {
                other if other != spec.replica => format!("{} is open as {other}, not as {}", spec.group, spec.replica),
                replica if open.is_stopped() => format!("{replica} is being deleted"),
                _ => return Ok(open),
            };
            return Err(OpenError::Failed { detail });
        }
        if removal::is_deleted(&self.parts.wal.log(spec.replica)) {
            return Err(OpenError::Deleted { replica: spec.replica });
        }
        let _turn = self.openings.acquire().await.expect("the semaphore is never closed");
        let (env, tablets, machine) = (self.parts.env.clone(), self.parts.tablets.clone(), spec.machine.clone());
        let (group, id) = (spec.group, spec.replica);
        let transfers = self.transfers.clone();
        let replica = self.parts.env.blocking(move || Replica::open(env, group, id, machine, tablets, transfers)).await;
        let replica = match replica {
            Some(Ok(replica)) => replica,
            Some(Err(StorageError::Corrupt { file, detail })) => return Err(OpenError::Corrupt { file, detail }),
            Some(Err(StorageError::Full { detail })) => return Err(OpenError::Full { detail }),
            Some(Err(error)) => return Err(OpenError::Failed { detail: error.to_string() }),
            None => return Err(OpenError::Failed { detail: "opening the tablet panicked".into() }),
        };
        let (traffic, roll_call) = (self.traffic.clone(), self.roll_call.clone());
        let group = Group::open(&self.parts, traffic, roll_call, replica, &spec).await?;
        self.groups.write().insert(spec.group, group.clone());
        Ok(group)
    }

    /// The lock of a group: whoever holds it opens or deletes.
    pub(crate) fn alone(&self, group: GroupId) -> Arc<Mutex<()>> {
        self.opening.lock().entry(group).or_default().clone()
    }

    /// Forgets a group that has been stopped.
    pub(crate) fn forget(&self, group: GroupId) {
        self.groups.write().remove(&group);
    }

    /// How this node's leaders make sure that they lead.
    pub fn roll_call(&self) -> &Arc<RollCall> {
        &self.roll_call
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.parts.node
    }

    /// An open group.
    pub fn group(&self, id: GroupId) -> Option<Arc<Group>> {
        self.groups.read().get(&id).cloned()
    }

    /// All open groups, by id.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.read().values().cloned().collect()
    }

    /// Flushes tablets and cuts logs where it is due, and reopens groups whose core panicked. Call it every second.
    pub async fn maintain(&self) {
        maintain::maintain(self).await;
    }

    /// How many groups this node leads that another replica could take over.
    pub fn movable(&self) -> usize {
        self.movable_groups().len()
    }

    fn movable_groups(&self) -> Vec<(Arc<Group>, ReplicaId)> {
        let led = self.groups().into_iter().filter(|group| group.status().is_leader);
        led.filter_map(|group| group.best_successor().map(|successor| (group, successor))).collect()
    }

    /// Hands over every group this node leads and somebody can take over, also those that come meanwhile because another
    /// node hands them over to this one. Completes when what was proposed here has its outcome. Returns how many groups it
    /// still leads of these.
    pub async fn hand_over(&self) -> usize {
        let until = self.parts.env.now() + HANDOVER_PATIENCE;
        let mut failed = 0;
        while failed == 0 && self.parts.env.now() < until {
            let groups = self.movable_groups();
            if groups.is_empty() && !self.groups().iter().any(|group| group.may_come_to_lead()) {
                break;
            }
            // New leaders of shards ask the meta group for the time: it has its new leader before them.
            let (meta, shards): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|(group, _)| group.id() == GroupId::META);
            failed = hand_over_all(&meta).await + hand_over_all(&shards).await;
            self.parts.env.sleep(OFFER_POLL).await;
        }
        let groups = self.groups();
        futures_util::future::join_all(groups.iter().map(|group| group.settle(SETTLE_PATIENCE))).await;
        failed
    }

    /// Stops all groups as they are: nothing is handed over or made durable.
    pub async fn abandon(&self) {
        let groups = std::mem::take(&mut *self.groups.write());
        for group in groups.values() {
            group.stop().await;
        }
    }

    /// Stops all groups and makes their tablets durable, so that a restart replays nothing. Hand over first.
    pub async fn shutdown(&self) {
        let groups = self.groups();
        self.abandon().await;
        for group in groups {
            let tablet = group.tablet();
            if let Some(Err(error)) = self.parts.env.blocking(move || tablet.flush()).await {
                tracing::warn!(group = %group.id(), %error, "tablet was not flushed: the log will be replayed");
            }
        }
    }
}

/// Returns how many could not be handed over.
async fn hand_over_all(groups: &[(Arc<Group>, ReplicaId)]) -> usize {
    let handovers = groups.iter().map(|(group, successor)| group.transfer_leader(*successor, HANDOVER_PATIENCE));
    let done = futures_util::future::join_all(handovers).await;
    done.into_iter().filter(|done| !done).count()
}
