//! What came out.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::bench::recorder::Samples;
use crate::bench::{KEY_PREFIX, Pace};
use crate::failure::Failure;
use crate::output::Answer;

/// Everything about one measurement.
pub struct Report {
    /// The samples.
    pub samples: Samples,
    /// How long was measured.
    pub elapsed: Duration,
    /// How the load was made.
    pub pace: Pace,
    /// `sdk` or `unary`.
    pub target: &'static str,
    /// Whether what was written stays.
    pub keeps: bool,
}

impl Report {
    /// CLI-1: a load of which nothing succeeded was not put on the cluster.
    pub fn check(&self) -> Result<(), Failure> {
        if self.is_empty() {
            return Err(Failure::new("no operation succeeded").hint("`strata cluster status` says how the cluster is"));
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.samples.reads.is_empty() && self.samples.writes.is_empty()
    }

    /// For people and for scripts.
    pub fn answer(&self) -> Answer {
        Answer::new(self.text(), self.json())
    }

    fn all(&self) -> Histogram<u64> {
        let mut all = self.samples.reads.clone();
        all.add(&self.samples.writes).expect("equal bounds");
        all
    }

    fn throughput(&self, histogram: &Histogram<u64>) -> f64 {
        histogram.len() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn text(&self) -> String {
        let pace = match self.pace {
            Pace::Closed { clients } => format!("{clients} callers"),
            Pace::Open { rate, .. } => format!("{rate} operations due each second"),
        };
        let seconds = self.elapsed.as_secs_f64();
        let mut lines = vec![format!("{pace} through {}, measured for {seconds:.1} s", self.target)];
        for (name, histogram) in [("gets", &self.samples.reads), ("puts", &self.samples.writes)] {
            if !histogram.is_empty() {
                lines.push(self.text_of(name, histogram));
            }
        }
        if self.is_empty() {
            lines.push("nothing succeeded".to_owned());
        }
        for (code, count) in &self.samples.errors {
            lines.push(format!("errors {code}: {count}"));
        }
        if self.keeps {
            lines.push(format!("the keys {KEY_PREFIX}... stay: a run of as many --keys without --keep removes them"));
        }
        lines.join("\n")
    }

    fn text_of(&self, name: &str, histogram: &Histogram<u64>) -> String {
        let at = |quantile| millis(histogram.value_at_quantile(quantile));
        format!(
            "{name}  {:.0}/s   p50 {:.2} ms   p90 {:.2} ms   p99 {:.2} ms   p99.9 {:.2} ms   max {:.2} ms",
            self.throughput(histogram),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            millis(histogram.max())
        )
    }

    fn json(&self) -> Value {
        let Value::Object(mut report) = self.json_of(&self.all()) else { unreachable!("json_of makes an object") };
        let (mode, clients, rate) = match self.pace {
            Pace::Closed { clients } => ("closed", Some(clients), None),
            Pace::Open { rate, .. } => ("open", None, Some(rate)),
        };
        report.insert("mode".to_owned(), json!(mode));
        report.insert("clients".to_owned(), json!(clients));
        report.insert("rate".to_owned(), json!(rate));
        report.insert("target".to_owned(), json!(self.target));
        report.insert("seconds".to_owned(), json!(self.elapsed.as_secs_f64()));
        report.insert("kept".to_owned(), json!(self.keeps.then_some(KEY_PREFIX)));
        let errors = self.samples.errors.iter().map(|(code, count)| ((*code).to_owned(), json!(count)));
        report.insert("errors".to_owned(), Value::Object(errors.collect::<Map<_, _>>()));
        report.insert("reads".to_owned(), self.json_of(&self.samples.reads));
        report.insert("writes".to_owned(), self.json_of(&self.samples.writes));
        Value::Object(report)
    }

    /// Latencies are in milliseconds.
    fn json_of(&self, histogram: &Histogram<u64>) -> Value {
        let at = |quantile| millis(histogram.value_at_quantile(quantile));
        json!({
            "operations": histogram.len(),
            "throughput": self.throughput(histogram),
            "mean": histogram.mean() / 1e3,
            "p50": at(0.5),
            "p90": at(0.9),
            "p99": at(0.99),
            "p999": at(0.999),
            "max": millis(histogram.max()),
        })
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CLI-1
    #[test]
    fn a_load_of_which_nothing_succeeded_is_a_failure() {
        let mut samples = Samples::new();
        samples.errors.insert("unavailable", 2);
        let pace = Pace::Closed { clients: 4 };
        let mut report = Report { samples, elapsed: Duration::from_secs(2), pace, target: "sdk", keeps: false };
        assert!(report.check().is_err());
        report.samples.reads.saturating_record(1);
        assert_eq!(report.check(), Ok(()), "some errors are part of a measurement");
    }

    #[test]
    fn the_report_has_what_scripts_read() {
        let mut samples = Samples::new();
        for micros in 1..=1_000 {
            samples.writes.saturating_record(micros);
        }
        samples.errors.insert("unavailable", 2);
        let pace = Pace::Closed { clients: 4 };
        let report = Report { samples, elapsed: Duration::from_secs(2), pace, target: "sdk", keeps: true };
        let json = report.answer().json;
        assert_eq!(json["throughput"], 500.0);
        assert_eq!(json["p50"], 0.5);
        assert_eq!(json["max"], 1.0);
        assert_eq!(json["errors"]["unavailable"], 2);
        assert_eq!(json["mode"], "closed");
        let text = String::from_utf8(report.answer().text).expect("text");
        assert!(text.contains("puts  500/s") && text.contains("errors unavailable: 2"), "{text}");
        assert!(text.contains("bench-") && json["kept"] == "bench-", "who keeps the keys is told their name: {text}");
    }
}
