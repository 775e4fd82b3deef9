//! Who holds how much of what was not read.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use strata_grpc::Room;
use tokio::sync::futures::OwnedNotified;

/// What one client has not read.
pub(super) struct Unread {
    pub(super) node: Arc<Room>,
    pub(super) connection: Room,
    /// How many frames are held that came in even periods, and in odd ones.
    frames: [AtomicUsize; 2],
    /// The same of those that may stay as long as nobody needs their room.
    patient: [AtomicUsize; 2],
    /// Which of both it is now.
    period: AtomicUsize,
}

impl Unread {
    pub(super) fn new(node: Arc<Room>, connection_bytes_max: usize) -> Unread {
        Unread {
            node,
            connection: Room::new(connection_bytes_max),
            frames: Default::default(),
            patient: Default::default(),
            period: AtomicUsize::new(0),
        }
    }

    /// Begins a period. Whether there still is a frame of the one before the last, which then was there for all of the
    /// last one: if so none begins. This way nothing is noted of a frame but the period in which it came. Patient ones
    /// count where somebody may need their room: the connection is full, or half of the node's room is taken.
    pub(super) fn is_any_left(&self) -> bool {
        let next = 1 - self.period.load(Ordering::Acquire);
        let is_left = |frames: &[AtomicUsize; 2]| frames[next].load(Ordering::Acquire) > 0;
        let is_crowded = self.connection.is_full() || self.node.held() >= self.node.bytes_max() / 2;
        let is_any_left = is_left(&self.frames) || (is_crowded && is_left(&self.patient));
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
    pub(super) fn hold(self: &Arc<Unread>, data: Bytes, bytes: usize, is_patient: bool) -> Bytes {
        let held = Held { data, bytes, period: self.period.load(Ordering::Acquire), is_patient, unread: self.clone() };
        held.count().fetch_add(1, Ordering::AcqRel);
        Bytes::from_owner(held)
    }
}

/// A frame on its way to a client, and the room that it takes.
struct Held {
    data: Bytes,
    bytes: usize,
    period: usize,
    is_patient: bool,
    unread: Arc<Unread>,
}

impl Held {
    /// Where it is counted.
    fn count(&self) -> &AtomicUsize {
        let frames = if self.is_patient { &self.unread.patient } else { &self.unread.frames };
        &frames[self.period]
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::AcqRel);
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
        Waiting { of_node: Box::pin(unread.node.freed()), of_connection: Box::pin(unread.connection.freed()) }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Both, so that either wakes the task.
        let (node, connection) = (self.of_node.as_mut().poll(context), self.of_connection.as_mut().poll(context));
        if node.is_ready() || connection.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    }
}
