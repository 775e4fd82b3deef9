//! Clean stops when there is nobody to give leaders to.

use std::time::Duration;

use strata_cluster::{Node, Phase};
use strata_env::sim::SimWorld;

use crate::hub::{Hub, Machine, settings, start_all};
use crate::life::{ADDRESSES, machines};

async fn stop(node: &Node) -> Duration {
    let begun = tokio::time::Instant::now();
    node.shutdown().await;
    begun.elapsed()
}

fn moved(machine: &Machine) -> Vec<usize> {
    let figure = |phase: &Phase| if let Phase::MovingLeaders { remaining } = phase { Some(*remaining) } else { None };
    machine.phases.lock().iter().filter_map(figure).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_moves_nothing() {
    let (world, hub) = (SimWorld::new(11), Hub::new());
    let machine = Machine::new(&world, &hub, 1);
    let (node, _) = machine.start(settings("a:1", &[])).await.expect("it needs nobody");
    node.wait_ready().await;
    assert!(stop(&node).await < Duration::from_millis(500));
    assert!(moved(&machine).is_empty(), "it leads everything and nobody can take over");
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_majority_is_long_gone_stops_at_once() {
    let machines = machines(12);
    let nodes = start_all(&machines, &ADDRESSES).await;
    machines[1..].iter().for_each(Machine::kill);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(nodes[0].0.host().groups().iter().any(|group| group.status().is_leader), "it still leads in its eyes");
    let took = stop(&nodes[0].0).await;
    assert!(took < Duration::from_millis(500), "it took {took:?}");
    assert!(moved(&machines[0]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_as_the_others_die_waits_no_longer_than_an_election_takes() {
    let machines = machines(13);
    let nodes = start_all(&machines, &ADDRESSES).await;
    machines[1..].iter().for_each(Machine::kill);
    let took = stop(&nodes[0].0).await;
    assert!(took < Duration::from_millis(1_200), "it took {took:?}");
    let moved = moved(&machines[0]);
    assert!(moved.len() == 1 || moved.last() == moved.first(), "nothing could be moved: {moved:?}");
}
