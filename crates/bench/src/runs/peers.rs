//! Strata beside etcd: the same operations, by turns, on the same machine, in the same run.
//!
//! ```text
//!   for each number of shards:   start etcd and strata, write all keys
//!     for each round:
//!       for each point:          etcd, strata unary, strata SDK; the first one changes from round to round
//! ```
//! A point is an operation with a number of callers. Each caller has one operation under way. Both unary clients have
//! eight HTTP/2 connections. etcd's go to its leader, and so do ours where there is one shard; where there are several
//! they are dealt out to the nodes, because a client without a shard map cannot know better. The SDK routes by itself.

mod points;
mod table;

use anyhow::{Context, Result};
use serde_json::json;

use self::points::{Point, Who, points};
use self::table::{Row, fill_report};
use crate::args::{Operation, PeersArgs};
use crate::load::{Measured, Plan, Target, fill, measure};
use crate::procs::{CpuMeter, EtcdCluster, MetricsPage, StrataCluster};
use crate::report::{Machine, Report, print_error};

const NODES: usize = 3;

/// One measurement.
struct Sample {
    point: Point,
    who: Who,
    round: u32,
    measured: Measured,
    /// Commands in a log entry; of our puts only.
    commands_per_entry: Option<f64>,
}

/// Measures it.
pub(crate) async fn run(args: &PeersArgs) -> Result<Report> {
    let mut report = Report::new("peers");
    report.notes.extend(Machine::noise());
    let mut rows = Vec::new();
    for &shards in &args.shards {
        let mut arena = Arena::start(args, shards).await?;
        let points = points(args, shards);
        let mut samples = Vec::new();
        for round in 0..args.common.times(args.rounds) {
            for &point in &points {
                for who in point.turns(round) {
                    let sample = arena.sample(args, point, who, round).await?;
                    tell(&sample);
                    samples.push(sample);
                }
            }
        }
        report.notes.push(arena.describe(args, shards));
        arena.stop().await?;
        rows.extend(points.iter().flat_map(|&point| Row::all_of(point, &samples)));
    }
    fill_report(&mut report, &rows);
    report.data = json!({ "rows": rows });
    Ok(report)
}

/// Progress, for whoever watches a quarter of an hour.
fn tell(sample: &Sample) {
    let Sample { point, who, round, measured, .. } = sample;
    print_error(&format!(
        "peers: {} shards, round {}, {} {} x{}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms{}",
        point.shards,
        round + 1,
        who.name(),
        point.operation_name(),
        point.callers,
        measured.throughput,
        measured.samples.millis(0.5),
        measured.samples.millis(0.99),
        measured.samples.errors.iter().next().map_or(String::new(), |(error, count)| format!(", {count} x {error}")),
    ));
}

/// Both clusters, with keys in them.
struct Arena {
    etcd: EtcdCluster,
    strata: StrataCluster,
}

impl Arena {
    async fn start(args: &PeersArgs, shards: u32) -> Result<Arena> {
        print_error(&format!("peers: starting etcd and strata with {shards} shards"));
        let hint = "install Debian's package etcd-server, or name the program with --etcd";
        let mut etcd = EtcdCluster::start(&args.etcd, &args.common.directory()).await.context(hint)?;
        let strata = StrataCluster::start(&args.common, NODES, shards).await?;
        fill(&Target::etcd(&[etcd.leader().await?]).await?, args.keys, args.value_bytes).await?;
        fill(&Target::sdk(&strata.addresses()).await?, args.keys, args.value_bytes).await?;
        Ok(Arena { etcd, strata })
    }

    /// Leaders may move between points, so each point connects anew.
    async fn target(&mut self, who: Who, shards: u32) -> Result<Target> {
        match who {
            Who::Etcd => Target::etcd(&[self.etcd.leader().await?]).await,
            Who::Sdk => Target::sdk(&self.strata.addresses()).await,
            Who::Unary if shards == 1 => {
                let leader = *self.strata.leaders().await?.first().context("the cluster has no shards")?;
                Target::unary(&self.strata.addresses()[leader.node..=leader.node]).await
            }
            Who::Unary => Target::unary(&self.strata.addresses()).await,
        }
    }

    async fn sample(&mut self, args: &PeersArgs, point: Point, who: Who, round: u32) -> Result<Sample> {
        let target = self.target(who, point.shards).await?;
        let plan = Plan {
            operation: point.operation,
            callers: point.callers,
            warmup: args.common.span(args.warmup),
            measured: args.common.span(args.seconds),
            keys: args.keys,
            value_bytes: args.value_bytes,
            seed: u64::from(round) + 1,
        };
        let servers = CpuMeter::new(if who == Who::Etcd { self.etcd.pids() } else { self.strata.pids() });
        let counts_entries = who != Who::Etcd && point.operation == Operation::Put;
        let addresses = self.strata.addresses();
        let before = if counts_entries { Some(MetricsPage::of_all(&addresses).await?) } else { None };
        let measured = measure(&target, &plan, &servers)
            .await
            .with_context(|| format!("{} {} with {} callers", who.name(), point.operation_name(), point.callers))?;
        let commands_per_entry = match before {
            Some(before) => commands_per_entry(&before, &MetricsPage::of_all(&addresses).await?),
            None => None,
        };
        Ok(Sample { point, who, round, measured, commands_per_entry })
    }

    fn describe(&self, args: &PeersArgs, shards: u32) -> String {
        format!(
            "{shards} shards beside etcd {}: {NODES} nodes each, values of {} bytes, keys of 16 bytes out of {}; {} rounds of \
             {:.1} s after {:.1} s; medians of the rounds.",
            self.etcd.version(),
            args.value_bytes,
            args.keys,
            args.common.times(args.rounds),
            args.common.span(args.seconds).as_secs_f64(),
            args.common.span(args.warmup).as_secs_f64()
        )
    }

    async fn stop(self) -> Result<()> {
        self.strata.stop().await?;
        self.etcd.stop().await
    }
}

/// Commands in an entry between two looks at the counters of all nodes.
fn commands_per_entry(before: &MetricsPage, after: &MetricsPage) -> Option<f64> {
    let rise = |name| after.value(name) - before.value(name);
    let entries = rise("strata_raft_entries_total");
    (entries > 0.0).then(|| rise("strata_raft_commands_total") / entries)
}
