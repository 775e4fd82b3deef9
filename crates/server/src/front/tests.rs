//! Clients of the port, with and without TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;

use strata_env::real;
use strata_env::sim::SimWorld;
use strata_http::Metrics;
use strata_net::grpc::connect;
use strata_net::tls::{Authority, ClientAuth, ClientTls, Dialer, TlsFiles, Validity};
use strata_proto::v1;
use strata_proto::v1::kv_client::KvClient;
use tokio::io::AsyncReadExt;
use tonic::transport::Endpoint;

use super::*;
use crate::inbound_bodies::InboundBodies;
use crate::outbound_bodies::OutboundBodies;
use crate::protocols::{Grpc, Http};

struct Running {
    front: Arc<Front>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
}

async fn start(connections_max: u32) -> Running {
    start_with(connections_max, None).await
}

async fn start_with(connections_max: u32, tls: Option<Arc<NodeTls>>) -> Running {
    let readiness: Arc<dyn strata_http::Readiness> = Arc::new(|| Err("waiting for 1 more node".to_owned()));
    let router = strata_http::router(Metrics::detached(), readiness.clone());
    let env = real::env();
    let (bodies, replies) = (InboundBodies::new(&env), OutboundBodies::new(&env));
    let grpc = Grpc { routes: Arc::new(OnceLock::new()), router: router.clone(), readiness, bodies, replies };
    let http = Http { router, replies: OutboundBodies::of_http1(&env) };
    let protocols: Vec<Arc<dyn Protocol>> = vec![Arc::new(grpc), Arc::new(http)];
    let (stop, stopping) = watch::channel(false);
    let front = Front::new(protocols, tls, connections_max, stopping);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(front.clone().serve(listener));
    Running { front, address, stop }
}

async fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(bytes).await.expect("writable");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("readable");
    String::from_utf8_lossy(&answer).into_owned()
}

const HEALTH: &[u8] = b"GET /health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn http_is_served_before_the_node_is_ready() {
    let running = start(10).await;
    let answer = say(running.address, HEALTH).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("not ready: waiting for 1 more node\n"), "{answer}");
}

#[tokio::test]
async fn strangers_get_a_line() {
    let running = start(10).await;
    let answer = say(running.address, b"*1\r\n$4\r\nPING\r\n").await;
    assert!(answer.starts_with("strata: this port speaks gRPC and HTTP"), "{answer}");
}

#[tokio::test]
async fn a_call_before_the_node_is_ready_says_why() {
    let running = start(10).await;
    let endpoint = format!("http://{}", running.address).try_into().expect("a valid address");
    let channel = Endpoint::connect(&endpoint).await.expect("connected");
    let mut client = KvClient::new(channel);
    let status = client.get(v1::GetRequest::default()).await.expect_err("not ready");
    let error = strata_proto::error_of(&status);
    assert_eq!(error.code, strata_types::ErrorCode::NotReady);
    assert_eq!(error.message, "the node is not ready: waiting for 1 more node");
}

/// Takes the only place of a client, for as long as the stream lives.
async fn take_the_place(running: &Running) -> TcpStream {
    let mut first = TcpStream::connect(running.address).await.expect("connected");
    first.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("writable");
    let mut byte = [0];
    first.read_exact(&mut byte).await.expect("served, and kept alive");
    first
}

const FULL: &str = "strata: 1 clients are connected already, try another node\r\n";

/// SERVER-3
#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let running = start(1).await;
    let _first = take_the_place(&running).await;
    assert_eq!(say(running.address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, FULL);
}

/// SERVER-3
#[tokio::test]
async fn operators_get_in_where_clients_have_all_places() {
    let running = start(1).await;
    let _first = take_the_place(&running).await;
    for path in ["/health/live", "/metrics"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = say(running.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn stopping_closes_idle_connections() {
    let running = start(10).await;
    let mut silent = TcpStream::connect(running.address).await.expect("connected");
    let mut idle = TcpStream::connect(running.address).await.expect("connected");
    idle.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("writable");
    let mut byte = [0];
    idle.read_exact(&mut byte).await.expect("served, and kept alive");
    running.stop.send(true).expect("somebody listens");
    assert_eq!(running.front.drain(Duration::from_secs(10)).await, 0);
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.expect("closed without a word");
    assert!(rest.is_empty());
}

/// A port with the certificate of a new CA, and how to dial it.
async fn start_encrypted() -> (Running, Dialer) {
    let (running, dialer, _) = start_asking(ClientAuth::None).await;
    (running, dialer)
}

/// The same, with what clients must show. The second dialer shows the certificate of a client.
async fn start_asking(clients: ClientAuth) -> (Running, Dialer, Dialer) {
    let env = real::env();
    let begin = Duration::from_millis(env.clock.unix_millis());
    let validity = Validity { begin, length: Duration::from_secs(3600) };
    let ca = Authority::create("prod", validity).expect("a CA").0;
    let issued = ca.node("db1", &["127.0.0.1".to_owned()], validity).expect("a certificate");
    let disk = SimWorld::new(1).node(1).disk();
    for (name, text) in [("ca.crt", ca.certificate()), ("node.crt", &issued.certificate), ("node.key", &issued.key)] {
        disk.replace(Path::new(name), text.as_bytes()).await.expect("writable");
    }
    let tls = NodeTls::open(env.clone(), disk, TlsFiles::of_node(Path::new("")), clients).await.expect("usable");
    let anybody = ClientTls::new(ca.certificate());
    let ada = ca.client("ada", validity).expect("a certificate");
    let known = anybody.clone().certificate(ada.certificate, ada.key).dialer(&env).expect("usable");
    (start_with(10, Some(tls)).await, anybody.dialer(&env).expect("usable"), known)
}

async fn get(running: &Running, dialer: Option<&Dialer>) -> Result<tonic::Status, String> {
    let endpoint: Endpoint = format!("http://{}", running.address).try_into().expect("a valid address");
    let sentence = |error: &(dyn std::error::Error + 'static)| strata_net::tls::sentence(error).unwrap_or_default();
    let channel = connect(&endpoint, dialer).await.map_err(|error| sentence(&error))?;
    let status = KvClient::new(channel).get(v1::GetRequest::default()).await.expect_err("not ready");
    match std::error::Error::source(&status) {
        // It never came to a call.
        Some(cause) => Err(sentence(cause)),
        None => Ok(status),
    }
}

#[tokio::test]
async fn every_protocol_is_spoken_inside_tls() {
    let (running, dialer) = start_encrypted().await;
    let status = get(&running, Some(&dialer)).await.expect("answered by the node");
    assert_eq!(strata_proto::error_of(&status).code, strata_types::ErrorCode::NotReady);
    let stream = TcpStream::connect(running.address).await.expect("connected");
    let mut stream = dialer.handshake("127.0.0.1", stream).await.expect("believed");
    stream.write_all(HEALTH).await.expect("writable");
    stream.flush().await.expect("writable");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("readable");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("1 more node\n"), "{answer}");
}

/// TLS-4
#[tokio::test]
async fn nothing_is_spoken_with_a_client_that_shows_no_certificate_where_one_is_wanted() {
    let (running, anybody, known) = start_asking(ClientAuth::Required).await;
    let status = get(&running, Some(&known)).await.expect("answered by the node");
    assert_eq!(strata_proto::error_of(&status).code, strata_types::ErrorCode::NotReady);
    let error = get(&running, Some(&anybody)).await.expect_err("not let in");
    assert!(error.starts_with("it wants to see the certificate of a client"), "{error}");
    // Health is on the same port, and behind the same door.
    let health = async |dialer: &Dialer| {
        let stream = TcpStream::connect(running.address).await.expect("connected");
        let mut stream = dialer.handshake("127.0.0.1", stream).await?;
        stream.write_all(HEALTH).await?;
        stream.flush().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<String, Box<dyn std::error::Error>>(answer)
    };
    assert!(health(&known).await.expect("let in").starts_with("HTTP/1.1 503"));
    let error = health(&anybody).await.expect_err("not let in").to_string();
    assert!(error.contains("it wants to see the certificate of a client"), "{error}");
}

#[tokio::test]
async fn who_speaks_without_tls_is_told_in_the_own_protocol() {
    let (running, _) = start_encrypted().await;
    let answer = say(running.address, HEALTH).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("this port speaks TLS only"), "{answer}");
    let answer = say(running.address, b"*1\r\n$4\r\nPING\r\n").await;
    assert!(answer.starts_with("strata: this port speaks TLS only"), "{answer}");
    let error = get(&running, None).await.expect_err("not let in");
    assert!(error.starts_with("this port speaks TLS only"), "{error}");
}

#[tokio::test]
async fn who_speaks_tls_to_a_port_without_is_told_so() {
    let (_, dialer) = start_encrypted().await;
    let plain = start(10).await;
    let error = get(&plain, Some(&dialer)).await.expect_err("not let in");
    assert!(error.starts_with("it does not speak TLS"), "{error}");
}
