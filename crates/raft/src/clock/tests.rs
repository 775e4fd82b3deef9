use bytes::Bytes;
use strata_env::sim::SimWorld;
use strata_machine::{CommandContext, Machine, ViewMut};
use strata_types::LogIndex;

use super::*;
use crate::{ProposeError, Proposed, ReadError};

const T1: Term = Term(1);
const T2: Term = Term(2);

fn clock() -> Clock {
    let clock = Clock::default();
    clock.set_timed(true);
    clock.lead(Some(T1));
    clock.open(T1, Timestamp(10));
    clock
}

fn stamp(clock: &Clock, not_before: u64) -> u64 {
    clock.stamp(Timestamp(not_before), Reach::ALL).expect("open").stamp.0
}

/// RAFT-12
#[test]
fn stamps_rise_with_what_is_proposed_and_read() {
    let clock = clock();
    assert_eq!([0, 3, 15, 0].map(|at| stamp(&clock, at)), [10, 10, 15, 15]);
    clock.raise(Timestamp(12));
    assert_eq!(stamp(&clock, 0), 15, "time does not go back");
    clock.begin_read(Timestamp(20)).expect("open");
    assert_eq!((stamp(&clock, 0), clock.now()), (21, Some(Timestamp(21))));
    clock.begin_read(Timestamp(4)).expect("open");
    assert_eq!(stamp(&clock, 0), 21);
}

/// RAFT-14
#[test]
fn a_clock_is_open_for_one_term_only_and_never_goes_back() {
    let clock = clock();
    clock.lead(None);
    assert_eq!((clock.stamp(Timestamp(0), Reach::ALL), clock.now()), (Err(Closed::NotLeader), None));
    clock.applied(Timestamp(30));
    clock.lead(Some(T2));
    assert_eq!((clock.stamp(Timestamp(0), Reach::ALL), clock.now()), (Err(Closed::NoTime), None));
    assert_eq!(clock.begin_read(Timestamp(1)), Err(Closed::NoTime));
    clock.open(T1, Timestamp(50));
    assert_eq!(clock.now(), None, "it was asked for in an earlier term");
    clock.open(T2, Timestamp(20));
    assert_eq!(clock.now(), Some(Timestamp(50)));
}

#[test]
fn without_time_entries_have_no_stamp_until_one_was_applied() {
    let clock = Clock::default();
    clock.lead(Some(T1));
    let stamped = clock.stamp(Timestamp(9), Reach::ALL).expect("nothing to wait for");
    assert_eq!((stamped.stamp, stamped.stamped_term, clock.now()), (Timestamp(0), Term(0), None));
    assert_eq!(clock.begin_read(Timestamp(1)), Err(Closed::NoTime));
    clock.applied(Timestamp(7));
    clock.set_timed(false);
    assert_eq!(clock.stamp(Timestamp(9), Reach::ALL), Err(Closed::NoTime), "there is no way back");
}

/// RAFT-13: whatever the order in which entries are completed, and also one that was sent without a stamp.
#[tokio::test(start_paused = true)]
async fn a_read_waits_for_each_entry_before_it_and_for_none_after() {
    use futures_util::FutureExt as _;

    let clock = Clock::default();
    clock.lead(Some(T1));
    let plain = clock.stamp(Timestamp(0), Reach::ALL).expect("no time");
    clock.set_timed(true);
    clock.open(T1, Timestamp(10));
    let one = clock.stamp(Timestamp(0), Reach::ALL).expect("open");
    let noted = clock.begin_read(Timestamp(10)).expect("open");
    let later = clock.stamp(Timestamp(0), Reach::ALL).expect("open");
    assert!(later.stamp > Timestamp(10));
    let mut wait = std::pin::pin!(clock.wait_completed(noted, &Reach::ALL));
    for done in [one, plain] {
        assert_eq!(wait.as_mut().now_or_never(), None);
        clock.complete(done, false);
    }
    assert_eq!(wait.await, Ok(()));
}

/// RAFT-13
#[tokio::test(start_paused = true)]
async fn a_read_waits_for_no_entry_that_changes_nothing_of_what_it_reads() {
    use futures_util::FutureExt as _;
    use strata_types::Operation;

    let reach = |key: &'static str| Reach::of(&Operation::Get { key: Bytes::from_static(key.as_bytes()) });
    let clock = clock();
    let one = clock.stamp(Timestamp(0), reach("a")).expect("open");
    let noted = clock.begin_read(Timestamp(10)).expect("open");
    assert_eq!(clock.wait_completed(noted, &reach("b")).now_or_never(), Some(Ok(())));
    for read in [reach("a"), reach("a").and(reach("b")), Reach::ALL] {
        assert_eq!(clock.wait_completed(noted, &read).now_or_never(), None);
    }
    clock.complete(one, false);
    assert_eq!(clock.wait_completed(noted, &reach("a")).now_or_never(), Some(Ok(())));
    // What becomes of a lost one is not known, so neither is whose it is.
    let lost = clock.stamp(Timestamp(0), reach("a")).expect("open");
    let noted = clock.begin_read(Timestamp(20)).expect("open");
    clock.complete(lost, true);
    assert_eq!(clock.wait_completed(noted, &reach("b")).await, Err(Closed::NotLeader));
}

/// RAFT-13: an entry that is lost may be applied by another leader later.
#[tokio::test(start_paused = true)]
async fn a_read_fails_when_it_cannot_be_known_what_became_of_an_entry() {
    let clock = clock();
    let one = clock.stamp(Timestamp(0), Reach::ALL).expect("open");
    let noted = clock.begin_read(Timestamp(10)).expect("open");
    clock.complete(one, true);
    assert_eq!(clock.wait_completed(noted, &Reach::ALL).await, Err(Closed::NotLeader));
    // A new term begins with what its leader has, and that is settled.
    clock.lead(Some(T2));
    clock.open(T2, Timestamp(20));
    let noted = clock.begin_read(Timestamp(20)).expect("open");
    assert_eq!(clock.wait_completed(noted, &Reach::ALL).await, Ok(()));
    let _pending = clock.stamp(Timestamp(0), Reach::ALL).expect("open");
    let noted = clock.begin_read(Timestamp(30)).expect("open");
    clock.lead(None);
    assert_eq!(clock.wait_completed(noted, &Reach::ALL).await, Err(Closed::NotLeader), "nobody tells any more");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_clock_hears_when_it_opens_and_when_leadership_is_lost() {
    let env = SimWorld::new(1).node(1).env();
    let clock = clock();
    clock.lead(Some(T2));
    let begin = env.now();
    let (opened, ()) = tokio::join!(clock.wait_open(&env), async {
        env.sleep(Duration::from_millis(300)).await;
        clock.open(T2, Timestamp(11));
    });
    assert_eq!((opened, env.now().since(begin)), (Ok(()), Duration::from_millis(300)));
    clock.lead(Some(Term(3)));
    assert_eq!(clock.wait_open(&env).await, Err(Closed::NoTime));
    assert_eq!(env.now().since(begin), Duration::from_millis(300) + TIME_PATIENCE);
    let (lost, ()) = tokio::join!(clock.wait_open(&env), async { clock.lead(None) });
    assert_eq!(lost, Err(Closed::NotLeader));
}

/// Notes where its commands stood.
struct Trace;

impl Machine for Trace {
    fn apply(&self, view: &mut dyn ViewMut, context: CommandContext, command: &Bytes) -> Bytes {
        view.put(command.clone(), Bytes::from(context.stamp.to_string()));
        Bytes::from(context.stamp.to_string())
    }
}

/// RAFT-12: an entry that waits while its leader loses and wins leadership gets into the log in a later term.
#[tokio::test(start_paused = true)]
async fn who_proposed_an_entry_that_was_refused_is_told_that_nothing_was_applied() {
    #[cfg(debug_assertions)]
    if std::env::var(SEEDED).is_ok() {
        mutant::choose(Mutant::EntryOfAnotherTerm);
    }
    let (_host, group) = crate::membership::tests::leader(Trace).await;
    let (clock, term) = (group.state().clock.clone(), group.status().term);
    group.set_timed(true);
    group.open_clock(term, Timestamp(10));
    let first = group.propose_at(vec![Bytes::from_static(b"first")], Timestamp(12)).await.remove(0);
    assert_eq!(first, Ok(Proposed { reply: Bytes::from_static(b"@12"), stamp: Timestamp(12) }));

    let other = Term(term.0 + 1);
    clock.lead(Some(other));
    group.open_clock(other, Timestamp(20));
    let LogIndex(before) = group.applied();
    let commands = || vec![Bytes::from_static(b"second"), Bytes::from_static(b"third")];
    let refused = group.propose_at(commands(), Timestamp(0)).await;
    assert_eq!(refused, vec![Err(ProposeError::NotLeader { leader: None }); 2]);
    assert_eq!(group.applied(), LogIndex(before + 1), "it has its place in the log all the same");
    for key in ["second", "third"] {
        assert_eq!(group.tablet().get(key.as_bytes()).expect("memory"), None);
    }
    let barrier = group.snapshot_barrier(Timestamp(25)).await;
    assert_eq!(barrier, Err(ReadError::NotLeader { leader: None }), "the round was of another term than the clock");
}

/// Asks a process of these tests to have the seeded bug switched on, which is switched on for a whole process.
#[cfg(debug_assertions)]
const SEEDED: &str = "STRATA_TEST_ENTRY_OF_ANOTHER_TERM";

#[cfg(debug_assertions)]
#[test]
#[allow(clippy::disallowed_methods, reason = "starts these tests as a process")]
fn an_entry_that_is_applied_in_another_term_is_noticed() {
    let name = "clock::tests::who_proposed_an_entry_that_was_refused_is_told_that_nothing_was_applied";
    let run = |seeded: Option<&str>| {
        let mut tests = std::process::Command::new(std::env::current_exe().expect("these tests are a program"));
        tests.args(["--exact", name]).env_remove(SEEDED).envs(seeded.map(|value| (SEEDED, value)));
        let output = tests.output().expect("it starts");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (passes, output) = run(None);
    assert!(passes && output.contains("1 passed"), "{output}");
    let (passes, output) = run(Some("1"));
    assert!(!passes && output.contains("1 failed"), "{output}");
}
