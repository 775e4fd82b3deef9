//! The operating system: its clocks, its entropy, its threads and its files.
//!
//! A task that panics stops the node, as a failed disk does: a database whose background task is silently gone looks
//! alive and is not.

#![allow(clippy::disallowed_methods, reason = "this module is where the operating system is asked")]

mod disk;
mod pool;
mod priority;

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::abortable;
use tokio::runtime::Handle;

use crate::{BoxFuture, Clock, Env, Halt, Mono, Rng, TaskHandle, Tasks};

pub use disk::RealDisk;
use pool::Pool;
pub use priority::give_way;

/// Exit status of a node that stopped itself (`EX_SOFTWARE`): supervisors tell it from a signal and from a clean stop.
const HALT_EXIT_CODE: i32 = 70;
/// How long a process that halts tries to say why.
const MESSAGE_PATIENCE: Duration = Duration::from_millis(100);

/// The environment of a production process.
///
/// Tasks run on the runtime this is called in; called outside one, on the runtime that is current when they start.
pub fn env() -> Env {
    Env {
        clock: Arc::new(RealClock { start: Instant::now() }),
        rng: Arc::new(RealRng),
        tasks: Arc::new(RealTasks {
            runtime: Handle::try_current().ok(),
            blocking: Pool::blocking(),
            background: Pool::background(),
        }),
    }
}

struct RealClock {
    start: Instant,
}

impl Clock for RealClock {
    fn now(&self) -> Mono {
        Mono(self.start.elapsed())
    }

    fn unix_millis(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        // Made inside the future: the timer belongs to the runtime that polls it, which may be a dedicated one.
        Box::pin(async move { tokio::time::sleep(duration).await })
    }
}

struct RealRng;

impl Rng for RealRng {
    fn next_u64(&self) -> u64 {
        getrandom::u64().expect("the operating system has random numbers")
    }
}

struct RealTasks {
    runtime: Option<Handle>,
    blocking: Pool,
    background: Pool,
}

impl Tasks for RealTasks {
    fn spawn(&self, name: &'static str, future: BoxFuture<()>) -> TaskHandle {
        let future = guarded(name, future);
        let task = match &self.runtime {
            Some(runtime) => runtime.spawn(future),
            None => tokio::spawn(future),
        };
        let abort = task.abort_handle();
        TaskHandle::new(move || abort.abort())
    }

    fn dedicated(&self, name: &'static str, future: BoxFuture<()>) -> TaskHandle {
        let (future, abort) = abortable(guarded(name, future));
        std::thread::Builder::new()
            .name(name.to_string())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .expect("a runtime without sockets needs nothing that can be missing");
                // An aborted task is an ended one.
                let _ = runtime.block_on(future);
            })
            .expect("the operating system starts a thread");
        TaskHandle::new(move || abort.abort())
    }

    fn blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        self.blocking.run(work);
    }

    fn background(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        self.background.run(work);
    }

    fn halt(&self, halt: Halt) {
        stop_process(&halt)
    }
}

async fn guarded(name: &'static str, future: BoxFuture<()>) {
    if AssertUnwindSafe(future).catch_unwind().await.is_err() {
        // The panic hook has already printed the message and the place.
        stop_process(&Halt { reason: format!("a task panicked: task=`{name}`") });
    }
}

/// Ends the process at once: nothing more may be acknowledged. An orderly exit would wait for what C++ libraries have under
/// way, a compaction of RocksDB for one, while the other threads go on.
fn stop_process(halt: &Halt) -> ! {
    let message = format!("strata: stopped: {}\n", halt.reason);
    let (written, is_written) = std::sync::mpsc::channel();
    // In a thread, because nobody may read standard error. Nothing can be done about a closed one.
    let write = move || written.send(std::io::stderr().lock().write_all(message.as_bytes()).is_ok());
    if std::thread::Builder::new().spawn(write).is_ok() {
        let _ = is_written.recv_timeout(MESSAGE_PATIENCE);
    }
    #[allow(unsafe_code, reason = "the standard library has no exit that runs nothing and keeps the status")]
    // SAFETY: it takes nothing and does not return.
    unsafe {
        libc::_exit(HALT_EXIT_CODE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_on_each_kind_of_task() {
        let env = env();
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let (first, second) = (sender.clone(), sender);
        env.spawn("test-task", async move { first.send("spawned").unwrap() });
        assert_eq!(receiver.recv().await, Some("spawned"));
        env.dedicated("test-thread", async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            second.send(if std::thread::current().name() == Some("test-thread") { "own" } else { "other" }).unwrap();
        });
        assert_eq!(receiver.recv().await, Some("own"));
        assert_eq!(env.blocking(|| 7).await, Some(7));
    }

    /// Also while nobody reads what it has to say.
    #[test]
    fn a_process_that_halts_ends_with_its_status() {
        const CHILD: &str = "STRATA_TEST_HALT";
        match std::env::var(CHILD).as_deref() {
            Ok("heard") => env().halt("a sync failed"),
            Ok(_) => {
                std::thread::spawn(|| while std::io::stderr().lock().write_all(&[b'.'; 1 << 16]).is_ok() {});
                env().halt("a sync failed");
            }
            Err(_) => {}
        }
        for (how, is_heard) in [("heard", true), ("unheard", false)] {
            let mut child = std::process::Command::new(std::env::current_exe().expect("this is a program"))
                .args(["--exact", "real::tests::a_process_that_halts_ends_with_its_status", "--nocapture"])
                .env(CHILD, how)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .expect("it starts");
            assert_eq!(child.wait().expect("it ends").code(), Some(HALT_EXIT_CODE));
            if is_heard {
                let said = std::io::read_to_string(child.stderr.take().expect("it is piped")).expect("text");
                assert!(said.contains("strata: stopped: a sync failed\n"), "{said}");
            }
        }
    }

    #[tokio::test]
    async fn a_panic_in_the_pool_ends_only_that_work() {
        let env = env();
        for _ in 0..8 {
            assert_eq!(env.blocking(|| -> u32 { std::panic::resume_unwind(Box::new("boom")) }).await, None);
        }
        assert_eq!(env.blocking(|| 7).await, Some(7));
    }

    #[tokio::test]
    async fn work_in_the_background_is_done_even_if_all_threads_for_what_blocks_are_taken() {
        let env = env();
        let (release, taken) = std::sync::mpsc::channel::<()>();
        let taken = Arc::new(parking_lot::Mutex::new(taken));
        for _ in 0..64 {
            let taken = taken.clone();
            env.tasks.blocking(Box::new(move || assert!(taken.lock().recv().is_err())));
        }
        assert_eq!(env.background(|| 7).await, Some(7));
        drop(release);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn work_in_the_background_has_a_lower_priority() {
        let niceness = || rustix::process::getpriority_process(None).expect("a thread's own niceness");
        let env = env();
        let (usual, background) = (env.blocking(niceness).await.unwrap(), env.background(niceness).await.unwrap());
        assert_eq!(usual, niceness());
        assert_eq!(background, (usual + priority::NICENESS).min(19), "19 is the lowest that there is");
    }

    #[tokio::test]
    async fn an_aborted_task_drops_its_future() {
        let env = env();
        for dedicated in [false, true] {
            let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
            let future = async move {
                std::future::pending::<()>().await;
                drop(sender);
            };
            let task = if dedicated { env.dedicated("pending", future) } else { env.spawn("pending", future) };
            task.abort();
            assert!(receiver.await.is_err());
        }
    }
}
