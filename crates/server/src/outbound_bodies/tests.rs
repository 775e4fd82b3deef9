mod loopback;

use std::future::poll_fn;

use strata_env::real;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use super::*;
use crate::loopback::Script;

const STREAM: &str = "/strata.v1.Kv/Stream";
const SCAN: &str = "/strata.v1.Kv/Scan";
const READ: &str = "/strata.v1.Kv/Get";
const WRITE: &str = "/strata.v1.Kv/Put";
/// What every frame of these tests counts, unless it is small or one of a stream.
const LARGE: usize = 2 * UNCOUNTED_BYTES;
const LARGE_OF_STREAM: usize = LARGE + FRAME_OVERHEAD;

/// A reply, and what hyper would do with it.
struct Reply {
    routes: mpsc::UnboundedSender<Bytes>,
    body: OutboundBody<Script>,
}

impl Reply {
    fn new(replies: &ConnectionReplies, kind: ReplyKind) -> Reply {
        let (routes, frames) = mpsc::unbounded_channel();
        Reply { routes, body: replies.bound(kind, Response::new(Script(frames))).into_body() }
    }

    fn of_call(replies: &ConnectionReplies, path: &str) -> Reply {
        Reply::new(replies, ReplyKind::of_call(path))
    }

    fn make(&self, bytes: usize) {
        self.routes.send(vec![7; bytes].into()).expect("the body lives");
    }

    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await
    }

    /// Makes a frame and takes it, whole.
    async fn pass(&mut self, bytes: usize) -> Bytes {
        self.make(bytes);
        let data = self.next().await.expect("a frame").expect("no error").into_data().expect("data");
        assert_eq!(data, vec![7; bytes]);
        data
    }

    /// Makes a frame for which there is no room.
    async fn refused(&mut self, bytes: usize) -> Error {
        self.make(bytes);
        let status = self.end().await;
        assert_eq!(status.code(), Code::ResourceExhausted);
        strata_proto::error_of(&status)
    }

    /// What it ends with.
    async fn end(&mut self) -> Status {
        let trailers = self.next().await.expect("a frame").expect("no error").into_trailers().expect("trailers");
        assert!(self.body.is_end_stream() && self.next().await.is_none(), "nothing follows");
        Status::from_header_map(&trailers).expect("a status")
    }

    /// Whether it waits, however much there is to send.
    async fn waits(&mut self) -> bool {
        timeout(Duration::from_millis(1), self.next()).await.is_err()
    }
}

fn replies(node: usize, connection: usize) -> OutboundBodies {
    OutboundBodies::with_room(&real::env(), node, connection)
}

#[tokio::test]
async fn a_frame_is_held_until_nobody_needs_it() {
    let replies = replies(1 << 20, 1 << 20).of_connection();
    let held = || (replies.unread.node.held(), replies.unread.connection.held());
    let mut unary = Reply::of_call(&replies, READ);
    let small = unary.pass(UNCOUNTED_BYTES).await;
    assert_eq!(held(), (0, 0), "a small one is not counted");
    let large = unary.pass(LARGE).await;
    drop(unary);
    assert_eq!(held(), (LARGE, LARGE), "its body is gone, it is not");
    let mut stream = Reply::of_call(&replies, STREAM);
    let of_stream = stream.pass(1).await;
    assert_eq!(held().1, LARGE + 1 + FRAME_OVERHEAD, "of a stream there may be many small ones");
    drop((small, large));
    assert_eq!(held().0, 1 + FRAME_OVERHEAD);
    drop(of_stream);
    assert_eq!(held(), (0, 0));
}

/// SERVER-3
#[tokio::test]
async fn a_reply_without_room_in_its_connection_ends_and_small_ones_go_on() {
    let replies = replies(10 * LARGE, LARGE).of_connection();
    let first = Reply::of_call(&replies, READ).pass(LARGE).await;
    let error = Reply::of_call(&replies, READ).refused(LARGE).await;
    assert_eq!(error, Error::not_applied(ErrorCode::Overloaded, error.message.clone()));
    assert!(error.message.starts_with("this connection has too many replies"), "{error}");
    let error = Reply::of_call(&replies, WRITE).refused(LARGE).await;
    assert_eq!(error, Error::unknown(ErrorCode::Overloaded, error.message.clone()), "it may have been applied");
    Reply::of_call(&replies, WRITE).pass(UNCOUNTED_BYTES).await;
    let mut plain = Reply::new(&replies, ReplyKind::Plain);
    plain.make(LARGE);
    assert!(plain.next().await.expect("an end").is_err(), "what is not gRPC has no status");
    drop(first);
    Reply::of_call(&replies, READ).pass(LARGE).await;
}

/// SERVER-3
#[tokio::test]
async fn all_connections_share_the_room_of_the_node_for_what_is_unread() {
    let bodies = replies(LARGE, LARGE);
    let (one, other) = (bodies.of_connection(), bodies.of_connection());
    let first = Reply::of_call(&one, READ).pass(LARGE).await;
    let error = Reply::of_call(&other, READ).refused(LARGE).await;
    assert!(error.message.starts_with("this node has too many replies"), "{error}");
    assert_eq!(other.unread.connection.held(), 0);
    drop(first);
    Reply::of_call(&other, READ).pass(LARGE).await;
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn a_stream_waits_until_its_connection_has_room() {
    let replies = replies(10 * LARGE_OF_STREAM, 2 * LARGE_OF_STREAM).of_connection();
    let (mut stream, mut other) = (Reply::of_call(&replies, STREAM), Reply::of_call(&replies, STREAM));
    let (first, second) = (stream.pass(LARGE).await, stream.pass(LARGE).await);
    stream.make(LARGE);
    other.make(LARGE);
    assert!(stream.waits().await && other.waits().await);
    let waiting = tokio::spawn(async move { other.next().await.expect("a frame").is_ok() });
    tokio::task::yield_now().await;
    drop(first);
    assert!(timeout(UNREAD_DEADLINE, waiting).await.expect("it is woken").expect("no panic"));
    assert!(!stream.waits().await, "what the other one held is read");
    drop(second);
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_does_not_wait_for_others() {
    let bodies = replies(LARGE, 10 * LARGE);
    let (lazy, eager) = (bodies.of_connection(), bodies.of_connection());
    let unread = Reply::of_call(&lazy, STREAM).pass(LARGE).await;
    let mut stream = Reply::of_call(&eager, STREAM);
    for _ in 0..3 {
        let read = stream.pass(LARGE).await;
        stream.make(LARGE);
        assert!(stream.waits().await, "the node is full, and it has not read");
        drop(read);
        assert!(!stream.waits().await, "it has read");
    }
    drop(unread);
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn a_frame_that_is_never_read_is_noticed() {
    let replies = replies(1 << 20, 1 << 20).of_connection();
    let mut stream = Reply::of_call(&replies, STREAM);
    let mut noticed = tokio::spawn(replies.clone().unread_too_long());
    let mut newest = stream.pass(LARGE).await;
    for _ in 0..20 {
        assert!(timeout(UNREAD_DEADLINE * 3 / 4, &mut noticed).await.is_err(), "each was read in time");
        newest = stream.pass(LARGE).await;
    }
    let begin = Instant::now();
    timeout(3 * UNREAD_DEADLINE, noticed).await.expect("it is noticed").expect("no panic");
    assert!(begin.elapsed() >= UNREAD_DEADLINE, "{:?}", begin.elapsed());
    drop(newest);
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn a_scan_that_is_paused_ends_by_itself_and_its_connection_goes_on() {
    let replies = replies(1 << 20, 1 << 20).of_connection();
    let (mut paused, mut waiting) = (Reply::of_call(&replies, SCAN), Reply::of_call(&replies, SCAN));
    let unread = paused.pass(LARGE).await;
    let waiting = tokio::spawn(async move { waiting.end().await });
    let mut noticed = tokio::spawn(replies.clone().unread_too_long());
    assert!(timeout(5 * UNREAD_DEADLINE, &mut noticed).await.is_err(), "nobody needs its room");
    assert!(paused.routes.is_closed(), "what it held is gone");
    for status in [paused.end().await, waiting.await.expect("it was woken")] {
        let error = strata_proto::error_of(&status);
        assert_eq!(error, Error::not_applied(ErrorCode::DeadlineExceeded, error.message.clone()));
        assert!(error.message.starts_with("the scan was given up"), "{error}");
    }
    assert_eq!(replies.unread.connection.held(), LARGE_OF_STREAM, "a frame cannot be taken back");
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_is_read_now_and_then_goes_on() {
    let replies = replies(1 << 20, 1 << 20).of_connection();
    let mut scan = Reply::of_call(&replies, SCAN);
    let mut noticed = tokio::spawn(replies.clone().unread_too_long());
    for _ in 0..20 {
        let read = scan.pass(LARGE).await;
        assert!(timeout(UNREAD_DEADLINE * 3 / 4, &mut noticed).await.is_err());
        drop(read);
    }
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn where_room_is_scarce_a_scan_that_is_paused_costs_its_connection() {
    let bodies = replies(4 * LARGE_OF_STREAM, 4 * LARGE_OF_STREAM);
    let (one, other) = (bodies.of_connection(), bodies.of_connection());
    let mut noticed = tokio::spawn(one.clone().unread_too_long());
    let unread = Reply::of_call(&one, SCAN).pass(LARGE).await;
    assert!(timeout(5 * UNREAD_DEADLINE, &mut noticed).await.is_err(), "there is room for others");
    let others = Reply::of_call(&other, SCAN).pass(LARGE).await;
    timeout(3 * UNREAD_DEADLINE, noticed).await.expect("half is taken").expect("no panic");
    drop((unread, others));
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn scans_that_are_paused_do_not_keep_a_full_connection_for_ever() {
    let replies = replies(10 * LARGE_OF_STREAM, 2 * LARGE_OF_STREAM).of_connection();
    let mut scans = [Reply::of_call(&replies, SCAN), Reply::of_call(&replies, SCAN)];
    let mut unread = Vec::new();
    for scan in &mut scans {
        unread.push(scan.pass(LARGE).await);
    }
    let mut stream = Reply::of_call(&replies, STREAM);
    stream.make(LARGE);
    assert!(stream.waits().await);
    timeout(3 * UNREAD_DEADLINE, replies.unread_too_long()).await.expect("it is noticed");
    drop(unread);
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn a_scan_that_waits_for_room_is_told_when_it_is_given_up() {
    let replies = replies(10 * LARGE_OF_STREAM, LARGE_OF_STREAM).of_connection();
    let unread = Reply::of_call(&replies, STREAM).pass(LARGE).await;
    let mut scan = Reply::of_call(&replies, SCAN);
    let waiting = tokio::spawn(async move { scan.end().await });
    tokio::task::yield_now().await;
    // The first one begins the period in which it is asked for nothing.
    for _ in 0..2 {
        replies.scans.give_up_paused();
    }
    let status = timeout(UNREAD_DEADLINE, waiting).await.expect("it is woken").expect("no panic");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    drop(unread);
}
