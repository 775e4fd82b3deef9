//! Bodies of replies: what of them is held for clients that do not read.
//!
//! # Problem
//! hyper takes a frame of a reply before it asks how much the client is willing to read, and as soon as that is one
//! byte the whole frame waits in the connection, where it stays when its body is long gone. So windows do not bound
//! what is held: a client that keeps them closed may have a thousand calls open, each with a reply of 16 MiB.
//!
//! # Model
//! ```text
//!   routes --frames--> OutboundBody --frames--> hyper: waits for the window --> h2: waits for the wire
//!                          | counts a frame until its last byte is written, or its call or connection ends
//!                          +-- room for what is unread: of the connection, of the node
//! ```
//! Where there is no room a call with one reply ends as "overloaded", and the others go on. A stream waits: its next
//! frame is not made before there is room again. It may then be larger than the room; so the bounds are passed by at
//! most one frame for each thread that makes one. A client that read all it was sent never waits for others, so that
//! they cannot stop it: where the node is full, each connection may still hold one frame.
//!
//! Nobody may hold room for ever. When a frame was there for [`UNREAD_DEADLINE`] and its client did not read it, the
//! connection ends, and with it all that it holds. A single call cannot be reset instead: hyper resets one only when
//! its body fails, and asks no body for anything while there is no window; and whoever drops the call leaves its frame
//! in h2 until it was sent.
//!
//! A scan is what clients do pause. So its frames end the connection only where the connection is full, which would
//! stop all its other streams, or half of the room of the node is taken. Otherwise the scan alone ends: see `scans.rs`.
//!
//! HTTP/1 has room of its own, so that operators learn how a node is whose clients have taken all of theirs.
//!
//! # Cost
//! A reply of a few kilobytes, such as that of a put, a commit or an error, is not counted unless it is one of a
//! stream: a call has one. What is counted costs one allocation a frame.

mod kind;
mod room;
mod scans;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use hyper::body::{Body, Frame, SizeHint};
use strata_env::{Clock, Env};
use strata_grpc::Room;
use strata_types::limits::{GRPC_MESSAGE_BYTES_MAX, REQUEST_DEADLINE_MAX};
use strata_types::{Error, ErrorCode};

pub(crate) use kind::ReplyKind;
use room::{Unread, Waiting};
use scans::{ScanBody, Scans};

/// Bytes of unread replies of all clients: 25 of the largest, or two thousand messages of scans.
const NODE_BYTES_MAX: usize = 512 << 20;
/// The same for one connection: six of the largest.
const CONNECTION_BYTES_MAX: usize = 128 << 20;
/// Bytes of unread replies of all clients that speak HTTP/1. A reply of figures takes some hundred kilobytes, and a
/// connection has one at a time.
const HTTP1_NODE_BYTES_MAX: usize = 64 << 20;
/// The same for one connection.
const HTTP1_CONNECTION_BYTES_MAX: usize = 16 << 20;
/// How long a frame may wait for its client: as long as a call may last at most. It may take up to twice as long until
/// that is noticed. The largest reply then needs 350 KB/s.
const UNREAD_DEADLINE: Duration = REQUEST_DEADLINE_MAX;
/// A reply up to this size is not counted: those of all calls that one connection may have take 16 MiB.
const UNCOUNTED_BYTES: usize = 16 << 10;
/// What a frame of a stream counts beside its bytes: its place in the queues. There may be many small ones.
const FRAME_OVERHEAD: usize = 512;

const _: () = assert!(GRPC_MESSAGE_BYTES_MAX < CONNECTION_BYTES_MAX, "a reply must have room");
const _: () = assert!(CONNECTION_BYTES_MAX < NODE_BYTES_MAX, "one client must not take the room of all");

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the replies of all connections share.
pub(crate) struct OutboundBodies {
    clock: Arc<dyn Clock>,
    node: Arc<Room>,
    connection_bytes_max: usize,
}

impl OutboundBodies {
    /// With the room that a node has.
    pub(crate) fn new(env: &Env) -> OutboundBodies {
        OutboundBodies::with_room(env, NODE_BYTES_MAX, CONNECTION_BYTES_MAX)
    }

    /// The same for HTTP/1.
    pub(crate) fn of_http1(env: &Env) -> OutboundBodies {
        OutboundBodies::with_room(env, HTTP1_NODE_BYTES_MAX, HTTP1_CONNECTION_BYTES_MAX)
    }

    /// With so much room for all connections, and for each.
    fn with_room(env: &Env, node_bytes_max: usize, connection_bytes_max: usize) -> OutboundBodies {
        OutboundBodies { clock: env.clock.clone(), node: Arc::new(Room::new(node_bytes_max)), connection_bytes_max }
    }

    /// For the replies of a new connection.
    pub(crate) fn of_connection(&self) -> ConnectionReplies {
        let unread = Arc::new(Unread::new(self.node.clone(), self.connection_bytes_max));
        ConnectionReplies { clock: self.clock.clone(), unread, scans: Arc::default() }
    }
}

/// What the replies of one connection share.
#[derive(Clone)]
pub(crate) struct ConnectionReplies {
    clock: Arc<dyn Clock>,
    unread: Arc<Unread>,
    scans: Arc<Scans>,
}

impl ConnectionReplies {
    /// The same reply with a body that is bounded.
    pub(crate) fn bound<B: Send + 'static>(&self, kind: ReplyKind, response: Response<B>) -> Response<OutboundBody<B>> {
        let unread = self.unread.clone();
        response.map(|body| {
            let inner = match kind {
                ReplyKind::Scan => Inner::Scan(self.scans.add(body)),
                ReplyKind::Stream | ReplyKind::Unary(_) | ReplyKind::Plain => Inner::Other(body),
            };
            OutboundBody { inner, unread, kind, waiting: None, is_cut: false }
        })
    }

    /// Completes when the client left a frame unread for [`UNREAD_DEADLINE`]. Meanwhile it gives up scans that are
    /// paused for as long.
    pub(crate) async fn unread_too_long(self) {
        while !self.unread.is_any_left() {
            self.scans.give_up_paused();
            self.clock.sleep(UNREAD_DEADLINE).await;
        }
    }
}

enum Inner<B> {
    Scan(Arc<ScanBody<B>>),
    Other(B),
}

/// A body that takes room for what it yields (SERVER-3).
pub(crate) struct OutboundBody<B> {
    inner: Inner<B>,
    unread: Arc<Unread>,
    kind: ReplyKind,
    waiting: Option<Waiting>,
    /// Whether it ended before the inner one did.
    is_cut: bool,
}

impl<B> OutboundBody<B> {
    /// Until there is room for another frame.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.unread.is_full() {
            let mut waiting = self.waiting.take().unwrap_or_else(|| Waiting::new(&self.unread));
            // It is told of room that is given back from now on: was some given back just before?
            if !self.unread.is_full() {
                break;
            }
            if waiting.poll(context).is_pending() {
                self.waiting = Some(waiting);
                return Poll::Pending;
            }
        }
        self.waiting = None;
        Poll::Ready(())
    }

    /// What goes to the client instead of a frame.
    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BoxError> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Ok(trailers),
        };
        let bytes = match self.kind {
            ReplyKind::Stream | ReplyKind::Scan => {
                let bytes = data.len() + FRAME_OVERHEAD;
                self.unread.take(bytes);
                bytes
            }
            ReplyKind::Unary(_) | ReplyKind::Plain if data.len() <= UNCOUNTED_BYTES => return Ok(Frame::data(data)),
            ReplyKind::Unary(_) | ReplyKind::Plain => match self.unread.try_take(data.len()) {
                Ok(()) => data.len(),
                Err(full) => return self.refusal(full),
            },
        };
        Ok(Frame::data(self.unread.hold(data, bytes, self.kind == ReplyKind::Scan)))
    }

    /// The end of a reply for which there is no room.
    fn refusal(&mut self, full: &str) -> Result<Frame<Bytes>, BoxError> {
        let message = format!("{full} has too many replies that were not read: read them, or ask for fewer at a time");
        match self.kind {
            ReplyKind::Unary(outcome) => self.cut(&Error::new(ErrorCode::Overloaded, outcome, message)),
            ReplyKind::Stream | ReplyKind::Scan | ReplyKind::Plain => {
                self.is_cut = true;
                Err(message.into())
            }
        }
    }

    /// The end of a scan that was given up.
    fn given_up(&mut self) -> Result<Frame<Bytes>, BoxError> {
        let message = format!("the scan was given up: its client read nothing of it for {UNREAD_DEADLINE:?}");
        self.cut(&Error::not_applied(ErrorCode::DeadlineExceeded, message))
    }

    /// Ends it with a status of our own.
    fn cut(&mut self, error: &Error) -> Result<Frame<Bytes>, BoxError> {
        self.is_cut = true;
        let mut trailers = HeaderMap::new();
        strata_proto::status_of(error).add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }
}

impl<B> Body for OutboundBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.is_cut {
            return Poll::Ready(None);
        }
        // There need be no room for the end.
        if let Inner::Scan(scan) = &this.inner
            && scan.is_given_up(context)
        {
            return Poll::Ready(Some(this.given_up()));
        }
        if matches!(this.kind, ReplyKind::Stream | ReplyKind::Scan) {
            ready!(this.poll_room(context));
        }
        let polled = match &mut this.inner {
            Inner::Scan(scan) => match scan.poll_frame(context) {
                Some(polled) => polled,
                None => return Poll::Ready(Some(this.given_up())),
            },
            Inner::Other(body) => Pin::new(body).poll_frame(context),
        };
        match ready!(polled) {
            Some(Ok(frame)) => Poll::Ready(Some(this.pass(frame))),
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_over = match &self.inner {
            Inner::Scan(scan) => scan.is_end_stream(),
            Inner::Other(body) => body.is_end_stream(),
        };
        self.is_cut || is_over
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Scan(scan) => scan.size_hint(),
            Inner::Other(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests;
