//! All groups of one node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use strata_env::Env;
use strata_net::{Caller, Switchboard};
use strata_storage::{StorageError, Tablets};
use strata_types::{GroupId, NodeId};
use strata_wal::Wal;
use tokio::sync::Mutex;

use crate::error::OpenError;
use crate::group::{Group, GroupSpec};
use crate::inbound::Inbound;
use crate::maintain;
use crate::state_machine::Replica;
use crate::timing::{Retention, Timing};

/// How long a leader that stops waits for another replica to take over.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(2);

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
}

/// All groups of one node.
pub struct Host {
    pub(crate) parts: HostParts,
    groups: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    /// One group is opened at a time under its id; opening twice at once would run one log under two cores.
    opening: Mutex<()>,
}

impl Host {
    /// A host without groups.
    pub fn new(parts: HostParts) -> Arc<Host> {
        Arc::new(Host { parts, groups: RwLock::default(), opening: Mutex::default() })
    }

    /// Takes the messages that belong to Raft from now on.
    pub fn register(self: &Arc<Self>, switchboard: &Switchboard) {
        for kind in Inbound::KINDS {
            switchboard.set_handler(kind, Arc::new(Inbound::new(Arc::downgrade(self), kind)));
        }
    }

    /// Opens a group from what this node holds of it, or as an empty replica. Returns the open one if it is.
    pub async fn open(&self, spec: GroupSpec) -> Result<Arc<Group>, OpenError> {
        let _one = self.opening.lock().await;
        if let Some(open) = self.group(spec.group) {
            return Ok(open);
        }
        let (env, tablets, machine) = (self.parts.env.clone(), self.parts.tablets.clone(), spec.machine.clone());
        let (group, id) = (spec.group, spec.replica);
        let replica = self.parts.env.blocking(move || Replica::open(env, group, id, machine, tablets)).await;
        let replica = match replica {
            Some(Ok(replica)) => replica,
            Some(Err(StorageError::Corrupt { file, detail })) => return Err(OpenError::Corrupt { file, detail }),
            Some(Err(error)) => return Err(OpenError::Failed { detail: error.to_string() }),
            None => return Err(OpenError::Failed { detail: "opening the tablet panicked".into() }),
        };
        let HostParts { env, wal, caller, timing, .. } = &self.parts;
        let group = Group::open(env.clone(), wal.clone(), caller.clone(), *timing, replica, &spec).await?;
        self.groups.write().insert(spec.group, group.clone());
        Ok(group)
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

    /// Hands over every group this node leads. Returns how many it still leads.
    pub async fn hand_over(&self) -> usize {
        let led: Vec<_> = self.groups().into_iter().filter(|group| group.status().is_leader).collect();
        let handovers = led.iter().map(|group| async {
            match group.best_successor() {
                Some(successor) => group.transfer_leader(successor, HANDOVER_PATIENCE).await,
                None => false,
            }
        });
        let done = futures_util::future::join_all(handovers).await;
        done.into_iter().filter(|done| !done).count()
    }

    /// Stops all groups as they are: nothing is handed over or made durable.
    pub async fn abandon(&self) {
        let groups = std::mem::take(&mut *self.groups.write());
        for group in groups.values() {
            group.stop().await;
        }
    }

    /// Hands over leadership, stops all groups and makes their tablets durable, so that a restart replays nothing.
    pub async fn shutdown(&self) {
        self.hand_over().await;
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
