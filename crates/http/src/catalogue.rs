//! Every metric of the program: its name, its kind and one line about it.
//!
//! Names are `strata_<area>_<what>_<unit>`; counters end in `_total`. User keys are never labels, and neither is
//! anything else that grows with the data.

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Many samples, in buckets.
    Histogram,
}

/// What the numbers of a histogram are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes, operations or other things that are counted.
    Size,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// One line for people.
    pub help: &'static str,
}

impl Metric {
    /// What its numbers are, from the end of its name.
    pub fn unit(&self) -> Unit {
        if self.name.ends_with("_seconds") { Unit::Seconds } else { Unit::Size }
    }
}

/// Upper bounds of latency buckets: from well under one fsync to the longest deadline.
pub const SECONDS_BUCKETS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// Upper bounds of size buckets: powers of four up to the largest message.
pub const SIZE_BUCKETS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// All of them, by name.
pub const CATALOGUE: &[Metric] = &[
    counter("strata_client_connections_accepted_total", "client connections by protocol"),
    gauge("strata_client_connections_open", "client connections that are open now"),
    counter("strata_client_connections_refused_total", "client connections closed before a protocol, by reason"),
    gauge("strata_process_start_time_seconds", "when the process started, in seconds since 1970"),
];

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help }
}

#[allow(dead_code, reason = "the first histogram of the catalogue takes this away")]
const fn histogram(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, help }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for pair in CATALOGUE.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} and {} are out of order", pair[0].name, pair[1].name);
        }
        for metric in CATALOGUE {
            assert!(metric.name.starts_with("strata_"), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        }
    }

    /// HTTP-2: a name that a macro uses and the catalogue lacks has no help and the wrong buckets.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "reads the sources of the workspace")]
    fn every_metric_of_the_sources_is_catalogued() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/");
        let mut used = BTreeSet::new();
        collect(crates, &mut used);
        let known: BTreeSet<_> = CATALOGUE.iter().map(|metric| metric.name.to_owned()).collect();
        let missing: Vec<_> = used.difference(&known).collect();
        assert!(missing.is_empty(), "not in CATALOGUE: {missing:?}");
        let unused: Vec<_> = known.difference(&used).collect();
        assert!(unused.is_empty(), "in CATALOGUE, but nothing measures it: {unused:?}");
    }

    #[allow(clippy::disallowed_methods, reason = "reads the sources of the workspace")]
    fn collect(path: &Path, used: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(path).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, used);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("catalogue.rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                used.extend(names(&text));
            }
        }
    }

    /// Names in the metrics macros of a source file: `counter!("name"`, also with the name on the next line.
    fn names(source: &str) -> Vec<String> {
        let mut found = Vec::new();
        for macro_name in ["counter!(", "gauge!(", "histogram!("] {
            for part in source.split(macro_name).skip(1) {
                if let Some(rest) = part.trim_start().strip_prefix('"') {
                    found.extend(rest.split('"').next().map(str::to_owned));
                }
            }
        }
        found
    }
}
