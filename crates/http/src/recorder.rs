//! The recorder behind the `metrics` macros, and its Prometheus text.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::catalogue::{CATALOGUE, Kind, SECONDS_BUCKETS, SIZE_BUCKETS, Unit};

/// Samples of histograms pile up until somebody reads them or until this often.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Everything that the process measures about itself. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

/// The recorder could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// Another one is installed already, or its settings are wrong.
    #[error("metrics could not be set up: detail=`{0}`")]
    Build(#[from] BuildError),
}

impl Metrics {
    /// Installs the recorder of the process and describes the whole [`CATALOGUE`]. Once a process.
    pub fn install() -> Result<Metrics, MetricsError> {
        let handle = builder()?.install_recorder()?;
        for metric in CATALOGUE {
            match metric.kind {
                Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
                Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
                Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
            }
        }
        Ok(Metrics { handle })
    }

    /// A recorder that no macro writes to: for a second server in one process, and for tests.
    pub fn detached() -> Metrics {
        Metrics { handle: PrometheusBuilder::new().build_recorder().handle() }
    }

    /// All figures in Prometheus text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds the samples of histograms into their buckets; call it every [`UPKEEP_INTERVAL`], or memory grows with
    /// each sample until the next [`Metrics::render`].
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let histograms = CATALOGUE.iter().filter(|metric| metric.kind == Kind::Histogram);
    histograms.into_iter().try_fold(PrometheusBuilder::new(), |builder, metric| {
        let buckets = if metric.unit() == Unit::Seconds { SECONDS_BUCKETS } else { SIZE_BUCKETS };
        builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_catalogued_histogram_gets_buckets() {
        builder().expect("valid buckets");
    }
}
