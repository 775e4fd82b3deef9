//! Room for what clients make a node hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Bytes that are held, of so many. Who asks first decides what happens where there is none; nothing here waits.
pub struct Room {
    bytes_max: usize,
    held: AtomicUsize,
    /// Told when there is room again, when less than twice the room is held again, and when nothing is held.
    freed: Arc<Notify>,
}

impl Room {
    /// Room of which nothing is taken.
    pub fn new(bytes_max: usize) -> Room {
        Room { bytes_max, held: AtomicUsize::new(0), freed: Arc::default() }
    }

    /// How much there is in all.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// How much is taken.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Whether nothing is left.
    pub fn is_full(&self) -> bool {
        self.held() >= self.bytes_max
    }

    /// Whether nothing would be left of twice the room, either.
    pub fn is_overfull(&self) -> bool {
        self.held() >= 2 * self.bytes_max
    }

    /// Takes room, whether it is there or not.
    pub fn take(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Whether there was so much.
    pub fn try_take(&self, bytes: usize) -> bool {
        let has_room = self.held.fetch_add(bytes, Ordering::AcqRel) + bytes <= self.bytes_max;
        if !has_room {
            self.give_back(bytes);
        }
        has_room
    }

    /// Gives back what was taken.
    pub fn give_back(&self, bytes: usize) {
        let before = self.held.fetch_sub(bytes, Ordering::AcqRel);
        let left = before - bytes;
        let is_passed = |bound: usize| before >= bound && left < bound;
        if left == 0 || is_passed(self.bytes_max) || is_passed(2 * self.bytes_max) {
            self.freed.notify_waiters();
        }
    }

    /// Completes when there is room again, less than twice the room is held again, or nothing is held any more. Told of
    /// what is given back after this call, polled or not: look again before waiting for it.
    pub fn freed(&self) -> OwnedNotified {
        self.freed.clone().notified_owned()
    }
}
