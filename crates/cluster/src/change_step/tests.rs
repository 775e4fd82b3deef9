//! All states that a leader may find, as tables.

use std::collections::BTreeMap;

use strata_types::{ChangeReason, GroupChanges, GroupId, NodeId};

use super::*;

/// The group has replicas 1, 2, 3 on nodes 1, 2, 3; changes add 4 on node 4. Leaders are in term 5.
const TERM: u64 = 5;

fn placed(replica: u64) -> ReplicaPlacement {
    ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(replica) }
}

fn ids(replicas: &[u64]) -> BTreeSet<ReplicaId> {
    replicas.iter().copied().map(ReplicaId).collect()
}

fn seats(replicas: &[u64]) -> BTreeMap<ReplicaId, NodeId> {
    replicas.iter().map(|&replica| (ReplicaId(replica), NodeId(replica))).collect()
}

/// A leader's members: voters, learners.
fn members(voters: &[u64], learners: &[u64]) -> Members {
    Members { voters: seats(voters), learners: seats(learners), is_joint: false, is_committed: true }
}

fn joint(voters: &[u64]) -> Members {
    Members { is_joint: true, ..members(voters, &[]) }
}

fn uncommitted(members: Members) -> Members {
    Members { is_committed: false, ..members }
}

/// What the map says of a change.
#[derive(Clone, Copy)]
struct Change {
    add: Option<u64>,
    remove: Option<u64>,
    cancelled: bool,
    decided: u64,
}

const MOVE: Change = Change { add: Some(4), remove: Some(3), cancelled: false, decided: 0 };

impl Change {
    fn decided(self, decided: u64) -> Change {
        Change { decided, ..self }
    }

    fn cancelled(self) -> Change {
        Change { cancelled: true, ..self }
    }
}

struct Found {
    own: u64,
    has_caught_up: bool,
    may_hand_over: bool,
    ready: &'static [u64],
}

const FOUND: Found = Found { own: 1, has_caught_up: true, may_hand_over: true, ready: &[1, 2, 3, 4] };

fn step_of(change: Option<Change>, members: &Members, found: Found) -> Step {
    let change = change.map(|change| ReplicaChange {
        id: ChangeId(7),
        add: change.add.map(placed),
        remove: change.remove.map(ReplicaId),
        reason: ChangeReason::Operator,
        cancelled: change.cancelled,
        decided: Term(change.decided),
    });
    let replicas = [placed(1), placed(2), placed(3)];
    let changes = GroupChanges { change, ..GroupChanges::default() };
    let placement = GroupPlacement { group: GroupId(1), replicas: &replicas, changes: &changes };
    let Found { own, has_caught_up, may_hand_over, ready } = found;
    let (own, term, ready) = (ReplicaId(own), Term(TERM), &ids(ready));
    next_step(&View { placement, own, term, members, has_caught_up, ready, may_hand_over })
}

fn step(change: Change, members: &Members) -> Step {
    step_of(Some(change), members, FOUND)
}

fn idle(members: &Members) -> Step {
    step_of(None, members, FOUND)
}

fn change_to(replicas: &[u64]) -> Step {
    Step::ChangeVoters(ids(replicas))
}

#[test]
fn without_a_change_strays_go_and_voters_are_never_touched() {
    let table = [
        (members(&[1, 2, 3], &[]), Step::Rest),
        (members(&[1, 2, 3], &[9]), Step::RemoveLearner(ReplicaId(9))),
        (uncommitted(members(&[1, 2, 3], &[9])), Step::Wait),
        // The map is older than these.
        (members(&[1, 2, 4], &[]), Step::Wait),
        (members(&[1, 2, 4], &[9]), Step::Wait),
        (joint(&[1, 2, 3, 4]), Step::Wait),
        (joint(&[1, 2, 3]), Step::Wait),
    ];
    for (members, wanted) in table {
        assert_eq!(idle(&members), wanted, "{members:?}");
    }
}

#[test]
fn a_move_goes_step_by_step() {
    assert_eq!(step(MOVE, &members(&[1, 2, 3], &[])), Step::AddLearner(placed(4)));
    assert_eq!(step(MOVE, &uncommitted(members(&[1, 2, 3], &[4]))), Step::Wait);
    let catching_up = Found { has_caught_up: false, ..FOUND };
    assert_eq!(step_of(Some(MOVE), &members(&[1, 2, 3], &[4]), catching_up), Step::Wait);
    assert_eq!(step(MOVE, &members(&[1, 2, 3], &[4])), Step::Decide(ChangeId(7)));
    let decided = MOVE.decided(TERM);
    assert_eq!(step(decided, &members(&[1, 2, 3], &[4])), change_to(&[1, 2, 4]));
    assert_eq!(step(decided, &joint(&[1, 2, 3, 4])), change_to(&[1, 2, 4]));
    assert_eq!(step(decided, &uncommitted(members(&[1, 2, 4], &[]))), Step::Wait);
    assert_eq!(step(decided, &members(&[1, 2, 4], &[])), Step::Finish(ChangeId(7)));
}

#[test]
fn a_replica_is_added_or_removed_alone() {
    let add = Change { remove: None, ..MOVE };
    assert_eq!(step(add, &members(&[1, 2, 3], &[])), Step::AddLearner(placed(4)));
    assert_eq!(step(add.decided(TERM), &members(&[1, 2, 3], &[4])), change_to(&[1, 2, 3, 4]));
    assert_eq!(step(add.decided(TERM), &members(&[1, 2, 3, 4], &[])), Step::Finish(ChangeId(7)));
    let remove = Change { add: None, ..MOVE };
    assert_eq!(step(remove, &members(&[1, 2, 3], &[])), Step::Decide(ChangeId(7)));
    assert_eq!(step(remove, &members(&[1, 2, 3], &[9])), Step::RemoveLearner(ReplicaId(9)));
    assert_eq!(step(remove.decided(TERM), &members(&[1, 2, 3], &[])), change_to(&[1, 2]));
    assert_eq!(step(remove.decided(TERM), &joint(&[1, 2, 3])), change_to(&[1, 2]));
    assert_eq!(step(remove.decided(TERM), &members(&[1, 2], &[])), Step::Finish(ChangeId(7)));
}

/// Two of three would be left, of which one does not answer: from then on nothing would be committed any more.
#[test]
fn nothing_changes_before_a_majority_of_those_that_are_to_be_is_ready() {
    let remove = Change { add: None, ..MOVE };
    let (three, four) = (members(&[1, 2, 3], &[]), members(&[1, 2, 3], &[4]));
    let step =
        |change, members: &Members, ready: &'static [u64]| step_of(Some(change), members, Found { ready, ..FOUND });
    for remove in [remove, remove.decided(TERM - 1), remove.decided(TERM)] {
        assert_eq!(step(remove, &three, &[1, 3]), Step::Wait, "2 does not answer");
        assert_ne!(step(remove, &three, &[1, 2]), Step::Wait, "3 goes anyway");
        assert_eq!(step(remove.cancelled(), &three, &[1, 3]), Step::Abandon(ChangeId(7)));
    }
    assert_eq!(step(MOVE, &four, &[1, 3]), Step::Wait);
    assert_eq!(step(MOVE, &four, &[1, 4]), Step::Decide(ChangeId(7)));
    // The leader itself is not among them.
    let leader_goes = Change { remove: Some(1), ..remove };
    assert_eq!(step(leader_goes, &three, &[1, 2]), Step::Wait);
    assert_eq!(step(leader_goes, &three, &[1, 2, 3]), Step::HandOver);
    // There is no way back.
    assert_eq!(step(remove.decided(TERM), &joint(&[1, 2, 3]), &[1, 3]), change_to(&[1, 2]));
    assert_eq!(step(remove.decided(TERM), &members(&[1, 2], &[]), &[1]), Step::Finish(ChangeId(7)));
}

/// CLUSTER-6: what a former leader was allowed to do counts for nothing.
#[test]
fn a_new_leader_has_the_change_decided_again_wherever_it_finds_it() {
    let earlier = MOVE.decided(TERM - 1);
    assert_eq!(step(earlier, &members(&[1, 2, 3], &[])), Step::AddLearner(placed(4)), "its learner was not committed");
    assert_eq!(step(earlier, &members(&[1, 2, 3], &[4])), Step::Decide(ChangeId(7)));
    assert_eq!(step(earlier, &joint(&[1, 2, 3, 4])), Step::Decide(ChangeId(7)));
    assert_eq!(step(earlier, &uncommitted(joint(&[1, 2, 3, 4]))), Step::Decide(ChangeId(7)));
    assert_eq!(step(earlier, &members(&[1, 2, 4], &[])), Step::Finish(ChangeId(7)), "there is nothing left to decide");
    // Its map is older than the joint members.
    assert_eq!(step(MOVE, &joint(&[1, 2, 3, 4])), Step::Decide(ChangeId(7)));
}

/// CLUSTER-6
#[test]
fn a_leader_that_was_deposed_does_nothing() {
    let later = MOVE.decided(TERM + 1);
    assert_eq!(step(later, &members(&[1, 2, 3], &[4])), Step::Wait);
    assert_eq!(step(later, &joint(&[1, 2, 3, 4])), Step::Wait);
    assert_eq!(step(later.cancelled(), &members(&[1, 2, 3], &[])), Step::Wait);
}

/// CLUSTER-6
#[test]
fn a_cancelled_change_is_abandoned_without_a_trace_or_finished() {
    for decided in [0, TERM - 1, TERM] {
        let cancelled = MOVE.decided(decided).cancelled();
        assert_eq!(step(cancelled, &members(&[1, 2, 3], &[4])), Step::RemoveLearner(ReplicaId(4)));
        assert_eq!(step(cancelled, &uncommitted(members(&[1, 2, 3], &[]))), Step::Wait);
        assert_eq!(step(cancelled, &members(&[1, 2, 3], &[])), Step::Abandon(ChangeId(7)));
    }
    for decided in [TERM - 1, TERM, TERM + 1] {
        let cancelled = MOVE.decided(decided).cancelled();
        assert_eq!(step(cancelled, &joint(&[1, 2, 3, 4])), change_to(&[1, 2, 4]), "nobody can decide it any more");
        assert_eq!(step(cancelled, &members(&[1, 2, 4], &[])), Step::Finish(ChangeId(7)));
    }
    assert_eq!(step(MOVE.cancelled(), &joint(&[1, 2, 3, 4])), Step::Wait, "nobody ever decided it");
}

#[test]
fn members_of_another_change_are_left_alone() {
    let decided = MOVE.decided(TERM);
    for members in [joint(&[1, 2, 3, 9]), members(&[1, 2, 9], &[]), members(&[1, 2, 3, 4], &[]), members(&[1, 2], &[])]
    {
        assert_eq!(step(decided, &members), Step::Wait, "{members:?}");
        assert_eq!(step(decided.cancelled(), &members), Step::Wait, "{members:?}");
    }
    assert_eq!(step(decided, &members(&[1, 2, 3], &[4, 9])), Step::RemoveLearner(ReplicaId(9)));
}

#[test]
fn a_leader_that_is_to_go_hands_over_once_the_new_replica_has_caught_up() {
    let removes_leader = |found: Found| step_of(Some(MOVE), &members(&[1, 2, 3], &[4]), Found { own: 3, ..found });
    assert_eq!(removes_leader(Found { has_caught_up: false, ..FOUND }), Step::Wait);
    assert_eq!(removes_leader(FOUND), Step::HandOver);
    assert_eq!(removes_leader(Found { may_hand_over: false, ..FOUND }), Step::Decide(ChangeId(7)), "in vain so far");
    let half_way = step_of(Some(MOVE.decided(TERM)), &joint(&[1, 2, 3, 4]), Found { own: 3, ..FOUND });
    assert_eq!(half_way, change_to(&[1, 2, 4]), "it goes with the change");
}

#[test]
fn a_lonely_leader_that_is_to_go_changes_the_members_itself() {
    let replicas = [placed(1)];
    let change = ReplicaChange {
        id: ChangeId(7),
        add: Some(placed(4)),
        remove: Some(ReplicaId(1)),
        reason: ChangeReason::NodeRemoving,
        cancelled: false,
        decided: Term(TERM),
    };
    let changes = GroupChanges { change: Some(change), ..GroupChanges::default() };
    let placement = GroupPlacement { group: GroupId(1), replicas: &replicas, changes: &changes };
    let (own, term, members) = (ReplicaId(1), Term(TERM), &members(&[1], &[4]));
    let ready = &ids(&[1, 4]);
    let view = View { placement, own, term, members, has_caught_up: true, ready, may_hand_over: true };
    assert_eq!(next_step(&view), change_to(&[4]));
}

/// From every state that this leader may find, its steps lead to an end, whatever the map said when it began.
#[test]
fn every_leader_comes_to_an_end_from_every_state() {
    for cancelled in [false, true] {
        for decided in [0, TERM - 1, TERM] {
            for begun in
                [members(&[1, 2, 3], &[]), members(&[1, 2, 3], &[4, 9]), joint(&[1, 2, 3, 4]), members(&[1, 2, 4], &[])]
            {
                let is_possible = decided > 0 || begun.voters == seats(&[1, 2, 3]);
                if is_possible {
                    run_to_the_end(Change { cancelled, ..MOVE.decided(decided) }, begun);
                }
            }
        }
    }
}

fn run_to_the_end(mut change: Change, mut now: Members) {
    let is_begun = now.voters != seats(&[1, 2, 3]);
    for _ in 0..10 {
        match step(change, &now) {
            Step::AddLearner(add) => drop(now.learners.insert(add.replica, add.node)),
            Step::RemoveLearner(learner) => drop(now.learners.remove(&learner)),
            Step::Decide(_) => {
                assert!(!change.cancelled, "the machine would refuse it");
                change.decided = TERM;
            }
            Step::ChangeVoters(to) => {
                assert!(change.decided == TERM || (change.cancelled && is_begun), "nobody has decided it");
                now = members(&to.iter().map(|replica| replica.0).collect::<Vec<_>>(), &[]);
            }
            Step::Finish(_) => return assert!(!change.cancelled || is_begun),
            Step::Abandon(_) => {
                assert!(now.learners.is_empty() && !is_begun);
                return assert!(change.cancelled);
            }
            other => panic!("stuck: {other:?}"),
        }
    }
    panic!("no end");
}
