//! Each anomaly once, and the harmless history that looks most like it.

use bytes::Bytes;
use strata_check::{Answer, Call, History, STEPS_DEFAULT, Verdict, check};
use strata_types::ClientId;

fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn put(text: &'static str) -> Call {
    Call::Put { value: value(text) }
}

fn cas(expected: Option<&'static str>, new: &'static str) -> Call {
    Call::CompareAndSet { expected: expected.map(value), value: Some(value(new)) }
}

fn found(text: &'static str) -> Answer {
    Answer::Value(Some(value(text)))
}

/// One operation on the key `k`: client, beginning, call, and its end if it has one.
type Line = (u64, u64, Call, Option<(u64, Answer)>);

fn history(lines: Vec<Line>) -> History {
    let mut history = History::new();
    for (client, invoked, call, end) in lines {
        let id = history.invoke(ClientId(client), "k", call, invoked);
        match end {
            Some((at, answer)) => history.ok(id, answer, at),
            None => history.unknown(id),
        }
    }
    history
}

fn assert_linearizable(history: &History) {
    assert_eq!(check(history, STEPS_DEFAULT), Verdict::Linearizable);
}

#[track_caller]
fn assert_violation(history: &History, hint: &str) -> String {
    let verdict = check(history, STEPS_DEFAULT);
    let Verdict::Violation(violations) = &verdict else { panic!("expected a violation: {verdict}") };
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].hint, hint);
    assert!(violations[0].window.iter().any(|(id, _)| *id == violations[0].operation), "the culprit is shown");
    verdict.to_string()
}

#[test]
fn stale_read() {
    let lines = |read_begins| {
        vec![
            (1, 1, put("a"), Some((2, Answer::Done))),
            (1, 3, put("b"), Some((6, Answer::Done))),
            (2, read_begins, Call::Get, Some((9, found("a")))),
        ]
    };
    assert_linearizable(&history(lines(6)));
    let report = assert_violation(
        &history(lines(7)),
        "the value it found was replaced before, or it is missing from what others found",
    );
    assert_eq!(
        report,
        "1 keys are not linearizable\n\
         key `k` is not linearizable: the value it found was replaced before, or it is missing from what others found\n  \
         \x20 [1, 2] c1 put \"a\" -> done\n  \
         \x20 [3, 6] c1 put \"b\" -> done\n  \
         > [7, 9] c2 get -> \"a\""
    );
}

#[test]
fn reads_go_back_in_time_while_a_write_is_open() {
    let lines = |first, second| {
        vec![
            (1, 1, put("a"), Some((2, Answer::Done))),
            (1, 3, put("b"), Some((20, Answer::Done))),
            (2, 4, Call::Get, Some((5, found(first)))),
            (3, 6, Call::Get, Some((7, found(second)))),
        ]
    };
    assert_linearizable(&history(lines("a", "b")));
    assert_violation(
        &history(lines("b", "a")),
        "the value it found was replaced before, or it is missing from what others found",
    );
}

#[test]
fn lost_update() {
    // Two conditional writes both succeed on the same value: one update is lost.
    let lines = |second_expects| {
        vec![
            (1, 1, put("0"), Some((2, Answer::Done))),
            (1, 3, cas(Some("0"), "1"), Some((8, Answer::Done))),
            (2, 4, cas(Some(second_expects), "2"), Some((9, Answer::Done))),
        ]
    };
    assert_linearizable(&history(lines("1")));
    assert_violation(
        &history(lines("0")),
        "the value it found was replaced before, or it is missing from what others found",
    );
}

#[test]
fn acknowledged_write_lost() {
    let lines =
        |answer| vec![(1, 1, put("a"), Some((2, Answer::Done))), (2, 3, Call::Get, Some((4, Answer::Value(answer))))];
    assert_linearizable(&history(lines(Some(value("a")))));
    assert_violation(&history(lines(None)), "the key is absent although a write of it is in force");
}

#[test]
fn read_of_a_value_that_nobody_wrote() {
    let history = history(vec![(1, 1, put("a"), Some((9, Answer::Done))), (2, 3, Call::Get, Some((4, found("x"))))]);
    assert_violation(&history, "nobody ever wrote the value it found");
}

#[test]
fn read_from_the_future() {
    let history = history(vec![(2, 3, Call::Get, Some((4, found("a")))), (1, 5, put("a"), Some((9, Answer::Done)))]);
    assert_violation(&history, "the value it found was written only later");
}

#[test]
fn aborted_write_seen() {
    let mut history = History::new();
    let write = history.invoke(ClientId(1), "k", put("a"), 1);
    history.fail(write, 2);
    let read = history.invoke(ClientId(2), "k", Call::Get, 3);
    history.ok(read, found("a"), 4);
    assert_violation(&history, "the value it found belongs to a write that was not applied");
}

#[test]
fn mismatched_compare_and_set_that_took_effect() {
    let lines = |answer: Answer| {
        vec![
            (1, 1, put("a"), Some((2, Answer::Done))),
            (1, 3, cas(Some("z"), "b"), Some((4, answer))),
            (2, 5, Call::Get, Some((6, found("b")))),
        ]
    };
    for answer in [Answer::Mismatch, Answer::MismatchHolds(Some(value("a")))] {
        assert_violation(&history(lines(answer)), "the value it found belongs to a write that was not applied");
    }
}

#[test]
fn mismatch_that_holds_what_was_expected() {
    let history = history(vec![
        (1, 1, put("a"), Some((2, Answer::Done))),
        (1, 3, cas(Some("a"), "b"), Some((4, Answer::MismatchHolds(Some(value("a")))))),
    ]);
    assert_violation(&history, "the value it found was replaced before, or it is missing from what others found");
}

#[test]
fn deletes_answer_what_they_found() {
    let lines = |existed| {
        vec![
            (1, 1, put("a"), Some((2, Answer::Done))),
            (1, 3, Call::Delete, Some((4, Answer::Existed(true)))),
            (1, 5, Call::Delete, Some((6, Answer::Existed(existed)))),
            (2, 7, Call::Get, Some((8, Answer::Value(None)))),
        ]
    };
    assert_linearizable(&history(lines(false)));
    assert_violation(&history(lines(true)), "no order of the writes explains this answer");
}

#[test]
fn unknown_writes_take_effect_late_or_never_but_once() {
    let lines = |last| {
        vec![
            (1, 1, put("a"), None),
            (2, 3, Call::Get, Some((4, Answer::Value(None)))),
            (2, 5, put("b"), Some((6, Answer::Done))),
            (2, 7, Call::Get, Some((8, found("b")))),
            (2, 9, Call::Get, Some((10, found("a")))),
            (2, 11, put("c"), Some((12, Answer::Done))),
            (2, 13, Call::Get, Some((14, found(last)))),
        ]
    };
    assert_linearizable(&history(lines("c")));
    assert_violation(
        &history(lines("a")),
        "the value it found was replaced before, or it is missing from what others found",
    );
}

/// CHECK-3
#[test]
fn violations_name_every_key_and_equal_histories_equal_reports() {
    let mut history = History::new();
    for (key, answer) in [("good", "a"), ("bad", "x"), ("worse", "y")] {
        let write = history.invoke(ClientId(1), key, put("a"), 1);
        history.ok(write, Answer::Done, 2);
        let read = history.invoke(ClientId(2), key, Call::Get, 3);
        history.ok(read, found(answer), 4);
    }
    let verdict = check(&history, STEPS_DEFAULT);
    let Verdict::Violation(violations) = &verdict else { panic!("expected violations: {verdict}") };
    let keys: Vec<_> = violations.iter().map(|violation| violation.key.clone()).collect();
    assert_eq!(keys, [value("bad"), value("worse")]);
    assert_eq!(verdict.to_string(), check(&history, STEPS_DEFAULT).to_string());
}

#[test]
fn a_spent_budget_is_no_pass() {
    // Concurrent writes and a read of something impossible: every order has to be tried.
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let mut lines: Vec<Line> = names.into_iter().map(|name| (1, 1, put(name), Some((2, Answer::Done)))).collect();
    lines.push((2, 3, Call::Get, Some((4, found("x")))));
    let history = history(lines);
    assert_eq!(check(&history, 100), Verdict::Unknown { keys: vec![value("k")] });
    assert_violation(&history, "nobody ever wrote the value it found");
}
