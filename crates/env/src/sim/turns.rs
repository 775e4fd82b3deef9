//! When tasks get their turns: at once, but on a sluggish machine, or where some are held up.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::SimRng;
use super::node::NodeInner;
use super::rng::mix;
use crate::BoxFuture;

/// Of so many tasks of a sluggish machine one is slow.
const SLOW_TASKS: u64 = 8;
/// So long at most a slow task waits for its turn.
const TURN_MICROS_MAX: u64 = 700_000;

/// Which tasks of a machine are slow.
#[derive(Default)]
pub(super) struct Turns {
    /// Zero for none, or any other number, which decides.
    choice: AtomicU64,
    /// Those of this name get no turn.
    held: Mutex<Option<&'static str>>,
    released: Notify,
}

impl Turns {
    pub(super) fn set_sluggish(&self, choice: Option<u64>) {
        self.choice.store(choice.map_or(0, |choice| choice | 1), Ordering::Relaxed);
    }

    pub(super) fn hold_up(&self, name: Option<&'static str>) {
        *self.held.lock() = name;
        self.released.notify_waiters();
    }

    fn is_held(&self, name: &str) -> bool {
        *self.held.lock() == Some(name)
    }

    async fn wait_released(&self, name: &str) {
        loop {
            let released = self.released.notified();
            let mut released = std::pin::pin!(released);
            released.as_mut().enable();
            if !self.is_held(name) {
                return;
            }
            released.await;
        }
    }

    /// How long a task that could go on has to wait for its turn, if it has to.
    fn comes_in(&self, task: u64, rng: &SimRng) -> Option<Duration> {
        let choice = self.choice.load(Ordering::Relaxed);
        if choice == 0 || !mix(choice ^ mix(task)).is_multiple_of(SLOW_TASKS) || rng.coin() {
            return None;
        }
        Some(Duration::from_micros(rng.below(TURN_MICROS_MAX)))
    }
}

/// A task that goes on when its turn has come.
pub(super) struct Scheduled {
    future: BoxFuture<()>,
    node: Arc<NodeInner>,
    id: u64,
    name: &'static str,
    pause: Option<BoxFuture<()>>,
}

impl Scheduled {
    pub(super) fn new(future: BoxFuture<()>, node: Arc<NodeInner>, id: u64, name: &'static str) -> Scheduled {
        Scheduled { future, node, id, name, pause: None }
    }

    fn pause(&self) -> Option<BoxFuture<()>> {
        let (node, name) = (self.node.clone(), self.name);
        if node.turns.is_held(name) {
            return Some(Box::pin(async move { node.turns.wait_released(name).await }));
        }
        let turn = node.turns.comes_in(self.id, &node.rng)?;
        Some(Box::pin(tokio::time::sleep(turn)))
    }
}

impl Future for Scheduled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.pause.is_none() {
            self.pause = self.pause();
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        self.future.as_mut().poll(context)
    }
}
