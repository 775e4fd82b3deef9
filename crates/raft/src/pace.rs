//! How fast the snapshots of a node go.
//!
//! What is being rebuilt is in no hurry of seconds, and whoever waits for an answer is. So a node that applies entries
//! gives all its snapshots together only a share of their pace: cores and disk are free for the others in between.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::Mono;

/// What was not sent is saved up for this long, so that the pace is kept over delays of that length.
const BURST: Duration = Duration::from_millis(100);
/// A node that applies so many entries a second is busy: clients have it do something.
const BUSY_ENTRIES: f64 = 50.0;
/// What snapshots get of their pace there. Of the default pace it is 24 MiB a second: a GiB takes 43 s.
const BUSY_SHARE: f64 = 0.375;
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// A token bucket: so many bytes a second, and no more than those of [`BURST`] at once.
pub(crate) struct Pace {
    bytes_per_second: u64,
    /// When everything that was let through so far will have gone.
    free: Mutex<Mono>,
    /// Entries that were applied on the node.
    entries: AtomicU64,
    look: Mutex<Look>,
}

/// What was seen when it was looked last.
#[derive(Default)]
struct Look {
    at: Mono,
    entries: u64,
    is_busy: bool,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: u64) -> Pace {
        let entries = AtomicU64::new(0);
        Pace { bytes_per_second: bytes_per_second.max(1), free: Mutex::default(), entries, look: Mutex::default() }
    }

    /// Bytes a second where nobody else wants anything.
    pub(crate) fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// Entries were applied.
    pub(crate) fn note_applied(&self, entries: usize) {
        self.entries.fetch_add(entries as u64, Ordering::Relaxed);
    }

    /// How long to wait before so many more bytes may go. Whoever asks first goes first.
    pub(crate) fn reserve(&self, now: Mono, bytes: u64) -> Duration {
        let share = if self.is_busy(now) { BUSY_SHARE } else { 1.0 };
        let mut free = self.free.lock();
        let start = (*free).max(Mono(now.0.saturating_sub(BURST)));
        *free = start + Duration::from_secs_f64(bytes as f64 / (self.bytes_per_second as f64 * share));
        start.since(now)
    }

    fn is_busy(&self, now: Mono) -> bool {
        let mut look = self.look.lock();
        let passed = now.since(look.at);
        if passed >= LOOK {
            let entries = self.entries.load(Ordering::Relaxed);
            let is_busy = (entries - look.entries) as f64 >= BUSY_ENTRIES * passed.as_secs_f64();
            *look = Look { at: now, entries, is_busy };
        }
        look.is_busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept_however_the_bytes_come() {
        let pace = Pace::new(1_000);
        let mut now = Mono(Duration::from_secs(10));
        let mut gone = 0;
        for bytes in [1, 10, 100, 1_000, 5].into_iter().cycle().take(50) {
            now = now + pace.reserve(now, bytes);
            gone += bytes;
            let allowed = (now.since(Mono(Duration::from_secs(10))) + BURST).as_secs_f64() * 1_000.0;
            assert!((gone - bytes) as f64 <= allowed + 1.0, "{gone} bytes after {now:?}");
        }
        assert!(now.since(Mono(Duration::from_secs(10))) < Duration::from_secs(12), "slower than it must be: {now:?}");
        // An hour without a transfer does not make the next one faster.
        now = now + Duration::from_secs(3_600);
        pace.reserve(now, 100);
        assert_eq!(pace.reserve(now, 1), Duration::ZERO);
        assert!(!pace.reserve(now, 1).is_zero());
    }

    /// Seconds that 100,000 bytes take at a pace of 10,000 a second, while so many entries are applied a second.
    fn seconds(entries: usize) -> f64 {
        let pace = Pace::new(10_000);
        let begin = Mono(Duration::from_secs(10));
        let (mut now, mut told) = (begin, begin);
        // How busy it is is known from the beginning.
        pace.reserve(now, 1);
        for _ in 0..1_000 {
            while told < now {
                told = told + Duration::from_millis(100);
                pace.note_applied(entries / 10);
            }
            now = now + pace.reserve(now, 100).max(Duration::from_millis(1));
        }
        now.since(begin).as_secs_f64()
    }

    #[test]
    fn snapshots_get_less_while_the_node_has_other_work_and_all_of_it_otherwise() {
        let (idle, little, busy) = (seconds(0), seconds(20), seconds(1_000));
        assert!((9.0..11.0).contains(&idle) && (9.0..11.0).contains(&little), "{idle} {little}");
        let expected = 10.0 / BUSY_SHARE;
        assert!((expected * 0.95..expected * 1.05).contains(&busy), "{busy} for {expected}");
    }

    #[test]
    fn the_full_pace_is_back_soon_after_the_work_has_ended() {
        let pace = Pace::new(10_000);
        let begin = Mono(Duration::from_secs(10));
        pace.reserve(begin, 1);
        pace.note_applied(1_000);
        let later = begin + LOOK;
        assert!(pace.is_busy(later));
        assert!(!pace.is_busy(later + LOOK));
    }
}
