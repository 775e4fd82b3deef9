//! Applying commands to the meta tablet.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use strata_machine::{CommandContext, Machine, ViewMut};
use strata_types::{ClusterId, LogIndex, NodeDescriptor, NodeId, ReplicaId, ReplicaPlacement};

use crate::rows::load_map;
use crate::state::State;
use crate::survey::NOBODY;
use crate::{MetaCommand, MetaRefusal, MetaReply, PlanLimits, changes, founding, nodes, plan_around, timestamps};

/// Most replica ids that one command can reserve: far more than any plan needs, far too few to run out.
const REPLICA_IDS_MAX: u32 = 1_000_000;

/// The state machine of group 0. It keeps nothing itself: all state is in the tablet.
#[derive(Default)]
pub struct MetaMachine {
    listener: Option<Box<dyn Fn(LogIndex) + Send + Sync>>,
}

impl MetaMachine {
    /// A machine that nobody listens to.
    pub fn new() -> MetaMachine {
        MetaMachine::default()
    }

    /// A machine that calls `listener` after entries were applied, for waking those who watch the map. It must not
    /// block.
    pub fn with_listener(listener: impl Fn(LogIndex) + Send + Sync + 'static) -> MetaMachine {
        MetaMachine { listener: Some(Box::new(listener)) }
    }
}

impl fmt::Debug for MetaMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaMachine").field("has_listener", &self.listener.is_some()).finish()
    }
}

impl Machine for MetaMachine {
    fn apply(&self, view: &mut dyn ViewMut, _context: CommandContext, command: &Bytes) -> Bytes {
        let command = MetaCommand::decode(command.clone())
            .unwrap_or_else(|error| panic!("a meta command in the log cannot be decoded: {error}"));
        carry_out(view, command).unwrap_or_else(MetaReply::Refused).encode()
    }

    fn reads_everything(&self) -> bool {
        true
    }

    fn applied(&self, up_to: LogIndex) {
        if let Some(listener) = &self.listener {
            listener(up_to);
        }
    }
}

fn carry_out(view: &mut dyn ViewMut, command: MetaCommand) -> Result<MetaReply, MetaRefusal> {
    let done = |(epoch, ())| MetaReply::Done { epoch };
    let started = |(epoch, change)| MetaReply::Started { change, epoch };
    Ok(match command {
        MetaCommand::Found { cluster, nodes, meta, shard_count } => found(view, cluster, nodes, meta, shard_count)?,
        MetaCommand::SetAddresses { node, peer_address, client_address } => {
            let set = |state: &mut State| nodes::set_addresses(state, node, peer_address, client_address);
            let (epoch, ()) = State::update(view, set)?;
            MetaReply::AddressesSet { epoch }
        }
        MetaCommand::AllocateReplicaIds { count } => {
            let (_, first) = State::update(view, |state| allocate_replica_ids(state, count))?;
            MetaReply::ReplicaIds { first, count }
        }
        MetaCommand::Join(joiner) => {
            let (epoch, node) = State::update(view, |state| nodes::join(state, joiner))?;
            MetaReply::Joined { node, epoch }
        }
        MetaCommand::SetNodeState { node, wanted, force } => {
            let (epoch, state) = State::update(view, |state| nodes::set_state(state, node, wanted, force))?;
            MetaReply::NodeStateSet { state, epoch }
        }
        MetaCommand::DecideChange { group, change, term } => {
            done(State::update(view, |state| changes::decide(state, group, change, term))?)
        }
        MetaCommand::FinishChange { group, change } => {
            done(State::update(view, |state| changes::finish(state, group, change))?)
        }
        MetaCommand::AbandonChange { group, change, term } => {
            done(State::update(view, |state| changes::abandon(state, group, change, term))?)
        }
        MetaCommand::CancelChange { group, change } => {
            done(State::update(view, |state| changes::cancel(state, group, change))?)
        }
        MetaCommand::ReplicaDeleted { group, replica } => {
            done(State::update(view, |state| changes::deleted(state, group, replica))?)
        }
        MetaCommand::Plan { limits } => planned(view, limits, &NOBODY)?,
        MetaCommand::PlanAround { limits, full } => planned(view, limits, &full.into_iter().collect())?,
        MetaCommand::Move { group, from, to } => {
            started(State::update(view, |state| changes::move_by_hand(state, group, from, to))?)
        }
        MetaCommand::PreferLeader { shard, replica } => {
            done(State::update(view, |state| changes::prefer_leader(state, shard, replica))?)
        }
        MetaCommand::Rebuild { group, replica } => {
            started(State::update(view, |state| changes::rebuild(state, group, replica))?)
        }
        MetaCommand::RaiseVersion { to } => done(State::update(view, |state| nodes::raise_version(state, to))?),
        MetaCommand::ReserveTimestamps { count } => {
            MetaReply::Timestamps { first: timestamps::reserve(view, count)?, count }
        }
    })
}

fn found(
    view: &mut dyn ViewMut,
    cluster: ClusterId,
    nodes: Vec<NodeDescriptor>,
    meta: Vec<ReplicaPlacement>,
    shard_count: u32,
) -> Result<MetaReply, MetaRefusal> {
    if let Some(map) = load_map(view) {
        return match map.cluster == cluster {
            true => Ok(MetaReply::Founded { epoch: map.epoch }),
            false => Err(MetaRefusal::OtherCluster { cluster: map.cluster }),
        };
    }
    let state = founding::founded(cluster, nodes, meta, shard_count)?;
    state.store(view, None);
    Ok(MetaReply::Founded { epoch: state.map.epoch })
}

fn allocate_replica_ids(state: &mut State, count: u32) -> Result<ReplicaId, MetaRefusal> {
    if count == 0 || count > REPLICA_IDS_MAX {
        return MetaRefusal::because(format!(
            "1 to {REPLICA_IDS_MAX} replica ids can be reserved at once: count=`{count}`"
        ));
    }
    let first = state.next_replica;
    state.next_replica = ReplicaId(first.0 + u64::from(count));
    Ok(first)
}

fn planned(view: &mut dyn ViewMut, limits: PlanLimits, full: &BTreeSet<NodeId>) -> Result<MetaReply, MetaRefusal> {
    let (epoch, counts) = State::update(view, |state| carry_out_plan(state, limits, full))?;
    let (started, cancelled, waiting) = counts;
    Ok(MetaReply::Planned { started, cancelled, waiting, epoch })
}

/// Starts and cancels what the plan says. Returns how many were started, were cancelled, and wait.
fn carry_out_plan(
    state: &mut State,
    limits: PlanLimits,
    full: &BTreeSet<NodeId>,
) -> Result<(u32, u32, u32), MetaRefusal> {
    let plan = plan_around(&state.map, limits, full);
    for (group, change) in &plan.cancel {
        changes::cancel(state, *group, *change)?;
    }
    for change in &plan.start {
        changes::start(state, *change)?;
    }
    if !plan.is_empty() {
        // Replicas that are about to go are better not leaders.
        state.even_leaders();
    }
    let count = |length: usize| u32::try_from(length).expect("groups are far below 2^32");
    Ok((count(plan.start.len()), count(plan.cancel.len()), count(plan.waiting.len())))
}
