//! The body of a Deliver call: a hello, then whatever is queued.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use strata_proto::internal::{DeliverRequest, Frame, Hello};
use tokio_stream::Stream;

use super::queue::LaneQueue;
use crate::Message;

/// Polled by the HTTP/2 connection whenever it can write, so the queue empties as fast as the other side reads.
pub(super) struct FrameStream {
    hello: Option<Hello>,
    queue: Arc<LaneQueue>,
    generation: u64,
    batch_bytes_target: usize,
}

impl FrameStream {
    pub(super) fn new(hello: Hello, queue: Arc<LaneQueue>, generation: u64, batch_bytes_target: usize) -> FrameStream {
        FrameStream { hello: Some(hello), queue, generation, batch_bytes_target }
    }
}

impl Stream for FrameStream {
    type Item = DeliverRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<DeliverRequest>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(DeliverRequest { hello: Some(hello), frames: Vec::new() }));
        }
        let batch = self.queue.poll_take(self.generation, self.batch_bytes_target, context);
        batch.map(|batch| {
            batch.map(|messages| DeliverRequest { hello: None, frames: messages.into_iter().map(frame_of).collect() })
        })
    }
}

fn frame_of(message: Message) -> Frame {
    Frame { group: message.group.0, kind: message.kind as u32, correlation: message.correlation, body: message.body }
}
