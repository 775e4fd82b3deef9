//! A scan of everything at one point in time while money moves: the total never changes, and writers hardly notice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use strata_client::Client;

use super::super::memory::MemoryWatch;
use super::NODES;
use super::accounts::{OPENING, amount_in, open};
use super::pace::Transfers;
use crate::args::TransactionsArgs;
use crate::load::Samples;
use crate::procs::StrataCluster;
use crate::report::{Figure, Goal, Report, Table, number, print_error};

/// Goals: p99 of the transfers beside that without a scan, and further memory of any node.
const P99_MAX: f64 = 2.0;
const MEBIBYTES_MAX: f64 = 256.0;
/// The transfers are measured for so many times the time of a point before the scan.
const CALM_POINTS: u32 = 4;
/// Tries of one page.
const ATTEMPTS: u32 = 10;
/// Progress is told so often.
const TOLD: Duration = Duration::from_secs(10);

/// What a scan has found.
#[derive(Debug, Default)]
struct Scanned {
    rows: u64,
    total: u64,
    /// Rows that are no accounts.
    foreign: u64,
}

/// Measures it.
pub(super) async fn run(args: &TransactionsArgs, report: &mut Report) -> Result<Value> {
    let rows = args.amount(args.rows);
    let mut cluster = StrataCluster::start(&args.common, NODES, args.shards).await?;
    let client = Client::connect(cluster.addresses()).await?;
    let begin = Instant::now();
    open(&client, rows).await?;
    let loaded = begin.elapsed();
    cluster.settled().await?;

    let pids = cluster.pids();
    let memory = MemoryWatch::start(pids.clone());
    let transfers = Transfers::start(client.clone(), args.rate, rows);
    tokio::time::sleep(args.common.span(args.warmup)).await;
    let calm_from = transfers.now();
    tokio::time::sleep(args.common.span(args.seconds) * CALM_POINTS).await;
    let from = transfers.now();
    let before: Vec<u64> = pids.iter().map(|&pid| memory.most(pid)).collect();
    let scanned = scan(&client).await?;
    let to = transfers.now();
    let grown = pids.iter().zip(before).map(|(&pid, before)| memory.most(pid).saturating_sub(before)).max();
    let transferred = transfers.stop().await;
    cluster.stop().await?;

    let story = Story {
        rows,
        scanned,
        seconds: (to - from).as_secs_f64(),
        calm: transferred.during(calm_from, from),
        scan: transferred.during(from, to),
        grown: grown.unwrap_or(0),
    };
    fill(report, &story);
    report.notes.push(format!(
        "scan: {rows} accounts, loaded in {:.0} s; {} transfers a second, each of two rows, open loop, latencies from \
         when they were due; {:.0} s without the scan, then the scan. Errors: {:?} before, {:?} during the scan.",
        loaded.as_secs_f64(),
        args.rate,
        (from - calm_from).as_secs_f64(),
        story.calm.errors,
        story.scan.errors,
    ));
    Ok(json!({
        "rows": rows, "found": story.scanned.rows, "total": story.scanned.total, "wrong": story.wrong(),
        "scan_seconds": story.seconds, "load_seconds": loaded.as_secs_f64(), "grown_bytes": story.grown,
        "p99_ms": { "calm": story.calm.millis(0.99), "scan": story.scan.millis(0.99) },
        "failed": { "calm": story.calm.failed(), "scan": story.scan.failed() },
    }))
}

/// Reads everything at one timestamp, page by page, and keeps nothing.
async fn scan(client: &Client) -> Result<Scanned> {
    let snapshot = client.snapshot().await.context("no snapshot")?;
    let mut pages = snapshot.scan("", None, None);
    let (mut scanned, mut failures, mut told) = (Scanned::default(), 0, Instant::now());
    loop {
        match pages.next_page().await {
            Ok(Some(page)) => {
                failures = 0;
                for item in page {
                    scanned.rows += 1;
                    match amount_in(&item.value) {
                        Some(amount) => scanned.total = scanned.total.wrapping_add(amount),
                        None => scanned.foreign += 1,
                    }
                }
            }
            Ok(None) => return Ok(scanned),
            Err(error) => {
                failures += 1;
                if failures == ATTEMPTS {
                    bail!("the scan failed after {} rows: {error}", scanned.rows);
                }
            }
        }
        if told.elapsed() > TOLD {
            print_error(&format!("transactions: {} rows are read", number(scanned.rows as f64)));
            told = Instant::now();
        }
    }
}

struct Story {
    rows: u32,
    scanned: Scanned,
    seconds: f64,
    calm: Samples,
    scan: Samples,
    grown: u64,
}

impl Story {
    /// Rows and money that are missing or too many.
    fn wrong(&self) -> u64 {
        let rows = u64::from(self.rows);
        rows.abs_diff(self.scanned.rows) + (rows * OPENING).abs_diff(self.scanned.total) + self.scanned.foreign
    }

    fn p99_ratio(&self) -> f64 {
        let (calm, scan) = (self.calm.millis(0.99), self.scan.millis(0.99));
        // Nothing can be said of a load that had no answers.
        if calm > 0.0 && scan > 0.0 { scan / calm } else { f64::INFINITY }
    }
}

fn fill(report: &mut Report, story: &Story) {
    let mut table = Table::new(&["transfers", "done", "p50 ms", "p99 ms", "longest ms", "failed"]);
    for (name, samples) in [("without a scan", &story.calm), ("during the scan", &story.scan)] {
        let millis = [samples.millis(0.5), samples.millis(0.99), samples.millis_max()].map(number);
        let done = [name.to_owned(), samples.count().to_string()];
        table.row(done.into_iter().chain(millis).chain([samples.failed().to_string()]));
    }
    report.tables.push(table);
    report.notes.push(format!(
        "{} rows were read at one point in time in {:.1} s, {:.0} a second.",
        story.scanned.rows,
        story.seconds,
        story.scanned.rows as f64 / story.seconds.max(f64::MIN_POSITIVE),
    ));
    report.lost += story.wrong();
    let what = format!("scan of {} rows under transfers", number(f64::from(story.rows)));
    let at_most =
        |name: &str, measured, unit, most| Figure::new(format!("{what}: {name}"), measured, unit, Goal::AtMost(most));
    report.figures.extend([
        at_most("rows and money missing or too many", story.wrong() as f64, "", 0.0),
        at_most("p99 of transfers beside that without", story.p99_ratio(), "x", P99_MAX)
            .with_failed(story.calm.failed() + story.scan.failed()),
        at_most("further memory of any node", story.grown as f64 / 1_048_576.0, "MiB", MEBIBYTES_MAX),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(millis: u64) -> Samples {
        let mut samples = Samples::new();
        samples.add(Duration::from_millis(millis));
        samples
    }

    #[test]
    fn money_that_is_missing_counts_as_lost() {
        let scanned = Scanned { rows: 10, total: 10 * OPENING - 3, foreign: 0 };
        let story = Story { rows: 10, scanned, seconds: 1.0, calm: samples(10), scan: samples(15), grown: 1 << 20 };
        let mut report = Report::new("transactions");
        fill(&mut report, &story);
        assert_eq!(report.lost, 3);
        assert_eq!(report.figures.iter().map(|figure| figure.is_met).collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn transfers_that_failed_were_not_fast() {
        let scanned = Scanned { rows: 10, total: 10 * OPENING, foreign: 0 };
        let mut scan = samples(10);
        scan.fail("too late".to_owned());
        let story = Story { rows: 10, scanned, seconds: 1.0, calm: samples(10), scan, grown: 1 << 20 };
        let mut report = Report::new("transactions");
        fill(&mut report, &story);
        assert_eq!(report.figures.iter().map(|figure| figure.is_met).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn a_load_without_answers_meets_no_goal() {
        let scanned = Scanned { rows: 10, total: 10 * OPENING, foreign: 0 };
        let story = Story { rows: 10, scanned, seconds: 1.0, calm: samples(10), scan: Samples::new(), grown: 0 };
        assert!(story.wrong() == 0 && story.p99_ratio() > P99_MAX);
    }
}
