//! People who look after the cluster, and sometimes do not: they add machines, drain, remove and replace nodes, move
//! replicas, change their minds, and lose disks.
//!
//! They may do whatever the cluster allows. What nobody survives they do not do: the disks of two machines are never lost
//! at once, and none is lost while a replica is built anew in the place of another.

use std::sync::Arc;
use std::time::Duration;

use strata_meta::MetaCommand;
use strata_types::{GroupId, GroupPlacement, NodeId, NodeState, ReplicaId, ReplicaPlacement, ShardMap};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::act::Act;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fabric::Host;
use crate::files::Files;
use crate::tablets::damage;
use crate::trace::trace;

/// How long an operator waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Not everything can be done at any time: so often another act is tried.
const TRIES: usize = 4;

/// Somebody with access to everything.
pub(crate) struct Operator {
    cluster: Arc<Cluster>,
    dice: Dice,
    /// Whether a replica may yet be built anew because of a command that was never answered.
    is_unsure: bool,
    /// Machines that were started with the data of a removed node.
    tried: Vec<(Host, NodeId)>,
}

impl Operator {
    pub(crate) fn new(cluster: Arc<Cluster>, dice: Dice) -> Operator {
        Operator { cluster, dice, is_unsure: false, tried: Vec::new() }
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.dice.between(low, high))
    }

    /// Works until told to stop.
    pub(crate) async fn work(mut self, mut stop: watch::Receiver<bool>) -> Operator {
        while !*stop.borrow_and_update() {
            let pause = self.millis(300, 3_000);
            sleep(pause).await;
            self.add_machine().await;
            self.look_after_removed().await;
            if self.dice.chance(200) {
                self.give_up_dead().await;
            }
            for _ in 0..TRIES {
                let act = *self.dice.pick(&Act::ALL);
                if self.perform(act).await {
                    break;
                }
            }
        }
        self
    }

    /// Nodes that lost their disks do not come back: the cluster is told, which cannot know.
    pub(crate) async fn give_up_dead(&mut self) {
        let (map, dead) = (self.cluster.newest_map(), self.cluster.dead());
        let is_dead = |id: NodeId| dead.contains(&id);
        let Some(lost) = map.nodes.iter().find(|node| node.state == NodeState::Lost && is_dead(node.id)) else {
            return;
        };
        let (node, wanted) = (lost.id, NodeState::Removing);
        self.order(Act::Remove, MetaCommand::SetNodeState { node, wanted, force: false }).await;
    }

    /// Returns whether there was anything to do.
    async fn perform(&mut self, act: Act) -> bool {
        let map = self.cluster.newest_map();
        match act {
            Act::LoseDisk => self.lose_disk(&map).await,
            Act::Damage => self.damage(&map).await,
            Act::Restart => self.restart().await,
            _ => match self.command(act, &map) {
                Some(command) => self.order(act, command).await,
                None => false,
            },
        }
    }

    fn command(&mut self, act: Act, map: &ShardMap) -> Option<MetaCommand> {
        let node = self.dice.pick(&map.nodes).clone();
        let groups: Vec<_> = map.groups().collect();
        let group = *self.dice.pick(&groups);
        let placed = *self.dice.pick(group.replicas);
        let set = |node: NodeId, wanted| MetaCommand::SetNodeState { node, wanted, force: false };
        Some(match act {
            Act::Drain => set(node.id, NodeState::Draining),
            Act::Undrain => {
                let is_idle = |state| matches!(state, NodeState::Draining | NodeState::Removing);
                set(map.nodes.iter().find(|node| is_idle(node.state))?.id, NodeState::Active)
            }
            Act::Remove => {
                let active = map.nodes.iter().filter(|node| node.state == NodeState::Active).count();
                if active <= 3 && !self.dice.chance(200) {
                    return None;
                }
                set(node.id, NodeState::Removing)
            }
            Act::Move => MetaCommand::Move { group: group.group, from: placed.node, to: node.id },
            Act::Prefer => MetaCommand::PreferLeader { shard: group.group.shard()?, replica: placed.replica },
            Act::Cancel => {
                let changing = groups.iter().find_map(|group| Some((group.group, group.changes.change?)));
                let (group, change) = changing?;
                MetaCommand::CancelChange { group, change: change.id }
            }
            Act::Rebuild if self.may_rebuild(map) => {
                MetaCommand::Rebuild { group: group.group, replica: placed.replica }
            }
            _ => return None,
        })
    }

    /// Has some running node see to it.
    async fn order(&mut self, act: Act, command: MetaCommand) -> bool {
        let nodes = self.cluster.nodes();
        if nodes.is_empty() {
            return false;
        }
        let (host, _, node) = self.dice.pick(&nodes).clone();
        trace!(self.cluster.trace, "OPERATOR {act:?} by host-{host}: {command:?}");
        // The node may die before it answers.
        let reply = timeout(PATIENCE, node.administer(command, PATIENCE)).await;
        let reply = reply.ok().and_then(Result::ok);
        trace!(self.cluster.trace, "OPERATOR {act:?} -> {reply:?}");
        self.is_unsure |= act == Act::Rebuild && reply.is_none();
        true
    }

    /// A machine that was not there yet joins; sometimes it dies over it.
    async fn add_machine(&mut self) {
        let Some(host) = self.cluster.unused().first().copied().filter(|_| self.dice.chance(300)) else { return };
        trace!(self.cluster.trace, "OPERATOR adds host-{host}");
        self.cluster.bring_in(host);
        self.stumble(host).await;
    }

    /// A machine that has just been started dies, perhaps, and is started again.
    async fn stumble(&mut self, host: Host) {
        if self.dice.chance(400) {
            let moment = self.millis(1, 800);
            sleep(moment).await;
            let power_loss = self.dice.chance(500);
            self.cluster.stop(host, power_loss);
            let down = self.millis(10, 2_000);
            sleep(down).await;
            self.cluster.start(host);
        }
    }

    /// A machine whose node was removed joins as a new one, or is started as it is, which must not work.
    async fn look_after_removed(&mut self) {
        let removed = |(_, node): &(Host, NodeId)| self.cluster.invariants.lock().maps.is_removed(*node);
        let Some((host, node)) = self.cluster.seated().into_iter().find(removed) else { return };
        if !self.tried.contains(&(host, node)) && self.dice.chance(500) {
            self.tried.push((host, node));
            trace!(self.cluster.trace, "OPERATOR starts host-{host} with the data of {node}, which was removed");
            self.cluster.take_out(host);
            self.cluster.bring_in(host);
        } else if self.dice.chance(400) {
            trace!(self.cluster.trace, "OPERATOR starts host-{host} anew: {node} was removed");
            self.cluster.take_out(host);
            self.start_empty(host).await;
        }
    }

    async fn start_empty(&mut self, host: Host) {
        let may_found = self.dice.chance(300);
        self.cluster.wipe(host, may_found);
        self.cluster.bring_in(host);
        self.stumble(host).await;
    }

    async fn lose_disk(&mut self, map: &ShardMap) -> bool {
        let seated = self.cluster.seated();
        let members: Vec<_> = seated.into_iter().filter(|(_, node)| map.node(*node).is_some()).collect();
        if members.is_empty() {
            return false;
        }
        let (host, node) = *self.dice.pick(&members);
        if !self.may_lose(map, node) {
            return false;
        }
        trace!(self.cluster.trace, "OPERATOR loses the disk of host-{host}, {node}");
        self.cluster.stop(host, true);
        let may_found = self.dice.chance(300);
        self.cluster.wipe(host, may_found);
        let down = self.millis(10, 25_000);
        let begun = Instant::now();
        // It may come back at once, or long after the others have replaced it; others go on working meanwhile.
        while begun.elapsed() < down && self.dice.chance(900) {
            sleep(Duration::from_secs(1)).await;
        }
        self.cluster.start(host);
        self.stumble(host).await;
        true
    }

    /// Files of a replica are damaged. It finds that while it runs, or when it is opened; then it serves nobody any more,
    /// and is built anew.
    async fn damage(&mut self, map: &ShardMap) -> bool {
        let Some((group, placed)) = self.choose_damaged(map) else { return false };
        let seated = self.cluster.seated();
        let Some((host, _)) = seated.iter().find(|(_, node)| *node == placed.node).copied() else { return false };
        trace!(self.cluster.trace, "OPERATOR damages {} of {group} on host-{host}", placed.replica);
        self.cluster.invariants.lock().files.damage(placed.replica);
        let running = self.cluster.nodes().into_iter().find(|(running, _, _)| *running == host);
        let found = running.and_then(|(_, _, node)| node.host().group(group));
        match found.filter(|found| found.replica() == placed.replica && self.dice.chance(500)) {
            Some(found) => found.refuse(&damage(placed.replica)),
            None => {
                let power_loss = self.dice.chance(500);
                self.cluster.stop(host, power_loss);
                let down = self.millis(10, 2_000);
                sleep(down).await;
                self.cluster.start(host);
            }
        }
        true
    }

    /// A member, or one that is about to become one.
    fn choose_damaged(&mut self, map: &ShardMap) -> Option<(GroupId, ReplicaPlacement)> {
        let groups: Vec<_> = map.groups().collect();
        let joiner = |group: &GroupPlacement<'_>| Some((group.group, self.joiner_to_lose(group)?));
        let joiners: Vec<_> = groups.iter().filter_map(joiner).collect();
        if !joiners.is_empty() && self.dice.chance(500) {
            return Some(*self.dice.pick(&joiners));
        }
        let group = *self.dice.pick(&groups);
        let placed = *self.dice.pick(group.replicas);
        let may_lose = group.replicas.len() >= 3 && self.may_lose(map, placed.node);
        may_lose.then_some((group.group, placed))
    }

    /// The replica that is being added to a group, if the others do without it, now and when it is a voter: there are two at
    /// least, and all but the one that goes have everything.
    fn joiner_to_lose(&self, group: &GroupPlacement<'_>) -> Option<ReplicaPlacement> {
        let joiner = group.changes.added()?;
        let files = &self.cluster.invariants.lock().files;
        let mut staying = group.replicas.iter().filter(|placed| Some(placed.replica) != group.changes.removed());
        let are_enough = staying.clone().count() >= 2 && staying.all(|placed| files.is_kept(placed.replica));
        (are_enough && files.is_kept(joiner.replica) && !self.is_unsure).then_some(joiner)
    }

    /// Whether the cluster can do without the disk of a node: nothing is under way, and the others have everything.
    fn may_lose(&self, map: &ShardMap, node: NodeId) -> bool {
        let invariants = self.cluster.invariants.lock();
        let is_kept = |replica: ReplicaId| invariants.files.is_kept(replica);
        let is_quiet = map.groups().all(|group| {
            let holds = group.replicas.iter().any(|placed| placed.node == node);
            let others = group.replicas.iter().filter(|placed| placed.node != node);
            let enough = others.clone().count() > group.replicas.len() / 2 && others.clone().count() >= 2;
            let rest = others.clone().all(|placed| is_kept(placed.replica));
            group.changes.change.is_none() && group.changes.leaving.is_empty() && (!holds || (enough && rest))
        });
        let is_well = map.nodes.iter().all(|node| node.state.keeps());
        is_quiet && is_well && !self.is_unsure && no_other_loss(map, &invariants.files)
    }

    /// Whether a replica may be deleted for a while: all others are there.
    fn may_rebuild(&self, map: &ShardMap) -> bool {
        no_other_loss(map, &self.cluster.invariants.lock().files)
    }

    async fn restart(&mut self) -> bool {
        let nodes = self.cluster.nodes();
        if nodes.is_empty() {
            return false;
        }
        let (host, _, _) = *self.dice.pick(&nodes);
        trace!(self.cluster.trace, "OPERATOR stops host-{host} in good order");
        drop(nodes);
        self.cluster.shut_down(host, PATIENCE).await;
        let down = self.millis(10, 3_000);
        sleep(down).await;
        self.cluster.start(host);
        true
    }
}

/// Whether no member of any group has lost its files, nor who is about to become one.
fn no_other_loss(map: &ShardMap, files: &Files) -> bool {
    map.groups().all(|group| group.open_replicas().all(|placed| !files.is_gone(placed.replica)))
}
