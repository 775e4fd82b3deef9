//! Bodies whose frames the test sends.

mod loopback;

use std::future::poll_fn;

use strata_env::real;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tonic::Code;

use super::*;
use crate::loopback::Script;

const STREAM: &str = "/strata.v1.Kv/Stream";
const UNARY: &str = "/strata.v1.Kv/Put";

/// A call, and what tonic would do with it.
struct Call {
    client: mpsc::UnboundedSender<Bytes>,
    body: InboundBody<Script>,
}

impl Call {
    fn new(bodies: &ConnectionBodies, path: &str) -> Call {
        let (client, frames) = mpsc::unbounded_channel();
        let request = Request::builder().uri(path).body(Script(frames)).expect("a request");
        Call { client, body: bodies.bound(request).into_body() }
    }

    fn send(&self, bytes: &[u8]) {
        self.client.send(Bytes::copy_from_slice(bytes)).expect("the body lives");
    }

    /// The next frame; `None` at the end.
    async fn next(&mut self) -> Option<Result<(), Status>> {
        let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await?;
        Some(frame.map(|_| ()).map_err(Status::from_error))
    }

    /// Reads what there is.
    async fn read(&mut self) -> Result<(), Status> {
        // Nothing more comes, so that this does not last.
        while let Ok(Some(read)) = timeout(Duration::from_millis(1), self.next()).await {
            read?;
        }
        Ok(())
    }
}

fn bodies(node: usize, connection: usize) -> InboundBodies {
    InboundBodies::with_room(&real::env(), node, connection)
}

fn message(payload: usize) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(payload).expect("short").to_be_bytes());
    bytes.resize(HEADER_BYTES + payload, 7);
    bytes
}

fn taken(bodies: &ConnectionBodies, node: usize, connection: usize) -> (usize, usize) {
    (node - bodies.0.node.available_permits(), connection - bodies.0.connection.available_permits())
}

#[test]
fn messages_may_be_cut_anywhere() {
    let messages = [message(0), message(3), message(300), message(0), message(70_000)];
    let bytes = messages.concat();
    let mut ends = vec![0];
    for message in &messages {
        ends.push(ends[ends.len() - 1] + message.len());
    }
    let mut by_byte = Framing::default();
    for cut in 0..=bytes.len() {
        if cut > 0 {
            assert_eq!(by_byte.follow(&bytes[cut - 1..cut]), ends.contains(&cut), "at {cut}");
        }
        let begin = ends.iter().filter(|end| **end <= cut).max().expect("the first is 0");
        let mut in_two = Framing::default();
        assert_eq!(in_two.follow(&bytes[..cut]), *begin > 0, "at {cut}");
        assert_eq!((in_two.unfinished(), by_byte.unfinished()), (cut - begin, cut - begin), "at {cut}");
        in_two.follow(&bytes[cut..]);
        assert_eq!(in_two.unfinished(), 0, "cut at {cut}");
    }
}

/// A call that takes a stream and is not known as one would end after a while, however well it behaves.
#[test]
fn every_call_that_takes_a_stream_is_known() {
    let services = [
        ("Admin", include_str!("../../../../proto/strata/v1/admin.proto")),
        ("Kv", include_str!("../../../../proto/strata/v1/kv.proto")),
        ("Txn", include_str!("../../../../proto/strata/v1/txn.proto")),
    ];
    let mut found = Vec::new();
    for (service, file) in services {
        for line in file.lines() {
            let Some((name, input)) = line.trim().strip_prefix("rpc ").and_then(|call| call.split_once('(')) else {
                continue;
            };
            if input.starts_with("stream ") {
                found.push(format!("/strata.v1.{service}/{name}"));
            }
        }
    }
    let known: Vec<&str> = STREAMS.into_iter().filter(|path| path.starts_with("/strata.")).collect();
    assert_eq!(found, known);
}

#[tokio::test(start_paused = true)]
async fn a_stream_holds_what_is_unfinished_until_it_is_whole_or_dropped() {
    let connection = bodies(1_000, 1_000).of_connection();
    let mut call = Call::new(&connection, STREAM);
    call.send(&[message(10), message(0), message(100)[..55].to_vec()].concat());
    call.read().await.expect("there is room");
    assert_eq!(taken(&connection, 1_000, 1_000), (55, 55));
    call.send(&[message(100)[55..].to_vec(), message(200)[..3].to_vec()].concat());
    call.read().await.expect("there is room");
    assert_eq!(taken(&connection, 1_000, 1_000), (3, 55), "its buffer stays as large as it was");
    call.send(&message(200)[3..]);
    call.read().await.expect("there is room");
    assert_eq!(taken(&connection, 1_000, 1_000), (0, 55));
    call.send(&message(200)[..105]);
    call.read().await.expect("there is room");
    assert_eq!(taken(&connection, 1_000, 1_000), (105, 105));
    drop(call);
    assert_eq!(taken(&connection, 1_000, 1_000), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn any_other_call_holds_all_that_it_sent_until_it_begins() {
    let connection = bodies(1_000, 1_000).of_connection();
    let mut whole = Call::new(&connection, UNARY);
    whole.send(&message(100));
    whole.next().await.expect("a frame").expect("there is room");
    assert_eq!(taken(&connection, 1_000, 1_000), (0, 0), "its end may be next");
    whole.read().await.expect("there is room");
    assert_eq!(taken(&connection, 1_000, 1_000), (105, 105), "it is not");
    drop(whole);
    assert_eq!(taken(&connection, 1_000, 1_000), (0, 0));

    let mut endless = Call::new(&connection, UNARY);
    for _ in 0..10 {
        endless.send(&message(100));
    }
    let status = endless.read().await.expect_err("more than one message");
    assert_eq!(status.code(), Code::ResourceExhausted);
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn what_has_no_room_in_its_connection_ends_and_the_others_go_on() {
    let connection = bodies(1_000, 100).of_connection();
    let (mut first, mut second) = (Call::new(&connection, UNARY), Call::new(&connection, UNARY));
    first.send(&message(80)[..60]);
    first.read().await.expect("there is room");
    second.send(&message(80)[..60]);
    let status = second.read().await.expect_err("there is no room");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let error = strata_proto::error_of(&status);
    assert_eq!(error, Error::not_applied(ErrorCode::Overloaded, error.message.clone()));
    assert!(error.message.starts_with("this connection has too many unfinished messages"), "{error}");
    drop(second);
    first.send(&message(80)[60..]);
    first.read().await.expect("there is room");
    drop(first);
    let mut third = Call::new(&connection, UNARY);
    third.send(&message(95)[..99]);
    third.read().await.expect("all room was given back");
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn all_connections_share_the_room_of_the_node() {
    let bodies = bodies(100, 80);
    let (one, other) = (bodies.of_connection(), bodies.of_connection());
    let (mut first, mut second) = (Call::new(&one, STREAM), Call::new(&other, STREAM));
    first.send(&message(90)[..60]);
    first.read().await.expect("there is room");
    second.send(&message(90)[..60]);
    let status = second.read().await.expect_err("there is no room");
    let error = strata_proto::error_of(&status);
    assert_eq!(error, Error::unknown(ErrorCode::Overloaded, error.message.clone()));
    assert!(error.message.starts_with("this node has too many unfinished messages"), "{error}");
    drop(first);
    let mut third = Call::new(&other, STREAM);
    third.send(&message(90)[..60]);
    third.read().await.expect("there is room again");
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_finished_in_time_ends_its_call() {
    for path in [STREAM, UNARY] {
        let begin = Instant::now();
        let mut call = Call::new(&bodies(1_000, 1_000).of_connection(), path);
        assert!(timeout(10 * MESSAGE_DEADLINE, call.next()).await.is_err(), "nothing was begun: it may be idle");
        call.send(&message(80)[..1]);
        call.next().await.expect("a frame").expect("in time");
        assert!(timeout(MESSAGE_DEADLINE * 3 / 4, call.next()).await.is_err(), "there is time left");
        // A trickle does not help.
        call.send(&message(80)[1..50]);
        call.next().await.expect("a frame").expect("in time");
        let status = call.next().await.expect("an error").expect_err("too late");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        let waited = begin.elapsed() - 11 * MESSAGE_DEADLINE;
        assert!(waited < Duration::from_secs(1), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_message_of_a_stream_has_its_own_time() {
    let mut call = Call::new(&bodies(1_000, 1_000).of_connection(), STREAM);
    call.send(&message(80)[..50]);
    for _ in 0..5 {
        call.next().await.expect("a frame").expect("in time");
        assert!(timeout(MESSAGE_DEADLINE * 3 / 4, call.next()).await.is_err(), "there is time left");
        call.send(&[&message(80)[50..], &message(80)[..50]].concat());
    }
    call.next().await.expect("a frame").expect("in time");
    call.send(&message(80)[50..]);
    call.next().await.expect("a frame").expect("in time");
    assert!(timeout(10 * MESSAGE_DEADLINE, call.next()).await.is_err(), "between messages it may be idle");
}

/// A whole message whose call is not ended is held as well: there is no request yet.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_ended_in_time_ends_with_an_error() {
    let mut call = Call::new(&bodies(1_000, 1_000).of_connection(), UNARY);
    call.send(&message(80));
    call.next().await.expect("a frame").expect("in time");
    let status = call.next().await.expect("an error").expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}
