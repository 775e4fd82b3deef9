//! Leaders that read by their lease, and are wrong about who leads.

use crate::harness::rpc::{Rpc, bytes_field, bytes_of, number_field, number_of};
use crate::harness::{Cluster, LONG, poll, run};

const FLAGS: &[&str] = &["--lease-reads"];
/// As the protocol numbers them.
const LINEARIZABLE: u64 = 1;
const LEASE: u64 = 3;
const LEVELS: [u64; 2] = [LINEARIZABLE, LEASE];

/// Asks a node for the key, whether it can answer now or not.
fn ask(address: &str, level: u64) -> Rpc {
    Rpc::send(address, "Kv/Get", &[bytes_field(1, b"key"), number_field(15, level)].concat())
}

/// What it said, if it gave a value, and the level that it kept.
fn value(answer: Rpc) -> Option<(String, u64)> {
    let reply = answer.answer()?;
    let value = bytes_of(bytes_of(&reply, 1).expect("the key was written"), 2).expect("it has a value");
    Some((String::from_utf8(value.to_vec()).expect("text"), number_of(&reply, 3).expect("a level")))
}

#[test]
fn a_leader_that_stood_still_shows_nothing_old_although_its_voter_restarted_within_its_lease() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut cluster = Cluster::found_with(place.path(), 3, 1, FLAGS);
    cluster.wait_healthy();
    let shards = cluster.run(&["shards"]).succeeded().json();
    let leader = cluster.number_of(shards[0]["leader"].as_u64().expect("it has a leader"));
    let others: Vec<u16> = (0..3).filter(|number| *number != leader).collect();
    let old = cluster.client(leader);
    run(&["kv", "put", "key", "old", "--addr", &old]).succeeded();
    poll("a read by lease", LONG, || value(ask(&old, LEASE)).filter(|answer| *answer == ("old".to_owned(), LEASE)));

    cluster.signal(leader, "STOP");
    cluster.kill(others[0]);
    cluster.start(place.path(), others[0], FLAGS);
    let living = others.iter().map(|number| cluster.client(*number)).collect::<Vec<_>>().join(",");
    poll("a write, with another leader", LONG, || {
        (run(&["kv", "put", "key", "new", "--addr", &living]).status == 0).then_some(())
    });
    // They wait at its door: it meets them in the moment in which it goes on.
    let asked: Vec<Rpc> = (0..16).flat_map(|_| LEVELS).map(|level| ask(&old, level)).collect();
    cluster.signal(leader, "CONT");
    for (answer, level) in asked.into_iter().filter_map(value) {
        assert_eq!(answer, "new", "the value before was overwritten: level {level}");
    }
    for level in LEVELS {
        let (answer, _) = poll("an answer of the node that stood still", LONG, || value(ask(&old, level)));
        assert_eq!(answer, "new", "level {level}");
    }
}
