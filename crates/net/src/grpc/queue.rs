//! What waits to be sent to one node in one lane.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use strata_types::limits::PEER_MESSAGE_BYTES_MAX;
use tokio::sync::Notify;

use crate::metrics::LaneMetrics;
use crate::{Message, NetError};

/// A queue of messages, bounded in bytes, with a gate.
///
/// ```text
///   Holding  --flow-->  Flowing       takes messages and lets the stream have them
///      ^  takes messages,  |
///      |  holds them       |
///      begin             close        drops what is queued
///      |                   v
///      +----------------  Closed      refuses messages at once
/// ```
///
/// Each `begin` and `close` starts a new generation: a stream of an older one gets nothing any more.
pub(super) struct LaneQueue {
    target: String,
    bytes_max: usize,
    metrics: LaneMetrics,
    /// Wakes who waits for the first message.
    filled: Notify,
    state: Mutex<State>,
}

struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    gate: Gate,
    generation: u64,
    stream: Option<Waker>,
}

enum Gate {
    Holding,
    Flowing,
    Closed(Arc<str>),
}

impl LaneQueue {
    pub(super) fn new(target: String, bytes_max: usize, metrics: LaneMetrics) -> LaneQueue {
        let state = State { messages: VecDeque::new(), bytes: 0, gate: Gate::Holding, generation: 0, stream: None };
        LaneQueue { target, bytes_max, metrics, filled: Notify::new(), state: Mutex::new(state) }
    }

    /// Queues a message, or says why not. Never blocks (NET-2).
    pub(super) fn push(&self, message: Message) -> Result<(), NetError> {
        let size = message.size();
        if size > PEER_MESSAGE_BYTES_MAX {
            self.metrics.dropped("too_large", 1);
            let detail = format!("a message of {size} bytes is over the limit of {PEER_MESSAGE_BYTES_MAX}");
            return Err(NetError::Refused { target: self.target.clone(), detail });
        }
        let waker = {
            let mut state = self.state.lock();
            if let Gate::Closed(detail) = &state.gate {
                let detail = detail.to_string();
                drop(state);
                self.metrics.dropped("unreachable", 1);
                return Err(NetError::Unreachable { target: self.target.clone(), detail });
            }
            // One message always fits, or a large one could never be sent.
            if state.bytes + size > self.bytes_max && !state.messages.is_empty() {
                drop(state);
                self.metrics.dropped("overflow", 1);
                return Err(NetError::Overflow { target: self.target.clone() });
            }
            state.bytes += size;
            state.messages.push_back(message);
            self.metrics.queue_bytes.set(state.bytes as f64);
            match state.gate {
                Gate::Flowing => state.stream.take(),
                Gate::Holding | Gate::Closed(_) => {
                    self.filled.notify_one();
                    None
                }
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes messages again, for a new stream, and holds them until [`LaneQueue::flow`]. Returns the generation.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.state.lock();
        state.gate = Gate::Holding;
        state.generation += 1;
        state.generation
    }

    /// Completes when something is queued.
    pub(super) async fn filled(&self) {
        while self.state.lock().messages.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Lets the stream of this generation have what is queued.
    pub(super) fn flow(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.gate = Gate::Flowing;
            state.stream.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Drops what is queued, refuses what comes, and returns the numbers of the requests that were dropped.
    pub(super) fn close(&self, detail: &str) -> Vec<u64> {
        let (messages, waker) = {
            let mut state = self.state.lock();
            state.gate = Gate::Closed(detail.into());
            state.generation += 1;
            state.bytes = 0;
            (std::mem::take(&mut state.messages), state.stream.take())
        };
        self.metrics.queue_bytes.set(0.0);
        self.metrics.dropped("unreachable", messages.len() as u64);
        if let Some(waker) = waker {
            waker.wake();
        }
        messages.iter().filter(|m| !m.kind.is_answer() && m.correlation != 0).map(|m| m.correlation).collect()
    }

    /// Whether a stream would get something now.
    pub(super) fn has_messages(&self) -> bool {
        let state = self.state.lock();
        !state.messages.is_empty() && matches!(state.gate, Gate::Flowing)
    }

    /// Takes messages of about `bytes_target` bytes, at least one. `None` when the generation is over.
    pub(super) fn poll_take(
        &self,
        generation: u64,
        bytes_target: usize,
        context: &mut Context<'_>,
    ) -> Poll<Option<Vec<Message>>> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return Poll::Ready(None);
        }
        if state.messages.is_empty() || !matches!(state.gate, Gate::Flowing) {
            state.stream = Some(context.waker().clone());
            return Poll::Pending;
        }
        let (count, bytes) = state.batch(bytes_target);
        state.bytes -= bytes;
        let batch = state.messages.drain(..count).collect();
        self.metrics.queue_bytes.set(state.bytes as f64);
        drop(state);
        self.metrics.sent_messages.increment(count as u64);
        self.metrics.sent_bytes.increment(bytes as u64);
        Poll::Ready(Some(batch))
    }
}

impl State {
    /// How many messages, with how many bytes, make the next batch.
    fn batch(&self, bytes_target: usize) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        for size in self.messages.iter().map(Message::size) {
            if count > 0 && bytes + size > bytes_target {
                break;
            }
            count += 1;
            bytes += size;
        }
        (count, bytes)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use strata_types::{GroupId, NodeId};

    use super::*;
    use crate::{Lane, MessageKind};

    fn queue(bytes_max: usize) -> LaneQueue {
        LaneQueue::new("n2".into(), bytes_max, LaneMetrics::new(NodeId(2), Lane::Data))
    }

    fn message(correlation: u64, kind: MessageKind, length: usize) -> Message {
        Message {
            from: NodeId(1),
            to: NodeId(2),
            group: GroupId(1),
            kind,
            correlation,
            body: Bytes::from(vec![0; length]),
        }
    }

    fn take(queue: &LaneQueue, generation: u64, target: usize) -> Poll<Option<Vec<u64>>> {
        let mut context = Context::from_waker(Waker::noop());
        queue
            .poll_take(generation, target, &mut context)
            .map(|batch| batch.map(|messages| messages.iter().map(|m| m.correlation).collect()))
    }

    /// NET-2
    #[test]
    fn a_full_queue_refuses_but_one_message_always_fits() {
        let queue = queue(1000);
        queue.push(message(1, MessageKind::Append, 5000)).expect("the first fits whatever its size");
        let error = queue.push(message(2, MessageKind::Append, 1)).expect_err("full");
        assert_eq!(error, NetError::Overflow { target: "n2".into() });
        let huge = queue.push(message(3, MessageKind::Append, PEER_MESSAGE_BYTES_MAX)).expect_err("over the limit");
        assert!(matches!(huge, NetError::Refused { .. }), "{huge}");
    }

    #[test]
    fn messages_flow_in_order_in_batches_of_about_the_target() {
        let queue = queue(1 << 20);
        let generation = queue.begin();
        for correlation in 1..=5 {
            queue.push(message(correlation, MessageKind::Append, 100)).expect("room");
        }
        assert_eq!(take(&queue, generation, 400), Poll::Pending, "held until the handshake is done");
        queue.flow();
        assert_eq!(take(&queue, generation, 400), Poll::Ready(Some(vec![1, 2])));
        assert_eq!(take(&queue, generation, 1), Poll::Ready(Some(vec![3])), "at least one");
        assert_eq!(take(&queue, generation, 1 << 20), Poll::Ready(Some(vec![4, 5])));
        assert_eq!(take(&queue, generation, 400), Poll::Pending);
    }

    #[test]
    fn a_closed_queue_names_the_requests_it_dropped_and_refuses_more() {
        let queue = queue(1 << 20);
        let generation = queue.begin();
        queue.flow();
        for (correlation, kind) in [(7, MessageKind::Append), (8, MessageKind::Reply), (0, MessageKind::Vote)] {
            queue.push(message(correlation, kind, 10)).expect("room");
        }
        assert_eq!(queue.close("connection reset"), vec![7], "neither answers nor one-way messages");
        assert_eq!(take(&queue, generation, 400), Poll::Ready(None), "the old stream ends");
        let error = queue.push(message(9, MessageKind::Append, 1)).expect_err("closed");
        assert_eq!(error, NetError::Unreachable { target: "n2".into(), detail: "connection reset".into() });
        let next = queue.begin();
        queue.push(message(10, MessageKind::Append, 1)).expect("open again");
        queue.flow();
        assert_eq!(take(&queue, generation, 400), Poll::Ready(None), "the old stream steals nothing");
        assert_eq!(take(&queue, next, 400), Poll::Ready(Some(vec![10])));
    }
}
