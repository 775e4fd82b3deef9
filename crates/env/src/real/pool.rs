//! A few threads for calls that block.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use parking_lot::Mutex;

/// Enough to keep one slow engine call (a checkpoint, a flush) from delaying the others; the disk is the limit, not
/// the threads.
const THREADS: usize = 4;

type Work = Box<dyn FnOnce() + Send + 'static>;

/// A fixed pool fed by one queue. Dropping it lets queued work finish.
pub(super) struct Pool {
    queue: Sender<Work>,
}

impl Pool {
    pub(super) fn start() -> Pool {
        let (queue, source) = channel();
        let source = Arc::new(Mutex::new(source));
        for number in 0..THREADS {
            let source = source.clone();
            std::thread::Builder::new()
                .name(format!("blocking-{number}"))
                .spawn(move || serve(&source))
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
