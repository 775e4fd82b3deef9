//! Changes the members of the groups that this node leads, as the map wishes.
//!
//! ```text
//!   map, members, lag --> next_step --> one step of a group at a time, few groups at once --> look again
//!                                            | failed
//!                                            +--> the group is left alone for a while
//! ```
//! Nothing is remembered that matters: after a crash, or on the next leader, the map and the members say how far a
//! change has come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use strata_env::{Env, Mono};
use strata_meta::{MetaCommand, MetaReply};
use strata_raft::{Group, Members};
use strata_types::{ChangeId, Epoch, GroupId, GroupPlacement, ReplicaId, ShardMap, Term};

use crate::change_step::{Step, View, next_step};
use crate::commanding::command;
use crate::node::Node;

/// How often it is looked at when nothing happens.
const TICK: Duration = Duration::from_millis(200);
/// Steps that are carried out at once.
const STEPS_MAX: usize = 4;
/// A step that takes longer than this waits for others, and does not keep other groups from theirs.
const STEP_SLOW: Duration = Duration::from_secs(5);
/// A member that lacks no more entries than this gets the rest while the members change.
const LAG_MAX: u64 = 256;
/// For how long that must have been so.
const STEADY: Duration = Duration::from_millis(150);
/// How long the meta group may take for a command.
const COMMAND_DEADLINE: Duration = Duration::from_secs(3);
/// How long the map that shows what a command did may be on its way.
const MAP_PATIENCE: Duration = Duration::from_secs(1);
/// How long a handover may take.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(2);
/// After this many failures in a row a leader that is to go changes the members itself.
const HANDOVERS_MAX: u32 = 3;
/// How long a group is left alone after a step that failed; twice as long each time.
const REST: Duration = Duration::from_millis(200);
const REST_MAX: Duration = Duration::from_secs(5);

/// Carries changes out until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let mut maps = node.keeper().watch();
    let mut driver = Driver::default();
    let mut running = FuturesUnordered::new();
    loop {
        let map = maps.borrow_and_update().clone();
        for errand in driver.due(&node, &map) {
            // Steps are never given up half-way: what was asked of the group could be done later, when all has changed.
            running.push(carry_out(&node, errand));
        }
        tokio::select! {
            biased;
            Some((group, done)) = running.next(), if !running.is_empty() => driver.ended(node.env(), group, done),
            changed = maps.changed() => if changed.is_err() { return },
            () = node.env().sleep(TICK) => {}
        }
    }
}

/// A step of a group that this node leads.
struct Errand {
    group: Arc<Group>,
    term: Term,
    step: Step,
}

/// What is under way, what failed, and how close learners are.
#[derive(Default)]
struct Driver {
    running: BTreeMap<GroupId, Mono>,
    failed: BTreeMap<GroupId, Failures>,
    close: BTreeMap<GroupId, (ReplicaId, Mono)>,
}

struct Failures {
    count: u32,
    until: Mono,
}

impl Driver {
    /// The steps to begin now.
    fn due(&mut self, node: &Node, map: &ShardMap) -> Vec<Errand> {
        let now = node.env().now();
        let mut due = Vec::new();
        for placement in map.groups() {
            let id = placement.group;
            let quick = self.running.values().filter(|since| now.since(**since) < STEP_SLOW).count();
            let is_resting = self.failed.get(&id).is_some_and(|failures| now < failures.until);
            if quick >= STEPS_MAX || is_resting || self.running.contains_key(&id) {
                continue;
            }
            let Some(group) = node.host().group(id) else { continue };
            let Some((term, members)) = leading(&group) else {
                self.close.remove(&id);
                continue;
            };
            let has_caught_up = self.has_caught_up(now, &placement, &group);
            let may_hand_over = self.failed.get(&id).is_none_or(|failures| failures.count < HANDOVERS_MAX);
            let (own, ready) = (group.replica(), group.ready_members(LAG_MAX));
            let view = View { placement, own, term, members: &members, has_caught_up, ready: &ready, may_hand_over };
            let step = next_step(&view);
            if !matches!(step, Step::Rest | Step::Wait) {
                self.running.insert(id, now);
                due.push(Errand { group, term, step });
            }
        }
        due
    }

    /// Whether the replica that is being added has been close for a while.
    fn has_caught_up(&mut self, now: Mono, placement: &GroupPlacement<'_>, group: &Group) -> bool {
        let learner = placement.changes.added().map(|add| add.replica);
        let Some(close) = learner.filter(|learner| group.lag(*learner).is_some_and(|lag| lag <= LAG_MAX)) else {
            self.close.remove(&placement.group);
            return false;
        };
        let since = self.close.entry(placement.group).or_insert((close, now));
        if since.0 != close {
            *since = (close, now);
        }
        now.since(since.1) >= STEADY
    }

    fn ended(&mut self, env: &Env, group: GroupId, done: bool) {
        self.running.remove(&group);
        if done {
            self.failed.remove(&group);
            return;
        }
        let failures = self.failed.entry(group).or_insert(Failures { count: 0, until: Mono::default() });
        let pause = REST.saturating_mul(1 << failures.count.min(8)).min(REST_MAX);
        failures.count += 1;
        failures.until = env.now() + env.jittered(pause);
    }
}

/// The term in which this replica leads, and the members as of that term.
fn leading(group: &Group) -> Option<(Term, Members)> {
    if !group.watch().borrow().is_leader {
        return None;
    }
    let before = group.status();
    let members = group.members()?;
    let after = group.status();
    // Terms only rise: what was read between two looks that agree belongs to that term.
    (before.is_leader && after.is_leader && before.term == after.term).then_some((after.term, members))
}

/// Carries out a step and returns whether that worked.
async fn carry_out(node: &Node, errand: Errand) -> (GroupId, bool) {
    let Errand { group, term, step } = errand;
    let id = group.id();
    tracing::debug!(group = %id, %term, ?step, "members of a group");
    let done = match step.clone() {
        Step::Rest | Step::Wait => Ok(()),
        Step::RemoveLearner(learner) => group.remove_learner(learner).await.map_err(|error| error.to_string()),
        Step::AddLearner(add) => group.add_learner(add.replica, add.node).await.map_err(|error| error.to_string()),
        Step::HandOver => hand_over(&group).await,
        Step::Decide(change) => tell(node, MetaCommand::DecideChange { group: id, change, term }).await,
        Step::ChangeVoters(to) => group.change_voters(term, to).await.map_err(|error| error.to_string()),
        Step::Finish(change) => told(id, change, tell(node, MetaCommand::FinishChange { group: id, change }).await),
        Step::Abandon(change) => tell(node, MetaCommand::AbandonChange { group: id, change, term }).await,
    };
    if let Err(detail) = &done {
        tracing::info!(group = %id, %term, ?step, detail, "a step of a change of members is tried again");
    }
    (id, done.is_ok())
}

fn told(group: GroupId, change: ChangeId, done: Result<(), String>) -> Result<(), String> {
    if done.is_ok() {
        tracing::info!(%group, %change, "the members of a group were changed");
    }
    done
}

async fn hand_over(group: &Group) -> Result<(), String> {
    let successor = group.best_successor().ok_or_else(|| "nobody can take over".to_owned())?;
    let done = group.transfer_leader(successor, HANDOVER_PATIENCE).await;
    if done { Ok(()) } else { Err("the handover did not work".to_owned()) }
}

/// Tells the meta group, and waits until this node's map shows it.
async fn tell(node: &Node, news: MetaCommand) -> Result<(), String> {
    match command(node, news, COMMAND_DEADLINE).await {
        Ok(MetaReply::Done { epoch }) => {
            let is_there = node.keeper().newer_than(Epoch(epoch.0.saturating_sub(1)));
            let arrived = node.env().timeout(MAP_PATIENCE, is_there).await;
            arrived.map(drop).map_err(|_| "the map that shows it has not arrived".to_owned())
        }
        Ok(MetaReply::Refused(refusal)) => Err(refusal.to_string()),
        Ok(other) => Err(format!("not an answer to this command: {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}
