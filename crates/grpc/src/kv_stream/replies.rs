//! The way out of a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_util::Stream;
use strata_env::TaskHandle;
use strata_proto::v1;
use tokio::sync::mpsc;
use tonic::Status;

use super::{MESSAGE_BYTES_MAX, Outgoing, Shared};

/// A message of replies closes at this size: encoding it keeps nobody else waiting.
const MESSAGE_BYTES_TARGET: usize = 256 * 1024;

/// The replies of one stream, as many a message as are ready.
pub(crate) struct Replies {
    shared: Arc<Shared>,
    queue: mpsc::UnboundedReceiver<Result<Outgoing, Status>>,
    /// Did not fit the last message.
    held: Option<Outgoing>,
    failed: Option<Status>,
    /// Whether the last message left.
    is_over: bool,
    reader: TaskHandle,
}

impl Replies {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: mpsc::UnboundedReceiver<Result<Outgoing, Status>>,
        reader: TaskHandle,
    ) -> Replies {
        Replies { shared, queue, held: None, failed: None, is_over: false, reader }
    }

    /// Tells the client, once, that what was not answered was not taken. Not if that is not so: a task that ended without
    /// a reply may have done something.
    fn last_message(&mut self) -> Option<v1::KvStreamReply> {
        let is_ending = self.shared.is_ending.load(Ordering::Acquire) && self.shared.owed.load(Ordering::Acquire) == 0;
        let is_due = is_ending && !std::mem::replace(&mut self.is_over, true);
        is_due.then(|| v1::KvStreamReply { replies: Vec::new(), ends: true })
    }
}

impl Stream for Replies {
    type Item = Result<v1::KvStreamReply, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut replies = Vec::new();
        let mut bytes = 0;
        if let Some(status) = self.failed.take() {
            return Poll::Ready(Some(Err(status)));
        }
        while bytes < MESSAGE_BYTES_TARGET {
            let next = match self.held.take() {
                Some(held) => Poll::Ready(Some(Ok(held))),
                None => self.queue.poll_recv(context),
            };
            match next {
                Poll::Ready(Some(Ok(outgoing)))
                    if !replies.is_empty() && bytes + outgoing.bytes > MESSAGE_BYTES_MAX =>
                {
                    self.held = Some(outgoing);
                    break;
                }
                Poll::Ready(Some(Ok(outgoing))) => {
                    bytes += outgoing.bytes;
                    self.shared.owed.fetch_sub(1, Ordering::AcqRel);
                    self.shared.reply_bytes.fetch_sub(outgoing.bytes, Ordering::Relaxed);
                    replies.push(outgoing.reply);
                }
                Poll::Ready(Some(Err(status))) if replies.is_empty() => return Poll::Ready(Some(Err(status))),
                Poll::Ready(Some(Err(status))) => {
                    self.failed = Some(status);
                    break;
                }
                Poll::Ready(None) if replies.is_empty() => return Poll::Ready(self.last_message().map(Ok)),
                Poll::Pending if replies.is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(v1::KvStreamReply { replies, ends: false })))
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        // The client is gone: nobody would read what it still sends.
        self.reader.abort();
    }
}
