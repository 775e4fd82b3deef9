//! What operators ask for, as commands of the meta machine, and what it answers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strata_env::Env;
use strata_meta::{
    Imbalance, LeaderWish, MetaCommand, MetaRefusal, MetaReply, PlanLimits, PlannedChange, preview, spread, stranded,
};
use strata_proto::v1;
use strata_types::{ClusterVersion, Error, ErrorCode, GroupId, NodeId, NodeState, Result, ShardId, ShardMap};

use crate::ClusterView;
use crate::choice::giver;
use crate::figures::Told;

/// How many changes an operator starts at once: as many as the cluster itself would.
const LIMITS: PlanLimits = PlanLimits { changes: 8, per_node: 2 };

pub(crate) async fn set_node_state(
    view: &dyn ClusterView,
    request: v1::SetNodeStateRequest,
    deadline: Duration,
) -> Result<v1::SetNodeStateReply> {
    let wanted = v1::NodeState::try_from(request.state)
        .map_err(|_| invalid(format!("there is no such state of a node: state=`{}`", request.state)))?;
    let wanted = NodeState::from(wanted);
    let command = MetaCommand::SetNodeState { node: NodeId(request.node), wanted, force: request.force };
    match carry_out(view, command, deadline).await? {
        MetaReply::NodeStateSet { state, epoch } => {
            let problem = stranded(&view.map(), NodeId(request.node), &BTreeSet::new()).unwrap_or_default();
            Ok(v1::SetNodeStateReply { state: v1::NodeState::from(state).into(), epoch: epoch.0, problem })
        }
        other => Err(misfit(&other)),
    }
}

pub(crate) async fn move_replica(
    view: &dyn ClusterView,
    request: v1::MoveReplicaRequest,
    deadline: Duration,
) -> Result<v1::MoveReplicaReply> {
    let group = request.shard.map_or(GroupId::META, |shard| GroupId::of_shard(ShardId(shard)));
    let to = NodeId(request.to);
    let from = match NodeId(request.from) {
        NodeId(0) => giver(founded(view)?.as_ref(), group, to)?,
        named => named,
    };
    match carry_out(view, MetaCommand::Move { group, from, to }, deadline).await? {
        MetaReply::Started { change, epoch } => {
            Ok(v1::MoveReplicaReply { from: from.0, change: change.map_or(0, |change| change.0), epoch: epoch.0 })
        }
        other => Err(misfit(&other)),
    }
}

pub(crate) async fn transfer_leader(
    view: &dyn ClusterView,
    request: v1::TransferLeaderRequest,
    deadline: Duration,
) -> Result<v1::TransferLeaderReply> {
    let (shard, to) = (ShardId(request.shard), NodeId(request.to));
    let map = founded(view)?;
    let Some(placement) = map.shard(shard) else {
        return Err(invalid(format!("there is no such shard: shard=`{shard}`")));
    };
    let Some(replica) = placement.replicas.iter().find(|replica| replica.node == to).map(|replica| replica.replica)
    else {
        return Err(refused(format!("the node has no replica of the shard: shard=`{shard}` node=`{to}`")));
    };
    match carry_out(view, MetaCommand::PreferLeader { shard, replica }, deadline).await? {
        MetaReply::Done { epoch } => Ok(v1::TransferLeaderReply { replica: replica.0, epoch: epoch.0 }),
        other => Err(misfit(&other)),
    }
}

pub(crate) async fn balance(
    env: &Env,
    view: &dyn ClusterView,
    request: v1::BalanceRequest,
    deadline: Duration,
) -> Result<v1::BalanceReply> {
    let map = founded(view)?;
    // Who does not answer keeps nobody from hearing the rest.
    let told = view.overview().await.map(|overview| Told::of(&overview)).unwrap_or_default();
    let full = told.full(&map);
    // Far too long for a thread that serves others, when there are many nodes.
    let (present, without_room) = (map.clone(), full.clone());
    let Some((changes, later)) = env.background(move || preview(&present, &without_room)).await else {
        return Err(Error::not_applied(ErrorCode::NotReady, "the node is stopping"));
    };
    let foreseen = v1::BalanceReply {
        changes: changes.into_iter().map(|change| planned(change, &told)).collect(),
        before: Some(evenness(Imbalance::of_replicas(&map))),
        after: Some(evenness(Imbalance::of_replicas(&later))),
        epoch: map.epoch.0,
        ..handovers(&map, &told)
    };
    if request.dry_run {
        return Ok(foreseen);
    }
    match carry_out(view, MetaCommand::plan_around(LIMITS, &full), deadline).await? {
        MetaReply::Planned { started, cancelled, epoch, .. } => {
            Ok(v1::BalanceReply { started, cancelled, epoch: epoch.0, ..foreseen })
        }
        other => Err(misfit(&other)),
    }
}

pub(crate) async fn raise_version(
    view: &dyn ClusterView,
    request: v1::RaiseVersionRequest,
    deadline: Duration,
) -> Result<v1::RaiseVersionReply> {
    let map = founded(view)?;
    let to = match request.version {
        0 => map.version_within_reach(),
        version => ClusterVersion(version),
    };
    match carry_out(view, MetaCommand::RaiseVersion { to }, deadline).await? {
        MetaReply::Done { epoch } => Ok(v1::RaiseVersionReply { before: map.version.0, version: to.0, epoch: epoch.0 }),
        other => Err(misfit(&other)),
    }
}

/// What would be handed over because of the loads, if those of all leaders are known.
fn handovers(map: &ShardMap, told: &Told) -> v1::BalanceReply {
    let Some(loads) = told.loads(map) else { return v1::BalanceReply::default() };
    let (wishes, later) = spread(map, &loads);
    let handover = |wish: LeaderWish| v1::PlannedHandover {
        shard: wish.shard.0,
        from: wish.from.0,
        to: wish.to.0,
        operations_per_second: loads.get(&wish.shard).copied().unwrap_or_default(),
    };
    v1::BalanceReply {
        handovers: wishes.into_iter().map(handover).collect(),
        load_before: Some(evenness(Imbalance::of_loads(map, &loads))),
        load_after: Some(evenness(Imbalance::of_loads(&later, &loads))),
        ..v1::BalanceReply::default()
    }
}

fn planned(change: PlannedChange, told: &Told) -> v1::PlannedChange {
    let node = |node: Option<NodeId>| node.map_or(0, |node| node.0);
    v1::PlannedChange {
        shard: change.group.shard().map(|shard| shard.0),
        add: node(change.add),
        remove: node(change.remove),
        reason: v1::ChangeReason::from(change.reason).into(),
        bytes: if change.add.is_some() { told.size(change.group) } else { Some(0) },
    }
}

fn evenness(imbalance: Imbalance) -> v1::Evenness {
    let Imbalance { entropy, largest_over_mean } = imbalance;
    v1::Evenness { entropy, largest_over_mean }
}

/// The map, if there is a cluster.
fn founded(view: &dyn ClusterView) -> Result<Arc<ShardMap>> {
    let map = view.map();
    match map.shards.is_empty() {
        true => Err(Error::not_applied(ErrorCode::NotReady, MetaRefusal::NotFounded.to_string())),
        false => Ok(map),
    }
}

/// Has a command carried out; a refusal is an error.
async fn carry_out(view: &dyn ClusterView, command: MetaCommand, deadline: Duration) -> Result<MetaReply> {
    match view.command(command, deadline).await? {
        MetaReply::Refused(refusal) => Err(error_of(&refusal)),
        reply => Ok(reply),
    }
}

/// The machine's own sentence, with a code for those who would do something different then.
fn error_of(refusal: &MetaRefusal) -> Error {
    let code = match refusal {
        MetaRefusal::UnknownNode { .. } | MetaRefusal::UnknownGroup { .. } => ErrorCode::InvalidArgument,
        MetaRefusal::NotFounded => ErrorCode::NotReady,
        MetaRefusal::Majority { .. } => ErrorCode::MajorityAtRisk,
        MetaRefusal::Busy { .. } => ErrorCode::ChangeUnderWay,
        _ => ErrorCode::Refused,
    };
    Error::not_applied(code, refusal.to_string())
}

pub(crate) fn refused(message: String) -> Error {
    Error::not_applied(ErrorCode::Refused, message)
}

pub(crate) fn invalid(message: String) -> Error {
    Error::not_applied(ErrorCode::InvalidArgument, message)
}

/// The command was carried out, whatever the answer.
fn misfit(reply: &MetaReply) -> Error {
    Error::unknown(ErrorCode::Internal, format!("the meta group answered something else: {reply:?}"))
}
