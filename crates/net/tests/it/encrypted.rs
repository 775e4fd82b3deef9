//! Real transports over loopback, with certificates.

#![allow(clippy::disallowed_methods, reason = "these tests are about real sockets")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_env::real;
use strata_env::sim::SimWorld;
use strata_net::grpc::{GrpcSettings, GrpcTransport};
use strata_net::tls::{Authority, ClientAuth, NodeTls, TlsFiles, Validity};
use strata_net::{MessageKind, NetError, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::loopback::{CLUSTER, TestNode, within};

fn validity() -> Validity {
    let begin = Duration::from_millis(real::env().clock.unix_millis());
    Validity { begin, length: Duration::from_secs(3600) }
}

async fn certificates(ca: &Authority, name: &str) -> Arc<NodeTls> {
    let disk = SimWorld::new(1).node(1).disk();
    let issued = ca.node(name, &["127.0.0.1".to_owned()], validity()).expect("a certificate");
    for (name, text) in [("ca.crt", ca.certificate()), ("node.crt", &issued.certificate), ("node.key", &issued.key)] {
        disk.replace(Path::new(name), text.as_bytes()).await.expect("writable");
    }
    NodeTls::open(real::env(), disk, TlsFiles::of_node(Path::new("")), ClientAuth::None).await.expect("usable")
}

async fn start(id: u64, tls: Option<Arc<NodeTls>>) -> TestNode {
    let (env, listener) = (real::env(), TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
    let transport = GrpcTransport::with_tls(env.clone(), GrpcSettings::default(), tls);
    TestNode::start_with(env, transport, listener, CLUSTER, id)
}

/// Calls, and gives what came or why nothing did.
async fn call(from: &TestNode, to: &TestNode) -> Result<Bytes, NetError> {
    within(from.call(to.id, MessageKind::Append, Bytes::from_static(b"hello"))).await
}

/// Introduces itself: what a node does that is no member yet.
async fn introduction(from: &TestNode, to: &TestNode) -> String {
    let introduced = from.transport.introduce(&to.address, Bytes::new(), Duration::from_secs(10));
    within(introduced).await.expect_err("not let in").to_string()
}

/// TLS-1, TLS-2
#[tokio::test]
async fn nodes_of_one_ca_call_each_other_and_all_others_are_told_why_not() {
    let ca = Authority::create("prod", validity()).expect("a CA").0;
    let (a, b) =
        (start(1, Some(certificates(&ca, "db1").await)).await, start(2, Some(certificates(&ca, "db2").await)).await);
    a.knows(&b);
    b.knows(&a);
    assert_eq!(call(&a, &b).await, Ok(Bytes::from_static(b"hello")));
    assert_eq!(call(&b, &a).await, Ok(Bytes::from_static(b"hello")));

    let other = Authority::create("test", validity()).expect("a CA").0;
    let foreign = start(3, Some(certificates(&other, "db3").await)).await;
    let sentence = introduction(&foreign, &a).await;
    let cause = "signed by `strata CA of prod`, and `strata CA of test` is believed here";
    assert!(sentence.contains(cause), "{sentence}");
    foreign.knows(&a);
    let error = call(&foreign, &a).await.expect_err("not let in");
    assert!(error.to_string().contains(cause), "{error}");

    let plain = start(4, None).await;
    let sentence = introduction(&plain, &a).await;
    assert!(sentence.contains("detail=`this port speaks TLS only"), "{sentence}");
    let sentence = introduction(&a, &plain).await;
    assert!(sentence.contains("it does not speak TLS") || sentence.contains("does it speak TLS?"), "{sentence}");
    for node in [a, b, foreign, plain] {
        node.stop().await;
    }
}

/// TLS-1
#[tokio::test]
async fn http_without_tls_is_answered_in_http() {
    let ca = Authority::create("prod", validity()).expect("a CA").0;
    let node = start(1, Some(certificates(&ca, "db1").await)).await;
    let mut stream = TcpStream::connect(&node.address).await.expect("connected");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("writable");
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.expect("readable");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("this port speaks TLS only"), "{answer}");
    node.stop().await;
}
