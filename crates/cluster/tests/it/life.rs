//! Founding, restarts, refusals, damage, leaders.

use std::path::Path;
use std::time::Duration;

use strata_cluster::{Node, Phase, StartError};
use strata_env::OpenMode;
use strata_env::sim::SimWorld;
use strata_types::{ClusterOverview, GroupId, NodeId};

use crate::hub::{Hub, Machine, settings, start_all};

pub(crate) const ADDRESSES: [&str; 3] = ["a:1", "b:1", "c:1"];

pub(crate) fn machines(seed: u64) -> Vec<Machine> {
    let (world, hub) = (SimWorld::new(seed), Hub::new());
    (1..=3).map(|number| Machine::new(&world, &hub, number)).collect()
}

/// Nodes that lead, by shard.
pub(crate) fn leaders(overview: &ClusterOverview) -> Vec<Option<NodeId>> {
    overview.shards.iter().map(|shard| shard.leader).collect()
}

/// Nodes that should lead, by shard.
pub(crate) fn preferred(node: &Node) -> Vec<Option<NodeId>> {
    node.map().shards.iter().map(|shard| shard.replicas.first().map(|first| first.node)).collect()
}

/// Waits until an overview looks as wanted.
pub(crate) async fn eventually(node: &Node, what: &str, wanted: impl Fn(&ClusterOverview) -> bool) -> ClusterOverview {
    for _ in 0..600 {
        let overview = node.overview().await;
        if wanted(&overview) {
            return overview;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} did not come: {:#?}", node.overview().await);
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_is_ready_at_once_and_keeps_its_identity() {
    let (world, hub) = (SimWorld::new(1), Hub::new());
    let machine = Machine::new(&world, &hub, 1);
    let (node, _) = machine.start(settings("a:1", &[])).await.expect("it needs nobody");
    node.wait_ready().await;
    assert_eq!(node.ready(), Ok(()));
    let (identity, map) = (node.identity(), node.map());
    assert_eq!((identity.node, map.shards.len()), (NodeId(1), 4));
    map.validate().expect("a valid map");
    node.shutdown().await;
    assert_eq!(machine.phases.lock().last(), Some(&Phase::Stopped));
    assert!(node.ready().is_err());
    drop(node);
    let (node, _) = machine.start(settings("a:1", &[])).await.expect("it was closed cleanly");
    node.wait_ready().await;
    assert_eq!((node.identity(), &*node.map()), (identity, &*map));
}

#[tokio::test(start_paused = true)]
async fn three_nodes_agree_and_each_leads_its_share() {
    let machines = machines(2);
    let nodes = start_all(&machines, &ADDRESSES).await;
    let (first, _) = &nodes[0];
    for (number, (node, _)) in nodes.iter().enumerate() {
        assert_eq!(node.identity().node, NodeId(number as u64 + 1));
        assert_eq!(*node.map(), *first.map());
        let overview = node.overview().await;
        assert_eq!(leaders(&overview), preferred(first), "the preferred node founds a group and leads it");
        assert!(overview.nodes.iter().all(|node| node.is_up && node.replicas == 4), "{overview:?}");
        assert!(overview.meta_leader.is_some());
    }
    let phases = machines[2].phases.lock();
    assert!(phases.contains(&Phase::WaitingForMeta) && phases.last() == Some(&Phase::Ready), "{phases:?}");
}

#[tokio::test(start_paused = true)]
async fn all_nodes_come_back_on_other_ports() {
    let machines = machines(3);
    let cluster = start_all(&machines, &ADDRESSES).await[0].0.identity().cluster;
    machines.iter().for_each(Machine::kill);
    let others = ["a:2", "b:2", "c:2"];
    let nodes = start_all(&machines, &others).await;
    for (number, (node, _)) in nodes.iter().enumerate() {
        assert_eq!((node.identity().cluster, node.identity().node), (cluster, NodeId(number as u64 + 1)));
        let known =
            |overview: &ClusterOverview| overview.nodes.iter().map(|node| node.node.peer_address.as_str()).eq(others);
        eventually(node, "the new addresses", known).await;
    }
}

#[tokio::test(start_paused = true)]
async fn leaders_go_to_those_who_stay_and_come_back() {
    let machines = machines(4);
    let nodes = start_all(&machines, &ADDRESSES).await;
    let wanted = preferred(&nodes[0].0);
    let gone = wanted[0].expect("a leader");
    let index = gone.0 as usize - 1;
    machines[index].kill();
    let stays = &nodes[(index + 1) % 3].0;
    let led_by_others =
        |overview: &ClusterOverview| leaders(overview).iter().all(|led| led.is_some_and(|by| by != gone));
    let overview = eventually(stays, "a failover", led_by_others).await;
    assert!(!overview.nodes[index].is_up);
    let (back, _) = machines[index].start(settings(ADDRESSES[index], &ADDRESSES)).await.expect("the same node");
    back.wait_ready().await;
    eventually(stays, "the old leaders", |overview| leaders(overview) == wanted).await;
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_gives_leaders_away_first() {
    let machines = machines(5);
    let nodes = start_all(&machines, &ADDRESSES).await;
    let gone = preferred(&nodes[0].0)[0].expect("a leader");
    let index = gone.0 as usize - 1;
    nodes[index].0.shutdown().await;
    let phases = machines[index].phases.lock().clone();
    let moving: Vec<_> = phases.iter().filter(|phase| matches!(phase, Phase::MovingLeaders { .. })).collect();
    assert_eq!(moving.last(), Some(&&Phase::MovingLeaders { remaining: 0 }), "{phases:?}");
    machines[index].kill();
    let stays = &nodes[(index + 1) % 3].0;
    assert!(leaders(&stays.overview().await).iter().all(|led| led.is_some_and(|by| by != gone)));
}

/// CLUSTER-5
#[tokio::test(start_paused = true)]
async fn a_damaged_replica_is_named_and_the_rest_goes_on() {
    let machines = machines(6);
    let nodes = start_all(&machines, &ADDRESSES).await;
    let placement = nodes[0].0.map().shards[0].clone();
    let broken = placement.replicas[0];
    let index = broken.node.0 as usize - 1;
    drop(nodes);
    machines.iter().for_each(Machine::kill);
    *machines[index].damaged.lock() = Some(broken.replica);
    let starts = machines.iter().zip(ADDRESSES).map(|(machine, own)| machine.start(settings(own, &ADDRESSES)));
    let started = futures_util::future::join_all(starts).await;
    let (node, _) = started[index].as_ref().expect("it starts without that replica");
    // Before it is built anew.
    assert_eq!(node.host().groups().len(), 4, "the meta group and the other three shards");
    assert!(node.host().group(GroupId::of_shard(placement.shard)).is_none());
    let overview = node.overview().await;
    let named = overview.shards[0].replicas.iter().find(|replica| replica.replica == broken.replica);
    let problem = named.and_then(|replica| replica.problem.clone()).unwrap_or_default();
    assert!(problem.contains("000012.sst"), "{problem}");
    eventually(node, "leaders", |overview| leaders(overview).iter().all(Option::is_some)).await;
}

/// Copies the small files of a data directory, as an operator might.
async fn copy_identity(from: &Machine, to: &Machine) {
    for file in ["FORMAT", "identity"] {
        let content = from.sim.disk().read(Path::new(file)).await.expect("a started node has it");
        to.sim.disk().replace(Path::new(file), &content).await.expect("room");
    }
}

/// CLUSTER-3
#[tokio::test(start_paused = true)]
async fn a_copy_of_a_data_directory_is_refused() {
    let (world, hub) = (SimWorld::new(7), Hub::new());
    let machines: Vec<_> = (1..=4).map(|number| Machine::new(&world, &hub, number)).collect();
    let nodes = start_all(&machines[..3], &ADDRESSES).await;
    copy_identity(&machines[1], &machines[3]).await;
    let copy = machines[3].start(settings("d:1", &ADDRESSES)).await.map(|_| ());
    assert_eq!(copy, Err(StartError::IdentityTaken { node: NodeId(2), address: "b:1".into() }));
    assert_eq!(nodes[1].0.ready(), Ok(()));
    // When the original is gone, the copy is the node.
    machines[1].kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (node, _) = machines[3].start(settings("d:1", &ADDRESSES)).await.expect("nobody else has the id");
    assert_eq!(node.identity().node, NodeId(2));
}

#[tokio::test(start_paused = true)]
async fn a_data_directory_of_another_cluster_and_a_newer_format_are_refused() {
    let (world, hub) = (SimWorld::new(8), Hub::new());
    let (here, there) = (Machine::new(&world, &hub, 1), Machine::new(&world, &hub, 2));
    let (first, _) = here.start(settings("a:1", &[])).await.expect("alone");
    first.wait_ready().await;
    let (second, _) = there.start(settings("b:1", &[])).await.expect("alone");
    let (own, other) = (second.identity().cluster, first.identity().cluster);
    let refused = there.start(settings("b:1", &["a:1", "b:1"])).await.map(|_| ());
    assert_eq!(refused, Err(StartError::OtherCluster { own, other, address: "a:1".into() }));

    there.kill();
    there.sim.restart();
    let file = there.sim.disk().open(Path::new("FORMAT"), OpenMode::Write).await.expect("it is there");
    file.write_at(0, b"strata 9\n").await.expect("room");
    let refused = there.start(settings("b:1", &[])).await.map(|_| ());
    assert_eq!(refused, Err(StartError::NewerFormat { found: 9, known: 1 }));
}
