#![allow(clippy::disallowed_methods, reason = "tests move the time of the whole world")]

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use strata_env::sim::{SimNode, SimWorld};
use strata_net::{Introductions, Lane, Message, NetError, Transport};
use strata_types::{ClusterId, NodeId};

use super::*;
use crate::address_book::AddressBook;
use crate::settings::tests::settings;

/// A network of introductions only.
#[derive(Default)]
struct Net {
    nodes: Mutex<BTreeMap<String, Arc<Reception>>>,
}

#[async_trait]
impl Transport for Net {
    fn send(&self, _lane: Lane, _message: Message) -> Result<(), NetError> {
        Ok(())
    }

    fn identify(&self, _cluster: ClusterId, _node: NodeId) {}

    fn set_address(&self, _node: NodeId, _address: &str) {}

    async fn introduce(&self, address: &str, body: Bytes, _deadline: Duration) -> Result<Bytes, NetError> {
        let unreachable = || NetError::Unreachable { target: address.to_owned(), detail: "connection refused".into() };
        let node = self.nodes.lock().get(address).cloned().ok_or_else(unreachable)?;
        node.introduce(body).await.map_err(|detail| NetError::Refused { target: address.to_owned(), detail })
    }
}

/// One start of one node, as far as joining goes.
async fn start(net: &Arc<Net>, machine: &SimNode, settings: NodeSettings) -> Result<Membership, StartError> {
    let env = machine.env();
    let directory = DataDirectory::new(env.clone(), machine.disk());
    let identity = directory.open().await?;
    let transport: Arc<dyn Transport> = net.clone();
    let book = Arc::new(AddressBook::new(transport.clone()));
    let own = settings.peer_address.clone();
    let reception = Reception::new(env.clone(), transport, book, identity.instance, own.clone());
    net.nodes.lock().insert(own, reception.clone());
    match identity.membership {
        Some(membership) => {
            reception.seat(membership.clone());
            Ok(membership)
        }
        None => {
            let report = |_: Phase| {};
            let joining = Joining {
                env: &env,
                settings: &settings,
                directory: &directory,
                reception: &reception,
                report: &report,
            };
            joining.join().await
        }
    }
}

/// The same on a task of the machine; ends with it.
fn spawn(net: &Arc<Net>, machine: &SimNode, settings: NodeSettings) -> tokio::sync::oneshot::Receiver<Outcome> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let (net, machine_too) = (net.clone(), machine.clone());
    machine.env().spawn("test-start", async move {
        let _ = sender.send(start(&net, &machine_too, settings).await);
    });
    receiver
}

type Outcome = Result<Membership, StartError>;

const JOIN: [&str; 3] = ["a:1", "b:1", "c:1"];

#[tokio::test(start_paused = true)]
async fn three_nodes_become_one_cluster_in_any_order() {
    let (world, net) = (SimWorld::new(3), Arc::new(Net::default()));
    let machines: Vec<_> = (0..3).map(|number| world.node(number)).collect();
    let mut waiting = Vec::new();
    for number in [2, 0, 1] {
        waiting.push((number, spawn(&net, &machines[number], settings(JOIN[number], &JOIN, 3))));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut charters = Vec::new();
    for (number, outcome) in waiting {
        let membership = outcome.await.expect("no crash").expect("a seat");
        assert_eq!(membership.node, NodeId(number as u64 + 1));
        charters.push(membership.charter);
    }
    assert!(charters.windows(2).all(|pair| pair[0] == pair[1]));

    // The same line again: the same nodes.
    for (number, machine) in machines.iter().enumerate() {
        machine.kill();
        machine.restart();
        let again = start(&net, machine, settings(JOIN[number], &JOIN, 3)).await.expect("it has its seat");
        assert_eq!((again.node, &again.charter), (NodeId(number as u64 + 1), &charters[0]));
    }

    // A node too many, and one that lost its data directory.
    let refused = |outcome: Outcome| match outcome {
        Err(StartError::Complete { nodes, .. }) => assert_eq!(nodes, 3),
        other => panic!("{other:?}"),
    };
    refused(start(&net, &world.node(9), settings("d:1", &["a:1", "b:1"], 3)).await);
    net.nodes.lock().remove("a:1");
    refused(start(&net, &world.node(10), settings("a:1", &JOIN, 3)).await);
}

/// CLUSTER-1: whoever crashes, and wherever, there is one charter.
#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_leaves_one_cluster() {
    for seed in 0..40 {
        let (world, net) = (SimWorld::new(seed), Arc::new(Net::default()));
        let machines: Vec<_> = (0..3).map(|number| world.node(number)).collect();
        let crashing = (seed % 3) as usize;
        machines[crashing].crash_at_operation(Some(1 + seed / 3));
        let mut waiting: Vec<_> =
            (0..3).map(|number| spawn(&net, &machines[number], settings(JOIN[number], &JOIN, 3))).collect();
        tokio::time::sleep(Duration::from_secs(2)).await;
        machines[crashing].crash_at_operation(None);
        machines[crashing].crash();
        net.nodes.lock().remove(JOIN[crashing]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        machines[crashing].restart();
        waiting[crashing] = spawn(&net, &machines[crashing], settings(JOIN[crashing], &JOIN, 3));
        let mut seen: Option<Charter> = None;
        for (number, outcome) in waiting.into_iter().enumerate() {
            let membership = outcome.await.expect("alive").expect("a seat");
            assert_eq!(membership.node, NodeId(number as u64 + 1), "seed {seed}");
            assert_eq!(seen.get_or_insert_with(|| membership.charter.clone()), &membership.charter, "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_first_address_is_waited_for() {
    let (world, net) = (SimWorld::new(5), Arc::new(Net::default()));
    let phases = Arc::new(Mutex::new(Vec::new()));
    let machine = world.node(1);
    let env = machine.env();
    let directory = DataDirectory::new(env.clone(), machine.disk());
    let instance = directory.open().await.expect("new").instance;
    let transport: Arc<dyn Transport> = net.clone();
    let book = Arc::new(AddressBook::new(transport.clone()));
    let reception = Reception::new(env.clone(), transport, book, instance, "b:1".into());
    let settings = settings("b:1", &["a:1", "b:1"], 2);
    let sink = phases.clone();
    let report = move |phase: Phase| sink.lock().push(phase);
    let joining =
        Joining { env: &env, settings: &settings, directory: &directory, reception: &reception, report: &report };
    assert!(env.timeout(Duration::from_secs(5), joining.join()).await.is_err(), "it goes on trying");
    let reason = "no answer from a:1 yet (connection refused): start that node, or correct --join".to_owned();
    let phases = phases.lock();
    assert!(phases.len() > 10 && phases.iter().all(|phase| *phase == Phase::Waiting { reason: reason.clone() }));
}

#[tokio::test(start_paused = true)]
async fn the_founder_may_be_listed_under_another_name() {
    let (world, net) = (SimWorld::new(6), Arc::new(Net::default()));
    let machine = world.node(1);
    let first = spawn(&net, &machine, settings("a:1", &["localhost:1", "b:1", "x:1"], 2));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let reception = net.nodes.lock().get("a:1").cloned().expect("it has started");
    net.nodes.lock().insert("localhost:1".into(), reception);
    let second = spawn(&net, &world.node(2), settings("b:1", &["localhost:1", "b:1", "x:1"], 2));
    // The list names more nodes than are expected, so the missing own address is an error for the first one.
    assert!(matches!(first.await.expect("alive"), Err(StartError::NotInJoinList { .. })));
    drop(second);
    let first = spawn(&net, &machine, settings("a:1", &["localhost:1"], 2));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let reception = net.nodes.lock().get("a:1").cloned().expect("it has started");
    net.nodes.lock().insert("localhost:1".into(), reception);
    let second = spawn(&net, &world.node(3), settings("b:2", &["localhost:1"], 2));
    assert_eq!(first.await.expect("alive").expect("a seat").node, NodeId(1));
    assert_eq!(second.await.expect("alive").expect("a seat").node, NodeId(2));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_address_is_told_to_its_owner() {
    let (world, net) = (SimWorld::new(7), Arc::new(Net::default()));
    let _founder = spawn(&net, &world.node(1), settings("a:1", &["a:1"], 3));
    let _second = spawn(&net, &world.node(2), settings("b:1", &["a:1"], 3));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let twin = world.node(3);
    let env = twin.env();
    let directory = DataDirectory::new(env.clone(), twin.disk());
    let instance = directory.open().await.expect("new").instance;
    let transport: Arc<dyn Transport> = net.clone();
    let book = Arc::new(AddressBook::new(transport.clone()));
    // It gives the address of the second node; whoever asks there finds that one.
    let reception = Reception::new(env.clone(), transport, book, instance, "b:1".into());
    let settings = settings("b:1", &["a:1"], 3);
    let report = |_: Phase| {};
    let joining =
        Joining { env: &env, settings: &settings, directory: &directory, reception: &reception, report: &report };
    assert_eq!(joining.join().await, Err(StartError::AddressTaken { address: "b:1".into() }));
}
