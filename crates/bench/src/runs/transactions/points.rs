//! Transactions beside bare puts and beside etcd, by turns.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::arena::{ACCOUNTS, Arena, Who};
use crate::args::TransactionsArgs;
use crate::report::{Figure, Goal, Report, Table, median, number, print_error, spread};

/// Goals: latency beside a put, share of the throughput of puts, and throughput beside etcd's.
const SINGLE_LATENCY_MAX: f64 = 2.5;
const SINGLE_THROUGHPUT_MIN: f64 = 0.4;
const TRANSFER_LATENCY_MAX: f64 = 4.0;
const ETCD_THROUGHPUT_MIN: f64 = 1.0;
/// Callers of the points that are about throughput.
const MANY: usize = 64;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
struct Sample {
    who: Who,
    callers: usize,
    round: u32,
    throughput: f64,
    p50_ms: f64,
    p99_ms: f64,
    failed: u64,
}

/// Two that stand beside each other: the second one is measured by the first one.
#[derive(Clone, Copy, Debug)]
struct Pair {
    base: Who,
    who: Who,
    callers: usize,
}

/// A transaction of one shard beside a bare put.
pub(super) async fn single(args: &TransactionsArgs, report: &mut Report) -> Result<Value> {
    let mut arena = Arena::start(args).await?;
    let one = Pair { base: Who::Put, who: Who::Single, callers: 1 };
    let many = Pair { callers: MANY, ..one };
    let mut samples = rounds(args, &mut arena, one).await?;
    samples.extend(rounds(args, &mut arena, many).await?);
    arena.stop().await?;
    conclude(args, report, &[one, many], &samples);
    latency(report, one, &samples, SINGLE_LATENCY_MAX);
    throughput(report, many, &samples, SINGLE_THROUGHPUT_MIN);
    Ok(json!({ "samples": samples }))
}

/// A transfer over two shards beside a bare put.
pub(super) async fn transfer(args: &TransactionsArgs, report: &mut Report) -> Result<Value> {
    let mut arena = Arena::start(args).await?;
    let pair = Pair { base: Who::Put, who: Who::Transfer, callers: 1 };
    let samples = rounds(args, &mut arena, pair).await?;
    arena.stop().await?;
    conclude(args, report, &[pair], &samples);
    latency(report, pair, &samples, TRANSFER_LATENCY_MAX);
    Ok(json!({ "samples": samples }))
}

/// The same transfer beside etcd's way.
pub(super) async fn etcd(args: &TransactionsArgs, report: &mut Report) -> Result<Value> {
    let mut arena = Arena::start(args).await?;
    let version = match arena.start_etcd(&args.etcd, &args.common).await {
        Ok(version) => version,
        // Whoever asks for everything may do without etcd, and is told.
        Err(error) if args.only.is_empty() => {
            arena.stop().await?;
            report.notes.push(format!("**Transfers were not measured beside etcd:** {error:#}"));
            return Ok(Value::Null);
        }
        Err(error) => return Err(error),
    };
    let pair = Pair { base: Who::Etcd, who: Who::Transfer, callers: MANY };
    let samples = rounds(args, &mut arena, pair).await?;
    arena.stop().await?;
    conclude(args, report, &[pair], &samples);
    report.notes.push(format!("etcd {version}: two gets, one after the other, then one Txn that compares and puts."));
    throughput(report, pair, &samples, ETCD_THROUGHPUT_MIN);
    Ok(json!({ "etcd": version, "samples": samples }))
}

/// Both by turns; whoever goes first changes from round to round.
async fn rounds(args: &TransactionsArgs, arena: &mut Arena, pair: Pair) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for round in 0..args.common.times(args.rounds) {
        let turns = if round.is_multiple_of(2) { [pair.base, pair.who] } else { [pair.who, pair.base] };
        for who in turns {
            let driven = arena.measure(args, who, pair.callers, u64::from(round) + 1).await.context(who.name())?;
            let sample = Sample {
                who,
                callers: pair.callers,
                round,
                throughput: driven.throughput,
                p50_ms: driven.samples.millis(0.5),
                p99_ms: driven.samples.millis(0.99),
                failed: driven.samples.failed(),
            };
            print_error(&format!(
                "transactions: round {}, {} x{}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms{}",
                round + 1,
                who.name(),
                pair.callers,
                sample.throughput,
                sample.p50_ms,
                sample.p99_ms,
                driven
                    .samples
                    .errors
                    .iter()
                    .next()
                    .map_or(String::new(), |(error, count)| format!(", {count} x {error}")),
            ));
            samples.push(sample);
        }
    }
    Ok(samples)
}

/// How many times as much as the base in the same round, for each round.
fn ratios(pair: Pair, samples: &[Sample], value: fn(&Sample) -> f64) -> Vec<f64> {
    let of = |who| samples.iter().filter(move |sample| sample.who == who && sample.callers == pair.callers);
    let base = |round| of(pair.base).find(|sample| sample.round == round).map(value).filter(|base| *base > 0.0);
    of(pair.who).filter_map(|sample| Some(value(sample) / base(sample.round)?)).collect()
}

/// What failed of both sides of a ratio.
fn failed(pair: Pair, samples: &[Sample]) -> u64 {
    let is_of_pair = |sample: &&Sample| [pair.base, pair.who].contains(&sample.who) && sample.callers == pair.callers;
    samples.iter().filter(is_of_pair).map(|sample| sample.failed).sum()
}

fn latency(report: &mut Report, pair: Pair, samples: &[Sample], most: f64) {
    let ratios = ratios(pair, samples, |sample| sample.p50_ms);
    // Whoever has done nothing was not fast.
    let is_idle = samples.iter().any(|sample| sample.who == pair.who && sample.p50_ms == 0.0);
    let measured = if is_idle || ratios.is_empty() { f64::INFINITY } else { median(ratios) };
    let figure = Figure::new(what(pair, "p50"), measured, "x", Goal::AtMost(most));
    report.figures.push(figure.with_failed(failed(pair, samples)));
}

fn throughput(report: &mut Report, pair: Pair, samples: &[Sample], least: f64) {
    let measured = median(ratios(pair, samples, |sample| sample.throughput));
    let figure = Figure::new(what(pair, "throughput"), measured, "x", Goal::AtLeast(least));
    report.figures.push(figure.with_failed(failed(pair, samples)));
}

fn what(pair: Pair, of: &str) -> String {
    let callers = if pair.callers == 1 { "1 caller".to_owned() } else { format!("{} callers", pair.callers) };
    format!("{}, {callers}: {of} beside that of: {}", pair.who.name(), pair.base.name())
}

fn conclude(args: &TransactionsArgs, report: &mut Report, pairs: &[Pair], samples: &[Sample]) {
    let head = ["what", "callers", "ops/s", "p50 ms", "p99 ms", "ops/s beside", "p50 beside", "(rounds)", "failed"];
    let mut table = Table::new(&head);
    for &pair in pairs {
        for who in [pair.base, pair.who] {
            let of = samples.iter().filter(|sample| sample.who == who && sample.callers == pair.callers);
            let middle = |value: fn(&Sample) -> f64| number(median(of.clone().map(value)));
            let beside = |value: fn(&Sample) -> f64| {
                if who == pair.base { String::new() } else { format!("{:.2}x", median(ratios(pair, samples, value))) }
            };
            let (least, most) = spread(ratios(pair, samples, |sample| sample.p50_ms));
            table.row([
                who.name().to_owned(),
                pair.callers.to_string(),
                middle(|sample| sample.throughput),
                middle(|sample| sample.p50_ms),
                middle(|sample| sample.p99_ms),
                beside(|sample| sample.throughput),
                beside(|sample| sample.p50_ms),
                if who == pair.base { String::new() } else { format!("{least:.2}-{most:.2}") },
                of.clone().map(|sample| sample.failed).sum::<u64>().to_string(),
            ]);
        }
    }
    report.tables.push(table);
    report.notes.push(format!(
        "{} shards; {ACCOUNTS} accounts of 64 bytes, each caller on its own share of them; {} rounds of {:.1} s after \
         {:.1} s; medians of the rounds.",
        args.shards,
        args.common.times(args.rounds),
        args.common.span(args.seconds).as_secs_f64(),
        args.common.span(args.warmup).as_secs_f64(),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(who: Who, round: u32, throughput: f64, p50_ms: f64) -> Sample {
        Sample { who, callers: 1, round, throughput, p50_ms, p99_ms: 2.0 * p50_ms, failed: 0 }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let pair = Pair { base: Who::Put, who: Who::Single, callers: 1 };
        let mut samples = vec![
            sample(Who::Put, 0, 100.0, 1.0),
            sample(Who::Single, 0, 50.0, 2.0),
            sample(Who::Single, 1, 10.0, 10.0),
            sample(Who::Put, 1, 20.0, 5.0),
        ];
        let mut report = Report::new("transactions");
        latency(&mut report, pair, &samples, 2.5);
        throughput(&mut report, pair, &samples, 0.4);
        assert_eq!(report.figures.iter().map(|figure| figure.measured).collect::<Vec<_>>(), [2.0, 0.5]);
        assert!(report.figures.iter().all(|figure| figure.is_met));

        samples.iter_mut().filter(|sample| sample.who == Who::Single).for_each(|sample| sample.p50_ms = 0.0);
        latency(&mut report, pair, &samples, 2.5);
        assert!(!report.figures[2].is_met, "nothing was done");
        samples[3].failed = 2;
        throughput(&mut report, pair, &samples, 0.4);
        assert_eq!((report.figures[3].failed, report.figures[3].is_met), (2, false), "a put of the base failed");
    }
}
