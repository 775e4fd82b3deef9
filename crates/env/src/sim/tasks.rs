//! Tasks that end with their node.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use super::node::NodeInner;
use super::turns::Scheduled;
use crate::{BoxFuture, Halt, TaskHandle, Tasks};

/// The tasks of one generation of a node. There are no threads: what would block in production is a task as well.
pub(super) struct SimTasks {
    pub(super) node: Arc<NodeInner>,
    pub(super) generation: u64,
}

impl Tasks for SimTasks {
    fn spawn(&self, name: &'static str, future: BoxFuture<()>) -> TaskHandle {
        let Some(id) = self.node.next_task(self.generation) else { return TaskHandle::new(|| {}) };
        let entry = TaskEntry { node: self.node.clone(), id };
        let generation = self.generation;
        let future = Scheduled::new(future, self.node.clone(), id, name);
        let task = tokio::spawn(async move {
            let outcome = AssertUnwindSafe(future).catch_unwind().await;
            if let Err(panic) = outcome {
                let reason = format!("a task panicked: task=`{name}` message=`{}`", message(&*panic));
                entry.node.halt(generation, Halt { reason });
            }
        });
        let abort = task.abort_handle();
        self.node.register_task(self.generation, id, abort.clone());
        TaskHandle::new(move || abort.abort())
    }

    fn dedicated(&self, name: &'static str, future: BoxFuture<()>) -> TaskHandle {
        self.spawn(name, future)
    }

    fn blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        self.spawn(
            "blocking",
            Box::pin(async move {
                // As in production: whoever waits for the result sees that it never came.
                let _ = std::panic::catch_unwind(AssertUnwindSafe(work));
            }),
        );
    }

    fn halt(&self, halt: Halt) {
        self.node.halt(self.generation, halt);
    }
}

/// Forgets a task when its future is gone.
struct TaskEntry {
    node: Arc<NodeInner>,
    id: u64,
}

impl Drop for TaskEntry {
    fn drop(&mut self) {
        self.node.forget_task(self.id);
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "not a text"
    }
}
