//! Programs are exchanged one node after the other, forth and back, while clients write.

use crate::harness::{Cluster, Writers};

const OLD: &[&str] = &["--act-as-version", "1"];

#[test]
fn programs_are_exchanged_under_load_with_one_step_back_and_old_ones_are_refused_in_the_end() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut cluster = Cluster::found(place.path(), OLD);
    cluster.wait_healthy();
    let version = |cluster: &Cluster| {
        let told = cluster.run(&["upgrade", "--dry-run"]).succeeded().json();
        (told["version"].as_u64().expect("a number"), told["within_reach"].as_u64().expect("a number"))
    };
    assert_eq!(version(&cluster), (1, 1));
    let writers = Writers::start(cluster.addresses());
    let exchange = |cluster: &mut Cluster, number: u16, flags: &[&str]| {
        cluster.stop(number);
        cluster.start(place.path(), number, flags);
        cluster.wait_ready(number);
        cluster.wait_healthy();
        writers.go_on("a program was exchanged");
    };

    exchange(&mut cluster, 0, &[]);
    exchange(&mut cluster, 1, &[]);
    assert_eq!(version(&cluster), (1, 1), "one node does not know the new version");
    let refused = cluster.run(&["upgrade", "--to", "v2"]);
    assert!(refused.status == 1 && refused.stderr.contains("n3"), "{refused:?}");
    exchange(&mut cluster, 0, OLD);
    exchange(&mut cluster, 0, &[]);
    exchange(&mut cluster, 2, &[]);
    let status = cluster.run(&["status"]).succeeded().json();
    assert!(status["notes"].to_string().contains("strata cluster upgrade"), "{status}");

    let raised = cluster.run(&["upgrade"]).succeeded().json();
    assert_eq!((&raised["before"], &raised["version"]), (&1.into(), &3.into()), "{raised}");
    writers.go_on("the version was raised");
    assert_eq!(version(&cluster), (3, 3));
    cluster.stop(1);
    cluster.start(place.path(), 1, OLD);
    let ended = cluster.wait_end(1);
    assert!(ended.status != 0 && ended.stderr.contains("has version v3"), "{ended:?}");
    cluster.start(place.path(), 1, &[]);
    cluster.wait_ready(1);
    cluster.wait_healthy();
    assert_eq!(writers.unknown(), Vec::<String>::new(), "nodes that stop in good order tell what became of a write");
    writers.check();
}
