#![allow(clippy::disallowed_methods, reason = "tests move the time of the whole world")]

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use strata_env::sim::{SimNode, SimWorld};
use strata_net::{Introductions, Lane, Message, NetError, Transport};
use strata_types::{ClusterId, NodeId};

use super::*;
use crate::ClusterName;
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

    // A node too many, and one that lost its data directory: the members cannot take them in before they are up.
    for (machine, own, join) in [(9, "d:1", &JOIN[..2]), (10, "a:1", &JOIN)] {
        net.nodes.lock().remove(own);
        let machine = world.node(machine);
        let asks = start(&net, &machine, settings(own, join, 3));
        assert!(tokio::time::timeout(Duration::from_secs(5), asks).await.is_err(), "it goes on asking");
    }
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

/// One start that only looks for its place, and what it tells meanwhile.
async fn tell(net: &Arc<Net>, machine: &SimNode, settings: NodeSettings) -> (Option<Outcome>, Vec<Phase>) {
    let env = machine.env();
    let directory = DataDirectory::new(env.clone(), machine.disk());
    let instance = directory.open().await.expect("new").instance;
    let transport: Arc<dyn Transport> = net.clone();
    let book = Arc::new(AddressBook::new(transport.clone()));
    let own = settings.peer_address.clone();
    let reception = Reception::new(env.clone(), transport, book, instance, own.clone());
    net.nodes.lock().insert(own, reception.clone());
    let phases = Mutex::new(Vec::new());
    let report = |phase: Phase| phases.lock().push(phase);
    let joining =
        Joining { env: &env, settings: &settings, directory: &directory, reception: &reception, report: &report };
    let outcome = env.timeout(Duration::from_secs(5), joining.join()).await.ok();
    let mut phases = std::mem::take(&mut *phases.lock());
    phases.dedup();
    (outcome, phases)
}

fn joins(own: &str, join: &[&str]) -> NodeSettings {
    NodeSettings { expect: None, ..settings(own, join, 1) }
}

/// CLUSTER-8
#[tokio::test(start_paused = true)]
async fn a_node_that_only_joins_founds_nothing_and_counts_for_nobody() {
    let (world, net) = (SimWorld::new(8), Arc::new(Net::default()));
    let founder = spawn(&net, &world.node(1), settings("a:1", &["a:1"], 2));
    let (outcome, phases) = tell(&net, &world.node(2), joins("b:1", &["a:1", "x:1"])).await;
    assert_eq!(outcome, None, "it goes on trying");
    let reason = "the node at a:1 is in no cluster yet: this node joins when there is one; with --expect it would be \
                  founded with it";
    assert_eq!(phases, [Phase::Waiting { reason: reason.into() }]);
    let second = spawn(&net, &world.node(3), settings("c:1", &["a:1"], 2));
    let charter = founder.await.expect("alive").expect("a seat").charter;
    assert_eq!(charter.seats.iter().map(|seat| &*seat.peer_address).collect::<Vec<_>>(), ["a:1", "c:1"]);
    second.await.expect("alive").expect("a seat");
    let (_, phases) = tell(&net, &world.node(4), joins("d:1", &["x:1"])).await;
    let reason = "no answer from x:1 yet (connection refused): start that node, or correct --join".to_owned();
    assert_eq!(phases, [Phase::Waiting { reason }]);
}

/// CLUSTER-8: the members are there but cannot take it in; the founder's list must not make a second cluster.
#[tokio::test(start_paused = true)]
async fn a_founder_that_lost_its_data_directory_founds_no_second_cluster() {
    let (world, net) = (SimWorld::new(9), Arc::new(Net::default()));
    let waiting: Vec<_> =
        (0..3).map(|number| spawn(&net, &world.node(number), settings(JOIN[number as usize], &JOIN, 3))).collect();
    for outcome in waiting {
        outcome.await.expect("no crash").expect("a seat");
    }
    // Two of three come back empty, and so does a third that was never a member: enough to found with.
    let line = |own: &str| settings(own, &["a:1", "b:1", "c:1", "d:1"], 3);
    let lost = [(10, "a:1"), (11, "b:1"), (12, "d:1")];
    let nodes = lost.map(|(number, _)| world.node(number));
    let tries = lost.iter().zip(&nodes).map(|((_, own), machine)| tell(&net, machine, line(own)));
    for (outcome, phases) in futures_util::future::join_all(tries).await {
        assert_eq!(outcome, None, "it waits for its cluster");
        let reason = "the node at c:1 cannot take this node in yet: it is starting".to_owned();
        assert_eq!(phases.last(), Some(&Phase::Waiting { reason }));
    }
}

fn named(name: &str, settings: NodeSettings) -> NodeSettings {
    NodeSettings { cluster: ClusterName::parse(name).expect("a name"), ..settings }
}

/// CLUSTER-10
#[tokio::test(start_paused = true)]
async fn a_node_that_was_started_for_another_cluster_is_told_both_names() {
    let (world, net) = (SimWorld::new(11), Arc::new(Net::default()));
    let line = |own| settings(own, &["a:1"], 2);
    let founder = spawn(&net, &world.node(1), named("prod", line("a:1")));
    let differs = tell(&net, &world.node(2), line("b:1")).await.0;
    let detail = "--cluster strata and --cluster prod".to_owned();
    assert_eq!(differs, Some(Err(StartError::SettingsDiffer { address: "a:1".into(), detail })));
    let second = spawn(&net, &world.node(3), named("prod", line("c:1")));
    let seats = [founder.await, second.await].map(|outcome| outcome.expect("alive").expect("a seat"));
    assert!(seats.iter().all(|seat| seat.cluster.as_str() == "prod"));

    let detail = |wanted: &str| {
        format!(
            "it is called prod, and this node was started for a cluster called {wanted}: start it with --cluster prod, or \
             name nodes of {wanted} with --join"
        )
    };
    for (number, own, wanted) in [(4, "d:1", "strata"), (5, "e:1", "test")] {
        let outcome = tell(&net, &world.node(number), named(wanted, joins(own, &["a:1"]))).await.0;
        let refused = StartError::NotTaken { address: "a:1".into(), detail: detail(wanted) };
        assert_eq!(outcome, Some(Err(refused)), "{wanted}");
    }
    let (outcome, phases) = tell(&net, &world.node(6), named("prod", joins("f:1", &["a:1"]))).await;
    let reason = "the node at a:1 cannot take this node in yet: it is starting".to_owned();
    assert_eq!((outcome, phases.last()), (None, Some(&Phase::Waiting { reason })), "with the name it is as always");
}

#[tokio::test(start_paused = true)]
async fn wrong_join_lists_are_refused_with_a_reason() {
    let (world, net) = (SimWorld::new(10), Arc::new(Net::default()));
    for (number, own) in [(1, "a:1"), (2, "b:1")] {
        start(&net, &world.node(number), settings(own, &[], 1)).await.expect("a cluster of its own");
    }
    let two = tell(&net, &world.node(3), joins("c:1", &["a:1", "b:1"])).await.0;
    assert_eq!(two, Some(Err(StartError::TwoClusters { first: "a:1".into(), second: "b:1".into() })));
    let two = tell(&net, &world.node(4), settings("c:1", &["a:1", "b:1"], 3)).await.0;
    assert!(matches!(two, Some(Err(StartError::TwoClusters { .. }))), "{two:?}");
    // Its own address under another name.
    let machine = world.node(5);
    let first = tell(&net, &machine, joins("d:1", &["localhost:1"])).await.0;
    assert_eq!(first, None, "nobody answers there yet");
    let reception = net.nodes.lock().get("d:1").cloned().expect("it has started");
    net.nodes.lock().insert("localhost:1".into(), reception.clone());
    let alias = joins("d:1", &["localhost:1"]);
    let (env, directory) = (machine.env(), DataDirectory::new(machine.env(), machine.disk()));
    let report = |_: Phase| {};
    let joining =
        Joining { env: &env, settings: &alias, directory: &directory, reception: &reception, report: &report };
    assert_eq!(joining.join().await, Err(StartError::JoinsItself { own: "d:1".into() }));
}
