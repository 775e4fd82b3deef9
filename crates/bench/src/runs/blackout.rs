//! Kill -9 of all nodes at once while they write, with much data: when the cluster takes writes again, and whether an
//! acknowledged write is lost. The machine stays up, so this does not show what a power cut shows; the simulator does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use strata_client::{Client, ShardMap};
use strata_types::Slot;
use tokio::task::JoinSet;

use super::read_back::read_back;
use super::writers::{KEY_BYTES, Writers};
use crate::args::BlackoutArgs;
use crate::load::{key, value_of};
use crate::procs::StrataCluster;
use crate::report::{Figure, Goal, Machine, Report, Table, number, print_error};

const NODES: usize = 3;
/// Load goes on for so long after the data is complete, so that the kill meets writes under way.
const AFTER_DATA: Duration = Duration::from_secs(1);
/// A cluster that takes no writes for so long after a restart is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// The goal, in seconds.
const FIRST_WRITE_MAX: f64 = 8.0;

/// Measures it.
pub(crate) async fn run(args: &BlackoutArgs) -> Result<Report> {
    let mut report = Report::new("blackout");
    report.notes.extend(Machine::noise());
    let mut cluster = StrataCluster::start(&args.common, NODES, args.shards).await?;
    let bytes = args.mebibytes * 1_048_576 / if args.common.quick { 8 } else { 1 };
    let value_bytes = args.value_bytes as usize;
    let count = u32::try_from(bytes.div_ceil(u64::from(args.value_bytes) + KEY_BYTES))
        .context("that many keys are not supported: use larger values")?;

    let writers = Writers::start(Client::connect(cluster.addresses()).await?, 0, value_bytes);
    let begin = Instant::now();
    writers.reach("blackout", count).await?;
    let loaded = begin.elapsed();
    tokio::time::sleep(AFTER_DATA).await;
    cluster.kill_all().await?;
    let acked = writers.stop().await?;
    print_error(&format!("blackout: killed all nodes after {} acknowledged writes", acked.len()));

    let begin = Instant::now();
    for node in 0..NODES {
        cluster.restart(node)?;
    }
    let (client, first, all) = first_writes(&cluster.addresses(), begin, acked.len() as u32 + 10_000_000).await?;
    cluster.settled().await?;
    let healthy = begin.elapsed();
    print_error(&format!("blackout: first write after {:.2} s; reading back", first.as_secs_f64()));
    let acked_count = acked.len();
    let lost = read_back(&client, acked, value_bytes).await?;
    cluster.stop().await?;

    report.lost = lost.len() as u64;
    let gibibytes = acked_count as f64 * (f64::from(args.value_bytes) + KEY_BYTES as f64) / f64::from(1 << 30);
    let mut table = Table::new(&["after kill -9 of all nodes", "seconds"]);
    for (what, time) in [("first write", first), ("a write to every shard", all), ("every replica answers", healthy)] {
        table.row([what.to_owned(), number(time.as_secs_f64())]);
    }
    report.tables.push(table);
    report.notes.push(format!(
        "{acked_count} acknowledged writes of {} bytes ({gibibytes:.2} GiB) in {:.1} s, {} shards; all of them were read back.",
        args.value_bytes,
        loaded.as_secs_f64(),
        args.shards
    ));
    let what = format!("kill -9 of all nodes, {gibibytes:.2} GiB");
    let first_write =
        Figure::new(format!("{what}: first write"), first.as_secs_f64(), "s", Goal::AtMost(FIRST_WRITE_MAX));
    let none_lost = Figure::new(format!("{what}: acked writes lost"), report.lost as f64, "", Goal::AtMost(0.0));
    report.figures.extend([first_write, none_lost]);
    report.data = json!({
        "shards": args.shards, "value_bytes": args.value_bytes, "acked": acked_count, "lost": lost,
        "load_seconds": loaded.as_secs_f64(), "first_write_seconds": first.as_secs_f64(),
        "all_shards_seconds": all.as_secs_f64(), "healthy_seconds": healthy.as_secs_f64(),
    });
    Ok(report)
}

/// A client as it would come after the restart, with the time until its first acknowledged write, and until one on
/// every shard. Its keys begin with number `from`.
async fn first_writes(addresses: &[String], begin: Instant, from: u32) -> Result<(Client, Duration, Duration)> {
    let builder = Client::builder().connect_deadline(STUCK).deadline(STUCK);
    let client = builder.connect(addresses.iter().cloned()).await?;
    let mut writes = JoinSet::new();
    for number in one_on_each_shard(&client.map(), from) {
        let client = client.clone();
        writes.spawn(async move {
            let written = client.put(key(u64::from(number)), value_of(u64::from(number), 64)).await;
            written.map(|_| begin.elapsed())
        });
    }
    let mut times = Vec::new();
    while let Some(time) = writes.join_next().await {
        times.push(time?.context("a shard takes no writes after the restart")?);
    }
    let first = times.iter().min().copied().context("the cluster has no shards")?;
    let all = times.iter().max().copied().unwrap_or(first);
    Ok((client, first, all))
}

fn one_on_each_shard(map: &ShardMap, from: u32) -> Vec<u32> {
    let of_shard = |slots: &strata_types::SlotRange| {
        (from..).find(|&number| slots.contains(Slot::of_key(&key(u64::from(number)))))
    };
    map.shards.iter().filter_map(|shard| of_shard(&shard.slots)).collect()
}

#[cfg(test)]
mod tests {
    use strata_types::{ShardId, ShardPlacement, SlotRange};

    use super::*;

    #[test]
    fn every_shard_gets_a_key_of_its_own() {
        let shards = (0..16).map(|shard| ShardPlacement {
            shard: ShardId(shard),
            slots: SlotRange::share(shard, 16),
            ..ShardPlacement::default()
        });
        let map = ShardMap { shards: shards.collect(), ..ShardMap::default() };
        let numbers = one_on_each_shard(&map, 1_000);
        assert_eq!(numbers.len(), 16);
        for (shard, number) in map.shards.iter().zip(numbers) {
            assert!(number >= 1_000 && shard.slots.contains(Slot::of_key(&key(u64::from(number)))));
        }
    }
}
