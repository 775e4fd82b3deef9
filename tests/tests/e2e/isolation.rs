//! The network fails for one node, and comes back.

use serde_json::Value;

use crate::harness::{Cluster, Home, LONG, Writers, poll, say};

/// How often many writes must go through meanwhile.
const TIMES: usize = 5;

fn leader_of(cluster: &Cluster, shard: usize) -> Option<u64> {
    let shards = cluster.run(&["shards"]);
    let told: Option<Value> = (shards.status == 0).then(|| shards.json());
    told?[shard]["leader"].as_u64()
}

#[test]
fn a_leader_that_is_cut_off_costs_no_acknowledged_write_while_another_node_joins() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let home = Home::network().unwrap_or_else(|reason| {
        say(&format!("network namespaces are not permitted here ({reason}): the node stands still instead"));
        Home::Loopback
    });
    let can_be_cut = matches!(home, Home::Network(_));
    let mut cluster = Cluster::found_on(home, place.path(), 3, 4, &[]);
    cluster.wait_healthy();
    let writers = Writers::start(cluster.addresses());
    writers.go_on("the founding");
    cluster.run_beside(0, &["kv", "put", "seen", "before", "--addr", &cluster.client(0)]).succeeded();

    let leader = leader_of(&cluster, 0).expect("shard 0 has a leader");
    let victim = cluster.number_of(leader);
    let other = (victim + 1) % 3;
    let member = cluster.peer(other);
    cluster.start(place.path(), 3, &["--join", &member]);
    cluster.cut(victim);
    // Everybody but the node that is cut off answers, also the one that joins.
    cluster.wait_ready(3);
    poll("another leader of shard 0", LONG, || leader_of(&cluster, 0).filter(|now| *now != leader));
    (0..TIMES).for_each(|_| writers.go_on("a node was cut off"));
    let addr = cluster.client(other);
    cluster.run_beside(other, &["kv", "put", "seen", "after", "--addr", &addr]).succeeded();
    if can_be_cut {
        // It goes on, and knows that it knows nothing: it neither shows what may be old nor takes what may be lost.
        let own = cluster.client(victim);
        let read = cluster.run_beside(victim, &["kv", "get", "seen", "--addr", &own]);
        read.failed();
        let written = cluster.run_beside(victim, &["kv", "put", "seen", "never", "--addr", &own]);
        written.failed();
    }
    let status = cluster.run(&["status"]).succeeded().json();
    assert!(status["problems"].to_string().contains(&format!("n{leader}")), "it names the node: {status}");

    cluster.heal(victim);
    cluster.wait_healthy();
    writers.go_on("the node was back");
    let own = cluster.client(victim);
    let value = cluster.run_beside(victim, &["kv", "get", "seen", "--addr", &own]).succeeded().stdout;
    assert_eq!(value, "after\n");
    writers.check();
}
