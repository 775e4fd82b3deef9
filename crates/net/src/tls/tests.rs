//! Handshakes in memory, on simulated clocks and disks.

#![allow(clippy::disallowed_methods, reason = "tests move the time of the whole world")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS12;
use rustls::{ClientConfig, RootCertStore};
use strata_env::sim::{SimNode, SimWorld};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::explain::Knowledge;
use super::*;

mod clients;

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOST: &str = "db.example";

/// A machine with a clock and a disk.
fn machine(world: &SimWorld, number: u64) -> SimNode {
    world.node(number)
}

fn validity(machine: &SimNode, days: u32) -> Validity {
    Validity { begin: Duration::from_millis(machine.env().clock.unix_millis()), length: DAY * days }
}

fn authority(machine: &SimNode, cluster: &str) -> Authority {
    Authority::create(cluster, validity(machine, 1_000)).expect("a CA").0
}

/// Writes what a node reads.
async fn write(machine: &SimNode, ca: &str, node: &Issued) {
    let disk = machine.disk();
    for (name, text) in [("ca.crt", ca), ("node.crt", &node.certificate), ("node.key", &node.key)] {
        disk.replace(Path::new(name), text.as_bytes()).await.expect("writable");
    }
}

async fn open(machine: &SimNode, ca: &Authority, node: &Issued) -> Result<Arc<NodeTls>, TlsError> {
    open_for(machine, ca, node, ClientAuth::None).await
}

async fn open_for(
    machine: &SimNode,
    ca: &Authority,
    node: &Issued,
    clients: ClientAuth,
) -> Result<Arc<NodeTls>, TlsError> {
    write(machine, ca.certificate(), node).await;
    NodeTls::open(machine.env(), machine.disk(), TlsFiles::of_node(Path::new("")), clients).await
}

fn issue(machine: &SimNode, ca: &Authority, name: &str) -> Issued {
    let hosts = [HOST.to_owned(), "127.0.0.1".to_owned()];
    ca.node(name, &hosts, validity(machine, 100)).expect("a certificate")
}

async fn node(machine: &SimNode, ca: &Authority, name: &str) -> Arc<NodeTls> {
    open(machine, ca, &issue(machine, ca, name)).await.expect("usable")
}

fn client(machine: &SimNode, ca: &Authority, own: Option<Issued>) -> Dialer {
    let tls = ClientTls::new(ca.certificate());
    let tls = own.map_or_else(|| tls.clone(), |own| tls.clone().certificate(own.certificate, own.key));
    tls.dialer(&machine.env()).expect("usable")
}

/// Which port of a node is dialed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Peer,
    Client,
}

/// What the dialing and the accepting side say when they want to exchange a word.
async fn talk(dialer: &Dialer, host: &str, node: &NodeTls, port: Port) -> (Result<(), String>, Result<(), String>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let dial = async {
        let mut stream = dialer.handshake(host, near).await.map_err(|error| error.to_string())?;
        stream.write_all(b"ping").await.map_err(|error| error.to_string())?;
        stream.flush().await.map_err(|error| error.to_string())?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.map_err(|error| error.to_string())?;
        assert_eq!(&answer, b"pong");
        Ok(())
    };
    let accept = async {
        let accepted = match port {
            Port::Peer => node.handshake_peer(far).await,
            Port::Client => node.handshake_client(far).await,
        };
        let mut stream = accepted.map_err(|error| error.to_string())?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.map_err(|error| error.to_string())?;
        stream.write_all(b"pong").await.map_err(|error| error.to_string())?;
        stream.flush().await.map_err(|error| error.to_string())
    };
    tokio::join!(dial, accept)
}

/// Asserts that both sides failed, and that each of them said all of these words.
fn assert_refused(result: (Result<(), String>, Result<(), String>), dialing: &[&str], accepting: &[&str]) {
    let (dialed, accepted) = (result.0.expect_err("refused"), result.1.expect_err("refused"));
    for word in dialing {
        assert!(dialed.contains(word), "the dialing side lacks `{word}`: {dialed}");
    }
    for word in accepting {
        assert!(accepted.contains(word), "the accepting side lacks `{word}`: {accepted}");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_of_one_ca_talk_and_clients_that_believe_it_as_well() {
    let world = SimWorld::new(1);
    let (one, two) = (machine(&world, 1), machine(&world, 2));
    let ca = authority(&one, "prod");
    let (a, b) = (node(&one, &ca, "db1").await, node(&two, &ca, "db2").await);
    assert_eq!((b.facts().name.as_str(), b.facts().role), ("db2", Some(Role::Node)));
    assert_eq!(b.facts().issuer, "strata CA of prod");
    for host in [HOST, "127.0.0.1"] {
        assert_eq!(talk(&a.dialer(), host, &b, Port::Peer).await, (Ok(()), Ok(())), "{host}");
        let client = client(&one, &ca, None);
        assert_eq!(talk(&client, host, &b, Port::Client).await, (Ok(()), Ok(())), "{host}");
    }
}

/// TLS-1, TLS-2
#[tokio::test(start_paused = true)]
async fn a_node_of_another_ca_is_refused_by_both_sides() {
    let world = SimWorld::new(1);
    let (one, two) = (machine(&world, 1), machine(&world, 2));
    let ours = node(&one, &authority(&one, "prod"), "db1").await;
    let theirs = node(&two, &authority(&two, "test"), "db1").await;
    let both = ["signed by `strata CA of prod`", "`strata CA of test` is believed here"];
    assert_refused(talk(&theirs.dialer(), HOST, &ours, Port::Peer).await, &both, &[]);
    let twin = node(&two, &authority(&two, "prod"), "db1").await;
    let result = talk(&twin.dialer(), HOST, &ours, Port::Peer).await;
    assert_refused(result, &["another CA of the name `strata CA of prod`"], &[]);
    // Somebody who believes this cluster, but is not of it.
    let db9 = issue(&two, &authority(&two, "test"), "db9");
    let ca = one.disk().read(Path::new(TlsFiles::CA)).await.expect("readable").to_vec();
    let stranger = ClientTls::new(ca).certificate(db9.certificate, db9.key).dialer(&one.env()).expect("usable");
    let result = talk(&stranger, HOST, &ours, Port::Peer).await;
    let dialing = ["`db9`, signed by `strata CA of test`", "it believes another CA"];
    assert_refused(result, &dialing, &["not signed by `strata CA of prod`"]);
}

/// TLS-1
#[tokio::test(start_paused = true)]
async fn the_certificate_of_a_client_opens_no_peer_port_and_no_certificate_neither() {
    let world = SimWorld::new(1);
    let one = machine(&world, 1);
    let ca = authority(&one, "prod");
    let node = node(&one, &ca, "db1").await;
    let ada = || ca.client("ada", validity(&one, 10)).expect("a certificate");
    let result = talk(&client(&one, &ca, Some(ada())), HOST, &node, Port::Peer).await;
    let dialing = ["does not accept the certificate of this side (`ada`", "or not that of a node"];
    assert_refused(result, &dialing, &["certificate (`ada`) is that of a client", "strata cert node"]);
    let result = talk(&client(&one, &ca, None), HOST, &node, Port::Peer).await;
    assert_refused(result, &["it wants to see the certificate"], &["it shows no certificate", "only nodes"]);
    let result = talk(&client(&one, &ca, Some(ada())), HOST, &node, Port::Client).await;
    assert_eq!(result, (Ok(()), Ok(())), "the client port takes it");
    let error = open(&one, &ca, &ada()).await.err().expect("a node cannot be a client").to_string();
    assert!(error.contains("node.crt") && error.contains("that of a client"), "{error}");
}

/// A dialer that offers TLS 1.2 only.
fn old_client(machine: &SimNode, ca: &Authority) -> Dialer {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.certificate().as_bytes()).expect("PEM")).expect("a CA");
    let time = Arc::new(config::NodeTime(machine.env().clock));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_details(provider, time).with_protocol_versions(&[&TLS12]);
    let config = config.expect("TLS 1.2").with_root_certificates(roots).with_no_client_auth();
    Dialer::new(config, Arc::new(Knowledge::default()), None)
}

/// TLS-1, TLS-2
#[tokio::test(start_paused = true)]
async fn an_expired_certificate_is_refused_with_its_date() {
    let world = SimWorld::new(1);
    let (one, two) = (machine(&world, 1), machine(&world, 2));
    let ca = authority(&one, "prod");
    let (a, b) = (node(&one, &ca, "db1").await, node(&two, &ca, "db2").await);
    let end = facts::date(a.expires());
    two.set_clock_offset(101 * 24 * 3600 * 1000);
    assert_refused(talk(&b.dialer(), HOST, &a, Port::Peer).await, &[&format!("expired on {end}")], &["expired"]);
    let result = talk(&a.dialer(), HOST, &b, Port::Peer).await;
    assert_refused(result, &["it has expired, by the clock there"], &[&format!("expired on {end}")]);
    let error = open(&two, &ca, &issue(&one, &ca, "db2")).await.err().expect("useless").to_string();
    assert!(error.starts_with("node.crt expired on"), "{error}");
}

/// TLS-2
#[tokio::test(start_paused = true)]
async fn a_node_that_is_dialed_by_another_name_is_refused() {
    let world = SimWorld::new(1);
    let one = machine(&world, 1);
    let ca = authority(&one, "prod");
    let node = node(&one, &ca, "db1").await;
    let result = talk(&node.dialer(), "elsewhere.example", &node, Port::Peer).await;
    assert_refused(result, &["db.example", "not for elsewhere.example", "--host elsewhere.example"], &[]);
    // Through a tunnel: dialed is one name, meant is another.
    let tunnel = ClientTls::new(ca.certificate()).server_name(HOST).dialer(&one.env()).expect("usable");
    assert_eq!(talk(&tunnel, "elsewhere.example", &node, Port::Client).await, (Ok(()), Ok(())));
}

/// TLS-1
#[tokio::test(start_paused = true)]
async fn nodes_speak_no_tls_1_2_with_each_other_and_clients_may() {
    let world = SimWorld::new(1);
    let one = machine(&world, 1);
    let ca = authority(&one, "prod");
    let node = node(&one, &ca, "db1").await;
    let dialer = old_client(&one, &ca);
    assert_eq!(talk(&dialer, HOST, &node, Port::Client).await, (Ok(()), Ok(())));
    let result = talk(&dialer, HOST, &node, Port::Peer).await;
    assert_refused(result, &["no version of TLS"], &["no version of TLS"]);
}

/// TLS-3
#[tokio::test(start_paused = true)]
async fn replaced_files_are_used_and_broken_ones_are_not() {
    const LOOKED: Duration = Duration::from_secs(6);
    let world = SimWorld::new(1);
    let one = machine(&world, 1);
    let ca = authority(&one, "prod");
    let node = node(&one, &ca, "first").await;
    node.keep_fresh();
    let old = node.dialer();
    tokio::time::sleep(LOOKED).await;
    assert_eq!(node.facts().name, "first");

    // The key of another certificate, as when only one file of two is there yet.
    let second = issue(&one, &ca, "second");
    one.disk().replace(Path::new("node.crt"), second.certificate.as_bytes()).await.expect("writable");
    let error = node.reload().await.expect_err("half of a set").to_string();
    assert!(error.starts_with("node.key is not the key of node.crt"), "{error}");
    tokio::time::sleep(LOOKED).await;
    assert_eq!(node.facts().name, "first");
    assert_eq!(talk(&old, HOST, &node, Port::Peer).await, (Ok(()), Ok(())), "the old set serves");

    one.disk().replace(Path::new("node.key"), second.key.as_bytes()).await.expect("writable");
    tokio::time::sleep(LOOKED).await;
    assert_eq!(node.facts().name, "second");
    assert_eq!(talk(&node.dialer(), HOST, &node, Port::Peer).await, (Ok(()), Ok(())));

    // A new CA: who still has the old one is not believed any more.
    let new = authority(&one, "prod2");
    write(&one, new.certificate(), &issue(&one, &new, "third")).await;
    tokio::time::sleep(LOOKED).await;
    assert_eq!(node.facts().issuer, "strata CA of prod2");
    assert_refused(talk(&old, HOST, &node, Port::Peer).await, &["signed by `strata CA of prod2`"], &[]);
    one.disk().remove_file(Path::new("node.crt")).await.expect("it was there");
    assert!(matches!(node.reload().await, Err(TlsError::Unreadable { .. })));
}

#[tokio::test(start_paused = true)]
async fn files_that_cannot_be_used_are_named() {
    let world = SimWorld::new(1);
    let one = machine(&world, 1);
    let (ca, other) = (authority(&one, "prod"), authority(&one, "test"));
    let good = issue(&one, &ca, "db1");
    let sentence = async |ca: &Authority, node: &Issued| open(&one, ca, node).await.err().expect("refused").to_string();
    let foreign = sentence(&other, &good).await;
    assert_eq!(foreign, "node.crt is not signed by the CA beside it (`strata CA of test`)");
    let garbage = Issued { certificate: "hello".to_owned(), key: good.key.clone() };
    assert_eq!(sentence(&ca, &garbage).await, "node.crt holds no certificate");
    let swapped = Issued { certificate: good.certificate.clone(), key: "hello".to_owned() };
    assert!(sentence(&ca, &swapped).await.starts_with("node.key holds no private key"));
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_was_kept_goes_on_signing_and_no_other_key_does() {
    let world = SimWorld::new(1);
    let one = machine(&world, 1);
    let (first, kept) = Authority::create("prod", validity(&one, 10)).expect("a CA");
    let again = Authority::open(&kept).expect("the same CA");
    let (a, b) = (node(&one, &first, "db1").await, node(&world.node(2), &again, "db2").await);
    assert_eq!(talk(&a.dialer(), HOST, &b, Port::Peer).await, (Ok(()), Ok(())));
    let other = Authority::create("prod", validity(&one, 10)).expect("a CA").1;
    let error = Authority::open(&Issued { key: other.key, ..kept }).err().expect("another key").to_string();
    assert!(error.starts_with("the key of the CA is not the key of the certificate of the CA"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn somebody_without_tls_is_told_so() {
    let world = SimWorld::new(1);
    let one = machine(&world, 1);
    let ca = authority(&one, "prod");
    let node = node(&one, &ca, "db1").await;
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let plain = async move {
        far.write_all(b"strata: this port speaks gRPC and HTTP\r\n").await.expect("room");
        far
    };
    let dialer = node.dialer();
    let (dialed, _far) = tokio::join!(dialer.handshake(HOST, near), plain);
    let Err(error) = dialed else { panic!("it was let in") };
    let error = error.to_string();
    assert!(error.starts_with("it does not speak TLS"), "{error}");
}
