//! Nodes that come to a cluster that there is already.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strata_cluster::{ClusterName, Node, NodeSettings, Phase, StartError};
use strata_env::sim::SimWorld;
use strata_meta::{MetaCommand, MetaReply};
use strata_types::{ClusterVersion, NodeId, NodeState, ShardMap, VersionRange};

use crate::hub::{Hub, Machine, settings, start_all};
use crate::life::ADDRESSES;

/// Three machines for the founding, and `more`.
fn machines(seed: u64, more: u64) -> Vec<Machine> {
    let (world, hub) = (SimWorld::new(seed), Hub::new());
    (1..=3 + more).map(|number| Machine::new(&world, &hub, number)).collect()
}

async fn three(machines: &[Machine]) -> Vec<Arc<Node>> {
    start_all(&machines[..3], &ADDRESSES).await.into_iter().map(|(node, _)| node).collect()
}

/// Settings of a node that founds nothing.
fn joins(own: &str, join: &[&str]) -> NodeSettings {
    NodeSettings { expect: None, ..settings(own, join) }
}

async fn join(machine: &Machine, settings: NodeSettings) -> Arc<Node> {
    let (node, _) = machine.start(settings).await.expect("the cluster takes it in");
    node.wait_ready().await;
    node
}

/// Waits until a node's map looks as wanted.
async fn map_with(node: &Node, wanted: impl Fn(&ShardMap) -> bool) -> Arc<ShardMap> {
    let mut maps = node.watch_map();
    let patience = tokio::time::timeout(Duration::from_secs(60), maps.wait_for(|map| wanted(map))).await;
    match patience {
        Ok(map) => map.expect("the node lives").clone(),
        Err(_) => panic!("no such map came: {:#?}", node.map()),
    }
}

fn ids(map: &ShardMap) -> Vec<u64> {
    map.nodes.iter().map(|node| node.id.0).collect()
}

fn state(map: &ShardMap, node: u64) -> Option<NodeState> {
    map.node(NodeId(node)).map(|node| node.state)
}

async fn set_state(by: &Node, node: u64, wanted: NodeState) {
    let wish = MetaCommand::SetNodeState { node: NodeId(node), wanted, force: true };
    let reply = by.administer(wish, Duration::from_secs(10)).await;
    assert!(matches!(reply, Ok(MetaReply::NodeStateSet { .. })), "{reply:?}");
}

/// Waits until a machine has stopped itself, and returns why.
async fn halted(machine: &Machine) -> String {
    for _ in 0..600 {
        if let Some(halt) = machine.sim.halted() {
            return halt.reason;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it goes on: {:?}", machine.phases.lock());
}

#[tokio::test(start_paused = true)]
async fn a_fourth_node_joins_by_any_member_and_stays_the_same_node() {
    let machines = machines(21, 1);
    let nodes = three(&machines).await;
    let line = NodeSettings { zone: "z".into(), weight: 3, ..joins("d:1", &["b:1"]) };
    let fourth = join(&machines[3], line.clone()).await;
    assert_eq!((fourth.identity().cluster, fourth.identity().node), (nodes[0].identity().cluster, NodeId(4)));
    for node in &nodes {
        let map = map_with(node, |map| map.nodes.len() == 4).await;
        let seen = map.node(NodeId(4)).expect("it is there");
        assert_eq!((&*seen.peer_address, &*seen.client_address, &*seen.zone), ("d:1", "client.d:1", "z"));
        assert_eq!((seen.weight, seen.state), (3, NodeState::Active));
        assert!(node.overview().await.nodes.iter().all(|node| node.is_up));
    }
    assert!(machines[3].phases.lock().iter().all(|phase| *phase != Phase::Founding));
    drop(fourth);
    // With another line, at another place: it is the same node, and the map follows.
    let moved = NodeSettings { zone: "y".into(), ..joins("d:2", &["c:1"]) };
    let again = join(&machines[3], moved).await;
    assert_eq!(again.identity().node, NodeId(4));
    let is_there = |map: &ShardMap| map.node(NodeId(4)).is_some_and(|node| node.peer_address == "d:2");
    let map = map_with(&nodes[1], is_there).await;
    assert_eq!((ids(&map), map.node(NodeId(4)).map(|node| &*node.zone)), (vec![1, 2, 3, 4], Some("y")));
}

/// CLUSTER-2
#[tokio::test(start_paused = true)]
async fn a_node_that_crashes_while_it_joins_gets_the_same_id_again() {
    for operation in 1..16 {
        let machines = machines(100 + operation, 1);
        let nodes = three(&machines).await;
        machines[3].sim.crash_at_operation(Some(operation));
        let _ = tokio::time::timeout(Duration::from_secs(5), machines[3].start(joins("d:1", &ADDRESSES))).await;
        machines[3].sim.crash_at_operation(None);
        machines[3].sim.crash();
        let node = join(&machines[3], joins("d:1", &ADDRESSES)).await;
        let map = map_with(&nodes[0], |map| map.nodes.len() == 4).await;
        // Without a durable instance it was nobody; with one it is who it was.
        assert_eq!((node.identity().node, ids(&map)), (NodeId(4), vec![1, 2, 3, 4]), "operation {operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_of_the_founding_line_join_when_the_others_have_founded() {
    let machines = machines(22, 3);
    let line = |own: &str| NodeSettings { expect: Some(3), ..settings(own, &["a:1"]) };
    let all = ["a:1", "b:1", "c:1", "d:1"];
    let starts = machines.iter().zip(all).map(|(machine, own)| machine.start(line(own)));
    let mut nodes = Vec::new();
    for started in futures_util::future::join_all(starts).await {
        let (node, _) = started.expect("a place for everybody");
        node.wait_ready().await;
        nodes.push(node);
    }
    let mut given: Vec<_> = nodes.iter().map(|node| node.identity().node.0).collect();
    assert_eq!(given[0], 1);
    given.sort_unstable();
    assert_eq!(given, [1, 2, 3, 4]);
    assert!(nodes.windows(2).all(|pair| pair[0].identity().cluster == pair[1].identity().cluster));
    // Another count, and a list that is full without it.
    let fifth = join(&machines[4], NodeSettings { expect: Some(5), ..line("e:1") }).await;
    assert_eq!(fifth.identity().node, NodeId(5));
    let sixth = join(&machines[5], NodeSettings { expect: Some(3), ..settings("f:1", &all) }).await;
    assert_eq!(sixth.identity().node, NodeId(6));
}

#[tokio::test(start_paused = true)]
async fn a_node_joins_while_the_leader_of_the_meta_group_dies() {
    for (seed, delay) in [(23, 0), (24, 2), (25, 40), (26, 300)] {
        let machines = machines(seed, 1);
        let nodes = three(&machines).await;
        let leader = nodes[0].overview().await.meta_leader.expect("a leader").0 as usize - 1;
        let death = async {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            machines[leader].kill();
        };
        let begun = tokio::time::Instant::now();
        let (node, ()) = tokio::join!(join(&machines[3], joins("d:1", &ADDRESSES)), death);
        assert_eq!(node.identity().node, NodeId(4), "seed {seed}");
        assert!(begun.elapsed() < Duration::from_secs(15), "seed {seed}: it took {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lives_is_not_lost_for_long() {
    let machines = machines(27, 1);
    let nodes = three(&machines).await;
    let fourth = join(&machines[3], joins("d:1", &ADDRESSES)).await;
    let wish = MetaCommand::SetNodeState { node: NodeId(4), wanted: NodeState::Lost, force: true };
    let reply = nodes[0].administer(wish, Duration::from_secs(10)).await;
    let is_refused = matches!(&reply, Ok(MetaReply::Refused(refusal)) if refusal.to_string().contains("is alive"));
    assert!(is_refused, "{reply:?}");
    assert_eq!(state(&nodes[0].map(), 4), Some(NodeState::Active));
    // Who is cut off cannot be told from who is dead.
    machines[3].cut_off();
    set_state(&nodes[0], 4, NodeState::Lost).await;
    let lost = nodes[0].map().epoch;
    machines[3].heal();
    let map = map_with(&nodes[0], |map| map.epoch > lost && state(map, 4) == Some(NodeState::Active)).await;
    assert_eq!(ids(&map), [1, 2, 3, 4]);
    // The same for one that stopped and starts again.
    fourth.shutdown().await;
    machines[3].kill();
    map_with(&nodes[0], |map| state(map, 4) == Some(NodeState::Stopping)).await;
    join(&machines[3], joins("d:1", &ADDRESSES)).await;
    map_with(&nodes[0], |map| state(map, 4) == Some(NodeState::Active)).await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_node_ends_and_does_not_come_back() {
    let machines = machines(28, 1);
    let nodes = three(&machines).await;
    let fourth = join(&machines[3], joins("d:1", &ADDRESSES)).await;
    set_state(&nodes[0], 4, NodeState::Removing).await;
    map_with(&nodes[0], |map| state(map, 4) != Some(NodeState::Active)).await;
    // It would not come back, so it may be given up although it is alive.
    set_state(&nodes[0], 4, NodeState::Lost).await;
    map_with(&nodes[0], |map| map.nodes.len() == 3).await;
    let sentence = "this data directory belongs to node n4, which was removed from the cluster; \
                    start with an empty directory";
    assert_eq!(halted(&machines[3]).await, sentence);
    drop(fourth);
    for _ in 0..2 {
        let _ = machines[3].start(joins("d:1", &ADDRESSES)).await;
        assert_eq!(halted(&machines[3]).await, sentence);
    }
    assert_eq!(ids(&nodes[0].map()), [1, 2, 3]);
}

/// Copies the small files of a data directory, as an operator might.
async fn copy_identity(from: &Machine, to: &Machine) {
    for file in ["FORMAT", "identity"] {
        let content = from.sim.disk().read(Path::new(file)).await.expect("it has started once");
        to.sim.disk().replace(Path::new(file), &content).await.expect("room");
    }
}

/// CLUSTER-3
#[tokio::test(start_paused = true)]
async fn of_two_copies_of_a_fresh_data_directory_one_joins() {
    let machines = machines(29, 2);
    let nodes = three(&machines).await;
    let waits = machines[3].start(joins("d:1", &["x:1"]));
    assert!(tokio::time::timeout(Duration::from_secs(1), waits).await.is_err(), "nobody is at x:1");
    copy_identity(&machines[3], &machines[4]).await;
    let fourth = join(&machines[3], joins("d:1", &ADDRESSES)).await;
    let copy = machines[4].start(joins("e:1", &ADDRESSES)).await.map(|_| ());
    assert_eq!(copy, Err(StartError::IdentityTaken { node: NodeId(4), address: "d:1".into() }));
    let copy = machines[4].start(joins("e:1", &["d:1"])).await.map(|_| ());
    assert_eq!(copy, Err(StartError::IdentityTaken { node: NodeId(4), address: "d:1".into() }));
    assert_eq!(fourth.ready(), Ok(()));
    // When the node was removed, its copy is refused at the door.
    set_state(&nodes[0], 4, NodeState::Removing).await;
    map_with(&nodes[0], |map| map.nodes.len() == 3).await;
    halted(&machines[3]).await;
    machines[3].kill();
    let copy = machines[4].start(joins("e:1", &ADDRESSES)).await.map(|_| ());
    assert_eq!(copy, Err(StartError::Removed { node: NodeId(4) }));
}

/// CLUSTER-3: while the node that both were copied from is looked for, neither of them is there yet.
#[tokio::test(start_paused = true)]
async fn of_two_copies_that_start_at_the_same_time_one_takes_part() {
    let machines = machines(38, 2);
    let nodes = three(&machines).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    for copy in &machines[3..] {
        copy_identity(&machines[1], copy).await;
    }
    machines[1].vanish();
    let line = |own| settings(own, &ADDRESSES);
    let (first, second) = tokio::join!(machines[3].start(line("d:1")), machines[4].start(line("e:1")));
    let outcomes = [first.map(|_| ()), second.map(|_| ())];
    let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(!refused.is_empty(), "both were let in");
    let is_taken = |error: &&StartError| matches!(error, StartError::IdentityTaken { node: NodeId(2), .. });
    assert!(refused.iter().all(is_taken), "{refused:?}");
    drop(nodes);
}

#[tokio::test(start_paused = true)]
async fn programs_of_other_versions_are_refused() {
    let machines = machines(30, 1);
    let _nodes = three(&machines).await;
    let next = ClusterVersion(ClusterVersion::NEWEST.0 + 1);
    let versions = VersionRange { least: next, most: next };
    let newer = NodeSettings { versions, ..joins("d:1", &ADDRESSES) };
    let refused = machines[3].start(newer.clone()).await.map(|_| ());
    let expected = (ClusterVersion::NEWEST, versions);
    assert!(
        matches!(&refused, Err(StartError::Version { version, versions, .. }) if (*version, *versions) == expected),
        "{refused:?}"
    );
    // A member that was started with the wrong program.
    join(&machines[3], joins("d:1", &ADDRESSES)).await;
    let refused = machines[3].start(newer).await.map(|_| ());
    assert!(matches!(refused, Err(StartError::Outdated { .. })), "{refused:?}");
}

/// CLUSTER-11
#[tokio::test(start_paused = true)]
async fn a_program_that_the_cluster_outgrows_while_it_runs_ends() {
    let machines = machines(37, 0);
    let old = VersionRange { least: ClusterVersion(1), most: ClusterVersion(2) };
    let (first, second) = (ClusterVersion(2), ClusterVersion(3));
    let starts = |versions| {
        let line = move |own| NodeSettings { versions, ..settings(own, &ADDRESSES) };
        machines.iter().zip(ADDRESSES).map(move |(machine, own)| machine.start(line(own)))
    };
    for started in futures_util::future::join_all(starts(old)).await {
        started.expect("it founds a cluster").0.wait_ready().await;
    }
    let mut nodes = Vec::new();
    for started in starts(VersionRange::SUPPORTED) {
        let (node, _) = started.await.expect("a newer program");
        node.wait_ready().await;
        nodes.push(node);
    }
    let knows = |map: &ShardMap| map.nodes.iter().all(|node| node.versions == VersionRange::SUPPORTED);
    map_with(&nodes[0], knows).await;
    // The third one takes a step back, and nobody hears of it.
    machines[2].cut_off();
    machines[2].kill();
    let (third, _) =
        machines[2].start(NodeSettings { versions: old, ..settings("c:1", &ADDRESSES) }).await.expect("it is alone");
    map_with(&third, |map| map.version == first).await;
    let raise = MetaCommand::RaiseVersion { to: second };
    let raised = |reply: &MetaReply| matches!(reply, MetaReply::Done { .. });
    while !nodes[0].administer(raise.clone(), Duration::from_secs(10)).await.is_ok_and(|reply| raised(&reply)) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    machines[2].heal();
    let reason = halted(&machines[2]).await;
    let says = [format!("has version {second}"), "start it with a program of the version".to_owned()];
    assert!(says.iter().all(|words| reason.contains(words)), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lost_its_data_directory_comes_back_as_another() {
    let machines = machines(31, 2);
    let nodes = three(&machines).await;
    machines[2].kill();
    let third = join(&machines[3], settings("c:1", &ADDRESSES)).await;
    assert_eq!(third.identity().node, NodeId(4));
    let map = map_with(&nodes[0], |map| map.node(NodeId(4)).is_some()).await;
    assert_ne!(state(&map, 3), Some(NodeState::Active), "nobody can be at its address");
    // Who replaces it must have its replicas before another one may go.
    let has_left = |map: &ShardMap| {
        map.groups().all(|group| {
            group.changes.change.is_none() && group.replicas.iter().all(|replica| replica.node != NodeId(3))
        })
    };
    map_with(&nodes[1], has_left).await;
    // The founder too: its list says that it founds.
    machines[0].kill();
    let first = join(&machines[4], settings("a:1", &ADDRESSES)).await;
    assert_eq!((first.identity().cluster, first.identity().node), (third.identity().cluster, NodeId(5)));
    assert!(machines[4].phases.lock().iter().all(|phase| *phase != Phase::Founding));
}

#[tokio::test(start_paused = true)]
async fn everybody_comes_back_on_other_ports_and_finds_who_joined() {
    let machines = machines(32, 2);
    let nodes = three(&machines).await;
    for (machine, own) in machines[3..].iter().zip(["d:1", "e:1"]) {
        join(machine, joins(own, &["a:1"])).await;
    }
    map_with(&nodes[0], |map| map.nodes.len() == 5).await;
    drop(nodes);
    machines.iter().for_each(Machine::kill);
    let others = ["a:2", "b:2", "c:2", "d:2", "e:2"];
    let starts = machines.iter().zip(others).map(|(machine, own)| join(machine, joins(own, &["a:2", "b:2", "e:2"])));
    let nodes = futures_util::future::join_all(starts).await;
    for (number, node) in nodes.iter().enumerate() {
        assert_eq!(node.identity().node, NodeId(number as u64 + 1));
        map_with(node, |map| map.nodes.iter().map(|node| node.peer_address.as_str()).eq(others)).await;
    }
}

/// CLUSTER-9: the meta group lives where no charter has it, and nobody at the join addresses.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_has_moved_to_who_joined_finds_itself_again() {
    let machines = machines(33, 3);
    let nodes = three(&machines).await;
    let (late, addresses) = (&machines[3..], ["d:1", "e:1", "f:1"]);
    let mut joined = Vec::new();
    for (machine, own) in late.iter().zip(addresses) {
        joined.push(join(machine, joins(own, &ADDRESSES)).await);
    }
    for gone in 1..=3 {
        set_state(&joined[0], gone, NodeState::Removing).await;
        map_with(&joined[0], |map| map.node(NodeId(gone)).is_none()).await;
    }
    let on = |map: &ShardMap| map.meta.iter().map(|replica| replica.node.0).collect::<std::collections::BTreeSet<_>>();
    let moved = on(&joined[0].map());
    assert!(!moved.is_empty() && moved.iter().all(|node| *node > 3), "{moved:?}");
    // Every node has seen it before it ends.
    for node in &joined {
        map_with(node, |map| map.nodes.len() == 3).await;
    }
    drop((nodes, joined));
    machines.iter().for_each(Machine::kill);
    let starts = late.iter().zip(addresses).map(|(machine, own)| join(machine, joins(own, &ADDRESSES)));
    for node in futures_util::future::join_all(starts).await {
        let map = map_with(&node, |map| map.epoch.0 > 0).await;
        assert_eq!((ids(&map), on(&map)), (vec![4, 5, 6], moved.clone()));
    }
}

/// CLUSTER-10
#[tokio::test(start_paused = true)]
async fn a_node_is_a_member_only_of_a_cluster_of_the_name_that_it_was_started_for() {
    let machines = machines(31, 1);
    let named = |name: &str, settings: NodeSettings| NodeSettings {
        cluster: ClusterName::parse(name).expect("a name"),
        ..settings
    };
    let line = |own: &str| named("prod", settings(own, &ADDRESSES));
    let starts = machines.iter().zip(ADDRESSES).map(|(machine, own)| machine.start(line(own)));
    let mut nodes = Vec::new();
    for started in futures_util::future::join_all(starts).await {
        let (node, _) = started.expect("a place for everybody");
        node.wait_ready().await;
        nodes.push(node);
    }
    assert_eq!(nodes[0].overview().await.name, "prod");
    let refused = machines[3].start(joins("d:1", &ADDRESSES)).await.map(|_| ());
    assert!(
        matches!(&refused, Err(StartError::NotTaken { detail, .. }) if detail.starts_with("it is called prod, and this")),
        "{refused:?}"
    );
    assert_eq!(ids(&nodes[0].map()), [1, 2, 3]);
    // With the name the same directory is taken in, and then it is of that cluster and no other.
    let fourth = join(&machines[3], named("prod", joins("d:1", &ADDRESSES))).await;
    assert_eq!((fourth.identity().node, fourth.overview().await.name.as_str()), (NodeId(4), "prod"));
    drop(fourth);
    for wanted in ["strata", "test"] {
        let refused = machines[3].start(named(wanted, joins("d:1", &ADDRESSES))).await.map(|_| ());
        let other = StartError::OtherName { own: "prod".into(), wanted: wanted.into() };
        assert_eq!(refused.err(), Some(other));
    }
    let again = join(&machines[3], named("prod", joins("d:1", &ADDRESSES))).await;
    assert_eq!(again.identity().node, NodeId(4));
}
