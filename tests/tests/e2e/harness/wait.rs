//! Waiting, with a deadline.

use std::time::{Duration, Instant};

/// Long enough for a cluster to start or fail over on a busy machine, short enough that a stuck test ends.
pub const LONG: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
pub(super) const INTERVAL: Duration = Duration::from_millis(50);

/// Asks until there is an answer; fails the test with what it waited for when the deadline passes.
pub fn poll<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < deadline, "waited {deadline:?} for {what}");
        std::thread::park_timeout(INTERVAL);
    }
}
