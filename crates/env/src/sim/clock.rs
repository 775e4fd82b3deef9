//! A node's own idea of time.

use std::sync::Arc;
use std::time::Duration;

use super::node::NodeInner;
use crate::{BoxFuture, Clock, Mono};

/// What a node's calendar clock shows when its world begins, before its offset: some day in 2026.
const UNIX_MILLIS_AT_START: i128 = 1_790_000_000_000;
const MILLION: i128 = 1_000_000;

/// How a node's time follows from the world's.
#[derive(Debug, Default)]
pub(super) struct ClockState {
    /// World time at which the drift last changed, and this node's time then.
    anchor: (Duration, Duration),
    drift_ppm: i64,
    offset_millis: i64,
    /// This node's time when it last started, less what its monotonic clock showed then.
    boot: i128,
}

impl ClockState {
    /// This node's time since its world began.
    fn local(&self, world: Duration) -> Duration {
        let passed = nanos(world.saturating_sub(self.anchor.0));
        let stretched = passed * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        self.anchor.1 + duration(stretched)
    }

    pub(super) fn set_drift(&mut self, world: Duration, drift_ppm: i64) {
        assert!(drift_ppm.abs() < 1_000_000, "a clock neither stops nor runs backwards");
        self.anchor = (world, self.local(world));
        self.drift_ppm = drift_ppm;
    }

    pub(super) fn set_offset(&mut self, offset_millis: i64) {
        self.offset_millis = offset_millis;
    }

    /// The node starts, with its monotonic clock at `shows`.
    pub(super) fn boot(&mut self, world: Duration, shows: Duration) {
        self.boot = nanos(self.local(world)) - nanos(shows);
    }

    fn mono(&self, world: Duration) -> Mono {
        Mono(duration(nanos(self.local(world)) - self.boot))
    }

    fn unix_millis(&self, world: Duration) -> u64 {
        let millis = UNIX_MILLIS_AT_START + i128::from(self.offset_millis) + nanos(self.local(world)) / MILLION;
        u64::try_from(millis.max(0)).unwrap_or(u64::MAX)
    }

    /// How long the world waits while this node waits for `local`.
    fn world_duration(&self, local: Duration) -> Duration {
        let rate = MILLION + i128::from(self.drift_ppm);
        duration((nanos(local) * MILLION + rate - 1) / rate)
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX / MILLION)
}

fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

/// The clock of one node.
pub(super) struct SimClock(pub(super) Arc<NodeInner>);

impl Clock for SimClock {
    fn now(&self) -> Mono {
        self.0.state.lock().clock.mono(self.0.world_time())
    }

    fn unix_millis(&self) -> u64 {
        self.0.state.lock().clock.unix_millis(self.0.world_time())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        let wait = self.0.state.lock().clock.world_duration(duration);
        Box::pin(async move { tokio::time::sleep(wait).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_stretches_time_without_a_jump() {
        let mut clock = ClockState::default();
        clock.boot(Duration::ZERO, Duration::from_secs(5));
        assert_eq!(clock.mono(Duration::from_secs(10)), Mono(Duration::from_secs(15)));
        clock.set_drift(Duration::from_secs(10), 100_000);
        assert_eq!(clock.mono(Duration::from_secs(10)), Mono(Duration::from_secs(15)));
        assert_eq!(clock.mono(Duration::from_secs(20)), Mono(Duration::from_secs(26)));
        assert_eq!(clock.world_duration(Duration::from_secs(11)), Duration::from_secs(10));
    }

    #[test]
    fn an_offset_moves_only_the_calendar() {
        let mut clock = ClockState::default();
        let (mono, before) = (clock.mono(Duration::from_secs(1)), clock.unix_millis(Duration::from_secs(1)));
        clock.set_offset(-2_500);
        assert_eq!(clock.mono(Duration::from_secs(1)), mono);
        assert_eq!(clock.unix_millis(Duration::from_secs(1)), before - 2_500);
    }
}
