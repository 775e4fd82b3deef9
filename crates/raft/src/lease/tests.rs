//! What one replica knows of promises.

use super::*;
use crate::types::Seat;

const ME: ReplicaId = ReplicaId(1);
const SILENCE_MAX: Duration = Duration::from_secs(1);

fn led(term: u64) -> LeaderId {
    LeaderId { term, node_id: ME }
}

fn at(millis: u64) -> Mono {
    Mono(Duration::from_millis(millis))
}

fn config(voters: &[u64]) -> BTreeSet<ReplicaId> {
    voters.iter().map(|voter| ReplicaId(*voter)).collect()
}

/// A replica that voted for itself in term 1.
fn leading() -> Leases {
    let leases = Leases::new(ME);
    leases.start(at(0), false, SILENCE_MAX);
    leases.vote(led(1));
    leases
}

/// RAFT-15
#[test]
fn a_lease_lasts_from_the_sending_of_what_a_majority_of_each_configuration_answered() {
    let leases = leading();
    let three = [config(&[1, 2, 3])];
    assert!(!leases.holds(led(1), &three, at(0)), "nobody has answered");
    leases.answered(led(1), ReplicaId(2), at(100));
    assert!(leases.holds(led(1), &three, at(339)));
    assert!(!leases.holds(led(1), &three, at(340)));
    leases.answered(led(1), ReplicaId(2), at(90));
    assert!(leases.holds(led(1), &three, at(339)), "a late answer to something older takes nothing away");
    assert!(!leases.holds(led(1), &[config(&[1, 2, 3, 4])], at(100)), "two of four are no majority");
    let joint = [config(&[1, 2, 3]), config(&[1, 4, 5])];
    assert!(!leases.holds(led(1), &joint, at(339)), "of each");
    leases.answered(led(1), ReplicaId(5), at(110));
    assert!(leases.holds(led(1), &joint, at(339)));
    assert!(leases.holds(led(1), &[config(&[1])], at(9_999)), "whoever votes alone asks nobody");
    assert!(!leases.holds(led(1), &[config(&[2, 3])], at(200)), "one of two that it is none of");
}

/// RAFT-15
#[test]
fn answers_count_for_the_leadership_that_asked() {
    let leases = leading();
    let three = [config(&[1, 2, 3])];
    leases.answered(led(1), ReplicaId(2), at(100));
    leases.vote(led(3));
    assert!(!leases.holds(led(3), &three, at(101)));
    leases.answered(led(3), ReplicaId(3), at(102));
    leases.answered(led(1), ReplicaId(2), at(103));
    assert!(leases.holds(led(3), &three, at(341)));
    assert!(!leases.holds(led(3), &three, at(342)), "what the former leadership sent is nothing to the new one");
}

/// RAFT-17
#[test]
fn a_lease_ends_with_a_vote_for_another_a_transfer_or_a_membership_without_the_leader() {
    let three = [config(&[1, 2, 3])];
    let held = |leases: &Leases, term| {
        leases.answered(led(term), ReplicaId(2), at(100));
        leases.holds(led(term), &three, at(101))
    };
    let leases = leading();
    assert!(held(&leases, 1));
    leases.vote(LeaderId { term: 2, node_id: ReplicaId(3) });
    assert!(!held(&leases, 1));
    leases.vote(led(4));
    assert!(held(&leases, 4));
    leases.give_up(led(1));
    assert!(held(&leases, 4), "that was another term");
    leases.give_up(led(4));
    leases.give_up(led(1));
    assert!(!held(&leases, 4), "for good");
    leases.vote(led(5));
    assert!(held(&leases, 5));
    let seats = |voters: &[u64]| -> BTreeMap<ReplicaId, Seat> {
        voters.iter().map(|voter| (ReplicaId(*voter), Seat::default())).collect()
    };
    let membership = |configs: Vec<BTreeSet<ReplicaId>>| Membership::new(configs, seats(&[1, 2, 3])).expect("valid");
    leases.note_membership(led(5), &membership(vec![config(&[1, 2, 3]), config(&[1, 2])]));
    assert!(held(&leases, 5));
    leases.note_membership(led(5), &membership(vec![config(&[1, 2, 3]), config(&[2, 3])]));
    assert!(!held(&leases, 5));
}

/// RAFT-16
#[test]
fn who_starts_with_a_vote_is_silent_for_as_long_as_it_may_have_promised() {
    let leases = Leases::new(ME);
    leases.start(at(50), false, SILENCE_MAX);
    assert_eq!(leases.silence(at(50)), None, "it has never heard of a leader");
    leases.vote(led(1));
    leases.answered(led(1), ReplicaId(2), at(60));
    leases.start(at(100), true, SILENCE_MAX);
    assert_eq!(leases.silence(at(100)), Some(PROMISE));
    assert_eq!(leases.silence(at(399)), Some(Duration::from_millis(1)));
    assert_eq!(leases.silence(at(400)), None);
    assert!(!leases.holds(led(1), &[config(&[1, 2, 3])], at(100)), "a core that starts anew leads nothing");
    assert!(PROMISE * 4 >= LEASE * 5, "clocks may differ by a quarter");
}

#[test]
fn who_was_silent_for_long_answers_anew() {
    let leases = leading();
    let since = |millis: &[u64]| {
        millis.iter().for_each(|millis| leases.answered(led(1), ReplicaId(2), at(*millis)));
        leases.answers_since(ReplicaId(2))
    };
    assert_eq!(since(&[]), None);
    assert_eq!(since(&[100, 900, 1_900]), Some(at(100)));
    assert_eq!(since(&[1_800]), Some(at(100)), "a late answer to something older");
    assert_eq!(since(&[2_901]), Some(at(2_901)));
    leases.answered(led(2), ReplicaId(3), at(3_000));
    assert_eq!(since(&[]), None, "another leadership");
}
