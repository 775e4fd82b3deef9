use super::{Kind, NOTHING, Op, Told, judge};
use crate::model::history::{KEYS, Value};
use strata_types::Timestamp;

/// An operation that took effect at a timestamp, between two steps.
fn op(kind: Kind, steps: (u32, u32), at: u64, reads: &[(usize, Value)], writes: &[usize], number: Value) -> Op {
    let mut op = Op::new(kind, steps.0);
    (op.ended, op.told, op.read_at) = (steps.1, Told::Done, Timestamp(at));
    op.effect = Some((Timestamp(at), steps.1));
    reads.iter().for_each(|(key, value)| op.reads[*key] = *value);
    writes.iter().for_each(|key| op.writes[*key] = number + 1);
    op
}

fn transaction(steps: (u32, u32), at: u64, reads: &[(usize, Value)], writes: &[usize], number: Value) -> Op {
    op(Kind::Transaction, steps, at, reads, writes, number)
}

#[test]
fn a_serial_history_is_in_order() {
    let history = [
        transaction((1, 2), 1, &[], &[0], 0),
        transaction((3, 4), 2, &[(0, 1)], &[1], 1),
        transaction((5, 6), 3, &[(1, 2)], &[], 2),
    ];
    assert_eq!(judge(&history), None);
}

#[test]
fn a_stale_read_of_a_transaction_is_found() {
    let history = [transaction((1, 2), 1, &[], &[0], 0), transaction((3, 4), 2, &[(0, 0)], &[1], 1)];
    assert!(judge(&history).is_some());
}

#[test]
fn a_stale_read_is_none_while_both_are_under_way() {
    let history = [transaction((1, 4), 2, &[], &[0], 0), transaction((3, 5), 1, &[(0, 0)], &[1], 1)];
    assert_eq!(judge(&history), None);
}

#[test]
fn write_skew_is_found() {
    let history = [transaction((1, 9), 1, &[(0, 0)], &[1], 0), transaction((1, 9), 2, &[(1, 0)], &[0], 1)];
    assert!(judge(&history).is_some());
}

#[test]
fn half_a_transaction_is_found() {
    let history = [transaction((1, 9), 1, &[], &[0, 1], 0), transaction((1, 9), 2, &[(0, 1), (1, 0)], &[], 1)];
    assert!(judge(&history).is_some());
}

#[test]
fn an_order_that_timestamps_do_not_give_is_searched_for() {
    let history = [transaction((1, 9), 5, &[], &[0], 0), transaction((1, 9), 2, &[(0, 1)], &[], 1)];
    assert_eq!(judge(&history), None);
}

#[test]
fn what_took_effect_must_not_be_denied_nor_what_did_not_be_acknowledged() {
    let mut denied = transaction((1, 2), 1, &[], &[0], 0);
    denied.told = Told::Refused;
    assert!(judge(&[denied]).is_some_and(|what| what.contains("told that it did not")));
    let mut lost = transaction((1, 2), 1, &[], &[0], 0);
    lost.effect = None;
    assert!(judge(&[lost]).is_some_and(|what| what.contains("never took effect")));
}

#[test]
fn what_was_read_of_a_refused_transaction_counts() {
    let mut refused = transaction((3, 4), 2, &[(0, 1), (1, 0)], &[1], 1);
    (refused.told, refused.effect) = (Told::Refused, None);
    let history = [transaction((1, 2), 1, &[], &[0, 1], 0), refused];
    assert!(judge(&history).is_some());
    refused.reads = [NOTHING; KEYS];
    assert_eq!(judge(&[history[0], refused]), None);
}

#[test]
fn single_operations_of_different_sessions_may_be_seen_out_of_order_and_those_of_one_may_not() {
    let mut first = op(Kind::Single, (1, 2), 6, &[], &[0], 0);
    let mut second = op(Kind::Single, (3, 4), 1, &[], &[1], 1);
    let snapshot = transaction((0, 9), 5, &[(0, 0), (1, 2)], &[], 2);
    (first.session, second.session) = (Some(0), Some(1));
    assert_eq!(judge(&[first, second, snapshot]), None);
    second.session = Some(0);
    assert!(judge(&[first, second, snapshot]).is_some());
}

#[test]
fn a_get_that_misses_an_acknowledged_write_of_its_key_is_found() {
    let write = op(Kind::Single, (1, 2), 6, &[], &[0], 0);
    let get = op(Kind::Get, (3, 4), 0, &[(0, 0)], &[], 1);
    assert!(judge(&[write, get]).is_some());
    let get = op(Kind::Get, (1, 4), 0, &[(0, 0)], &[], 1);
    assert_eq!(judge(&[write, get]), None);
}
