//! `strata cluster drain`, `undrain`, `remove`, `replace`, `move` and `transfer`.

use serde_json::{Value, json};
use strata_proto::v1;
use strata_types::limits::REPLICAS_PER_SHARD;
use strata_types::{ChangeId, Epoch, ErrorCode, GroupId, NodeId, NodeState, Outcome, ShardId};

use super::goal::Goal;
use super::nodes::described;
use super::{ask_nodes, name_of, waiting};
use crate::args::ClusterCommand;
use crate::failure::Failure;
use crate::output::{Answer, Format, count, print_error_line};
use crate::session::Session;

/// What follows from a wish that is durable.
struct Wished {
    /// What will happen by itself.
    text: String,
    /// For scripts.
    json: Value,
    /// The command that shows how far it is.
    watch: &'static str,
    /// The command that takes it back.
    undo: Option<String>,
    /// The map that holds it.
    since: Epoch,
    /// When it has happened; none: it has already.
    goal: Option<Goal>,
}

/// What a node is from now on.
struct Set {
    state: NodeState,
    since: Epoch,
    /// What keeps the wish from being carried out.
    problem: Option<String>,
}

/// Wishes, and waits if that is wished, too.
pub async fn operate(session: &Session, command: &ClusterCommand, format: Format) -> Result<Answer, Failure> {
    let (wished, limit) = match *command {
        ClusterCommand::Drain { node, wait } => (drain(session, node.node).await, wait),
        ClusterCommand::Undrain { node, wait } => (undrain(session, node.node).await, wait),
        ClusterCommand::Remove { node, force, wait } => (remove(session, node.node, force, format).await, wait),
        ClusterCommand::Replace { node, force, wait } => (replace(session, node.node, force).await, wait),
        ClusterCommand::Move { group, to, from, wait } => (move_replica(session, group, from, to).await, wait),
        ClusterCommand::Transfer { shard, to, wait } => (transfer(session, shard, to).await, wait),
        _ => return Err(Failure::new("this command changes nothing")),
    };
    let wished = wished.map_err(explain)?;
    if let (Some(goal), Some(limit)) = (wished.goal, limit.wait) {
        waiting::wait(session, goal, wished.since, limit, format).await?;
    }
    Ok(answer(wished, limit.wait.is_some()))
}

fn answer(wished: Wished, has_waited: bool) -> Answer {
    let Wished { text, mut json, watch, undo, since, goal } = wished;
    let is_done = has_waited || goal.is_none();
    let mut lines = vec![text];
    if is_done && goal.is_some() {
        lines.push("  done".to_owned());
    }
    if !is_done {
        lines.push(format!("  watch    strata cluster {watch}"));
    }
    let is_final = is_done && matches!(goal, Some(Goal::IsRemoved(_)));
    lines.extend(undo.filter(|_| !is_final).map(|undo| format!("  undo     strata cluster {undo}")));
    json["epoch"] = since.0.into();
    json["done"] = is_done.into();
    Answer::new(lines.join("\n"), json)
}

/// The next step after a command was not carried out.
pub fn explain(failure: Failure) -> Failure {
    match (failure.outcome, failure.code) {
        (Some(Outcome::Unknown), _) => {
            failure.hint("it may have been carried out: the same command once more does no harm")
        }
        (_, Some(ErrorCode::InvalidArgument)) => {
            failure.hint("`strata cluster nodes` and `strata cluster shards` list what there is")
        }
        _ => failure,
    }
}

/// As the failure, but the majority may be risked.
fn may_force(failure: Failure) -> Failure {
    match (failure.code, &failure.hint) {
        (Some(ErrorCode::MajorityAtRisk), Some(hint)) => {
            let hint = format!("{hint}; or add --force, if those shards may stop serving");
            failure.hint(hint)
        }
        _ => failure,
    }
}

async fn set_state(session: &Session, node: NodeId, wanted: NodeState, force: bool) -> Result<Set, Failure> {
    let request = v1::SetNodeStateRequest { node: node.0, state: v1::NodeState::from(wanted).into(), force };
    let reply =
        session.admin(request, |mut client, request| async move { client.set_node_state(request).await }).await?;
    let problem = Some(&reply.problem).filter(|problem| !problem.is_empty()).cloned();
    Ok(Set { state: NodeState::from(reply.state()), since: Epoch(reply.epoch), problem })
}

fn of_node(node: NodeId, set: Set, mut text: String, watch: &'static str) -> Wished {
    let Set { state, since, problem } = set;
    text.extend(problem.iter().map(|problem| format!("\n  ! {problem}")));
    let json = json!({ "node": node.0, "state": state.to_string(), "problem": problem });
    Wished { text, json, watch, undo: None, since, goal: None }
}

async fn drain(session: &Session, node: NodeId) -> Result<Wished, Failure> {
    let set = set_state(session, node, NodeState::Draining, false).await?;
    let text = format!("{node} is {}: its leaders move away, and it gets no new replicas", set.state);
    let undo = Some(format!("undrain {node}"));
    Ok(Wished { undo, goal: Some(Goal::LeadsNothing(node)), ..of_node(node, set, text, "nodes") })
}

async fn undrain(session: &Session, node: NodeId) -> Result<Wished, Failure> {
    let set = set_state(session, node, NodeState::Active, false).await?;
    let text = format!("{node} is {}: its share of the leaders comes back in some seconds", set.state);
    Ok(Wished { goal: Some(Goal::LeadsItsOwn(node)), ..of_node(node, set, text, "nodes") })
}

async fn remove(session: &Session, node: NodeId, force: bool, format: Format) -> Result<Wished, Failure> {
    // Who does not know what is left can still be removed.
    let warning = warning_of(&ask_nodes(session).await.unwrap_or_default(), node);
    if let (Some(warning), Format::Text) = (&warning, format) {
        print_error_line(&format!("warning: {warning}"));
    }
    let set = set_state(session, node, NodeState::Removing, force).await.map_err(may_force)?;
    let (text, undo) = match set.state {
        NodeState::Removed => (format!("{node} is removed: its process can be stopped, and its data deleted"), None),
        NodeState::Gone => (format!("{node} is lost: its replicas are built anew, then it is forgotten"), None),
        state => (
            format!("{node} is {state}: its replicas move to other nodes; then its process can be stopped"),
            Some(format!("undrain {node}")),
        ),
    };
    let goal = (set.state != NodeState::Removed).then_some(Goal::IsRemoved(node));
    let mut wished = Wished { undo, goal, ..of_node(node, set, text, "jobs") };
    wished.json["warning"] = warning.into();
    Ok(wished)
}

/// What it means to remove a node, where too few are left for all replicas of a shard.
fn warning_of(nodes: &[v1::NodeStatus], leaving: NodeId) -> Option<String> {
    let nodes: Vec<_> = nodes.iter().map(described).collect();
    let is_there = nodes.iter().any(|node| node.id == leaving);
    let left = nodes.iter().filter(|node| node.id != leaving && node.state.keeps()).count();
    let means = match left {
        2 => "each shard has 2 replicas then, and serves only while both nodes are up",
        1 => "each shard has 1 replica then, and what that node loses is gone",
        _ => return None,
    };
    is_there.then(|| {
        let (wished, missing) = (REPLICAS_PER_SHARD, if left == 1 { "two nodes" } else { "one node" });
        let left = count(left, "node");
        format!("{left} would be left for {wished} replicas of each shard: {means}; for {wished}, add {missing} first")
    })
}

async fn replace(session: &Session, node: NodeId, force: bool) -> Result<Wished, Failure> {
    let set = set_state(session, node, NodeState::Lost, force).await.map_err(may_force)?;
    if set.state == NodeState::Removed {
        return Ok(of_node(node, set, format!("{node} was removed already"), "jobs"));
    }
    let text = format!("{node} is {}: its replicas are built anew on other nodes", set.state);
    Ok(Wished { goal: Some(Goal::HoldsNothing(node)), ..of_node(node, set, text, "jobs") })
}

async fn move_replica(session: &Session, group: GroupId, from: Option<NodeId>, to: NodeId) -> Result<Wished, Failure> {
    let shard = group.shard().map(|shard| shard.0);
    let request = v1::MoveReplicaRequest { shard, from: from.map_or(0, |node| node.0), to: to.0 };
    let reply = session.admin(request, |mut client, request| async move { client.move_replica(request).await }).await?;
    let (name, giver) = (name_of(shard), NodeId(reply.from));
    let change = Some(ChangeId(reply.change)).filter(|change| change.0 > 0);
    let text = match (change, from) {
        (None, _) => format!("{to} has a replica of {name} already, and {giver} has none: nothing is left to do"),
        (Some(_), Some(_)) => format!("a replica of {name} moves from {giver} to {to}"),
        (Some(_), None) => format!(
            "a replica of {name} moves from {giver} to {to}: of the nodes that have one, {giver} is the best to relieve"
        ),
    };
    let json = json!({ "group": name, "from": giver.0, "to": to.0, "job": change.map(|change| change.0) });
    let goal = change.map(|change| Goal::Moved(group, change, to));
    Ok(Wished { text, json, watch: "jobs", undo: None, since: Epoch(reply.epoch), goal })
}

async fn transfer(session: &Session, shard: ShardId, to: NodeId) -> Result<Wished, Failure> {
    let request = v1::TransferLeaderRequest { shard: shard.0, to: to.0 };
    let reply =
        session.admin(request, |mut client, request| async move { client.transfer_leader(request).await }).await?;
    Ok(Wished {
        text: format!("{shard} is to be led by {to}: the leader follows in some seconds"),
        json: json!({ "shard": shard.0, "to": to.0, "replica": reply.replica }),
        watch: "shards",
        undo: None,
        since: Epoch(reply.epoch),
        goal: Some(Goal::Leads(shard, to)),
    })
}

#[cfg(test)]
mod tests {
    use strata_types::Error;

    use super::*;

    fn wished(goal: Option<Goal>) -> Wished {
        let problem = Some("nobody has room".to_owned());
        let set = Set { state: NodeState::Removing, since: Epoch(9), problem };
        let undo = Some("undrain n3".to_owned());
        Wished { undo, goal, ..of_node(NodeId(3), set, "n3 is removing".to_owned(), "jobs") }
    }

    #[test]
    fn an_answer_says_what_follows_and_how_to_watch_it() {
        let goal = Some(Goal::IsRemoved(NodeId(3)));
        let begun = answer(wished(goal), false);
        assert_eq!(
            String::from_utf8(begun.text).expect("text"),
            "n3 is removing\n  ! nobody has room\n  watch    strata cluster jobs\n  undo     strata cluster undrain n3"
        );
        let json = json!({ "node": 3, "state": "removing", "problem": "nobody has room", "epoch": 9, "done": false });
        assert_eq!(begun.json, json);
        let waited = answer(wished(goal), true);
        let text = String::from_utf8(waited.text).expect("text");
        assert_eq!(text, "n3 is removing\n  ! nobody has room\n  done", "it cannot be taken back");
        assert_eq!(waited.json["done"], true);
        assert_eq!(answer(wished(None), false).json["done"], true, "nothing is left to wait for");
    }

    #[test]
    fn to_remove_one_of_three_nodes_is_not_done_without_a_word() {
        let node = |id, state: NodeState| v1::NodeStatus {
            node: Some(v1::NodeDescriptor {
                id,
                state: v1::NodeState::from(state).into(),
                ..v1::NodeDescriptor::default()
            }),
            ..v1::NodeStatus::default()
        };
        let warning = |states: &[NodeState]| {
            let nodes: Vec<_> = (1..).zip(states).map(|(id, state)| node(id, *state)).collect();
            warning_of(&nodes, NodeId(1))
        };
        let (active, gone) = (NodeState::Active, NodeState::Lost);
        let two = warning(&[active, active, NodeState::Draining]).expect("two are left");
        assert!(two.starts_with("2 nodes would be left for 3 replicas") && two.contains("2 replicas then"), "{two}");
        assert!(two.ends_with("add one node first"), "{two}");
        assert_eq!(warning(&[active, active, active, gone]), Some(two), "who is lost takes no replicas");
        let one = warning(&[active, active]).expect("one is left");
        assert!(one.starts_with("1 node would be left") && one.ends_with("for 3, add two nodes first"), "{one}");
        assert_eq!(warning(&[active, active, active, active]), None);
        assert_eq!(warning(&[active]), None, "that is refused");
        assert_eq!(warning(&[]), None, "nobody told");
    }

    #[test]
    fn refusals_name_the_next_step() {
        let refusal = Error::not_applied(ErrorCode::MajorityAtRisk, "1 of 3 replicas would remain");
        let failure = explain(may_force(Failure::from(refusal.clone())));
        assert_eq!(failure.message, "1 of 3 replicas would remain");
        assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("--force")), "{failure}");
        let failure = explain(Failure::from(refusal));
        assert!(failure.hint.is_some_and(|hint| !hint.contains("--force")), "a drain cannot be forced");
        let busy = explain(Failure::from(Error::not_applied(ErrorCode::ChangeUnderWay, "another change")));
        assert!(busy.hint.is_some_and(|hint| hint.contains("cluster jobs")));
        let late = explain(Failure::from(Error::unknown(ErrorCode::DeadlineExceeded, "no answer")));
        assert!(late.hint.is_some_and(|hint| hint.contains("does no harm")));
    }
}
