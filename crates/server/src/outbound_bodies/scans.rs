//! Scans whose clients do not go on reading.
//!
//! Such a scan holds more than the frame that waits for its client: pages of every shard, until it is asked for the
//! next message. A deadline ends it, but it is asked for nothing while its client reads nothing. So it is looked at from
//! outside: one that was not asked for a whole period is given up, with all that it holds. When its client reads on, it
//! finds the status that says so behind what was sent before.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::BoxError;

type Polled<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

/// The scans of one connection.
#[derive(Default)]
pub(super) struct Scans(Mutex<Vec<Weak<dyn GiveUp>>>);

impl Scans {
    /// The same body, which may be given up.
    pub(super) fn add<B: Send + 'static>(&self, body: B) -> Arc<ScanBody<B>> {
        let state = State { body: Some(body), waker: None };
        let scan = Arc::new(ScanBody { state: Mutex::new(state), is_asked: AtomicBool::new(true) });
        let nameless: Arc<dyn GiveUp> = scan.clone();
        let mut scans = self.0.lock();
        if scans.len() == scans.capacity() {
            scans.retain(|scan| scan.strong_count() > 0);
        }
        scans.push(Arc::downgrade(&nameless));
        scan
    }

    /// Begins a period. Gives up those that were asked for nothing in the last one.
    pub(super) fn give_up_paused(&self) {
        let mut scans: Vec<Arc<dyn GiveUp>> = Vec::new();
        self.0.lock().retain(|scan| {
            let scan = scan.upgrade();
            let is_there = scan.is_some();
            scans.extend(scan);
            is_there
        });
        for scan in scans {
            scan.give_up_if_paused();
        }
    }
}

/// What can be done with the body of a scan from outside.
trait GiveUp: Send + Sync {
    /// Begins a period.
    fn give_up_if_paused(&self);
}

/// The body of a scan, as long as it was not given up.
pub(super) struct ScanBody<B> {
    state: Mutex<State<B>>,
    /// Whether something was asked for in this period.
    is_asked: AtomicBool,
}

struct State<B> {
    body: Option<B>,
    /// Of whoever waits for the next frame.
    waker: Option<Waker>,
}

impl<B: Send> GiveUp for ScanBody<B> {
    fn give_up_if_paused(&self) {
        if self.is_asked.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut state = self.state.lock();
        let (body, waker) = (state.body.take(), state.waker.take());
        drop(state);
        drop(body);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<B> ScanBody<B> {
    /// Whether it was given up. If not, it wakes the task when it is, whatever else that waits for.
    pub(super) fn is_given_up(&self, context: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        state.waker = Some(context.waker().clone());
        state.body.is_none()
    }
}

impl<B> ScanBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// The next frame; `None` if it was given up.
    pub(super) fn poll_frame(&self, context: &mut Context<'_>) -> Option<Polled<B::Error>> {
        self.is_asked.store(true, Ordering::Release);
        let mut state = self.state.lock();
        let polled = Pin::new(state.body.as_mut()?).poll_frame(context);
        state.waker = polled.is_pending().then(|| context.waker().clone());
        Some(polled)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.state.lock().body.as_ref().is_some_and(Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.state.lock().body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
