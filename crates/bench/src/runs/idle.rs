//! What nodes cost that nobody uses.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::args::IdleArgs;
use crate::procs::{CpuMeter, StrataCluster, resident_bytes};
use crate::report::{Figure, Goal, Machine, Report, Table, number, print_error};

const NODES: usize = 3;
/// Goals: memory of all nodes together, and CPU of each.
const MEBIBYTES_MAX: f64 = 1_024.0;
const PERCENT_MAX: f64 = 8.0;

/// One node.
struct Cost {
    resident_bytes: u64,
    percent: f64,
}

/// Measures it.
pub(crate) async fn run(args: &IdleArgs) -> Result<Report> {
    let mut report = Report::new("idle");
    report.notes.extend(Machine::noise());
    let cluster = StrataCluster::start(&args.common, NODES, args.shards).await?;
    print_error(&format!("idle: {} shards on {NODES} nodes, settling", args.shards));
    tokio::time::sleep(args.common.span(args.settle)).await;

    let pids = cluster.pids();
    let meters: Vec<CpuMeter> = pids.iter().map(|&pid| CpuMeter::new(vec![pid])).collect();
    let read = || meters.iter().map(CpuMeter::read).collect::<Option<Vec<Duration>>>();
    let (begin, before) = (Instant::now(), read().context("CPU time can be read on Linux only")?);
    tokio::time::sleep(args.common.span(args.seconds)).await;
    let (elapsed, after) = (begin.elapsed(), read().context("a node ended while it was idle")?);

    let mut costs = Vec::with_capacity(NODES);
    for (node, &pid) in pids.iter().enumerate() {
        let used = after[node].saturating_sub(before[node]);
        let percent = used.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
        costs.push(Cost { resident_bytes: resident_bytes(pid)?, percent });
    }
    cluster.stop().await?;
    fill(&mut report, args.shards, elapsed, &costs);
    Ok(report)
}

fn fill(report: &mut Report, shards: u32, elapsed: Duration, costs: &[Cost]) {
    let mebibytes = |cost: &Cost| cost.resident_bytes as f64 / 1_048_576.0;
    let mut table = Table::new(&["idle node", "replicas", "resident MiB", "CPU, % of one core"]);
    for (node, cost) in costs.iter().enumerate() {
        let cells = [number(f64::from(shards) + 1.0), number(mebibytes(cost)), number(cost.percent)];
        table.row(std::iter::once(format!("n{}", node + 1)).chain(cells));
    }
    report.tables.push(table);
    let memory: f64 = costs.iter().map(mebibytes).sum();
    let busiest = costs.iter().map(|cost| cost.percent).fold(0.0, f64::max);
    let on = format!("idle, 3 nodes, {shards} shards each");
    report.figures.push(Figure::new(format!("{on}: memory of all three"), memory, "MiB", Goal::AtMost(MEBIBYTES_MAX)));
    let what = format!("{on}: CPU of the busiest node, % of a core");
    report.figures.push(Figure::new(what, busiest, "%", Goal::AtMost(PERCENT_MAX)));
    let nodes = costs.iter().map(|cost| json!({ "resident_bytes": cost.resident_bytes, "cpu_percent": cost.percent }));
    let nodes: Vec<_> = nodes.collect();
    report.data = json!({ "shards": shards, "seconds": elapsed.as_secs_f64(), "nodes": nodes });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_summed_and_the_busiest_node_counts() {
        let costs = [(200, 2.0), (300, 9.0), (100, 1.0)];
        let costs = costs.map(|(mebibytes, percent)| Cost { resident_bytes: mebibytes << 20, percent });
        let mut report = Report::new("idle");
        fill(&mut report, 64, Duration::from_secs(20), &costs);
        assert_eq!((report.figures[0].measured, report.figures[0].is_met), (600.0, true));
        assert_eq!((report.figures[1].measured, report.figures[1].is_met), (9.0, false));
    }
}
