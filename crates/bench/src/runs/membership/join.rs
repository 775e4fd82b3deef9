//! A fourth node joins under load: how many replicas move for it, and what clients notice.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use strata_types::{NodeId, ShardMap};

use super::arena::{Arena, NODES};
use super::found::{Found, beside};
use super::waiting::{at_rest, node_at, quiet, until};
use crate::args::MembershipArgs;
use crate::load::Dice;
use crate::report::print_error;

/// A node is a member after this time, and replicas have moved after that, or never will.
const JOINED: Duration = Duration::from_secs(60);
const MOVED: Duration = Duration::from_secs(900);
/// Goals: replicas that move beside the fewest possible, and p99 beside normal.
const MOVES_MAX: f64 = 1.15;
const P99_MAX: f64 = 2.0;

/// Measures it.
pub(super) async fn run(args: &MembershipArgs) -> Result<Found> {
    let mut arena = Arena::start(args, args.join_shards).await?;
    at_rest(&arena.admin, JOINED).await?;
    // The peak was just measured.
    quiet(arena.cluster.pids()).await;
    let mut load = arena.load(args).await;
    let before = arena.admin.map().await?;
    let from = load.now();
    let through = Dice::new(4, u64::from(args.join_shards)).below(NODES as u64) as usize;
    let position = arena.cluster.add(through)?;
    let node = joined(&arena, position, None).await?;
    print_error(&format!("membership: {node} has joined"));
    at_rest(&arena.admin, MOVED).await?;
    load.step(from);
    load.watch_after(args).await;
    arena.cluster.settled().await?;
    let after = arena.admin.map().await?;

    let story = arena.conclude(load).await?;
    let (moved, fewest) = (moves(&before, &after), fewest_moves(&before, NODES + 1));
    let mut found = Found::of(format!("a fourth node joins, {} shards", args.join_shards), &story);
    found.at_most("replicas moved beside the fewest possible", beside(moved as f64, fewest as f64), "x", MOVES_MAX);
    found.at_most("writes that failed", story.whole.failed() as f64, "", 0.0);
    let ratio = beside(story.whole.p99_ms, story.normal.p99_ms);
    let failed = story.whole.failed() + story.normal.failed();
    found.latency_at_most("p99 while replicas move beside normal", ratio, P99_MAX, failed);
    let loads = loads(&after);
    let text = loads.iter().map(|(node, count)| format!("{node} {count}")).collect::<Vec<_>>().join(", ");
    let seconds = story.whole.seconds;
    found.notes.push(format!(
        "The fourth node's even share is {fewest} replicas; {moved} moved in {seconds:.1} s; replicas of shards then: {text}."
    ));
    if let Some(after) = &story.after {
        let (ratio, p99_ms) = (beside(story.whole.p99_ms, after.p99_ms), after.p99_ms);
        found.notes.push(format!(
            "Afterwards, with {} nodes on the same machine: p99 {p99_ms:.1} ms; while replicas moved it was {ratio:.2}x of that.",
            NODES + 1
        ));
    }
    found.add("after", json!(story.after));
    found.add("moved", json!(moved));
    found.add("fewest_moves", json!(fewest));
    found.add("replicas", json!(loads.iter().map(|(node, count)| (node.to_string(), *count)).collect::<Vec<_>>()));
    Ok(found)
}

/// Waits until a node is a member and replicas come to it. `former`: who had its address before.
pub(super) async fn joined(arena: &Arena, position: usize, former: Option<NodeId>) -> Result<NodeId> {
    let address = arena.cluster.address(position);
    let mut joined = None;
    until("the new node is a member and gets replicas", JOINED, async || {
        let map = arena.admin.map().await?;
        let found = node_at(&map, address).filter(|&node| Some(node) != former);
        let Some(node) = found else { return Ok(Some("it is no member".to_owned())) };
        joined = Some(node);
        let is_used = map.groups().any(|group| group.open_replicas().any(|placement| placement.node == node));
        Ok((!is_used).then(|| "it has no replicas".to_owned()))
    })
    .await?;
    joined.context("a node that the map does not know")
}

/// How many replicas of shards moved between two maps: each finished change is one.
fn moves(before: &ShardMap, after: &ShardMap) -> u64 {
    let generation = |map: &ShardMap| map.shards.iter().map(|shard| shard.changes.generation).sum::<u64>();
    generation(after).saturating_sub(generation(before))
}

/// The fewest moves that leave a new, empty node with its share: all replicas by all nodes, rounded down.
fn fewest_moves(map: &ShardMap, nodes: usize) -> usize {
    map.shards.iter().map(|shard| shard.replicas.len()).sum::<usize>() / nodes
}

/// Replicas of shards on each node.
fn loads(map: &ShardMap) -> Vec<(NodeId, usize)> {
    let on =
        |node| map.shards.iter().flat_map(|shard| &shard.replicas).filter(|placement| placement.node == node).count();
    map.nodes.iter().map(|node| (node.id, on(node.id))).collect()
}

#[cfg(test)]
mod tests {
    use strata_types::{GroupChanges, NodeDescriptor, ReplicaId, ReplicaPlacement, ShardPlacement};

    use super::*;

    fn map(shards: u64, generation: u64) -> ShardMap {
        let replica = |node| ReplicaPlacement { replica: ReplicaId(node), node: NodeId(node) };
        let shard = ShardPlacement {
            replicas: (1..=3).map(replica).collect(),
            changes: GroupChanges { generation, ..GroupChanges::default() },
            ..ShardPlacement::default()
        };
        let node = |id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() };
        let nodes = (1..=4).map(node).collect();
        ShardMap { nodes, shards: (0..shards).map(|_| shard.clone()).collect(), ..ShardMap::default() }
    }

    #[test]
    fn a_fourth_node_needs_a_quarter_of_all_replicas() {
        assert_eq!(fewest_moves(&map(64, 0), 4), 48);
        assert_eq!(fewest_moves(&map(7, 0), 4), 5, "21 replicas are 5 or 6 each");
    }

    #[test]
    fn finished_changes_are_moves() {
        assert_eq!(moves(&map(5, 2), &map(5, 3)), 5);
        assert_eq!(moves(&map(5, 2), &map(5, 2)), 0);
    }

    #[test]
    fn replicas_are_counted_by_node() {
        assert_eq!(loads(&map(5, 0)), [(NodeId(1), 5), (NodeId(2), 5), (NodeId(3), 5), (NodeId(4), 0)]);
    }
}
