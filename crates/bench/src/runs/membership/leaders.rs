//! What operators do every day: leaders move, and nodes are stopped for a while. Clients should not notice.

use std::time::Duration;

use anyhow::{Context, Result};
use strata_types::{Epoch, NodeId, NodeState, ShardId};

use super::arena::{Arena, Load, NODES};
use super::found::Found;
use super::waiting::{leads_nothing, led_as_wished, node_at, until, wish};
use crate::args::MembershipArgs;
use crate::load::Dice;
use crate::report::print_error;

/// A leader that is to move has moved after this time, or never will.
const LIMIT: Duration = Duration::from_secs(90);
/// Between two steps.
const CALM: Duration = Duration::from_secs(1);
/// The goal: the longest write gap of any shard, in seconds.
const GAP_MAX: f64 = 0.15;

/// Moves the leaders of random shards.
pub(super) async fn transfer(args: &MembershipArgs) -> Result<Found> {
    let arena = Arena::start(args, args.shards).await?;
    let mut load = arena.load(args).await;
    let mut dice = Dice::new(u64::from(args.transfers), u64::from(args.shards));
    let count = args.common.times(args.transfers);
    for number in 1..=count {
        let (shard, to) = choose(&arena, &mut dice).await?;
        let from = load.now();
        wish("the wish for a leader", async || arena.admin.transfer(shard, to).await).await?;
        until(&format!("{shard} is led by {to}"), LIMIT, async || {
            let shards = arena.admin.shards().await?;
            let status = shards.iter().find(|status| status.placement.as_ref().is_some_and(|one| one.shard == shard.0));
            let leader = status.and_then(|status| status.leader);
            Ok((leader != Some(to.0)).then(|| format!("it is led by {leader:?}")))
        })
        .await?;
        load.step(from);
        print_error(&format!("membership: transfer {number} of {count}: {shard} to {to}"));
    }
    conclude(format!("leader transfer, {count} times, {} shards", args.shards), arena, load).await
}

/// A random shard, and a node with a replica of it that does not lead it.
async fn choose(arena: &Arena, dice: &mut Dice) -> Result<(ShardId, NodeId)> {
    let shards = arena.admin.shards().await?;
    let status = &shards[dice.below(shards.len() as u64) as usize];
    let placement = status.placement.as_ref().context("a shard without a placement")?;
    let others: Vec<u64> =
        placement.replicas.iter().map(|replica| replica.node).filter(|&node| Some(node) != status.leader).collect();
    let to = others.get(dice.below(others.len() as u64) as usize).context("a shard with one replica")?;
    Ok((ShardId(placement.shard), NodeId(*to)))
}

/// Drains each node, and brings it back.
pub(super) async fn drain(args: &MembershipArgs) -> Result<Found> {
    let mut arena = Arena::start(args, args.shards).await?;
    let mut load = arena.load(args).await;
    for position in 0..NODES {
        let address = arena.cluster.address(position);
        let node = node_at(&arena.admin.map().await?, address).context("a node that the map does not know")?;
        let from = load.now();
        wish("the wish for a drain", async || arena.admin.set_state(node, NodeState::Draining).await).await?;
        leads_nothing(&arena.admin, node, LIMIT).await?;
        print_error(&format!("membership: {node} is drained"));
        let since =
            wish("the wish for the end of a drain", async || arena.admin.set_state(node, NodeState::Active).await);
        led_as_wished(&arena.admin, since.await?, LIMIT).await?;
        load.step(from);
        arena.cluster.settled().await?;
        print_error(&format!("membership: {node} leads again"));
    }
    conclude(format!("drain and undrain of each node, {} shards", args.shards), arena, load).await
}

/// Stops each node in good order and starts it again.
pub(super) async fn rolling(args: &MembershipArgs) -> Result<Found> {
    let mut arena = Arena::start(args, args.shards).await?;
    let mut load = arena.load(args).await;
    let times = args.common.times(args.times_round);
    for node in (0..times).flat_map(|_| 0..NODES) {
        tokio::time::sleep(CALM).await;
        let from = load.now();
        load.note(format!("n{} is told to stop", node + 1));
        arena.cluster.signal(node, "TERM").await?;
        arena.cluster.gone(node).await?;
        load.note(format!("n{} has stopped and is started", node + 1));
        arena.cluster.restart(node)?;
        arena.cluster.settled().await.with_context(|| format!("after the restart of n{}", node + 1))?;
        load.note(format!("n{} is well again", node + 1));
        load.step(from);
        print_error(&format!("membership: n{} was stopped and started", node + 1));
    }
    // Leaders that come back are part of what clients may notice.
    let from = load.now();
    led_as_wished(&arena.admin, Epoch(0), LIMIT).await?;
    load.step(from);
    conclude(format!("rolling restart, {times} times round, {} shards", args.shards), arena, load).await
}

async fn conclude(what: String, arena: Arena, load: Load) -> Result<Found> {
    let story = arena.conclude(load).await?;
    let mut found = Found::of(what, &story);
    found.at_most("writes that failed", story.whole.failed() as f64, "", 0.0);
    found.at_most("longest write gap of any shard", story.whole.gap_seconds, "s", GAP_MAX);
    Ok(found)
}
