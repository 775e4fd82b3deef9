//! How a group's openraft comes to life, and how it ends.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use strata_types::{NodeId, ReplicaId};
use tokio::sync::mpsc;

use super::Group;
use crate::error::OpenError;
use crate::inbound::{self, Append, Piece};
use crate::log_store::LogStore;
use crate::network::Network;
use crate::roll_call::{Roll, RollCall};
use crate::state_machine::StateMachine;
use crate::types::{Raft, Runtime, Seat};

/// How often a stopped group looks whether it was started again.
const STOPPED_POLL: Duration = Duration::from_millis(100);

impl Group {
    /// Starts openraft on what is in the log and the tablet, unless the group was stopped for good.
    pub(crate) async fn start(&self) -> Result<(), OpenError> {
        let _turning = self.turning.lock().await;
        if self.is_stopped() {
            return Ok(());
        }
        let failed = |detail: String| OpenError::Failed { detail };
        let config = self.timing.config(self.replica.group).map_err(|error| failed(error.to_string()))?;
        let network = Network { caller: self.caller.clone(), replica: self.replica.clone() };
        let log = LogStore::new(self.log.clone(), self.replica.leases.clone());
        let machine = StateMachine::new(self.replica.clone());
        self.replica.set_running(false);
        // What a former core waited for.
        self.replica.set_obstacle(None);
        let has_voted = self.log.state().vote.is_some();
        self.replica.leases.start(self.env.now(), has_voted, self.timing.silence_max());
        let starting = Raft::new(self.replica.id, Arc::new(config), network, log, machine);
        // Election timeouts are drawn from this seed: equal in equal simulations, different on every node.
        let raft = Runtime::scope(self.env.rng.next_u64(), starting).await.map_err(|error| {
            // openraft passes no error of the tablet on as it is.
            self.replica.obstacle().map_or_else(|| failed(error.to_string()), |detail| OpenError::Full { detail })
        })?;
        self.replica.set_running(true);
        self.raft.store(Some(Arc::new(raft)));
        self.publish_status();
        Ok(())
    }

    /// Starts openraft anew once the log is durable: openraft takes what it finds there for durable, and tells others so
    /// (RAFT-1).
    pub(crate) async fn restart(&self) -> Result<(), OpenError> {
        self.log.settle().await.map_err(|error| OpenError::Failed { detail: error.to_string() })?;
        self.start().await
    }

    /// Founds the group with these members, unless something is known of it here already. Returns whether it did.
    ///
    /// Several replicas may do this, also when others founded the group long ago and have led it since, as long as all
    /// name the same members. Each writes the same membership as entry 0 of term 0. No leader has term 0, so that entry
    /// is never committed by itself and is below every entry that a leader wrote: its owner cannot win an election
    /// against a replica that has more, and a leader replaces it by its own entry 0. Until then every replica counts
    /// the same majorities. openraft refuses where an entry was written or a vote given ("Formation of Clusters" in its
    /// documentation, `Engine::check_initialize`), so nothing that this replica promised is forgotten.
    pub async fn found(&self, members: &BTreeMap<ReplicaId, NodeId>) -> Result<bool, OpenError> {
        let failed = |detail: String| OpenError::Failed { detail };
        let raft = self.raft().ok_or_else(|| failed("the group is stopping".into()))?;
        if raft.is_initialized().await.map_err(|error| failed(error.to_string()))? {
            return Ok(false);
        }
        let seats: BTreeMap<_, _> = members.iter().map(|(&replica, &node)| (replica, Seat { node })).collect();
        match raft.initialize(seats).await {
            Ok(()) => Ok(true),
            // Another replica asked for a vote or sent its log between the question and the call.
            Err(openraft::errors::RaftError::APIError(openraft::errors::InitializeError::NotAllowed(_))) => Ok(false),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    pub(super) fn spawn_tasks(
        self: &Arc<Self>,
        roll_call: Arc<RollCall>,
        appends: mpsc::Receiver<Append>,
        pieces: mpsc::Receiver<Piece>,
    ) {
        let roll = || Roll { calls: roll_call.clone(), log: self.log.clone() };
        let raft = || {
            let group = Arc::downgrade(self);
            move || group.upgrade().and_then(|group| group.raft())
        };
        let tasks = vec![
            self.env.spawn("raft-batch", self.batcher.clone().run(self.env.clone(), raft())),
            self.env
                .spawn("raft-read", self.reads.clone().run(self.replica.clone(), self.caller.clone(), roll(), raft())),
            self.env.spawn(
                "raft-barrier",
                self.barriers.clone().run(self.replica.clone(), self.caller.clone(), roll(), raft()),
            ),
            self.env.spawn("raft-append", inbound::append_loop(appends, self.replica.clone(), raft())),
            self.env.spawn("raft-snapshot", inbound::piece_loop(pieces, self.replica.clone(), raft())),
            self.env.spawn("raft-status", status_loop(Arc::downgrade(self))),
        ];
        *self.tasks.lock() = tasks;
    }

    /// Stops openraft; the tasks stay for a restart.
    pub(crate) async fn stop_raft(&self) {
        let _turning = self.turning.lock().await;
        if let Some(raft) = self.raft() {
            // Taken away only when it has ended: whoever gave up waiting can come back and wait again.
            let _ = raft.shutdown().await;
            self.raft.store(None);
        }
        self.publish_status();
    }

    /// Whether it was stopped for good, or is about to be.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Stops everything for good.
    pub(crate) async fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Before openraft stops: of what it is given then nobody knows what becomes.
        self.batcher.close();
        self.stop_raft().await;
        self.replica.transfers.forget(self.replica.id);
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.reads.close();
        self.barriers.close();
    }
}

/// Publishes the status whenever something other than a position changed.
async fn status_loop(group: Weak<Group>) {
    loop {
        let Some(strong) = group.upgrade() else { return };
        let env = strong.env.clone();
        let changes = strong.raft().map(|raft| raft.server_metrics());
        drop(strong);
        if let Some(mut changes) = changes {
            loop {
                match group.upgrade() {
                    Some(group) => group.publish_status(),
                    None => return,
                }
                if changes.changed().await.is_err() {
                    break;
                }
            }
        }
        // Stopped, or dead until `maintain` reopens it.
        env.sleep(STOPPED_POLL).await;
    }
}
