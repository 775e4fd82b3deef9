//! What each method counts. Handles are made once: looking them up costs more than counting.

use metrics::{Counter, Histogram};
use strata_env::{Env, Mono};

/// Counters of one method.
pub(crate) struct Measure {
    requests: Counter,
    errors: Counter,
    seconds: Histogram,
}

impl Measure {
    pub(crate) fn new(method: &'static str) -> Measure {
        Measure {
            requests: metrics::counter!("strata_grpc_requests_total", "method" => method),
            errors: metrics::counter!("strata_grpc_errors_total", "method" => method),
            seconds: metrics::histogram!("strata_grpc_request_seconds", "method" => method),
        }
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, env: &Env, since: Mono, is_error: bool) {
        self.requests.increment(1);
        if is_error {
            self.errors.increment(1);
        }
        self.seconds.record(env.now().since(since).as_secs_f64());
    }
}
