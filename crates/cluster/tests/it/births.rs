//! Groups whose first node is down when they are born.

use std::time::Duration;

use futures_util::future::join_all;
use strata_cluster::{Node, Phase};
use strata_types::{ClusterOverview, NodeId};

use crate::hub::{Machine, settings};
use crate::life::{ADDRESSES, eventually, leaders, machines, preferred};

/// Whether all shards are led by others than `gone`.
fn led_without(gone: NodeId) -> impl Fn(&ClusterOverview) -> bool {
    move |overview| leaders(overview).iter().all(|led| led.is_some_and(|by| by != gone))
}

/// A node comes late to groups that others founded in its place, founds them once more, and takes its leaders.
async fn comes_back(machine: &Machine, index: usize, others: &Node) {
    *machine.on_phase.lock() = None;
    let (node, _) = machine.start(settings(ADDRESSES[index], &ADDRESSES)).await.expect("it has its place");
    node.wait_ready().await;
    let wanted = preferred(others);
    let settled = |overview: &ClusterOverview| leaders(overview) == wanted && overview.meta_leader.is_some();
    let overview = eventually(others, "the preferred leaders", settled).await;
    for shard in &overview.shards {
        let applied: Vec<_> = shard.replicas.iter().map(|replica| replica.applied).collect();
        assert_eq!(applied.len(), 3);
        assert!(applied.iter().all(|at| *at == applied[0]), "{shard:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_preferred_node_dies_before_it_is_born_gets_a_leader() {
    let machines = machines(9);
    let killer = machines[1].killer();
    let kill = move |phase: &Phase| {
        if matches!(phase, Phase::OpeningShards { .. }) {
            killer();
        }
    };
    *machines[1].on_phase.lock() = Some(Box::new(kill));
    let starts = machines.iter().zip(ADDRESSES).map(|(machine, own)| machine.start(settings(own, &ADDRESSES)));
    let mut nodes = join_all(starts).await;
    assert!(nodes.remove(1).is_err(), "it was killed while it started");
    let (stays, _) = nodes[0].as_ref().expect("it needs one other node");
    assert!(preferred(stays).contains(&Some(NodeId(2))), "the dead node should lead something");
    let begun = tokio::time::Instant::now();
    eventually(stays, "leaders in its place", led_without(NodeId(2))).await;
    assert!(begun.elapsed() < Duration::from_secs(7), "it took {:?}", begun.elapsed());
    comes_back(&machines[1], 1, stays).await;
}

#[tokio::test(start_paused = true)]
async fn a_meta_group_whose_first_node_dies_before_it_is_born_gets_a_leader() {
    let machines = machines(10);
    let sim = machines[0].sim.clone();
    let stop = move |phase: &Phase| sim.set_stuck(matches!(phase, Phase::OpeningLog { .. }));
    *machines[0].on_phase.lock() = Some(Box::new(stop));
    let begun = tokio::time::Instant::now();
    let starts = machines.iter().zip(ADDRESSES).map(|(machine, own)| machine.start(settings(own, &ADDRESSES)));
    // The others know the cluster and wait for its first node when that one dies.
    let death = async {
        let waits = |machine: &Machine| machine.phases.lock().contains(&Phase::WaitingForMeta);
        while !machines[1..].iter().all(waits) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        machines[0].kill();
    };
    let both = async { tokio::join!(join_all(starts), death) };
    let (mut nodes, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("a shard map");
    assert!(nodes.remove(0).is_err(), "it was killed while it started");
    assert!(begun.elapsed() > Duration::from_secs(3), "somebody else founded the group at once");
    let (stays, _) = nodes[0].as_ref().expect("a majority of the meta group is there");
    eventually(stays, "leaders in its place", led_without(NodeId(1))).await;
    comes_back(&machines[0], 0, stays).await;
}
