//! A replica is to move to a node without room for it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use strata_client::Client;

use crate::harness::{Cluster, Home, LONG, Writers, poll, say};

/// Size of the disk of each node, and how much the data of the shard needs more than the target has.
const DISK_MIB: u64 = 256;
const VALUES: usize = 384;
const VALUE: usize = 64 * 1024;
const ROOM: u64 = 8 << 20;
const FLAGS: &[&str] = &["--log-segment", "1MiB"];

/// Fills a disk but for some bytes. Returns the file to delete.
fn fill(directory: &Path, room: u64) -> PathBuf {
    let path = directory.join("ballast");
    let mut file = OpenOptions::new().create_new(true).write(true).open(&path).expect("there is room for a file");
    let chunk = vec![7; 1 << 20];
    let mut length = 0;
    while file.write_all(&chunk).is_ok() {
        length += chunk.len() as u64;
    }
    assert!(length > room, "{length} bytes were left");
    file.set_len(length - room).expect("shorter");
    path
}

fn nodes_of(shard: &Value) -> Vec<u64> {
    let replicas = shard["replicas"].as_array().expect("a list");
    replicas.iter().map(|replica| replica["node"].as_u64().expect("a number")).collect()
}

#[test]
fn a_move_to_a_node_without_room_says_so_waits_and_goes_on_when_there_is_some() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let home = Home::small_disks(DISK_MIB).unwrap_or_else(|reason| {
        say(&format!("disks of our own are not permitted here ({reason}): the target dies instead"));
        Home::Loopback
    });
    let is_small = matches!(home, Home::SmallDisks { .. });
    let mut cluster = Cluster::found_on(home, place.path(), 4, 1, FLAGS);
    cluster.wait_healthy();
    let value = |number: usize| vec![number as u8; VALUE];
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = runtime.block_on(Client::connect(cluster.addresses())).expect("the cluster answers");
    runtime.block_on(async {
        for number in 0..VALUES {
            client.put(format!("large-{number}"), value(number)).await.expect("written");
        }
    });
    // A node that has just been started again may be asked too: it says that it is not ready.
    let nodes = |cluster: &Cluster| {
        let told = cluster.run(&["shards"]);
        (told.status == 0).then(|| nodes_of(&told.json()[0]))
    };
    let before = nodes(&cluster).expect("all are ready");
    let target = (1..=4).find(|node| !before.contains(node)).expect("four nodes, three replicas");
    let number = cluster.number_of(target);
    let ballast = is_small.then(|| fill(&cluster.directory(place.path(), number), ROOM));

    let writers = Writers::start(cluster.addresses());
    cluster.run(&["move", "s0", "--to", &format!("n{target}")]).succeeded();
    if is_small {
        let told = poll("a job that says why it does not get on", LONG, || {
            let job = cluster.run(&["jobs"]).succeeded().json()[0].clone();
            let problem = job["problem"].as_str().unwrap_or_default().to_owned();
            (problem.contains("room") || problem.contains("full")).then_some((job["state"].clone(), problem))
        });
        assert_eq!(told.0, "catching_up", "{told:?}");
    } else {
        cluster.kill(number);
    }
    for _ in 0..10 {
        writers.go_on("a move met a full disk");
    }
    if is_small {
        assert_eq!(cluster.run(&["jobs"]).succeeded().json()[0]["group"], "s0", "it waits");
        let now = nodes(&cluster).expect("all are ready");
        assert!(before.iter().all(|node| now.contains(node)), "nobody has left yet");
    }

    match &ballast {
        Some(ballast) => std::fs::remove_file(ballast).expect("it is there"),
        None => cluster.start(place.path(), number, FLAGS),
    }
    poll("the end of the move", 2 * LONG, || {
        nodes(&cluster).filter(|nodes| nodes.contains(&target) && nodes.len() == 3).map(drop)
    });
    cluster.wait_healthy();
    writers.go_on("the move");
    writers.check();
    runtime.block_on(async {
        for number in 0..VALUES {
            let item = client.get(format!("large-{number}")).await.expect("readable");
            assert_eq!(item.map(|item| item.value), Some(value(number).into()), "large-{number} was acknowledged");
        }
    });
}
