//! One key that is overwritten again and again while nobody reads: how many versions of it are stored.
//!
//! Writes between two snapshots share a timestamp, and each replaces the one before. So the versions that are still
//! there are found from the newest one backwards, each by a snapshot just below it; those that are gone were counted by
//! the nodes when they were collected.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use strata_client::{Client, ErrorCode, Timestamp};
use tokio::task::JoinSet;

use super::NODES;
use crate::args::TransactionsArgs;
use crate::load::{key, value_of};
use crate::procs::{MetricsPage, StrataCluster};
use crate::report::{Figure, Goal, Report, number};

const KEY: u64 = 0;
const VALUE_BYTES: usize = 64;
const WRITERS: usize = 256;
/// The newest version, and the one that was there before.
const VERSIONS_MAX: f64 = 2.0;
/// Versions that are looked for, at most.
const LOOKED_FOR_MAX: u64 = 10_000;
/// Rows that the nodes have removed because nobody needs them.
const COLLECTED: &str = "strata_shard_rows_collected_total";

/// Measures it.
pub(super) async fn run(args: &TransactionsArgs, report: &mut Report) -> Result<Value> {
    let count = args.amount(args.overwrites);
    let cluster = StrataCluster::start(&args.common, NODES, args.shards).await?;
    let addresses = cluster.addresses();
    let client = Client::connect(addresses.clone()).await?;
    client.put(key(KEY), value_of(0, VALUE_BYTES)).await.context("the key cannot be written")?;
    let collected_before = MetricsPage::of_all(&addresses).await?.value(COLLECTED);
    let begin = Instant::now();
    let failed = overwrite(&client, count).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let collected = MetricsPage::of_all(&addresses).await?.value(COLLECTED) - collected_before;
    let found = versions(&client).await?;
    cluster.stop().await?;

    let stored = found as f64 + collected;
    let what = format!("overwrites: versions stored of a key that was written {} times", number(f64::from(count)));
    report.figures.push(Figure::new(what, stored, "", Goal::AtMost(VERSIONS_MAX)));
    report.notes.push(format!(
        "overwrites: {count} writes of one key by {WRITERS} callers in {seconds:.1} s, {failed} of them failed; {:.0} \
         a second succeeded. {found} versions are there, {collected:.0} rows were collected meanwhile.",
        f64::from(count - failed) / seconds.max(f64::MIN_POSITIVE),
    ));
    Ok(json!({ "writes": count, "failed": failed, "seconds": seconds, "found": found, "collected": collected }))
}

/// Writes the key so many times; returns how many of them failed.
async fn overwrite(client: &Client, count: u32) -> Result<u32> {
    let next = Arc::new(AtomicU32::new(1));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (client, next) = (client.clone(), next.clone());
        writers.spawn(async move {
            let mut failed = 0;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number > count {
                    return failed;
                }
                if client.put(key(KEY), value_of(u64::from(number), VALUE_BYTES)).await.is_err() {
                    failed += 1;
                }
            }
        });
    }
    let mut failed = 0;
    while let Some(ended) = writers.join_next().await {
        failed += ended?;
    }
    if failed > count / 2 {
        bail!("{failed} of {count} writes failed");
    }
    Ok(failed)
}

/// Versions that can be read, from the newest one backwards.
async fn versions(client: &Client) -> Result<u64> {
    let newest = client.get(key(KEY)).await.context("the key cannot be read")?.context("the key is missing")?;
    let (mut at, mut found) = (newest.timestamp.0, 1);
    while at > 1 && found < LOOKED_FOR_MAX {
        let below = async { client.snapshot_at(Timestamp(at - 1)).await?.get(key(KEY)).await };
        match below.await {
            Ok(Some(item)) => (at, found) = (item.timestamp.0, found + 1),
            Ok(None) => return Ok(found),
            // What lies below the horizon was collected, or is about to be.
            Err(error) if error.code == ErrorCode::SnapshotTooOld => return Ok(found),
            Err(error) => return Err(error).context("older versions cannot be read"),
        }
    }
    Ok(found)
}
