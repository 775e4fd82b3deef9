//! What happened, line by line. Equal seeds give equal traces: that is how a failure is replayed, and how the
//! simulator proves that it is deterministic.

use std::fmt::Write as _;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A running record.
pub(crate) struct Trace {
    start: Instant,
    lines: Mutex<String>,
}

impl Trace {
    pub(crate) fn new() -> Trace {
        Trace { start: Instant::now(), lines: Mutex::default() }
    }

    /// Simulated time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn line(&self, text: std::fmt::Arguments<'_>) {
        let micros = self.elapsed().as_micros();
        let mut lines = self.lines.lock();
        let _ = writeln!(lines, "{:>5}.{:06} {text}", micros / 1_000_000, micros % 1_000_000);
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        self.lines.lock().clone()
    }
}

/// Adds a line to a trace.
macro_rules! trace {
    ($trace:expr, $($arg:tt)*) => { $trace.line(format_args!($($arg)*)) };
}
pub(crate) use trace;
