//! Nodes come and go while clients write. What was acknowledged stays.

use serde_json::Value;

use crate::harness::{Cluster, Ran, Writers};

#[test]
fn nodes_join_drain_and_leave_under_load_and_nothing_is_lost() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut cluster = Cluster::found(place.path(), &[]);
    cluster.wait_healthy();
    let writers = Writers::start(cluster.addresses());
    writers.go_on("the founding");

    // Any member will do, and nobody said how many there are.
    let member = cluster.peer(1);
    cluster.start(place.path(), 3, &["--join", &member]);
    let ready = cluster.wait_ready(3);
    assert_eq!(ready["node"], 4, "{ready}");
    cluster.wait_node(4, "it holds replicas", |node| node["replicas"].as_u64() > Some(0));
    cluster.wait_healthy();
    writers.go_on("a node joined");

    let drained = cluster.run(&["drain", "n1", "--wait=60s"]).succeeded().json();
    assert_eq!((&drained["state"], &drained["done"]), (&"draining".into(), &true.into()), "{drained}");
    cluster.wait_node(1, "it drains", |node| node["state"] == "draining" && node["leaders"] == 0);
    writers.go_on("a node drained");
    cluster.run(&["undrain", "n1", "--wait=60s"]).succeeded();
    cluster.wait_node(1, "it leads again", |node| node["state"] == "active" && node["leaders"].as_u64() > Some(0));

    let removed = cluster.run(&["remove", "n2", "--wait=120s"]).succeeded().json();
    assert_eq!((&removed["done"], &removed["warning"]), (&true.into(), &Value::Null), "three are left: {removed}");
    assert_eq!(cluster.node(2), None, "it is no member any more");
    cluster.wait_healthy();
    writers.go_on("a node was removed");
    writers.check();
}

#[test]
fn what_the_cluster_cannot_do_is_refused_with_a_sentence_and_a_step() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let cluster = Cluster::found(place.path(), &[]);
    cluster.wait_healthy();
    let code_of = |ran: &Ran| {
        assert_eq!(ran.status, 1, "{ran:?}");
        let told: Value = serde_json::from_str(ran.stderr.trim()).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert!(told["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "no next step: {told}");
        assert_eq!(told["outcome"], "not applied", "{told}");
        told["code"].as_str().expect("a code").to_owned()
    };
    assert_eq!(code_of(&cluster.run(&["drain", "n9"])), "invalid_argument");
    assert_eq!(code_of(&cluster.run(&["transfer", "s99", "--to", "n1"])), "invalid_argument");
    assert_eq!(code_of(&cluster.run(&["move", "s0", "--to", "n1"])), "refused", "it has one already");
    cluster.run(&["drain", "n1"]).succeeded();
    let refused = cluster.run(&["remove", "n2"]);
    assert_eq!(code_of(&refused), "majority_at_risk");
    assert!(refused.stderr.contains("--force") && refused.stderr.contains("no majority"), "{refused:?}");
    let notes = cluster.run(&["status"]).succeeded().json()["notes"].to_string();
    assert!(notes.contains("n1 is draining"), "{notes}");
    cluster.run(&["undrain", "n1"]).succeeded();
    let dry = cluster.run(&["balance", "--dry-run"]).succeeded().json();
    assert_eq!(dry["changes"], serde_json::json!([]), "{dry}");
    assert_eq!(cluster.run(&["jobs"]).succeeded().json(), serde_json::json!([]));
    let removed = cluster.run(&["remove", "n3"]).succeeded().json();
    let warning = removed["warning"].as_str().expect("a warning");
    assert!(warning.starts_with("2 nodes would be left for 3 replicas of each shard"), "{warning}");
}
