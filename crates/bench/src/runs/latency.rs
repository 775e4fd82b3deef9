//! One node, one client, one durable put at a time, beside what it cannot be faster than: the machine's own fdatasync
//! and a gRPC round trip.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;

use crate::args::LatencyArgs;
use crate::load::{Caller, Dice, Samples, Target};
use crate::procs::StrataCluster;
use crate::report::{Figure, Goal, Machine, Report, Table, fdatasync_latency, median, number, print_error};
use crate::wire::connect;
use crate::wire::health::HealthCheckRequest;
use crate::wire::health::health_client::HealthClient;

/// Sizes of what is written.
const VALUE_BYTES: usize = 64;
const KEYS: u64 = 100_000;
/// How many times as long a put may take.
const RATIO_MAX: f64 = 1.5;

/// What is measured in each round.
const KINDS: [&str; 4] = ["fdatasync", "gRPC round trip (health check)", "durable put, unary", "durable put, SDK"];

/// Measures it.
pub(crate) async fn run(args: &LatencyArgs) -> Result<Report> {
    let mut report = Report::new("latency");
    report.notes.extend(Machine::noise());
    let cluster = StrataCluster::start(&args.common, 1, 1).await?;
    let addresses = cluster.addresses();
    let mut unary = Target::unary(&addresses).await?.caller(0);
    let mut sdk = Target::sdk(&addresses).await?.caller(0);
    let count = args.common.times(args.samples);

    let mut rounds: Vec<[Samples; 4]> = Vec::new();
    for round in 0..args.common.times(args.rounds) {
        print_error(&format!("latency: round {}", round + 1));
        // Unmeasured puts first: connections, caches and the processor's clock come up to speed.
        puts(&mut unary, count / 4, round).await?;
        puts(&mut sdk, count / 4, round).await?;
        let syncs = fdatasync_latency(&args.common.directory(), count).await?;
        let trips = round_trips(&addresses[0], count).await?;
        rounds.push([syncs, trips, puts(&mut unary, count, round).await?, puts(&mut sdk, count, round).await?]);
    }
    cluster.stop().await?;
    fill(&mut report, &rounds);
    Ok(report)
}

async fn round_trips(address: &str, count: u32) -> Result<Samples> {
    let mut client = HealthClient::new(connect(address).await?);
    let mut samples = Samples::new();
    for number in 0..count + count / 4 {
        let begin = Instant::now();
        client.check(HealthCheckRequest::default()).await.context("the health check failed")?;
        if number >= count / 4 {
            samples.add(begin.elapsed());
        }
    }
    Ok(samples)
}

async fn puts(caller: &mut Caller, count: u32, round: u32) -> Result<Samples> {
    let mut dice = Dice::new(u64::from(round), 1);
    let mut samples = Samples::new();
    for _ in 0..count {
        let (key, value) = (crate::load::key(dice.below(KEYS)), dice.value(VALUE_BYTES));
        let begin = Instant::now();
        caller.put(key, value).await.map_err(anyhow::Error::msg)?;
        samples.add(begin.elapsed());
    }
    Ok(samples)
}

fn fill(report: &mut Report, rounds: &[[Samples; 4]]) {
    let at = |kind: usize, quantile: f64| median(rounds.iter().map(|round| round[kind].millis(quantile)));
    let mut table = Table::new(&["one at a time", "p50 ms", "p90 ms", "p99 ms", "p50 beside the floor"]);
    let floor = at(0, 0.5) + at(1, 0.5);
    for (kind, name) in KINDS.iter().enumerate() {
        let ratio = if kind < 2 { String::new() } else { format!("{:.2}x", at(kind, 0.5) / floor) };
        let quantiles = [0.5, 0.9, 0.99].map(|quantile| number(at(kind, quantile)));
        table.row(std::iter::once((*name).to_owned()).chain(quantiles).chain([ratio]));
    }
    table.row([
        "floor: fdatasync + round trip".to_owned(),
        number(floor),
        String::new(),
        String::new(),
        "1.00x".to_owned(),
    ]);
    report.tables.push(table);
    for (kind, what) in [(2, "unary"), (3, "SDK")] {
        let what = format!("one node, one client: durable put ({what}) beside fdatasync + gRPC round trip, p50");
        report.figures.push(Figure::new(what, at(kind, 0.5) / floor, "x", Goal::AtMost(RATIO_MAX)));
    }
    let kinds = KINDS.iter().enumerate().map(|(kind, name)| {
        let quantiles = |round: &[Samples; 4]| {
            let samples = &round[kind];
            json!({ "p50": samples.millis(0.5), "p99": samples.millis(0.99), "max": samples.millis_max() })
        };
        json!({ "what": name, "rounds_ms": rounds.iter().map(quantiles).collect::<Vec<_>>() })
    });
    report.data = json!({ "floor_ms_p50": floor, "kinds": kinds.collect::<Vec<_>>() });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_put_stands_beside_its_floor() {
        let round = |micros: [u64; 4]| {
            micros.map(|micros| {
                let mut samples = Samples::new();
                samples.add(Duration::from_micros(micros));
                samples
            })
        };
        let mut report = Report::new("latency");
        fill(&mut report, &[round([100, 100, 280, 400]), round([100, 100, 280, 400]), round([900, 100, 280, 9_000])]);
        assert!((report.figures[0].measured - 1.4).abs() < 0.01 && report.figures[0].is_met);
        assert!((report.figures[1].measured - 2.0).abs() < 0.01 && !report.figures[1].is_met);
    }
}
