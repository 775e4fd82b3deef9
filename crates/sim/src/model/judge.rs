//! Whether there is an order of all operations that gives what clients were promised.
//!
//! # What is promised
//! A total order in which every read finds what the last write before it left, and in which `a` is before `b` if
//! - both are transactions (or snapshots), and `a` was answered before `b` began;
//! - `b` is a transaction, `a` a single operation, and `a` was answered before `b` began;
//! - both touch one key, and `a` was answered before `b` began: so single keys are linearizable;
//! - both are of one session, in this order, and `b` writes: so sessions are causal.
//!
//! What is in the order: whatever took effect by the logs, be its client told or not; of a transaction that did not,
//! what it read, as a snapshot. First an order by timestamps is tried, which is the one that the rules are meant to
//! give; when it is none, all orders are searched, so that nothing is called a violation that is not one.

use std::collections::HashSet;

use strata_types::Timestamp;

use super::history::{KEYS, Kind, NOTHING, Op, Told, Value};

/// What is wrong with a history, if anything is.
pub(crate) fn judge(ops: &[Op]) -> Option<String> {
    for (number, op) in ops.iter().enumerate() {
        if op.told == Told::Done && op.is_writer() && op.effect.is_none() {
            return Some(format!("operation {number} was acknowledged, and never took effect"));
        }
        if op.told == Told::Refused && op.is_writer() && op.effect.is_some() {
            return Some(format!("operation {number} took effect, and its client was told that it did not"));
        }
    }
    let (numbers, ordered) = ordered(ops);
    if let Some(value) = unwritten(&ordered) {
        return Some(format!("somebody read what operation {} wrote, which never took effect", value - 1));
    }
    let before = constraints(&ordered);
    if is_order(&ordered, &before, &by_time(&ordered)) {
        return None;
    }
    if (Search { ops: &ordered, before: &before, dead: HashSet::new() }).find(0, [0; KEYS]) {
        return None;
    }
    Some(format!("no order of the operations {numbers:?} gives what was read"))
}

/// What must be in the order, and the numbers of that.
fn ordered(ops: &[Op]) -> (Vec<usize>, Vec<Op>) {
    let (mut numbers, mut kept) = (Vec::new(), Vec::new());
    for (number, op) in ops.iter().enumerate() {
        let mut op = *op;
        if op.effect.is_none() {
            op.writes = [NOTHING; KEYS];
            if op.kind == Kind::Single || op.reads == op.writes {
                continue;
            }
            // Where there was no answer, what was read may be of any time.
            op.effect = Some((op.read_at, u32::MAX));
        }
        numbers.push(number);
        kept.push(op);
    }
    (numbers, kept)
}

/// A value that was read and that nobody wrote.
fn unwritten(ops: &[Op]) -> Option<Value> {
    let is_written = |value: Value| value == 0 || ops.iter().any(|op| op.writes.contains(&value));
    ops.iter().flat_map(|op| op.reads).find(|value| *value != NOTHING && !is_written(*value))
}

/// For each operation, as a set of bits, those that must be before it.
fn constraints(ops: &[Op]) -> Vec<u32> {
    let mut before = vec![0; ops.len()];
    for (position, b) in ops.iter().enumerate() {
        for (other, a) in ops.iter().enumerate() {
            let shares_key = || (0..KEYS).any(|key| a.touches(key) && b.touches(key));
            let is_in_session = other < position && a.session.is_some() && a.session == b.session && b.is_writer();
            let is_ordered = a.ended < b.began && (b.kind == Kind::Transaction || shares_key());
            if other != position && (is_ordered || (is_in_session && a.ended <= b.began)) {
                before[position] |= 1 << other;
            }
        }
    }
    before
}

/// When; who only reads after who writes; then in the order of taking effect; then gets.
type Place = (Timestamp, bool, u32, bool);

/// The order that timestamps give.
fn by_time(ops: &[Op]) -> Vec<usize> {
    let mut places: Vec<Place> = Vec::with_capacity(ops.len());
    for op in ops {
        let (at, step) = op.effect.unwrap_or_default();
        places.push((at, !op.is_writer() && op.kind == Kind::Transaction, step, false));
    }
    place_gets(ops, &mut places);
    let mut order: Vec<usize> = (0..ops.len()).collect();
    order.sort_by_key(|op| (places[*op], *op));
    order
}

/// A get has no timestamp. It stands after what it saw, and after what was there before it of the same key.
fn place_gets(ops: &[Op], places: &mut [Place]) {
    let mut gets: Vec<usize> = (0..ops.len()).filter(|op| ops[*op].kind == Kind::Get).collect();
    gets.sort_by_key(|op| ops[*op].began);
    for get in gets {
        let mut place = (Timestamp(0), false, 0, true);
        for (other, op) in ops.iter().enumerate().filter(|(other, _)| *other != get) {
            for key in (0..KEYS).filter(|key| ops[get].reads[*key] != NOTHING) {
                let is_seen = ops[get].reads[key] != 0 && op.writes[key] == ops[get].reads[key];
                let is_before = op.touches(key) && op.ended < ops[get].began;
                if is_seen || is_before {
                    place = place.max((places[other].0, places[other].1, places[other].2, true));
                }
            }
        }
        places[get] = place;
    }
}

/// Whether an operation finds what it has read.
fn fits(op: &Op, state: &[Value; KEYS]) -> bool {
    (0..KEYS).all(|key| op.reads[key] == NOTHING || op.reads[key] == state[key])
}

fn write(op: &Op, state: &mut [Value; KEYS]) {
    for key in (0..KEYS).filter(|key| op.writes[*key] != NOTHING) {
        state[key] = op.writes[key];
    }
}

fn is_order(ops: &[Op], before: &[u32], order: &[usize]) -> bool {
    let (mut done, mut state) = (0u32, [0; KEYS]);
    for &next in order {
        if before[next] & !done != 0 || !fits(&ops[next], &state) {
            return false;
        }
        write(&ops[next], &mut state);
        done |= 1 << next;
    }
    true
}

/// A search of all orders, which comes to each set of operations with each state once.
struct Search<'a> {
    ops: &'a [Op],
    before: &'a [u32],
    dead: HashSet<(u32, [Value; KEYS])>,
}

impl Search<'_> {
    fn find(&mut self, done: u32, state: [Value; KEYS]) -> bool {
        if done.count_ones() as usize == self.ops.len() {
            return true;
        }
        if !self.dead.insert((done, state)) {
            return false;
        }
        for (next, op) in self.ops.iter().enumerate() {
            let is_open = done & (1 << next) == 0 && self.before[next] & !done == 0;
            if is_open && fits(op, &state) {
                let mut then = state;
                write(op, &mut then);
                if self.find(done | 1 << next, then) {
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
