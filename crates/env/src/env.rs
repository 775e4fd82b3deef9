//! Clock, randomness and tasks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// An owned future that any thread may poll.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// A point on one node's monotonic clock. Means nothing on another node or after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub Duration);

impl Mono {
    /// Time since an earlier point; zero if it is not earlier.
    pub fn since(self, earlier: Mono) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Mono {
    type Output = Mono;

    fn add(self, duration: Duration) -> Mono {
        Mono(self.0 + duration)
    }
}

/// Time as one node sees it. No safety argument may rest on it, but for leases: they trust the rate of the monotonic one.
pub trait Clock: Send + Sync {
    /// Monotonic time of this node.
    fn now(&self) -> Mono;

    /// Milliseconds since 1970 as this node believes; may jump.
    fn unix_millis(&self) -> u64;

    /// Completes after `duration` on this node's clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<()>;
}

/// Random numbers. Not for secrets.
pub trait Rng: Send + Sync {
    /// 64 uniformly random bits.
    fn next_u64(&self) -> u64;
}

/// Where work runs.
pub trait Tasks: Send + Sync {
    /// Runs a future that never blocks. `name` shows in traces and panics.
    fn spawn(&self, name: &'static str, future: BoxFuture<()>) -> TaskHandle;

    /// Runs a future that may block (disk) on a thread of its own.
    fn dedicated(&self, name: &'static str, future: BoxFuture<()>) -> TaskHandle;

    /// Runs a function that may block (engine calls) on a small pool of threads.
    fn blocking(&self, work: Box<dyn FnOnce() + Send + 'static>);

    /// Runs a function that may block, or take long, on threads that give way to all others: see [`Env::background`].
    /// The same as [`Tasks::blocking`] where no thread gives way to another.
    fn background(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        self.blocking(work);
    }

    /// A broken invariant of ours or a failed disk: the node must stop at once, without any more acknowledgement.
    fn halt(&self, halt: Halt);
}

/// Why a node stopped itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// One sentence for the operator.
    pub reason: String,
}

/// Ends its task when asked. Dropping the handle lets the task go on.
#[derive(Clone)]
pub struct TaskHandle(Arc<dyn Fn() + Send + Sync>);

impl TaskHandle {
    /// A handle that runs `stop` to end its task.
    pub fn new(stop: impl Fn() + Send + Sync + 'static) -> TaskHandle {
        TaskHandle(Arc::new(stop))
    }

    /// Ends the task at its next suspension point.
    pub fn abort(&self) {
        (self.0)();
    }
}

/// The deadline passed before the future completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("deadline passed")]
pub struct Elapsed;

/// Everything a node takes from the world except its disk and its network.
#[derive(Clone)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Tasks.
    pub tasks: Arc<dyn Tasks>,
}

impl Env {
    /// Monotonic time of this node.
    pub fn now(&self) -> Mono {
        self.clock.now()
    }

    /// Completes after `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    /// Runs a future, but no longer than `duration`.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Result<F::Output, Elapsed> {
        let mut future = std::pin::pin!(future);
        let mut sleep = self.clock.sleep(duration);
        std::future::poll_fn(move |context| {
            if let std::task::Poll::Ready(output) = future.as_mut().poll(context) {
                return std::task::Poll::Ready(Ok(output));
            }
            sleep.as_mut().poll(context).map(|()| Err(Elapsed))
        })
        .await
    }

    /// Runs a future that never blocks.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        self.tasks.spawn(name, Box::pin(future))
    }

    /// Runs a future that may block on a thread of its own.
    pub fn dedicated(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        self.tasks.dedicated(name, Box::pin(future))
    }

    /// Runs a function that may block and returns what it returned. `None` when the pool was shut down or the
    /// function panicked.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.tasks.blocking(Box::new(move || {
            let _ = sender.send(work());
        }));
        receiver.await.ok()
    }

    /// As [`Env::blocking`], for work that no write waits for: a piece of a snapshot, a page of a long scan, a plan for a
    /// large cluster. Each takes milliseconds or more, and where nodes have few cores they would take them from writes.
    ///
    /// The threads are others than those of [`Env::blocking`] and of lower priority, so `work` must hold no lock that
    /// anything urgent waits for: it could be held while others have the processor.
    pub async fn background<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.tasks.background(Box::new(move || {
            let _ = sender.send(work());
        }));
        receiver.await.ok()
    }

    /// Drops something in the background, and does not wait for it: the last handle of files removes them, which takes
    /// long.
    pub fn drop_in_background(&self, gone: impl Send + 'static) {
        self.tasks.background(Box::new(move || drop(gone)));
    }

    /// Stops the node: see [`Tasks::halt`].
    pub fn halt(&self, reason: impl Into<String>) {
        self.tasks.halt(Halt { reason: reason.into() });
    }

    /// A number from `0` up to but not including `bound`, which must not be zero.
    pub fn random_below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no random element");
        ((u128::from(self.rng.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// `duration` shortened or stretched by up to a quarter, so that many waiters do not wake at once.
    pub fn jittered(&self, duration: Duration) -> Duration {
        duration.mul_f64(0.75 + self.random_below(1_000) as f64 / 2_000.0)
    }
}
