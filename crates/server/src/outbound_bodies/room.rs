//! Who holds how much of what was not read.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Bytes that are held, of so many.
pub(super) struct Room {
    bytes_max: usize,
    held: AtomicUsize,
    /// Told when there is room again, and when nothing is held.
    freed: Arc<Notify>,
}

impl Room {
    pub(super) fn new(bytes_max: usize) -> Room {
        Room { bytes_max, held: AtomicUsize::new(0), freed: Arc::default() }
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    fn is_full(&self) -> bool {
        self.held() >= self.bytes_max
    }

    /// Takes room, whether it is there or not.
    fn take(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Whether there was so much.
    fn try_take(&self, bytes: usize) -> bool {
        let has_room = self.held.fetch_add(bytes, Ordering::AcqRel) + bytes <= self.bytes_max;
        if !has_room {
            self.give_back(bytes);
        }
        has_room
    }

    fn give_back(&self, bytes: usize) {
        let before = self.held.fetch_sub(bytes, Ordering::AcqRel);
        let left = before - bytes;
        if left == 0 || (before >= self.bytes_max && left < self.bytes_max) {
            self.freed.notify_waiters();
        }
    }
}

/// What one client has not read.
pub(super) struct Unread {
    pub(super) node: Arc<Room>,
    pub(super) connection: Room,
    /// How many frames are held that came in even periods, and in odd ones.
    frames: [AtomicUsize; 2],
    /// Which of both it is now.
    period: AtomicUsize,
}

impl Unread {
    pub(super) fn new(node: Arc<Room>, connection_bytes_max: usize) -> Unread {
        Unread {
            node,
            connection: Room::new(connection_bytes_max),
            frames: [AtomicUsize::new(0), AtomicUsize::new(0)],
            period: AtomicUsize::new(0),
        }
    }

    /// Begins a period. Whether there still is a frame of the one before the last, which then was there for all of the
    /// last one: if so none begins. This way nothing is noted of a frame but the period in which it came.
    pub(super) fn is_any_left(&self) -> bool {
        let next = 1 - self.period.load(Ordering::Acquire);
        let is_any_left = self.frames[next].load(Ordering::Acquire) > 0;
        if !is_any_left {
            self.period.store(next, Ordering::Release);
        }
        is_any_left
    }

    /// Whether a stream must wait.
    pub(super) fn is_full(&self) -> bool {
        self.connection.is_full() || (self.node.is_full() && self.connection.held() > 0)
    }

    pub(super) fn take(&self, bytes: usize) {
        self.connection.take(bytes);
        self.node.take(bytes);
    }

    /// Takes room that is there, or says what is full.
    pub(super) fn try_take(&self, bytes: usize) -> Result<(), &'static str> {
        if !self.connection.try_take(bytes) {
            return Err("this connection");
        }
        if !self.node.try_take(bytes) {
            self.connection.give_back(bytes);
            return Err("this node");
        }
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.node.give_back(bytes);
        self.connection.give_back(bytes);
    }

    /// The same data, which gives back the room that was taken for it when nobody needs it any more.
    pub(super) fn hold(self: &Arc<Unread>, data: Bytes, bytes: usize) -> Bytes {
        let period = self.period.load(Ordering::Acquire);
        self.frames[period].fetch_add(1, Ordering::AcqRel);
        Bytes::from_owner(Held { data, bytes, period, unread: self.clone() })
    }
}

/// A frame on its way to a client, and the room that it takes.
struct Held {
    data: Bytes,
    bytes: usize,
    period: usize,
    unread: Arc<Unread>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.unread.frames[self.period].fetch_sub(1, Ordering::AcqRel);
        self.unread.give_back(self.bytes);
    }
}

/// Told when room is given back.
pub(super) struct Waiting {
    of_node: Pin<Box<OwnedNotified>>,
    of_connection: Pin<Box<OwnedNotified>>,
}

impl Waiting {
    pub(super) fn new(unread: &Unread) -> Waiting {
        let told = |room: &Room| Box::pin(room.freed.clone().notified_owned());
        Waiting { of_node: told(&unread.node), of_connection: told(&unread.connection) }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Both, so that either wakes the task.
        let (node, connection) = (self.of_node.as_mut().poll(context), self.of_connection.as_mut().poll(context));
        if node.is_ready() || connection.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    }
}
