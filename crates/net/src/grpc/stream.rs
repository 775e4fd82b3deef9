//! The body of a Deliver call: a hello, then whatever is queued.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use strata_env::Courtesy;
use strata_proto::internal::{DeliverRequest, Frame, Hello};
use tokio_stream::Stream;

use super::queue::LaneQueue;
use crate::Message;

/// Polled by the HTTP/2 connection whenever it can write, so the queue empties as fast as the other side reads. A message
/// of its own for each frame would have a write of its own, and be read alone: those who are about to send go along.
pub(super) struct FrameStream {
    hello: Option<Hello>,
    queue: Arc<LaneQueue>,
    generation: u64,
    batch_bytes_target: usize,
    courtesy: Courtesy,
}

impl FrameStream {
    pub(super) fn new(hello: Hello, queue: Arc<LaneQueue>, generation: u64, batch_bytes_target: usize) -> FrameStream {
        FrameStream { hello: Some(hello), queue, generation, batch_bytes_target, courtesy: Courtesy::default() }
    }
}

impl Stream for FrameStream {
    type Item = DeliverRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<DeliverRequest>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(DeliverRequest { hello: Some(hello), frames: Vec::new() }));
        }
        if self.queue.has_messages() {
            ready!(self.courtesy.poll(context));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use strata_types::{GroupId, NodeId};
    use tokio_stream::StreamExt;

    use super::*;
    use crate::metrics::LaneMetrics;
    use crate::{Lane, MessageKind};

    #[tokio::test]
    async fn those_who_are_about_to_send_go_along() {
        let queue = Arc::new(LaneQueue::new("n2".into(), 1 << 20, LaneMetrics::new(NodeId(2), Lane::Data)));
        let mut stream = FrameStream::new(Hello::default(), queue.clone(), queue.begin(), 1 << 20);
        assert!(stream.next().await.expect("a hello").hello.is_some());
        queue.flow();
        let push = |queue: &LaneQueue, correlation| {
            let (from, to, group, kind) = (NodeId(1), NodeId(2), GroupId(1), MessageKind::Append);
            queue.push(Message { from, to, group, kind, correlation, body: Bytes::new() }).expect("room");
        };
        push(&queue, 1);
        let other = queue.clone();
        strata_env::real::env().spawn("test-other", async move { push(&other, 2) });
        let sent = stream.next().await.expect("frames").frames;
        assert_eq!(sent.iter().map(|frame| frame.correlation).collect::<Vec<_>>(), [1, 2]);
    }
}
