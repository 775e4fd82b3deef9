//! One connection to a node with one stream of batches and replies.
//!
//! ```text
//!   Down(until) -- a call after `until` --> Connecting(calls wait) -- stream is open --> Up
//!        ^                                        |                                       |
//!        +------------- failed: calls are "not sent" ----- broken: sent ones are "unknown" +
//!                            ended by the node: what it has not answered it has not taken, so that is "not sent" too
//! ```
//! While it is down, calls are refused at once: the router then asks another replica.

mod exchange;

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::{Env, Mono};
use strata_net::tls::Dialer;
use strata_router::{LinkError, ShardBatch, ShardReply};
use strata_types::{ClusterId, Request};
use tokio::sync::{Semaphore, mpsc};
use tonic::transport::Endpoint;

use super::call::Call;
use super::wire::{CONNECT_TIMEOUT, decode, encode};

use exchange::{Queued, close, connect, receive};

/// Bytes of batches that wait for one connection or for its replies; callers wait for room (CLIENT-2).
const PIPE_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// What a request counts beside its keys and values.
const REQUEST_OVERHEAD: usize = 64;
/// And what each thing in it counts: thousands of tiny ones are few bytes and much memory.
const PART_OVERHEAD: usize = 16;
/// Pause after a connection broke or could not be made; doubles up to the longest one.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The connection.
pub(super) struct Pipe {
    env: Env,
    endpoint: Endpoint,
    dialer: Option<Dialer>,
    cluster: ClusterId,
    room: Arc<Semaphore>,
    state: Mutex<State>,
    me: Weak<Pipe>,
}

enum State {
    /// Not connected. `reason` is what calls are told before `until`.
    Down {
        until: Mono,
        reason: String,
        failures: u32,
    },
    Connecting {
        waiting: Vec<Queued>,
        failures: u32,
    },
    Up {
        queue: mpsc::UnboundedSender<Queued>,
    },
}

impl Pipe {
    /// To a node of a cluster. A node of another one that has the same address now takes nothing of it.
    pub(super) fn new(env: Env, endpoint: Endpoint, dialer: Option<Dialer>, cluster: ClusterId) -> Arc<Pipe> {
        Arc::new_cyclic(|me| Pipe {
            env,
            endpoint,
            dialer,
            cluster,
            room: Arc::new(Semaphore::new(PIPE_BYTES_MAX as usize)),
            state: Mutex::new(State::Down { until: Mono::default(), reason: String::new(), failures: 0 }),
            me: me.clone(),
        })
    }

    /// Sends a batch and waits for its reply.
    pub(super) async fn call(&self, batch: ShardBatch, deadline: Duration) -> Result<ShardReply, LinkError> {
        let start = self.env.now();
        let count = batch.requests.len();
        let weight = |request: &Request| {
            let operation = &request.operation;
            operation.size() + operation.parts() * PART_OVERHEAD + REQUEST_OVERHEAD
        };
        let bytes: usize = batch.requests.iter().map(weight).sum();
        let room = self.room.clone().acquire_many_owned((bytes as u32).min(PIPE_BYTES_MAX));
        let Ok(Ok(room)) = self.env.timeout(deadline, room).await else {
            return Err(LinkError::NotSent {
                detail: "earlier batches to this node wait for their replies".to_owned(),
            });
        };
        let left = deadline.saturating_sub(self.env.now().since(start));
        let (call, progress, reply) = Call::new(encode(batch, left), room);
        self.submit(Queued { call, bytes });
        match self.env.timeout(left, reply).await {
            Ok(Ok(result)) => Ok(decode(result?, count)),
            Ok(Err(_)) => Err(LinkError::Unknown { detail: "the connection was closed".to_owned() }),
            Err(_) if progress.give_up() => {
                Err(LinkError::NotSent { detail: format!("could not send within {deadline:?}") })
            }
            Err(_) => Err(LinkError::Unknown { detail: format!("no answer within {deadline:?}") }),
        }
    }

    fn submit(&self, queued: Queued) {
        let mut state = self.state.lock();
        match &mut *state {
            State::Up { queue } => {
                // A queue without a reader drops the call, which answers for itself.
                let _ = queue.send(queued);
            }
            State::Connecting { waiting, .. } => waiting.push(queued),
            State::Down { until, reason, .. } if self.env.now() < *until => {
                let reason = reason.clone();
                drop(state);
                queued.call.refuse(&reason);
            }
            State::Down { failures, .. } => {
                *state = State::Connecting { waiting: vec![queued], failures: *failures };
                // The task holds no strong reference while it waits: it ends with the last owner of the pipe.
                let (endpoint, dialer) = (self.endpoint.clone(), self.dialer.clone());
                self.env.spawn("client-pipe", run(self.env.clone(), endpoint, dialer, self.cluster, self.me.clone()));
            }
        }
    }

    /// The stream is open: lets the waiting calls go.
    fn go_up(&self, queue: mpsc::UnboundedSender<Queued>) {
        let mut state = self.state.lock();
        if let State::Connecting { waiting, .. } = &mut *state {
            for queued in waiting.drain(..) {
                let _ = queue.send(queued);
            }
        }
        *state = State::Up { queue };
    }

    fn go_down(&self, reason: &str) {
        let mut state = self.state.lock();
        let (waiting, failures) = match &mut *state {
            State::Connecting { waiting, failures } => (std::mem::take(waiting), failures.saturating_add(1)),
            State::Up { .. } | State::Down { .. } => (Vec::new(), 0),
        };
        let pause = PAUSE_MIN.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX);
        let until = self.env.now() + self.env.jittered(pause);
        *state = State::Down { until, reason: reason.to_owned(), failures };
        drop(state);
        for queued in waiting {
            queued.call.refuse(reason);
        }
    }
}

/// Connects, and stays with the connection until it ends.
async fn run(env: Env, endpoint: Endpoint, dialer: Option<Dialer>, cluster: ClusterId, pipe: Weak<Pipe>) {
    let address = endpoint.uri().authority().map_or_else(String::new, ToString::to_string);
    let reason = match env.timeout(2 * CONNECT_TIMEOUT, connect(&endpoint, dialer.as_ref(), cluster)).await {
        Ok(Ok((queue, open, replies))) => {
            if let Some(pipe) = pipe.upgrade() {
                pipe.go_up(queue);
            }
            let end = receive(replies, &open).await;
            let reason = format!("{address}: {}", end.reason);
            close(&open, &reason, end.is_orderly);
            reason
        }
        Ok(Err(reason)) => format!("{address}: {reason}"),
        Err(_) => format!("{address}: no answer within {:?}", 2 * CONNECT_TIMEOUT),
    };
    tracing::debug!(reason, "connection ended");
    if let Some(pipe) = pipe.upgrade() {
        pipe.go_down(&reason);
    }
}

#[cfg(test)]
mod tests;
