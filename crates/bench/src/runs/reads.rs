//! What a read costs the nodes, by level and by who carries it out.
//!
//! ```text
//!   for each round:  leader linearizable, any replica linearizable, bounded, local; the first one changes by round
//!       the SDK puts a closed loop on the cluster; CPU time of all nodes / reads = microseconds a read
//! ```
//! Reads of the second kind that a follower carries out cost its question and the leader's round too: all nodes are
//! measured together, and each figure stands beside that of the reads which leaders carry out.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use strata_client::{Client, ReadOptions};

use crate::args::{Operation, ReadsArgs};
use crate::load::{Plan, Target, fill, measure};
use crate::procs::{CpuMeter, MetricsPage, StrataCluster};
use crate::report::{Figure, Goal, Machine, Report, Table, median, number, print_error};

const NODES: usize = 3;
/// Goal: what a read may cost of what a leader's read costs.
const RATIO_MAX: f64 = 1.5;
/// The bound of bounded reads.
const STALENESS: Duration = Duration::from_secs(5);

/// Who reads, and how fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Leader,
    Anywhere,
    Bounded,
    Local,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Leader, Kind::Anywhere, Kind::Bounded, Kind::Local];

    fn name(self) -> &'static str {
        match self {
            Kind::Leader => "linearizable, leaders",
            Kind::Anywhere => "linearizable, any replica",
            Kind::Bounded => "bounded, any replica",
            Kind::Local => "local, any replica",
        }
    }

    fn options(self) -> ReadOptions {
        match self {
            Kind::Leader => ReadOptions::default(),
            Kind::Anywhere => ReadOptions::anywhere(),
            Kind::Bounded => ReadOptions::bounded(STALENESS),
            Kind::Local => ReadOptions::local(),
        }
    }

    /// The kinds in the order of a round: each is the first one as often as the others.
    fn turns(round: u32) -> impl Iterator<Item = Kind> {
        (0..Kind::ALL.len()).map(move |turn| Kind::ALL[(turn + round as usize) % Kind::ALL.len()])
    }
}

/// One measurement.
struct Sample {
    kind: Kind,
    throughput: f64,
    /// CPU time of all nodes for one read.
    micros: f64,
    p50: f64,
    p99: f64,
    /// Rounds, of leaders and of followers that ask them, for a thousand reads: what coalescing leaves of them.
    rounds: f64,
    failed: u64,
}

/// Measures it.
pub(crate) async fn run(args: &ReadsArgs) -> Result<Report> {
    let mut report = Report::new("reads");
    report.notes.extend(Machine::noise());
    let cluster = StrataCluster::start(&args.common, NODES, args.shards).await?;
    let client = Client::connect(cluster.addresses()).await?;
    fill(&Target::Sdk(client.clone()), args.keys, args.value_bytes).await?;
    let mut samples = Vec::new();
    for round in 0..args.common.times(args.rounds) {
        for kind in Kind::turns(round) {
            let sample = sample(args, &cluster, &client, kind, round).await?;
            print_error(&format!(
                "reads: round {}, {}: {:.0}/s, {:.2} µs of CPU a read",
                round + 1,
                kind.name(),
                sample.throughput,
                sample.micros
            ));
            samples.push(sample);
        }
    }
    report.notes.push(format!(
        "{NODES} nodes, {} shards, {} callers over the SDK, values of {} bytes, keys out of {}; {} rounds of {:.1} s; \
         medians of the rounds.",
        args.shards,
        args.callers,
        args.value_bytes,
        args.keys,
        args.common.times(args.rounds),
        args.common.span(args.seconds).as_secs_f64(),
    ));
    cluster.stop().await?;
    fill_report(&mut report, &samples);
    Ok(report)
}

async fn sample(args: &ReadsArgs, cluster: &StrataCluster, client: &Client, kind: Kind, round: u32) -> Result<Sample> {
    let target = Target::Sdk(client.with_reads(kind.options()));
    let plan = Plan {
        operation: Operation::Get,
        callers: args.callers,
        warmup: args.common.span(args.warmup),
        measured: args.common.span(args.seconds),
        keys: args.keys,
        value_bytes: args.value_bytes,
        seed: u64::from(round) + 1,
    };
    let addresses = cluster.addresses();
    let before = MetricsPage::of_all(&addresses).await?;
    let measured = measure(&target, &plan, &CpuMeter::new(cluster.pids())).await.context(kind.name())?;
    let after = MetricsPage::of_all(&addresses).await?;
    let rise = |name: &str| after.value(name) - before.value(name);
    let cores = measured.server_cores.context("CPU time can be read on Linux only")?;
    Ok(Sample {
        kind,
        throughput: measured.throughput,
        micros: cores * 1_000_000.0 / measured.throughput.max(1.0),
        p50: measured.samples.millis(0.5),
        p99: measured.samples.millis(0.99),
        rounds: rise("strata_raft_read_rounds_total") * 1_000.0 / rise("strata_kv_reads_total").max(1.0),
        failed: measured.samples.failed(),
    })
}

fn fill_report(report: &mut Report, samples: &[Sample]) {
    let of =
        |kind: Kind, value: fn(&Sample) -> f64| median(samples.iter().filter(|sample| sample.kind == kind).map(value));
    let leader = of(Kind::Leader, |sample| sample.micros);
    let failed =
        |kind: Kind| samples.iter().filter(|sample| sample.kind == kind).map(|sample| sample.failed).sum::<u64>();
    let mut table = Table::new(&[
        "reads",
        "a second",
        "p50 ms",
        "p99 ms",
        "rounds a 1,000 reads",
        "µs of CPU a read",
        "of a leader's",
        "failed",
    ]);
    let mut data = Vec::new();
    for kind in Kind::ALL {
        let micros = of(kind, |sample| sample.micros);
        let ratio = micros / leader;
        let values = [
            of(kind, |sample| sample.throughput),
            of(kind, |sample| sample.p50),
            of(kind, |sample| sample.p99),
            of(kind, |sample| sample.rounds),
            micros,
            ratio,
        ];
        let cells = values.map(number).into_iter().chain([failed(kind).to_string()]);
        table.row(std::iter::once(kind.name().to_owned()).chain(cells));
        data.push(json!({ "kind": kind.name(), "throughput": values[0], "micros": micros, "failed": failed(kind) }));
        if kind != Kind::Leader {
            let what = format!("CPU of a read ({}) over that of a leader's", kind.name());
            let figure = Figure::new(what, ratio, "x", Goal::AtMost(RATIO_MAX));
            report.figures.push(figure.with_failed(failed(kind) + failed(Kind::Leader)));
        }
    }
    report.tables.push(table);
    report.data = json!({ "kinds": data });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_first_in_turn_and_costs_stand_beside_the_leaders() {
        let first: Vec<_> = (0..5).filter_map(|round| Kind::turns(round).next()).collect();
        assert_eq!(first, [Kind::Leader, Kind::Anywhere, Kind::Bounded, Kind::Local, Kind::Leader]);
        let costs = [(Kind::Leader, 10.0), (Kind::Anywhere, 14.0), (Kind::Bounded, 16.0), (Kind::Local, 9.0)];
        let samples = costs.map(|(kind, micros)| Sample {
            kind,
            throughput: 1_000.0,
            micros,
            p50: 1.0,
            p99: 2.0,
            rounds: 0.0,
            failed: 0,
        });
        let mut report = Report::new("reads");
        fill_report(&mut report, &samples);
        let met: Vec<_> = report.figures.iter().map(|figure| (figure.measured, figure.is_met)).collect();
        assert_eq!(met, [(1.4, true), (1.6, false), (0.9, true)]);
    }
}
