//! Nodes are killed, or stand still for three seconds, while another node joins.
//!
//! ```text
//!   a node joins ... replicas move to it -- fault --------- all shards write, node started again -- joiner removed
//!                                        \__ a step: gaps are looked for here __/
//! ```
//! A node that stands still (SIGSTOP) is what an isolated node is to its peers, with two differences: it notices
//! nothing itself, and what was sent to it arrives later. Cutting its network would need rights that a measurement should not
//! have; the simulator does that.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use strata_types::NodeState;

use super::arena::{Arena, Load, NODES};
use super::found::Found;
use super::join::joined;
use super::waiting::{until, wish};
use crate::args::MembershipArgs;
use crate::load::Dice;
use crate::report::print_error;

/// Between two rounds.
const CALM: Duration = Duration::from_secs(1);
/// The fault comes at a random time after the first replica moves to the new node.
const FAULT_WITHIN_MILLIS: u64 = 1_500;
/// How long a node stands still, and how long the shards are watched after a fault.
const STANDS_STILL: Duration = Duration::from_secs(3);
const WATCHED: Duration = Duration::from_secs(3);
/// A shard that takes no writes for so long is not coming back.
const GIVE_UP: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// A node that is being removed is gone after this time, or never will be.
const REMOVED: Duration = Duration::from_secs(240);

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// kill -9, and a new start.
    Kill,
    /// SIGSTOP, and SIGCONT three seconds later.
    Stop,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill -9",
            Fault::Stop => "standstill of 3 s",
        }
    }

    /// The goal: the longest write gap of any shard, in seconds.
    fn gap_max(self) -> f64 {
        match self {
            Fault::Kill => 1.0,
            Fault::Stop => 2.0,
        }
    }
}

/// Measures one kind.
pub(super) async fn run(args: &MembershipArgs, fault: Fault) -> Result<Found> {
    let mut arena = Arena::start(args, args.shards).await?;
    let mut load = arena.load(args).await;
    let mut dice = Dice::new(u64::from(args.rounds), fault as u64);
    let rounds = args.common.times(args.rounds);
    for number in 1..=rounds {
        let what = round(&mut arena, &mut load, &mut dice, fault).await;
        let what = what.with_context(|| format!("round {number}: {} while a node joins", fault.name()))?;
        print_error(&format!("membership: {}, round {number} of {rounds}: {what}", fault.name()));
    }
    let story = arena.conclude(load).await?;
    let what = format!("{} while a node joins, {rounds} times, {} shards", fault.name(), args.shards);
    let mut found = Found::of(what, &story);
    let gap = story.steps.iter().map(|effects| effects.gap_seconds).fold(0.0, f64::max);
    found.at_most("longest write gap of any shard", gap, "s", fault.gap_max());
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
    match fault {
        Fault::Kill => {
            arena.cluster.kill(victim)?;
            arena.cluster.gone(victim).await?;
        }
        Fault::Stop => {
            arena.cluster.signal(victim, "STOP").await?;
            tokio::time::sleep(STANDS_STILL).await;
            arena.cluster.signal(victim, "CONT").await?;
        }
    }
    tokio::time::sleep(WATCHED).await;
    all_write(load).await.with_context(|| format!("after the fault of n{}", victim + 1))?;
    if fault == Fault::Kill {
        arena.cluster.restart(victim)?;
    }
    arena.cluster.settled().await.with_context(|| format!("after the fault of n{}", victim + 1))?;
    load.step(from);

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
