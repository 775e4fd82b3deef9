//! One stream of batches and replies: how it is opened, what leaves on it and what arrives, until it ends.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use parking_lot::Mutex;
use strata_net::tls::Dialer;
use strata_proto::v1;
use strata_proto::v1::kv_client::KvClient;
use strata_router::LinkError;
use strata_types::ClusterId;
use strata_types::limits::GRPC_MESSAGE_BYTES_MAX;
use tokio::sync::mpsc;
use tonic::transport::Endpoint;

use crate::link::call::{Call, Waiting};
use crate::link::wire::{explain, explain_status, of_cluster};

/// A message closes at this size.
const MESSAGE_BYTES_TARGET: usize = 1024 * 1024;

/// A call and its size.
pub(super) struct Queued {
    pub(super) call: Call,
    pub(super) bytes: usize,
}

/// Calls that were sent on one stream and have no reply yet.
#[derive(Default)]
pub(super) struct Open {
    calls: BTreeMap<u64, Waiting>,
    is_closed: bool,
}

pub(super) type Connected = (mpsc::UnboundedSender<Queued>, Arc<Mutex<Open>>, tonic::Streaming<v1::KvStreamReply>);

/// Opens a stream: where to put calls, and what came of those that were sent.
pub(super) async fn connect(
    endpoint: &Endpoint,
    dialer: Option<&Dialer>,
    cluster: ClusterId,
) -> Result<Connected, String> {
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
pub(super) struct End {
    pub(super) reason: String,
    /// Whether the node said that it took nothing that it has not answered.
    pub(super) is_orderly: bool,
}

/// Hands out replies until the stream ends, and tells why it did.
pub(super) async fn receive(mut replies: tonic::Streaming<v1::KvStreamReply>, open: &Mutex<Open>) -> End {
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
pub(super) fn close(open: &Mutex<Open>, reason: &str, is_orderly: bool) {
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
