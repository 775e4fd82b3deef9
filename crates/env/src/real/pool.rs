//! A few threads for calls that block.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use parking_lot::Mutex;

use super::priority::give_way;

/// Enough to keep one slow engine call (a checkpoint, a flush) from delaying the others; the disk is the limit, not
/// the threads.
const BLOCKING_THREADS: usize = 4;

/// As many as snapshots may arrive at once: each ends with seconds of checking. More would together weigh as much as one
/// thread that gives way to nobody.
const BACKGROUND_THREADS: usize = 4;

type Work = Box<dyn FnOnce() + Send + 'static>;

/// A fixed pool fed by one queue. Dropping it lets queued work finish.
pub(super) struct Pool {
    queue: Sender<Work>,
}

impl Pool {
    /// For work that somebody waits for.
    pub(super) fn blocking() -> Pool {
        Pool::start("blocking", BLOCKING_THREADS, || {})
    }

    /// For work that gives way to all other.
    pub(super) fn background() -> Pool {
        Pool::start("background", BACKGROUND_THREADS, give_way)
    }

    /// Each thread calls `first` before anything else.
    fn start(name: &str, threads: usize, first: fn()) -> Pool {
        let (queue, source) = channel();
        let source = Arc::new(Mutex::new(source));
        for number in 0..threads {
            let source = source.clone();
            std::thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || {
                    first();
                    serve(&source);
                })
                .expect("the operating system starts a thread");
        }
        Pool { queue }
    }

    pub(super) fn run(&self, work: Work) {
        self.queue.send(work).expect("the threads outlive the queue");
    }
}

fn serve(source: &Mutex<Receiver<Work>>) {
    loop {
        let Ok(work) = source.lock().recv() else { return };
        // Whoever waits for the result sees that it never came; the thread serves on.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(work));
    }
}
