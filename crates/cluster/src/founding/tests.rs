use strata_types::{ClusterVersion, VersionRange};

use super::*;

const CLUSTER: ClusterId = ClusterId(42);

fn at(millis: u64) -> Mono {
    Mono(Duration::from_millis(millis))
}

fn candidate(instance: u128, address: &str) -> Candidate {
    Candidate {
        instance: InstanceId(instance),
        peer_address: address.to_owned(),
        client_address: format!("client of {address}"),
        zone: String::new(),
        first: Some("a:1".to_owned()),
        expect: 3,
        shards: None,
        cores: 4,
        weight: 1,
        ..Candidate::default()
    }
}

fn founding() -> Founding {
    Founding::new(candidate(1, "a:1"), ["a:1", "b:1", "c:1"].map(str::to_owned).to_vec())
}

fn wait(known: u32) -> Verdict {
    Verdict::Wait { known, expected: 3 }
}

#[test]
fn ids_follow_the_join_list_whoever_comes_first() {
    let mut founding = founding();
    assert_eq!(founding.decide(CLUSTER, at(0)), None);
    assert_eq!(founding.admit(candidate(3, "c:1"), at(0)), wait(2));
    assert_eq!(founding.decide(CLUSTER, at(0)), None);
    assert_eq!(founding.admit(candidate(2, "b:1"), at(10)), wait(3));
    let charter = founding.decide(CLUSTER, at(10)).expect("all are there");
    let seats: Vec<_> = charter.seats.iter().map(|seat| (seat.node.0, seat.instance.0, &*seat.peer_address)).collect();
    assert_eq!(seats, [(1, 1, "a:1"), (2, 2, "b:1"), (3, 3, "c:1")]);
    let meta: Vec<_> = charter.meta.iter().map(|placement| (placement.replica.0, placement.node.0)).collect();
    assert_eq!(meta, [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(charter.shard_count, 32, "twice the cores, rounded up to a power of two");
}

#[test]
fn the_same_instance_counts_once_also_after_it_restarted_elsewhere() {
    let mut founding = founding();
    for _ in 0..3 {
        assert_eq!(founding.admit(candidate(2, "b:1"), at(0)), wait(2));
    }
    assert!(founding.knows(&candidate(2, "b:1")));
    assert!(!founding.knows(&candidate(2, "b:2")));
    assert_eq!(founding.admit(candidate(2, "b:2"), at(10)), wait(2));
    founding.admit(candidate(3, "c:1"), at(20));
    let charter = founding.decide(CLUSTER, at(20)).expect("all are there");
    assert_eq!(charter.seat_of(InstanceId(2)).expect("seated").peer_address, "b:2");
}

#[test]
fn a_new_data_directory_at_an_address_replaces_the_one_that_was_there() {
    let mut founding = founding();
    founding.admit(candidate(2, "b:1"), at(0));
    assert_eq!(founding.admit(candidate(22, "b:1"), at(10)), wait(2));
    founding.admit(candidate(3, "c:1"), at(20));
    let charter = founding.decide(CLUSTER, at(20)).expect("all are there");
    assert_eq!((charter.seat_of(InstanceId(2)), charter.seats.len()), (None, 3));
}

#[test]
fn nobody_is_founded_with_who_went_away() {
    let mut founding = founding();
    founding.admit(candidate(2, "b:1"), at(0));
    let later = 1 + FRESH.as_millis() as u64;
    assert_eq!(founding.admit(candidate(3, "c:1"), at(later)), wait(2));
    assert_eq!(founding.decide(CLUSTER, at(later)), None);
    assert_eq!(founding.admit(candidate(2, "b:1"), at(later)), wait(3));
    assert!(founding.decide(CLUSTER, at(later)).is_some());
}

#[test]
fn a_node_too_many_waits_and_gets_no_seat_of_the_founding() {
    let mut founding = founding();
    founding.admit(candidate(2, "b:1"), at(0));
    founding.admit(candidate(3, "c:1"), at(0));
    let late = candidate(4, "d:1");
    assert_eq!(founding.admit(late, at(0)), wait(3));
    let charter = founding.decide(CLUSTER, at(0)).expect("all are there");
    assert_eq!((charter.seats.len(), charter.seat_of(InstanceId(4))), (3, None));
}

/// CLUSTER-2
#[test]
fn after_a_crash_of_the_founder_candidates_are_gathered_again() {
    let mut before = founding();
    before.admit(candidate(2, "b:1"), at(0));
    // Nothing was durable: the next process begins anew, and the candidates come again.
    let mut after = founding();
    after.admit(candidate(2, "b:1"), at(5));
    after.admit(candidate(3, "c:1"), at(5));
    let charter = after.decide(CLUSTER, at(5)).expect("all are there");
    // The charter is durable now, and says who asks again from another port. A data directory that was lost has no seat.
    let node = |instance| charter.seat_of(InstanceId(instance)).map(|seat| seat.node.0);
    assert_eq!([1, 2, 3, 99].map(node), [Some(1), Some(2), Some(3), None]);
}

#[test]
fn different_settings_and_shared_addresses_are_refused() {
    let mut founding = founding();
    let five = Candidate { expect: 5, ..candidate(2, "b:1") };
    let differ = |detail: &str| Verdict::Refused(Refusal::SettingsDiffer { detail: detail.into() });
    assert_eq!(founding.admit(five, at(0)), differ("--expect 5 and --expect 3"));
    let sharded = Candidate { shards: Some(8), ..candidate(2, "b:1") };
    assert_eq!(founding.admit(sharded, at(0)), differ("--shards 8 and no --shards"));
    let other = Candidate { first: Some("b:1".into()), ..candidate(2, "b:1") };
    assert_eq!(founding.admit(other, at(0)), differ("--join lists that begin with b:1 and with a:1"));
    let versions = VersionRange { least: ClusterVersion(1), most: ClusterVersion(9) };
    let newer = Candidate { versions, ..candidate(2, "b:1") };
    let own = candidate(2, "b:1").versions;
    let detail = format!("a program of cluster versions v1..=v9 and one of {own}");
    assert_eq!(founding.admit(newer, at(0)), differ(&detail), "a cluster begins with what all its nodes know");
    let twin = Verdict::Refused(Refusal::AddressTaken { address: "a:1".into() });
    assert_eq!(founding.admit(candidate(2, "a:1"), at(0)), twin);
    assert_eq!(founding.present(at(0)), 1);
}

#[test]
fn a_node_alone_founds_at_once() {
    let own = Candidate { expect: 1, shards: Some(4), ..candidate(1, "a:1") };
    let charter = Founding::new(own, Vec::new()).decide(CLUSTER, at(0)).expect("nobody else is expected");
    assert_eq!((charter.seats.len(), charter.meta.len(), charter.shard_count), (1, 1, 4));
}

#[test]
fn the_meta_group_is_spread_over_zones() {
    let mut own = candidate(1, "a:1");
    own.expect = 5;
    own.zone = "x".into();
    let mut founding = Founding::new(own.clone(), Vec::new());
    for (instance, address, zone) in [(2, "b:1", "x"), (3, "c:1", "y"), (4, "d:1", "y"), (5, "e:1", "z")] {
        let one = Candidate {
            instance: InstanceId(instance),
            peer_address: address.into(),
            zone: zone.into(),
            ..own.clone()
        };
        founding.admit(one, at(0));
    }
    let charter = founding.decide(CLUSTER, at(0)).expect("all are there");
    assert_eq!(charter.meta.iter().map(|placement| placement.node.0).collect::<Vec<_>>(), [1, 3, 5]);
}
