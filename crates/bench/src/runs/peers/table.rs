//! Medians of the rounds, and ratios to etcd within each round.

use serde::Serialize;

use super::Sample;
use super::points::{Point, Wanted, Who};
use crate::report::{Figure, Goal, Report, Table, median, number, spread};

/// One line: a point with one of those who were measured there.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    shards: u32,
    operation: &'static str,
    callers: usize,
    who: Who,
    throughput: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Beside etcd: the median of the rounds, and the least and the most of them.
    ratio: Option<f64>,
    ratio_spread: Option<(f64, f64)>,
    p99_ratio: Option<f64>,
    commands_per_entry: Option<f64>,
    server_cores: Option<f64>,
    client_cores: Option<f64>,
    failed: u64,
    /// Of etcd at the same point.
    #[serde(skip)]
    etcd_failed: u64,
    #[serde(skip)]
    wanted: Option<Wanted>,
}

impl Row {
    /// The lines of a point, etcd's first.
    pub(super) fn all_of(point: Point, samples: &[Sample]) -> Vec<Row> {
        point.turns(0).into_iter().map(|who| Row::of(point, who, samples)).collect()
    }

    fn of(point: Point, who: Who, samples: &[Sample]) -> Row {
        let of = |who| samples.iter().filter(move |sample: &&Sample| sample.point == point && sample.who == who);
        let beside = |value: fn(&Sample) -> f64| {
            let base = |round| of(Who::Etcd).find(|sample| sample.round == round).map(value).filter(|base| *base > 0.0);
            let ratios = of(who).filter_map(move |sample| Some(value(sample) / base(sample.round)?));
            ratios.collect::<Vec<f64>>()
        };
        let is_ours = who != Who::Etcd;
        let ratios = beside(|sample| sample.measured.throughput);
        let p99_ratios = beside(|sample| sample.measured.samples.millis(0.99));
        let some = |values: Vec<f64>| (!values.is_empty()).then(|| median(values));
        let failed = |who: Who| of(who).map(|sample| sample.measured.samples.failed()).sum::<u64>();
        Row {
            shards: point.shards,
            operation: point.operation_name(),
            callers: point.callers,
            who,
            throughput: median(of(who).map(|sample| sample.measured.throughput)),
            p50_ms: median(of(who).map(|sample| sample.measured.samples.millis(0.5))),
            p99_ms: median(of(who).map(|sample| sample.measured.samples.millis(0.99))),
            ratio_spread: (is_ours && !ratios.is_empty()).then(|| spread(ratios.iter().copied())),
            ratio: some(ratios).filter(|_| is_ours),
            p99_ratio: some(p99_ratios).filter(|_| is_ours),
            commands_per_entry: some(of(who).filter_map(|sample| sample.commands_per_entry).collect()),
            server_cores: some(of(who).filter_map(|sample| sample.measured.server_cores).collect()),
            client_cores: some(of(who).filter_map(|sample| sample.measured.client_cores).collect()),
            failed: failed(who),
            etcd_failed: failed(Who::Etcd),
            wanted: point.wanted(who),
        }
    }
}

/// Fills the tables and figures of a report.
pub(super) fn fill_report(report: &mut Report, rows: &[Row]) {
    let mut table = Table::new(&[
        "operation",
        "shards",
        "callers",
        "with",
        "ops/s",
        "p50 ms",
        "p99 ms",
        "of etcd's ops/s",
        "(rounds)",
        "of etcd's p99",
        "ops per entry",
        "server cores",
        "client cores",
        "failed",
    ]);
    for row in rows {
        let optional =
            |value: Option<f64>, unit: &str| value.map_or(String::new(), |value| format!("{value:.2}{unit}"));
        let rounds = row.ratio_spread.map_or(String::new(), |(least, most)| format!("{least:.2}-{most:.2}"));
        table.row([
            row.operation.to_owned(),
            row.shards.to_string(),
            row.callers.to_string(),
            row.who.name().to_owned(),
            number(row.throughput),
            number(row.p50_ms),
            number(row.p99_ms),
            optional(row.ratio, "x"),
            rounds,
            optional(row.p99_ratio, "x"),
            row.commands_per_entry.map_or(String::new(), number),
            optional(row.server_cores, ""),
            optional(row.client_cores, ""),
            row.failed.to_string(),
        ]);
        report.figures.extend(figures(row));
    }
    report.tables.push(table);
}

fn figures(row: &Row) -> Vec<Figure> {
    let Some(wanted) = row.wanted else { return Vec::new() };
    let shards = if row.shards == 1 { "1 shard".to_owned() } else { format!("{} shards", row.shards) };
    let what = format!("{}, {shards}, {} callers: {}", row.operation, row.callers, row.who.name());
    // A failure must not count as a fast answer, nor may a point without a ratio look met. A ratio has two sides.
    let failed = row.failed + row.etcd_failed;
    let figure = |name: &str, ratio, goal| Figure::new(format!("{what}, {name}"), ratio, "x", goal).with_failed(failed);
    let mut figures = vec![figure("of etcd's ops/s", row.ratio.unwrap_or(0.0), Goal::AtLeast(wanted.throughput))];
    if let Some(most) = wanted.p99 {
        figures.push(figure("of etcd's p99", row.p99_ratio.unwrap_or(f64::MAX), Goal::AtMost(most)));
    }
    figures
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::args::Operation;
    use crate::load::{Measured, Samples};

    fn sample(who: Who, round: u32, throughput: f64, millis: u64) -> Sample {
        let point = Point { shards: 1, operation: Operation::Put, callers: 50 };
        let mut samples = Samples::new();
        samples.add(Duration::from_millis(millis));
        let measured = Measured { samples, throughput, server_cores: Some(1.5), client_cores: None };
        Sample { point, who, round, measured, commands_per_entry: (who != Who::Etcd).then_some(12.0) }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round was slow for both: the ratio does not suffer from it.
        let samples = [
            sample(Who::Etcd, 0, 100.0, 10),
            sample(Who::Unary, 0, 200.0, 5),
            sample(Who::Etcd, 1, 50.0, 20),
            sample(Who::Unary, 1, 100.0, 10),
            sample(Who::Etcd, 2, 110.0, 10),
            sample(Who::Unary, 2, 140.0, 10),
        ];
        let rows = Row::all_of(samples[0].point, &samples);
        assert_eq!((rows.len(), rows[0].ratio, rows[0].throughput), (2, None, 100.0));
        assert_eq!((rows[1].ratio, rows[1].throughput, rows[1].commands_per_entry), (Some(2.0), 140.0, Some(12.0)));
        assert!(rows[1].p99_ratio.is_some_and(|ratio| (ratio - 0.5).abs() < 0.01));

        let mut report = Report::new("peers");
        fill_report(&mut report, &rows);
        assert_eq!(report.figures.len(), 2, "throughput and p99");
        assert!(report.figures.iter().all(|figure| figure.is_met));
    }

    #[test]
    fn a_point_at_which_either_side_failed_meets_no_goal() {
        for failing in [Who::Etcd, Who::Unary] {
            let mut samples = [sample(Who::Etcd, 0, 100.0, 10), sample(Who::Unary, 0, 900.0, 1)];
            let failed = samples.iter_mut().find(|sample| sample.who == failing).expect("both are there");
            failed.measured.samples.fail("no leader".to_owned());
            let mut report = Report::new("peers");
            fill_report(&mut report, &Row::all_of(samples[0].point, &samples));
            let told: Vec<(u64, bool)> = report.figures.iter().map(|figure| (figure.failed, figure.is_met)).collect();
            assert_eq!(told, [(1, false), (1, false)], "{failing:?}");
        }
    }

    #[test]
    fn a_point_without_etcd_meets_no_goal() {
        let rows = Row::all_of(sample(Who::Unary, 0, 0.0, 1).point, &[sample(Who::Unary, 0, 100.0, 1)]);
        let mut report = Report::new("peers");
        fill_report(&mut report, &rows);
        assert!(report.figures.iter().all(|figure| !figure.is_met));
    }
}
