//! Nodes come, change and go.

use strata_types::limits::{NODE_NAME_BYTES_MAX, NODE_WEIGHT_MAX, NODES_MAX};
use strata_types::{ClusterVersion, GroupPlacement, NodeDescriptor, NodeId, NodeState};

use crate::founding::NODE_ID_MAX;
use crate::state::State;
use crate::{Joiner, MetaRefusal};

/// A node has started. Returns its id.
pub(crate) fn join(state: &mut State, joiner: Joiner) -> Result<NodeId, MetaRefusal> {
    check_joiner(&joiner)?;
    let known = state.node_of(joiner.instance).map(|node| (node.id, node.state));
    if let Some((node, NodeState::Removed | NodeState::Gone)) = known {
        return Err(MetaRefusal::NodeRemoved { node });
    }
    let (version, versions) = (state.map.version, joiner.versions);
    if !versions.contains(version) {
        return Err(MetaRefusal::Version { version, versions });
    }
    let node = match known {
        Some((node, _)) => {
            update(state.node_mut(node)?, joiner);
            node
        }
        None => admit(state, joiner)?,
    };
    state.settle();
    state.even_leaders();
    Ok(node)
}

fn check_joiner(joiner: &Joiner) -> Result<(), MetaRefusal> {
    if joiner.instance.0 == 0 {
        return MetaRefusal::because("a node that joins needs a data directory with an id".to_owned());
    }
    let names = [&joiner.peer_address, &joiner.client_address, &joiner.zone];
    if joiner.peer_address.is_empty() || names.iter().any(|name| name.len() > NODE_NAME_BYTES_MAX) {
        return MetaRefusal::because(format!(
            "a node that joins needs a peer address, and addresses and zones have at most {NODE_NAME_BYTES_MAX} bytes: \
             address=`{}`",
            joiner.peer_address.chars().take(NODE_NAME_BYTES_MAX).collect::<String>()
        ));
    }
    check_weight(joiner.weight)
}

pub(crate) fn check_weight(weight: u32) -> Result<(), MetaRefusal> {
    match weight {
        1..=NODE_WEIGHT_MAX => Ok(()),
        _ => MetaRefusal::because(format!("a node's weight is 1 to {NODE_WEIGHT_MAX}: weight=`{weight}`")),
    }
}

/// A known node says where and what it is now.
fn update(node: &mut NodeDescriptor, joiner: Joiner) {
    let state = match node.state {
        NodeState::Lost | NodeState::Stopping => NodeState::Active,
        state => state,
    };
    *node = describe(node.id, state, joiner);
}

fn describe(id: NodeId, state: NodeState, joiner: Joiner) -> NodeDescriptor {
    let Joiner { instance, peer_address, client_address, zone, weight, versions } = joiner;
    NodeDescriptor { id, instance, peer_address, client_address, zone, weight, state, versions }
}

/// A new node becomes a member. Whoever was at its address has lost its data directory, and is lost with it; should it
/// be alive at another address after all, it comes back by joining. That goes for one that is being removed, too: nobody
/// has said that the others are enough without it.
fn admit(state: &mut State, joiner: Joiner) -> Result<NodeId, MetaRefusal> {
    if state.map.nodes.len() >= NODES_MAX as usize || state.next_node.0 > NODE_ID_MAX {
        return MetaRefusal::because(format!(
            "a cluster has at most {NODES_MAX} nodes, and {NODE_ID_MAX} in its life: nodes=`{}`",
            state.map.nodes.len()
        ));
    }
    for node in state.map.nodes.iter_mut().filter(|node| node.peer_address == joiner.peer_address) {
        if node.state != NodeState::Gone {
            node.state = NodeState::Lost;
        }
    }
    let id = state.next_node;
    state.next_node = NodeId(id.0 + 1);
    state.map.nodes.push(describe(id, NodeState::Active, joiner));
    Ok(id)
}

/// What becomes of a node that is declared dead.
fn lost(state: NodeState) -> NodeState {
    match state {
        NodeState::Removing | NodeState::Gone => NodeState::Gone,
        _ => NodeState::Lost,
    }
}

/// Says what is wished of a node. Returns what its state is now.
pub(crate) fn set_state(
    state: &mut State,
    id: NodeId,
    wanted: NodeState,
    force: bool,
) -> Result<NodeState, MetaRefusal> {
    let present = match state.node(id) {
        Ok(node) => node.state,
        // What was wished has happened, perhaps before the wish was repeated.
        Err(MetaRefusal::NodeRemoved { .. }) if matches!(wanted, NodeState::Removing | NodeState::Lost) => {
            return Ok(NodeState::Removed);
        }
        Err(refusal) => return Err(refusal),
    };
    let next = next_state(id, present, wanted)?;
    if next != present {
        // Taking a removal back to a drain asks less of the others than before. Giving the node up asks more: it cannot
        // come back.
        let asks_less = present == NodeState::Removing && next != NodeState::Gone;
        check_departure(state, id, next, force || asks_less)?;
        state.node_mut(id)?.state = next;
        state.settle();
        state.even_leaders();
    }
    Ok(state.node(id).map_or(NodeState::Removed, |node| node.state))
}

fn next_state(id: NodeId, present: NodeState, wanted: NodeState) -> Result<NodeState, MetaRefusal> {
    use NodeState::{Active, Draining, Gone, Lost, Removing, Stopping};
    match (present, wanted) {
        (_, Lost) => Ok(lost(present)),
        (Active | Draining | Stopping | Removing, Active | Draining | Removing) => Ok(wanted),
        (Active, Stopping) => Ok(Stopping),
        // It drains already, and goes on draining after its next start.
        (Draining | Removing | Stopping, Stopping) => Ok(present),
        (Lost | Gone, Removing) => Ok(Gone),
        (Lost, Active | Draining) => {
            MetaRefusal::because(format!("the node is lost; start it with its data directory: node=`{id}`"))
        }
        (Gone, Active | Draining) => Err(MetaRefusal::NodeRemoved { node: id }),
        _ => MetaRefusal::because(format!(
            "a node that is {present} cannot be made {wanted}; nodes are drained, undrained, removed or replaced: \
             node=`{id}`"
        )),
    }
}

/// Whether the cluster can do without the node. Nobody can keep a process from stopping, so that is not asked then.
fn check_departure(state: &State, id: NodeId, next: NodeState, force: bool) -> Result<(), MetaRefusal> {
    if matches!(next, NodeState::Active | NodeState::Stopping) {
        return Ok(());
    }
    // The others replace a node that is lost. To go on without one that is well, they should stay for a while.
    let is_lost = matches!(next, NodeState::Lost | NodeState::Gone);
    let stays = |id: NodeId| {
        let other = state.map.node(id).map(|node| node.state);
        other.is_some_and(|other| if is_lost { other.is_counted_on() } else { other.takes() })
    };
    if matches!(next, NodeState::Removing | NodeState::Gone) {
        let holds = |group: GroupPlacement<'_>| group.open_replicas().any(|placement| placement.node == id);
        let is_needed = state.node(id)?.state.takes() || state.map.groups().any(holds);
        if is_needed && !state.map.nodes.iter().any(|node| node.id != id && node.state.takes()) {
            return MetaRefusal::because(format!(
                "there is no other node that could take its replicas; start one first: node=`{id}`"
            ));
        }
    }
    if force {
        return Ok(());
    }
    for group in state.map.groups().filter(|group| group.replicas.iter().any(|placement| placement.node == id)) {
        // A replica that is being rebuilt is not up to date.
        let is_sound = |replica| group.changes.removed() != Some(replica) || !is_rebuilt(&group);
        let staying = group
            .replicas
            .iter()
            .filter(|placement| placement.node != id && stays(placement.node) && is_sound(placement.replica));
        let (staying, replicas) = (staying.count(), group.replicas.len());
        if staying <= replicas / 2 {
            let (staying, replicas) = (staying as u32, replicas as u32);
            return Err(MetaRefusal::Majority { node: id, group: group.group, staying, replicas });
        }
    }
    Ok(())
}

/// Whether the change of a group replaces a replica on its own node.
pub(crate) fn is_rebuilt(group: &GroupPlacement<'_>) -> bool {
    let Some(change) = group.changes.change else { return false };
    let (Some(add), Some(remove)) = (change.add, change.remove) else { return false };
    group.find(remove).is_some_and(|removed| removed.node == add.node)
}

/// Says where a node is reached from now on.
pub(crate) fn set_addresses(
    state: &mut State,
    id: NodeId,
    peer_address: String,
    client_address: String,
) -> Result<(), MetaRefusal> {
    let node = state.node_mut(id)?;
    if peer_address.is_empty() {
        return MetaRefusal::because(format!("a node needs a peer address: node=`{id}`"));
    }
    *node = NodeDescriptor { peer_address, client_address, ..node.clone() };
    Ok(())
}

/// Raises the version of the cluster if every node that holds something, or may come to, can follow.
pub(crate) fn raise_version(state: &mut State, to: ClusterVersion) -> Result<(), MetaRefusal> {
    let present = state.map.version;
    if to < present {
        return MetaRefusal::because(format!(
            "the cluster has a newer version already, and there is no way back: version=`{present}` to=`{to}`"
        ));
    }
    let holds = |id| state.map.groups().any(|group| group.open_replicas().any(|placement| placement.node == id));
    let mut counted = state.map.nodes.iter().filter(|node| node.state.is_counted_on() || holds(node.id));
    if let Some(node) = counted.find(|node| !node.versions.contains(to)) {
        return MetaRefusal::because(format!(
            "the program of a node does not know this version; exchange it, or remove the node: node=`{}` program=`{}` \
             to=`{to}`",
            node.id, node.versions
        ));
    }
    state.map.version = to;
    Ok(())
}
