//! Many callers on few accounts: whether all of them get on, and at what price.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use strata_client::{Client, Error, ErrorCode, LockWait, Outcome};

use super::NODES;
use super::accounts::{OPENING, amount_of, open, with_amount};
use super::drive::{Driven, Work, drive};
use crate::args::TransactionsArgs;
use crate::load::{Dice, key};
use crate::procs::StrataCluster;
use crate::report::{Figure, Goal, Report, Table, median, number, print_error};

const ACCOUNTS: u32 = 10;
const CROWD: usize = 64;
/// Goals: goodput beside that of one caller an account, the median caller beside the slowest one, and seconds in which
/// nobody commits.
const GOODPUT_MIN: f64 = 0.5;
const SLOWEST_MAX: f64 = 3.0;
const GAP_MAX: f64 = 1.0;

/// Deposits 1 again and again.
struct Depositor {
    client: Client,
    dice: Dice,
    /// Its account; `None`: any of them.
    own: Option<u64>,
    tally: Arc<Tally>,
}

/// All deposits, those before and after the measured time among them.
#[derive(Default)]
struct Tally {
    acked: AtomicU64,
    unknown: AtomicU64,
}

impl Work for Depositor {
    async fn once(&mut self) -> Result<(), String> {
        let account = key(self.own.unwrap_or_else(|| self.dice.below(u64::from(ACCOUNTS))));
        let done = deposit(&self.client, account).await;
        match &done {
            Ok(()) => self.tally.acked.fetch_add(1, Ordering::Relaxed),
            Err(error) if error.outcome == Outcome::NotApplied => 0,
            Err(_) => self.tally.unknown.fetch_add(1, Ordering::Relaxed),
        };
        done.map_err(|error| error.to_string())
    }
}

async fn deposit(client: &Client, account: Bytes) -> Result<(), Error> {
    let work = |mut txn: strata_client::Attempt| {
        let account = account.clone();
        async move {
            let item = txn.get_for_update(account.clone(), LockWait::Wait).await?;
            let amount = amount_of(item.as_ref());
            let amount = amount.map_err(|message| Error::not_applied(ErrorCode::Internal, message))?;
            txn.put(account, with_amount(amount + 1)).await
        }
    };
    client.transact(work).await
}

/// One measurement.
#[derive(Debug, Serialize)]
struct Sample {
    callers: usize,
    goodput: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// The median caller's commits beside those of the slowest one.
    slowest: f64,
    gap_seconds: f64,
    failed: u64,
}

impl Sample {
    fn of(driven: &Driven) -> Sample {
        Sample {
            callers: driven.done.len(),
            goodput: driven.throughput,
            p50_ms: driven.samples.millis(0.5),
            p99_ms: driven.samples.millis(0.99),
            slowest: slowest(&driven.done),
            gap_seconds: driven.longest_gap.as_secs_f64(),
            failed: driven.samples.failed(),
        }
    }
}

/// How many times as much as the slowest caller the one in the middle has done.
fn slowest(done: &[u64]) -> f64 {
    let least = done.iter().min().copied().unwrap_or(0);
    if least == 0 { f64::INFINITY } else { median(done.iter().map(|&count| count as f64)) / least as f64 }
}

/// Measures it.
pub(super) async fn run(args: &TransactionsArgs, report: &mut Report) -> Result<Value> {
    let cluster = StrataCluster::start(&args.common, NODES, args.shards).await?;
    let client = Client::connect(cluster.addresses()).await?;
    open(&client, ACCOUNTS).await?;
    let tally = Arc::new(Tally::default());
    let mut rounds: Vec<[Sample; 2]> = Vec::new();
    for round in 0..args.common.times(args.rounds) {
        let alone = measure(args, &client, &tally, ACCOUNTS as usize, round).await?;
        let crowd = measure(args, &client, &tally, CROWD, round).await?;
        rounds.push([alone, crowd]);
    }
    let deposited = total(&client).await?.wrapping_sub(u64::from(ACCOUNTS) * OPENING);
    cluster.stop().await?;
    let (acked, unknown) = (tally.acked.load(Ordering::Relaxed), tally.unknown.load(Ordering::Relaxed));
    let wrong = wrong(deposited, acked, unknown);
    report.lost += wrong;
    fill(report, &rounds, wrong);
    report.notes.push(format!(
        "hot: {CROWD} callers on {ACCOUNTS} accounts (get_for_update and put, in transact()) beside a caller an \
         account. {acked} deposits were acknowledged, {unknown} ended as unknown, {deposited} are in the accounts."
    ));
    Ok(json!({ "rounds": rounds, "acked": acked, "unknown": unknown, "deposited": deposited }))
}

/// Deposits that are missing, or that nobody made.
fn wrong(deposited: u64, acked: u64, unknown: u64) -> u64 {
    acked.saturating_sub(deposited) + deposited.saturating_sub(acked + unknown)
}

async fn measure(
    args: &TransactionsArgs,
    client: &Client,
    tally: &Arc<Tally>,
    callers: usize,
    round: u32,
) -> Result<Sample> {
    let worker = |number: usize| Depositor {
        client: client.clone(),
        dice: Dice::new(u64::from(round) + 1, number as u64),
        own: (callers == ACCOUNTS as usize).then_some(number as u64),
        tally: tally.clone(),
    };
    let workers = (0..callers).map(worker).collect();
    let driven = drive(workers, args.common.span(args.warmup), args.common.span(args.seconds)).await?;
    let sample = Sample::of(&driven);
    let error = driven.samples.errors.iter().next();
    print_error(&format!(
        "transactions: round {}, {callers} callers on {ACCOUNTS} accounts: {:.0}/s, p99 {:.1} ms{}",
        round + 1,
        sample.goodput,
        sample.p99_ms,
        error.map_or(String::new(), |(error, count)| format!(", {count} x {error}"))
    ));
    Ok(sample)
}

async fn total(client: &Client) -> Result<u64> {
    let mut total = 0;
    for account in 0..ACCOUNTS {
        let item = client.get(key(u64::from(account))).await.context("an account cannot be read")?;
        total += amount_of(item.as_ref()).map_err(anyhow::Error::msg)?;
    }
    Ok(total)
}

fn fill(report: &mut Report, rounds: &[[Sample; 2]], wrong: u64) {
    let head = ["callers on 10 accounts", "commits/s", "p50 ms", "p99 ms", "median over slowest", "failed"];
    let mut table = Table::new(&head);
    for at in 0..2 {
        let of = |value: fn(&Sample) -> f64| median(rounds.iter().map(|round| value(&round[at])));
        let failed: u64 = rounds.iter().map(|round| round[at].failed).sum();
        let values = [of(|sample| sample.goodput), of(|sample| sample.p50_ms), of(|sample| sample.p99_ms)];
        let name = if at == 0 { "10, each on its own".to_owned() } else { format!("{CROWD}, on any") };
        let cells = values.map(number).into_iter();
        let last = [format!("{:.2}x", of(|sample| sample.slowest)), failed.to_string()];
        table.row(std::iter::once(name).chain(cells).chain(last));
    }
    report.tables.push(table);
    let alone = |round: &[Sample; 2]| round[0].goodput;
    let goodput = rounds.iter().filter(|round| alone(round) > 0.0).map(|round| round[1].goodput / alone(round));
    let what = format!("hot, {CROWD} callers on {ACCOUNTS} accounts");
    let failed: u64 = rounds.iter().flatten().map(|sample| sample.failed).sum();
    let mut figure = |name: &str, measured, unit, goal| {
        report.figures.push(Figure::new(format!("{what}: {name}"), measured, unit, goal).with_failed(failed));
    };
    figure("commits/s beside a caller an account", median(goodput), "x", Goal::AtLeast(GOODPUT_MIN));
    let slowest = median(rounds.iter().map(|round| round[1].slowest));
    figure("the median caller's commits over the slowest one's", slowest, "x", Goal::AtMost(SLOWEST_MAX));
    let gap = rounds.iter().map(|round| round[1].gap_seconds).fold(0.0, f64::max);
    figure("longest time without a commit", gap, "s", Goal::AtMost(GAP_MAX));
    let what = format!("{what}: deposits lost or made twice");
    report.figures.push(Figure::new(what, wrong as f64, "", Goal::AtMost(0.0)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(callers: usize, goodput: f64, done: &[u64]) -> Sample {
        let slowest = slowest(done);
        Sample { callers, goodput, p50_ms: 1.0, p99_ms: 2.0, slowest, gap_seconds: 0.1, failed: 0 }
    }

    #[test]
    fn a_caller_that_starves_and_a_lost_deposit_are_seen() {
        let mut report = Report::new("transactions");
        fill(&mut report, &[[sample(10, 1_000.0, &[5, 5]), sample(64, 600.0, &[9, 6, 3])]], 0);
        assert!(report.figures.iter().all(|figure| figure.is_met), "{:?}", report.figures);
        let mut report = Report::new("transactions");
        fill(&mut report, &[[sample(10, 1_000.0, &[5, 5]), sample(64, 400.0, &[9, 6, 0])]], 1);
        let met: Vec<bool> = report.figures.iter().map(|figure| figure.is_met).collect();
        assert_eq!(met, [false, false, true, false]);
        let mut report = Report::new("transactions");
        let failing = Sample { failed: 1, ..sample(64, 600.0, &[9, 6, 3]) };
        fill(&mut report, &[[sample(10, 1_000.0, &[5, 5]), failing]], 0);
        let met: Vec<bool> = report.figures.iter().map(|figure| figure.is_met).collect();
        assert_eq!(met, [false, false, false, true], "a deposit that failed was neither fast nor lost");
    }

    #[test]
    fn deposits_are_all_there_and_nobody_elses() {
        assert_eq!([wrong(10, 10, 0), wrong(12, 10, 2), wrong(9, 10, 0), wrong(13, 10, 2)], [0, 0, 1, 1]);
    }
}
