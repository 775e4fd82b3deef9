//! A node loses its disk: kill -9, its data directory is deleted, and it is started with nothing. It joins as a new
//! node at the old address, which makes the old one lost, and its replicas are built anew from the others.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use strata_types::NodeState;

use super::super::memory::MemoryWatch;
use super::super::writers::{KEY_BYTES, Writers};
use super::arena::{Arena, FILLED_BYTES, FIRST, NODES};
use super::found::{Found, beside};
use super::join::joined;
use super::waiting::{node_at, quiet, redundant, wish};
use crate::args::MembershipArgs;
use crate::load::Dice;
use crate::procs::resident_bytes;
use crate::report::{Table, number, print_error};

/// Replicas that are not there after this time never will be.
const LIMIT: Duration = Duration::from_secs(600);
/// Goals: seconds until everything is redundant, further memory in MiB, p50 beside normal.
const REDUNDANT_MAX: f64 = 60.0;
const MEMORY_MAX: f64 = 256.0;
const P50_MAX: f64 = 1.3;

/// The memory of one node, in bytes.
struct Memory {
    name: String,
    before: u64,
    most: u64,
}

/// Measures it.
pub(super) async fn run(args: &MembershipArgs) -> Result<Found> {
    let mut arena = Arena::start(args, args.shards).await?;
    fill(&mut arena, args).await?;
    quiet(arena.cluster.pids()).await;
    let mut load = arena.load(args).await;
    let victim = Dice::new(args.mebibytes, u64::from(args.shards)).below(NODES as u64) as usize;
    let through = (victim + 1) % NODES;
    let old = node_at(&arena.admin.map().await?, arena.cluster.address(victim));
    let old = old.context("a node that the map does not know")?;
    let pid = |arena: &Arena, node| arena.cluster.pid(node).context("a node does not run");
    let before: Vec<u64> = (0..NODES).map(|node| resident_bytes(pid(&arena, node)?)).collect::<Result<_>>()?;

    let from = load.now();
    arena.cluster.kill(victim)?;
    arena.cluster.gone(victim).await?;
    arena.cluster.renew(victim, through)?;
    let watch = MemoryWatch::start(arena.cluster.pids());
    wish("the wish to replace a node", async || arena.admin.set_state(old, NodeState::Lost).await).await?;
    let new = joined(&arena, victim, Some(old)).await?;
    print_error(&format!("membership: {old} has lost its disk and came back as {new}"));
    redundant(&arena.admin, old, NODES, LIMIT).await?;
    load.step(from);
    let memory = (0..NODES).map(|node| {
        let most = watch.most(pid(&arena, node)?);
        let role = if node == victim { "receives" } else { "sends" };
        Ok(Memory { name: format!("n{} {role}", node + 1), before: before[node], most })
    });
    let memory = memory.collect::<Result<Vec<Memory>>>()?;
    drop(watch);
    arena.cluster.settled().await?;

    let gibibytes = arena.filled.len() as f64 * (FILLED_BYTES as f64 + KEY_BYTES as f64) / f64::from(1 << 30);
    let story = arena.conclude(load).await?;
    let mut found = Found::of(format!("a node loses its disk, {gibibytes:.2} GiB, {} shards", args.shards), &story);
    found.at_most("every shard has 3 replicas again after", story.whole.seconds, "s", REDUNDANT_MAX);
    let ratio = beside(story.whole.p50_ms, story.normal.p50_ms);
    // What was on its way to the node that was killed can only end as unknown.
    let failed = story.whole.refused + story.normal.failed();
    found.latency_at_most("p50 while replicas catch up beside normal", ratio, P50_MAX, failed);
    tell_memory(&mut found, &memory);
    Ok(found)
}

/// Writes the data, with keys before those of the load.
async fn fill(arena: &mut Arena, args: &MembershipArgs) -> Result<()> {
    let bytes = args.mebibytes * 1_048_576 / if args.common.quick { 8 } else { 1 };
    let count = u32::try_from(bytes.div_ceil(FILLED_BYTES as u64 + KEY_BYTES)).context("that is too much data")?;
    let writers = Writers::start(arena.client.clone(), FIRST, FILLED_BYTES);
    writers.reach("membership", count).await?;
    arena.filled = writers.stop().await?;
    // A key that was given out and not acknowledged is not used again either.
    arena.first = arena.filled.last().map_or(FIRST, |last| last + 1_000_000);
    Ok(())
}

fn tell_memory(found: &mut Found, memory: &[Memory]) {
    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    let further = |memory: &Memory| mebibytes(memory.most) - mebibytes(memory.before);
    let mut table = Table::new(&["resident MiB", "before", "most while catching up", "more"]);
    for one in memory {
        let cells = [mebibytes(one.before), mebibytes(one.most), further(one)].map(number);
        table.row(std::iter::once(one.name.clone()).chain(cells));
    }
    found.tables.push(table);
    let most = memory.iter().map(further).fold(0.0, f64::max);
    found.at_most("further memory of any process", most, "MiB", MEMORY_MAX);
    found.notes.push("Before, of the node that receives: the process that was killed, with the same data.".to_owned());
    let nodes =
        memory.iter().map(|one| json!({ "node": one.name, "before_bytes": one.before, "most_bytes": one.most }));
    found.add("memory", Value::Array(nodes.collect()));
}
