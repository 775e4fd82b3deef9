//! When tasks get their turns: at once, but on a sluggish machine.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

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
}

impl Turns {
    pub(super) fn set_sluggish(&self, choice: Option<u64>) {
        self.choice.store(choice.map_or(0, |choice| choice | 1), Ordering::Relaxed);
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
    pause: Option<Pin<Box<Sleep>>>,
}

impl Scheduled {
    pub(super) fn new(future: BoxFuture<()>, node: Arc<NodeInner>, id: u64) -> Scheduled {
        Scheduled { future, node, id, pause: None }
    }
}

impl Future for Scheduled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.pause.is_none() {
            let turn = self.node.turns.comes_in(self.id, &self.node.rng);
            self.pause = turn.map(|time| Box::pin(tokio::time::sleep(time)));
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        self.future.as_mut().poll(context)
    }
}
