//! Nodes are killed, stand still for three seconds, or are cut off for as long, while another node joins.
//!
//! ```text
//!   a node joins ... replicas move to it -- fault --------- all shards write, node started again -- joiner removed
//!                                        \__ a step: gaps are looked for here __/
//! ```
//! A node that stands still (SIGSTOP) notices nothing itself, and what was sent to it arrives later. One that is cut off
//! goes on: it leads until it has noticed, and meanwhile its peers and clients only hear nothing. It is cut off from
//! everybody, clients too; for that each node gets a network namespace, which needs root on Linux.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use strata_types::NodeState;

use super::arena::{Arena, Load, NODES};
use super::found::Found;
use super::join::joined;
use super::waiting::{until, wish};
use crate::args::{Fault, MembershipArgs};
use crate::load::Dice;
use crate::procs::Network;
use crate::report::print_error;

/// Between two rounds.
const CALM: Duration = Duration::from_secs(1);
/// The fault comes at a random time after the first replica moves to the new node.
const FAULT_WITHIN_MILLIS: u64 = 1_500;
/// How long a node stands still or is cut off, and how long the shards are watched after a fault.
const AWAY: Duration = Duration::from_secs(3);
const WATCHED: Duration = Duration::from_secs(3);
/// A shard that takes no writes for so long is not coming back.
const GIVE_UP: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// A node that is being removed is gone after this time, or never will be.
const REMOVED: Duration = Duration::from_secs(240);

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => "kill -9",
        Fault::Standstill => "standstill of 3 s",
        Fault::Isolation => "isolation of 3 s",
    }
}

/// The goal: the longest write gap of any shard, in seconds.
fn gap_max(fault: Fault) -> f64 {
    match fault {
        Fault::Kill => 1.0,
        Fault::Standstill | Fault::Isolation => 2.0,
    }
}

/// Measures one kind.
pub(super) async fn run(args: &MembershipArgs, fault: Fault) -> Result<Found> {
    let network = match fault {
        Fault::Kill | Fault::Standstill => None,
        Fault::Isolation => match Network::new() {
            Ok(network) => Some(network),
            Err(error) => return Ok(Found::nothing(name(fault).to_owned(), &format!("{error:#}"))),
        },
    };
    let mut arena = Arena::start_on(args, args.shards, network).await?;
    let mut load = arena.load(args).await;
    let mut dice = Dice::new(u64::from(args.rounds), fault as u64);
    let rounds = args.common.times(args.rounds);
    for number in 1..=rounds {
        let what = round(&mut arena, &mut load, &mut dice, fault).await;
        let what = what.with_context(|| format!("round {number}: {} while a node joins", name(fault)))?;
        print_error(&format!("membership: {}, round {number} of {rounds}: {what}", name(fault)));
    }
    let story = arena.conclude(load).await?;
    let what = format!("{} while a node joins, {rounds} times, {} shards", name(fault), args.shards);
    let mut found = Found::of(what, &story);
    let gap = story.steps.iter().map(|effects| effects.gap_seconds).fold(0.0, f64::max);
    found.at_most("longest write gap of any shard", gap, "s", gap_max(fault));
    Ok(found)
}

/// One round; says what happened.
async fn round(arena: &mut Arena, load: &mut Load, dice: &mut Dice, fault: Fault) -> Result<String> {
    tokio::time::sleep(CALM).await;
    let position = arena.cluster.add(dice.below(NODES as u64) as usize)?;
    let joiner = joined(arena, position, None).await?;
    tokio::time::sleep(Duration::from_millis(dice.below(FAULT_WITHIN_MILLIS))).await;

    let victim = dice.below(NODES as u64) as usize;
    let from = load.now();
    load.note(format!("{} of n{}", name(fault), victim + 1));
    match fault {
        Fault::Kill => {
            arena.cluster.kill(victim)?;
            arena.cluster.gone(victim).await?;
        }
        Fault::Standstill => {
            arena.cluster.signal(victim, "STOP").await?;
            tokio::time::sleep(AWAY).await;
            arena.cluster.signal(victim, "CONT").await?;
        }
        Fault::Isolation => {
            arena.cluster.cut(victim)?;
            tokio::time::sleep(AWAY).await;
            arena.cluster.heal(victim)?;
        }
    }
    load.note(format!("n{} is {}", victim + 1, if fault == Fault::Kill { "gone" } else { "back" }));
    tokio::time::sleep(WATCHED).await;
    all_write(load).await.with_context(|| format!("after the fault of n{}", victim + 1))?;
    if fault == Fault::Kill {
        arena.cluster.restart(victim)?;
    }
    arena.cluster.settled().await.with_context(|| format!("after the fault of n{}", victim + 1))?;
    load.step(from);

    load.note(format!("{joiner} is to leave"));
    wish("the wish to remove a node", async || arena.admin.set_state(joiner, NodeState::Removing).await).await?;
    until(&format!("{joiner} is removed"), REMOVED, async || {
        let map = arena.admin.map().await?;
        let Some(node) = map.node(joiner) else { return Ok(None) };
        let held = map.groups().filter(|group| group.open_replicas().any(|placement| placement.node == joiner)).count();
        Ok(Some(format!("it is {} and has replicas of {held} groups", node.state)))
    })
    .await?;
    arena.cluster.discard_last().await?;
    arena.cluster.settled().await.with_context(|| format!("after the removal of {joiner}"))?;
    Ok(format!("{joiner} joined, n{} failed, {joiner} left", victim + 1))
}

/// Waits until every shard takes writes from now on.
async fn all_write(load: &Load) -> Result<()> {
    let since = load.now();
    let begin = tokio::time::Instant::now();
    loop {
        let silent = load.open.silent_since(since);
        if silent.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > GIVE_UP {
            bail!("no writes to {silent:?} for {} s", GIVE_UP.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}
