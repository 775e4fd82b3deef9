//! On the leader of the meta group: proposes what the state of the nodes asks for.
//!
//! ```text
//!   every half second:     replicas that refuse to serve, and
//!                          changes that do not get on              --> CancelChange, Rebuild
//!                          is there something to plan?             --> Plan, around the nodes without room
//!   every few seconds:     nodes that do not answer for long       --> SetNodeState Lost
//!                          leaders that have too much to do        --> PreferLeader
//! ```
//! The machine decides; what is proposed here is a suggestion that it refuses when it is not safe. Times and what is
//! remembered only say how often to suggest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strata_env::Mono;
use strata_meta::{Imbalance, LeaderWish, MetaCommand, MetaReply, held_up, plan_around, spread};
use strata_types::{ChangeId, Epoch, GroupId, NodeId, NodeState, ReplicaId, ShardMap};

use crate::commanding::command;
use crate::hurry::{LIMITS, limits};
use crate::leader_loads::LeaderLoads;
use crate::node::Node;
use crate::repairs::{Damaged, changes_under_way, damaged, in_the_way, obstructed, to_rebuild};
use crate::report::NodeReport;
use crate::rooms::Rooms;
use crate::tally::{Pace, Tally};
use crate::vigil::{Rests, Vigil};

/// How often it is looked whether there is something to plan.
const TICK: Duration = Duration::from_millis(500);
/// How often nodes are asked how they are, at most.
const ASKING: Duration = Duration::from_secs(5);
/// How long a command may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long something is left alone that the machine refused.
const REFUSED: Duration = Duration::from_secs(30);

/// Plans while this node leads the meta group.
pub(crate) async fn run(node: Arc<Node>) {
    let mut seen = Arc::new(ShardMap::default());
    let mut leading = None;
    loop {
        node.env().sleep(TICK).await;
        let map = node.map();
        let tally = Tally::between(&seen, &map);
        if map.epoch > seen.epoch {
            seen = map.clone();
            show_imbalance(&map);
        }
        if !leads_meta(&node) || map.epoch == Epoch(0) {
            if leading.take().is_some() {
                metrics::gauge!("strata_cluster_replicas_to_move").set(0.0);
                // Whoever leads now knows better.
                show_imbalance_of_loads(&[]);
            }
            continue;
        }
        let planning = leading.get_or_insert_with(|| Planning::new(node.env().now()));
        planning.note(&node, tally);
        planning.repair(&node, &map).await;
        planning.plan(&node, &map).await;
        planning.look_after(&node, &map).await;
    }
}

fn leads_meta(node: &Node) -> bool {
    let Some(group) = node.host().group(GroupId::META) else { return false };
    group.watch().borrow().is_leader && group.status().has_quorum
}

fn show_imbalance(map: &ShardMap) {
    let (replicas, leaders) = (Imbalance::of_replicas(map), Imbalance::of_leaders(map));
    metrics::gauge!("strata_cluster_replicas_entropy").set(replicas.entropy);
    metrics::gauge!("strata_cluster_replicas_largest_over_mean").set(replicas.largest_over_mean);
    metrics::gauge!("strata_cluster_leaders_entropy").set(leaders.entropy);
    metrics::gauge!("strata_cluster_leaders_largest_over_mean").set(leaders.largest_over_mean);
}

fn show_imbalance_of_loads(loads: &[(u64, u32)]) {
    let Imbalance { entropy, largest_over_mean } = Imbalance::of(loads);
    metrics::gauge!("strata_cluster_load_entropy").set(entropy);
    metrics::gauge!("strata_cluster_load_largest_over_mean").set(largest_over_mean);
}

/// What a leader of the meta group remembers while it leads.
struct Planning {
    pace: Pace,
    /// There was nothing to do about the map of this epoch. Forgotten when other nodes have room.
    done: Epoch,
    /// When the nodes were asked last how they are. Who leads anew asks at once.
    asked: Option<Mono>,
    loads: LeaderLoads,
    rooms: Rooms,
    vigil: Vigil,
    /// Members that refused to serve when their nodes were asked last.
    damaged: Vec<Damaged>,
    /// Changes whose new replicas did not get on then.
    obstructed: BTreeSet<ChangeId>,
    /// Those that did not the time before either.
    stuck: BTreeSet<ChangeId>,
    resting_nodes: Rests<NodeId>,
    resting_replicas: Rests<(GroupId, ReplicaId)>,
}

impl Planning {
    fn new(now: Mono) -> Planning {
        Planning {
            pace: Pace::default(),
            done: Epoch(0),
            asked: None,
            loads: LeaderLoads::new(now),
            rooms: Rooms::default(),
            vigil: Vigil::default(),
            damaged: Vec::new(),
            obstructed: BTreeSet::new(),
            stuck: BTreeSet::new(),
            resting_nodes: Rests::default(),
            resting_replicas: Rests::default(),
        }
    }

    fn note(&mut self, node: &Node, tally: Tally) {
        metrics::counter!("strata_cluster_changes_started_total").increment(tally.started);
        metrics::counter!("strata_cluster_changes_finished_total").increment(tally.finished);
        metrics::counter!("strata_cluster_changes_abandoned_total").increment(tally.abandoned);
        self.pace.note(node.env(), tally);
    }

    /// Before anything else is planned for groups that need repair: it would come first.
    async fn repair(&mut self, node: &Node, map: &ShardMap) {
        let now = node.env().now();
        self.damaged.retain(|one| one.is_member(map));
        let mut damaged = self.damaged.clone();
        damaged.retain(|one| !self.resting_replicas.is_resting(&(one.group, one.replica), now));
        let full = self.rooms.full(map);
        let mut given_up = in_the_way(map, &damaged, &self.stuck);
        given_up.extend(held_up(map, &full).into_iter().filter(|(_, change)| self.stuck.contains(change)));
        for (group, change) in given_up {
            let wish = MetaCommand::CancelChange { group, change };
            let reply = command(node, wish, DEADLINE).await;
            tracing::info!(%group, %change, ?reply, "a change that does not get on, or is in the way, is given up");
        }
        for (group, replica) in to_rebuild(map, &damaged, LIMITS, &full) {
            self.rebuild(node, group, replica, now).await;
        }
    }

    async fn plan(&mut self, node: &Node, map: &Arc<ShardMap>) {
        if self.done == map.epoch || !self.rooms.is_known(map) || !self.pace.may_plan(node.env().now()) {
            return;
        }
        // Large clusters have large plans.
        let (present, limits, full) = (map.clone(), limits(map, self.loads.of_all()), self.rooms.full(map));
        let order = MetaCommand::plan_around(limits, &full);
        let Some(wish) = node.env().background(move || plan_around(&present, limits, &full)).await else { return };
        let to_move = changes_under_way(map, |_| true) + wish.start.len() + wish.waiting.len();
        metrics::gauge!("strata_cluster_replicas_to_move").set(to_move as f64);
        if wish.is_empty() {
            self.done = map.epoch;
            return;
        }
        match command(node, order, DEADLINE).await {
            Ok(MetaReply::Planned { started, cancelled, waiting, .. }) => {
                tracing::info!(started, cancelled, waiting, "planned changes of members");
            }
            other => tracing::debug!(?other, "planning is tried again"),
        }
    }

    /// Asks all nodes how they are, and says what follows.
    async fn look_after(&mut self, node: &Node, map: &ShardMap) {
        let now = node.env().now();
        let patience = node.settings().replace_after;
        if self.asked.is_some_and(|asked| now.since(asked) < ASKING.min(patience / 4)) {
            return;
        }
        self.asked = Some(now);
        let asked = map.nodes.iter().map(|other| async { (other.id, node.ask_report(other.id).await) });
        let reports: BTreeMap<NodeId, Option<NodeReport>> =
            futures_util::future::join_all(asked).await.into_iter().collect();
        let now = node.env().now();
        let answers: Vec<(NodeId, bool)> = reports.iter().map(|(id, report)| (*id, report.is_some())).collect();
        for silent in self.vigil.asked(now, &answers, patience) {
            let is_news = map.node(silent).is_some_and(|other| other.state.is_counted_on());
            if is_news && !self.resting_nodes.is_resting(&silent, now) {
                self.declare_lost(node, silent, now).await;
            }
        }
        self.damaged = damaged(&reports);
        let obstructed = obstructed(map, &reports);
        self.stuck = obstructed.intersection(&self.obstructed).copied().collect();
        self.obstructed = obstructed;
        if self.rooms.heard(&reports) {
            self.done = Epoch(0);
        }
        self.loads.heard(now, map, &reports);
        show_imbalance_of_loads(&self.loads.of_nodes(map));
        self.spread_leaders(node, map, now).await;
    }

    /// Has leaders handed over where one node has much more to do than others.
    async fn spread_leaders(&mut self, node: &Node, map: &ShardMap, now: Mono) {
        let Some(loads) = self.loads.ripe(now, map) else { return };
        let present = map.clone();
        let Some((wishes, _)) = node.env().background(move || spread(&present, &loads)).await else { return };
        self.loads.wished(now, wishes.len());
        for LeaderWish { shard, replica, from, to } in wishes {
            match command(node, MetaCommand::PreferLeader { shard, replica }, DEADLINE).await {
                Ok(MetaReply::Done { .. }) => {
                    tracing::info!(%shard, %from, %to, "another node is to lead a shard: this one has too much to do");
                    metrics::counter!("strata_cluster_leaders_spread_total").increment(1);
                }
                // The rest was meant to go with it.
                other => return tracing::debug!(%shard, %to, ?other, "leaders are spread later"),
            }
        }
    }

    async fn declare_lost(&mut self, node: &Node, lost: NodeId, now: Mono) {
        let wish = MetaCommand::SetNodeState { node: lost, wanted: NodeState::Lost, force: false };
        match command(node, wish, DEADLINE).await {
            Ok(MetaReply::NodeStateSet { state, .. }) => {
                tracing::warn!(node = %lost, %state, "a node has not answered for long: its replicas are replaced");
            }
            Ok(MetaReply::Refused(refusal)) => {
                tracing::warn!(node = %lost, %refusal, "a node has not answered for long, but cannot be given up");
                self.resting_nodes.rest(lost, now + REFUSED);
            }
            other => tracing::debug!(node = %lost, ?other, "declaring a node lost is tried again"),
        }
    }

    async fn rebuild(&mut self, node: &Node, group: GroupId, replica: ReplicaId, now: Mono) {
        match command(node, MetaCommand::Rebuild { group, replica }, DEADLINE).await {
            Ok(MetaReply::Started { change, .. }) => {
                tracing::warn!(%group, %replica, ?change, "a replica refuses to serve: it is built anew, or goes with its node");
            }
            Ok(MetaReply::Refused(refusal)) => {
                tracing::warn!(%group, %replica, %refusal, "a replica refuses to serve, but cannot be built anew");
                self.resting_replicas.rest((group, replica), now + REFUSED);
            }
            other => tracing::debug!(%group, %replica, ?other, "building a replica anew is tried again"),
        }
    }
}
