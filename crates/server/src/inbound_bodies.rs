//! Bodies of gRPC requests: what of them is held before anybody has seen a whole message.
//!
//! # Problem
//! The windows of HTTP/2 bound what was sent and not read. But tonic reads a message to its end before it hands it on,
//! and whatever it reads opens the windows again. A client that begins many calls, sends all but the last byte of a
//! large message in each and falls silent would make us hold them all, and for ever: there is no deadline before there
//! is a request.
//!
//! # Model
//! ```text
//!   Incoming --frames--> InboundBody --frames--> tonic: collects a message, then there is a request
//!                          | follows the framing: [flag: 1][length: 4][payload] [flag: 1]...
//!                          +-- room for what is unfinished: of the connection, of the node
//! ```
//! What is held of a call that takes a stream is the message that is not whole yet. Of any other call it is all that it
//! sent: tonic keeps the message until the client has ended the call as well. Room is given back when a message is
//! whole and when the body is dropped. Where there is none the call ends as "overloaded" and the others go on; waiting
//! for room instead could last for ever, since each may wait for the next.
//!
//! A call also ends when it made us wait [`MESSAGE_DEADLINE`] for the rest of what it began. That time begins when we
//! first wait: a stream that is not read because its client does not read either loses nothing. Between two messages a
//! stream may be idle for as long as it likes.
//!
//! # Cost
//! Small calls come in one frame and take no room at all unless their end lets us wait.

mod framing;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame, SizeHint};
use strata_env::{BoxFuture, Clock, Env};
use strata_types::limits::{GRPC_MESSAGE_BYTES_MAX, REQUEST_DEADLINE_MAX};
use strata_types::{Error, ErrorCode};
use tokio::sync::Semaphore;
use tonic::Status;

use framing::{Framing, HEADER_BYTES};

/// Bytes of unfinished messages of all clients: 25 of the largest, or a thousand of half a megabyte. Honest clients
/// hardly come near it, since a message on its way waits for nothing.
const NODE_BYTES_MAX: usize = 512 << 20;
/// The same for one connection: six of the largest messages, or twice what our SDK lets wait for one connection.
const CONNECTION_BYTES_MAX: usize = 128 << 20;
/// How long we wait for the rest of a message: as long as a call may last at most. The largest one then needs 350 KB/s.
const MESSAGE_DEADLINE: Duration = REQUEST_DEADLINE_MAX;

const _: () = assert!(GRPC_MESSAGE_BYTES_MAX + HEADER_BYTES <= CONNECTION_BYTES_MAX, "a message must have room");
const _: () = assert!(CONNECTION_BYTES_MAX < NODE_BYTES_MAX, "one client must not take the room of all");

/// The calls that take more than one message.
const STREAMS: [&str; 3] = [
    "/strata.v1.Kv/Stream",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the bodies of all connections share.
pub(crate) struct InboundBodies {
    clock: Arc<dyn Clock>,
    node: Arc<Semaphore>,
    connection_bytes_max: usize,
}

impl InboundBodies {
    /// With the room that a node has.
    pub(crate) fn new(env: &Env) -> InboundBodies {
        InboundBodies::with_room(env, NODE_BYTES_MAX, CONNECTION_BYTES_MAX)
    }

    /// With so much room for all connections, and for each.
    fn with_room(env: &Env, node_bytes_max: usize, connection_bytes_max: usize) -> InboundBodies {
        let node = Arc::new(Semaphore::new(node_bytes_max));
        InboundBodies { clock: env.clock.clone(), node, connection_bytes_max }
    }

    /// For the bodies of a new connection.
    pub(crate) fn of_connection(&self) -> ConnectionBodies {
        let connection = Semaphore::new(self.connection_bytes_max);
        ConnectionBodies(Arc::new(Room { clock: self.clock.clone(), node: self.node.clone(), connection }))
    }
}

/// What the bodies of one connection share.
#[derive(Clone)]
pub(crate) struct ConnectionBodies(Arc<Room>);

struct Room {
    clock: Arc<dyn Clock>,
    node: Arc<Semaphore>,
    connection: Semaphore,
}

impl ConnectionBodies {
    /// The same call with a body that is bounded.
    pub(crate) fn bound<B>(&self, request: Request<B>) -> Request<InboundBody<B>> {
        let is_stream = STREAMS.contains(&request.uri().path());
        request.map(|inner| InboundBody {
            inner,
            room: self.0.clone(),
            is_stream,
            framing: Framing::default(),
            bytes: 0,
            of_node: 0,
            of_connection: 0,
            deadline: None,
        })
    }
}

/// A body that ends with an error when it would hold too much, or keeps us waiting too long (SERVER-3).
pub(crate) struct InboundBody<B> {
    inner: B,
    room: Arc<Room>,
    is_stream: bool,
    framing: Framing,
    /// All that came.
    bytes: usize,
    /// Room taken of the node.
    of_node: usize,
    /// Room taken of the connection.
    of_connection: usize,
    /// Runs from the first time that we waited for the rest of what was begun.
    deadline: Option<BoxFuture<()>>,
}

impl<B> InboundBody<B> {
    /// Takes note of what goes to tonic.
    fn pass(&mut self, data: &[u8]) -> Result<(), Status> {
        self.bytes += data.len();
        let has_ended_one = self.framing.follow(data);
        if self.is_stream && has_ended_one {
            self.deadline = None;
        }
        // The end of most calls comes right behind their message.
        let is_whole_call = !self.is_stream && self.framing.unfinished() == 0;
        if is_whole_call { Ok(()) } else { self.hold() }
    }

    /// Nothing more came, for now.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if self.held() == 0 {
            return Poll::Pending;
        }
        if let Err(status) = self.hold() {
            return Poll::Ready(status);
        }
        let deadline = self.deadline.get_or_insert_with(|| self.room.clock.sleep(MESSAGE_DEADLINE));
        ready!(deadline.as_mut().poll(context));
        self.deadline = None;
        let message = format!("the rest of the message did not come within {MESSAGE_DEADLINE:?}");
        Poll::Ready(self.refusal(ErrorCode::DeadlineExceeded, message))
    }

    fn held(&self) -> usize {
        if self.is_stream { self.framing.unfinished() } else { self.bytes }
    }

    fn hold(&mut self) -> Result<(), Status> {
        let bytes = self.held();
        // As long as a stream lives tonic keeps the room of its largest message. There are few streams in a connection
        // of an honest client, so that costs it nothing; for all connections together only what is unfinished counts.
        let largest = bytes.max(self.of_connection);
        let full = if !take(&self.room.node, &mut self.of_node, bytes) {
            "this node"
        } else if !take(&self.room.connection, &mut self.of_connection, largest) {
            "this connection"
        } else {
            return Ok(());
        };
        let message = format!("{full} has too many unfinished messages on their way: send fewer at a time");
        Err(self.refusal(ErrorCode::Overloaded, message))
    }

    /// What was sent in a stream before may have been carried out; other calls have not begun.
    fn refusal(&self, code: ErrorCode, message: String) -> Status {
        let error = if self.is_stream { Error::unknown(code, message) } else { Error::not_applied(code, message) };
        strata_proto::status_of(&error)
    }
}

impl<B> Body for InboundBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    /// tonic finds a [`Status`] in it and answers with that.
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.pass(data)?;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => this.wait(context).map(|status| Some(Err(status.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for InboundBody<B> {
    fn drop(&mut self) {
        self.room.node.add_permits(self.of_node);
        self.room.connection.add_permits(self.of_connection);
    }
}

/// Makes the room that is held this large. Whether there was so much.
fn take(room: &Semaphore, held: &mut usize, bytes: usize) -> bool {
    if bytes < *held {
        room.add_permits(*held - bytes);
    } else {
        let more = u32::try_from(bytes - *held).unwrap_or(u32::MAX);
        let Ok(permits) = room.try_acquire_many(more) else { return false };
        permits.forget();
    }
    *held = bytes;
    true
}

#[cfg(test)]
mod tests;
