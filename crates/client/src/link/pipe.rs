//! One connection to a node with one stream of batches and replies.
//!
//! ```text
//!   Down(until) -- a call after `until` --> Connecting(calls wait) -- stream is open --> Up
//!        ^                                        |                                       |
//!        +------------- failed: calls are "not sent" ----- broken: sent ones are "unknown" +
//!                            ended by the node: what it has not answered it has not taken, so that is "not sent" too
//! ```
//! While it is down, calls are refused at once: the router then asks another replica.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use parking_lot::Mutex;
use strata_env::{Env, Mono};
use strata_net::tls::Dialer;
use strata_proto::v1;
use strata_proto::v1::kv_client::KvClient;
use strata_router::{LinkError, ShardBatch, ShardReply};
use strata_types::limits::GRPC_MESSAGE_BYTES_MAX;
use strata_types::{ClusterId, Request};
use tokio::sync::{Semaphore, mpsc};
use tonic::transport::Endpoint;

use super::call::{Call, Waiting};
use super::wire::{CONNECT_TIMEOUT, decode, encode, explain, explain_status, of_cluster};

/// Bytes of batches that wait for one connection or for its replies; callers wait for room (CLIENT-2).
const PIPE_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// A message closes at this size.
const MESSAGE_BYTES_TARGET: usize = 1024 * 1024;
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

/// A call and its size.
struct Queued {
    call: Call,
    bytes: usize,
}

/// Calls that were sent on one stream and have no reply yet.
#[derive(Default)]
struct Open {
    calls: BTreeMap<u64, Waiting>,
    is_closed: bool,
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

type Connected = (mpsc::UnboundedSender<Queued>, Arc<Mutex<Open>>, tonic::Streaming<v1::KvStreamReply>);

async fn connect(endpoint: &Endpoint, dialer: Option<&Dialer>, cluster: ClusterId) -> Result<Connected, String> {
    let channel = strata_net::grpc::connect(endpoint, dialer).await.map_err(|error| explain(&error))?;
    let mut client = KvClient::new(channel)
        .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX);
    let open = Arc::new(Mutex::new(Open::default()));
    // Bounded by the room of the pipe.
    let (queue, receiver) = mpsc::unbounded_channel();
    let outbound = Outbound { queue: receiver, held: None, open: open.clone(), next: 0 };
    let replies = client.stream(of_cluster(outbound, cluster)).await.map_err(|status| explain_status(&status))?;
    Ok((queue, open, replies.into_inner()))
}

/// How a stream ended.
struct End {
    reason: String,
    /// Whether the node said that it took nothing that it has not answered.
    is_orderly: bool,
}

/// Hands out replies until the stream ends, and tells why it did.
async fn receive(mut replies: tonic::Streaming<v1::KvStreamReply>, open: &Mutex<Open>) -> End {
    let broken = |reason| End { reason, is_orderly: false };
    loop {
        let message = match replies.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return broken("the node closed the connection".to_owned()),
            Err(status) => return broken(explain(&status)),
        };
        for v1::kv_stream_reply::Numbered { number, reply } in message.replies {
            let waiting = open.lock().calls.remove(&number);
            if let Some(waiting) = waiting {
                waiting.answer(Ok(reply.unwrap_or_default()));
            }
        }
        if message.ends {
            return End { reason: "the node stops".to_owned(), is_orderly: true };
        }
    }
}

/// What was sent and not answered will not be.
fn close(open: &Mutex<Open>, reason: &str, is_orderly: bool) {
    let mut open = open.lock();
    open.is_closed = true;
    let calls = std::mem::take(&mut open.calls);
    drop(open);
    for waiting in calls.into_values() {
        let detail = reason.to_owned();
        waiting.answer(Err(if is_orderly { LinkError::NotSent { detail } } else { LinkError::Unknown { detail } }));
    }
}

/// The messages to the node: everything that waits when the connection has room for one.
struct Outbound {
    queue: mpsc::UnboundedReceiver<Queued>,
    /// Did not fit the last message.
    held: Option<Queued>,
    open: Arc<Mutex<Open>>,
    next: u64,
}

impl Stream for Outbound {
    type Item = v1::KvStreamRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut batches = Vec::new();
        let mut bytes = 0;
        loop {
            let next = match self.held.take() {
                Some(held) => Poll::Ready(Some(held)),
                None => self.queue.poll_recv(context),
            };
            match next {
                Poll::Ready(Some(queued)) if !batches.is_empty() && bytes + queued.bytes > MESSAGE_BYTES_TARGET => {
                    self.held = Some(queued);
                    break;
                }
                Poll::Ready(Some(queued)) => {
                    let size = queued.bytes;
                    if let Some(numbered) = self.number(queued.call) {
                        bytes += size;
                        batches.push(numbered);
                    }
                }
                Poll::Ready(None) if batches.is_empty() => return Poll::Ready(None),
                Poll::Pending if batches.is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Ready(Some(v1::KvStreamRequest { batches }))
    }
}

impl Outbound {
    /// The call becomes an open one. `None` when nobody wants it any more or the stream is over already.
    fn number(&mut self, call: Call) -> Option<v1::kv_stream_request::Numbered> {
        let open = self.open.clone();
        let mut open = open.lock();
        if open.is_closed {
            return None;
        }
        let (batch, waiting) = call.send()?;
        let number = self.next;
        self.next += 1;
        open.calls.insert(number, waiting);
        Some(v1::kv_stream_request::Numbered { number, batch: Some(batch) })
    }
}

#[cfg(test)]
mod tests;
