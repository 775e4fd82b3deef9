//! Everything of one schedule but the actors: shards, counter, messages, history.

use bytes::Bytes;
use strata_codec::decode_reply;
use strata_machine::{CommandContext, Machine};
use strata_shard::ShardMachine;
use strata_types::{Decision, LogIndex, Slot, Term, Timestamp, TransactionId, TransactionStatus};

use super::counter::Counter;
use super::group::{Answer, Group, Order, SEATS};
use super::history::{KEYS, NOTHING, Op};
use super::rule::Rule;
use super::words::{answer_of, told};
use crate::dice::Dice;

/// A command on its way to a shard's leader.
pub(crate) struct Message {
    pub(crate) shard: usize,
    pub(crate) call: usize,
    pub(crate) order: Order,
    pub(crate) not_before: Timestamp,
    /// How often it may arrive once more.
    copies: u8,
    /// It takes long, so that much happens before it arrives.
    pub(crate) is_slow: bool,
    pub(crate) odd: Option<Odd>,
}

/// A stamp that the rules do not give.
#[derive(Clone, Copy)]
pub(crate) enum Odd {
    /// That of the first attempt: without TXN-18.
    Old(Timestamp),
    /// As if the clock had been raised, which it is not: without TXN-5.
    Unraised(Timestamp),
}

/// Who waits for an answer.
pub(crate) struct Call {
    /// On whose behalf: the operation of the history.
    pub(crate) op: Option<usize>,
    pub(crate) answer: Option<Answer>,
    pub(crate) stamp: Timestamp,
}

/// The world of a schedule.
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) without: Option<Rule>,
    pub(crate) groups: Vec<Group>,
    pub(crate) counter: Counter,
    pub(crate) bag: Vec<Message>,
    pub(crate) calls: Vec<Call>,
    pub(crate) ops: Vec<Op>,
    pub(crate) keys: [Bytes; KEYS],
    pub(crate) step: u32,
    /// Elections that may still happen.
    pub(crate) elections: u32,
    /// Messages, answers and actors may get lost, out of a thousand.
    pub(crate) losses: u64,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) violation: Option<String>,
}

impl World {
    pub(crate) fn new(mut dice: Dice, without: Option<Rule>, trace: bool) -> World {
        let shards = dice.between(2, 3) as usize;
        let elections = if dice.chance(500) { dice.between(1, 3) as u32 } else { 0 };
        let losses = if dice.chance(500) { 60 } else { 0 };
        World {
            dice,
            without,
            groups: (0..shards).map(|_| Group::new()).collect(),
            counter: Counter::new(),
            bag: Vec::new(),
            calls: Vec::new(),
            ops: Vec::new(),
            keys: [b"a", b"b", b"c", b"d"].map(|name| Bytes::from_static(name)),
            step: 0,
            elections,
            losses,
            trace: trace.then(Vec::new),
            violation: None,
        }
    }

    pub(crate) fn is_without(&self, rule: Rule) -> bool {
        self.without == Some(rule)
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>4}  {}", self.step, line()));
        }
    }

    pub(crate) fn violate(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let what = what();
            self.note(|| format!("VIOLATION {what}"));
            self.violation = Some(what);
        }
    }

    pub(crate) fn shard_of(&self, key: usize) -> usize {
        key % self.groups.len()
    }

    /// Where the record of a transaction is.
    pub(crate) fn shard_of_slot(&self, slot: Slot) -> usize {
        let key = self.keys.iter().position(|key| Slot::of_key(key) == slot).expect("the slot of a key");
        self.shard_of(key)
    }

    /// The key with a name.
    pub(crate) fn key_of(&self, name: &[u8]) -> usize {
        self.keys.iter().position(|key| key.as_ref() == name).expect("one of the keys")
    }

    /// Sends a command on behalf of an operation. `repeatable`: it may arrive more than once.
    pub(crate) fn send(
        &mut self,
        what: &'static str,
        shard: usize,
        op: Option<usize>,
        order: Order,
        not_before: Timestamp,
        repeatable: bool,
    ) -> usize {
        let call = self.calls.len();
        self.calls.push(Call { op, answer: None, stamp: Timestamp(0) });
        self.note(|| {
            let of = op.map_or_else(String::new, |op| format!(" of operation {op}"));
            format!("call {call}: {what}{of} to shard {shard}")
        });
        let copies = if repeatable && self.dice.chance(250) { 2 } else { 0 };
        if self.losses == 0 || !self.dice.chance(self.losses) {
            let is_slow = repeatable && self.dice.chance(60);
            self.bag.push(Message { shard, call, order, not_before, copies, is_slow, odd: None });
        }
        call
    }

    /// The message of a call, if it is not lost, will not be stamped as it should.
    pub(crate) fn make_odd(&mut self, call: usize, odd: Odd) {
        if let Some(message) = self.bag.iter_mut().find(|message| message.call == call) {
            message.odd = Some(odd);
        }
    }

    /// A message arrives at a leader, which stamps it. Without one, it goes on being on its way.
    pub(crate) fn deliver(&mut self, at: usize) {
        let shard = self.bag[at].shard;
        let seat = self.any_leader(shard);
        let group = &mut self.groups[shard];
        if group.seats[seat].open_term().is_none() {
            return;
        }
        let message = &self.bag[at];
        let (order, call) = (message.order.clone(), message.call);
        let mut stamp = group.stamp(seat, message.not_before, order, call);
        if let Some(odd) = message.odd {
            stamp = match odd {
                Odd::Old(first) => first,
                Odd::Unraised(at) => stamp.max(at),
            };
            group.seats[seat].in_hand.back_mut().expect("just stamped").stamp = stamp;
        }
        self.calls[call].stamp = stamp;
        self.note(|| format!("shard {shard}: replica {seat} stamps call {call} with {}", stamp.0));
        if self.bag[at].copies > 0 && self.dice.chance(700) {
            self.bag[at].copies -= 1;
            self.bag[at].is_slow = true;
        } else {
            self.bag.swap_remove(at);
        }
    }

    /// A replica that takes itself for the leader: mostly the newest one.
    pub(crate) fn any_leader(&mut self, shard: usize) -> usize {
        let group = &self.groups[shard];
        if group.term > 1 && self.dice.chance(250) {
            let seat = self.dice.between(0, SEATS as u64 - 1) as usize;
            if group.seats[seat].leads.is_some() {
                return seat;
            }
        }
        group.leader()
    }

    /// A replica applies the next committed entry, if there is one.
    pub(crate) fn apply(&mut self, shard: usize, seat: usize) -> bool {
        let group = &mut self.groups[shard];
        let index = group.seats[seat].applied;
        if index >= group.limit(seat) {
            return false;
        }
        let its = &mut group.seats[seat];
        its.applied += 1;
        if its.applied > its.stray_from {
            its.stray.clear();
        }
        let entry = &group.log[index];
        let is_refused = entry.stamped_term != entry.term && self.without != Some(Rule::TermOfStamp);
        if entry.seat == seat {
            let number = entry.number;
            its.in_flight.retain(|(its, _)| *its != number);
        }
        if entry.command.is_empty() || is_refused {
            group.first_applied = group.first_applied.max(index + 1);
            return true;
        }
        if self.without != Some(Rule::ResolveRaisesClock) {
            its.clock = its.clock.max(entry.stamp);
        }
        let term = Term(u64::from(entry.term));
        let context = CommandContext { term, index: LogIndex(index as u64 + 1), position: 0, stamp: entry.stamp };
        let reply = ShardMachine.apply(&mut its.rows, context, &entry.command);
        if index >= group.first_applied {
            group.first_applied = index + 1;
            self.applied_first(shard, index, reply);
        }
        self.answer(shard, seat, index);
        true
    }

    /// The first replica has applied an entry: what it has answered is what every other one will.
    fn applied_first(&mut self, shard: usize, index: usize, reply: Bytes) {
        let answer = match decode_reply(reply).expect("a reply decodes") {
            Err(error) => {
                if self.without.is_none() {
                    self.violate(|| format!("the shard refuses: {error}"));
                }
                Answer::Invalid
            }
            Ok(reply) => answer_of(reply),
        };
        let group = &mut self.groups[shard];
        let (stamp, call) = (group.log[index].stamp, group.log[index].call);
        group.log[index].answer = Some(answer);
        let has_fallen = stamp < group.highest;
        group.highest = group.highest.max(stamp);
        if has_fallen && self.without.is_none() {
            self.violate(|| format!("stamps of shard {shard} fell to {}", stamp.0));
        }
        self.note(|| format!("shard {shard}: entry {index} (call {call}) is applied at {}: {}", stamp.0, told(answer)));
        let Some(op) = self.calls[call].op else { return };
        let step = self.step;
        let op = &mut self.ops[op];
        match answer {
            Answer::Committed(at) | Answer::Status(TransactionStatus::Decided(Decision::Committed(at))) => {
                op.effect.get_or_insert((at, step));
            }
            Answer::Written => op.effect = Some((stamp, step)),
            Answer::Holds(value) => {
                let key = op.writes.iter().position(|value| *value != NOTHING).expect("a write was wanted");
                op.writes[key] = NOTHING;
                op.reads[key] = value;
                op.effect = Some((stamp, step));
            }
            _ => {}
        }
    }

    /// The replica that stamped an entry tells who waits for it.
    fn answer(&mut self, shard: usize, seat: usize, index: usize) {
        let entry = &self.groups[shard].log[index];
        if entry.seat != seat || self.calls[entry.call].answer.is_some() {
            return;
        }
        let (call, answer) = (entry.call, entry.answer);
        if self.losses == 0 || !self.dice.chance(self.losses) {
            self.calls[call].answer = answer;
        }
    }

    /// Another replica, or the same one, wins the election of a shard.
    pub(crate) fn elect(&mut self, shard: usize) {
        let seat = self.dice.between(0, SEATS as u64 - 1) as usize;
        for _ in 0..self.dice.between(0, 3) {
            self.apply(shard, seat);
        }
        let kept = self.dice.between(0, 2) as usize;
        let group = &mut self.groups[shard];
        group.elect(seat, kept);
        let term = group.term;
        if self.without == Some(Rule::FloorAfterElection) {
            group.seats[seat].opened = term;
        }
        self.note(|| format!("shard {shard}: replica {seat} is elected in term {term}"));
    }

    /// A new leader asks for the floor, or opens its clock with the answer.
    pub(crate) fn open_clock(&mut self, shard: usize, seat: usize) {
        let deposed = self.is_without(Rule::FloorConfirms) && self.dice.chance(500);
        let floor = self.counter.floor(deposed);
        let its = &mut self.groups[shard].seats[seat];
        let Some(term) = its.leads else { return };
        match its.floor {
            Some((asked, floor)) if asked == term => {
                its.clock = its.clock.max(floor.next());
                its.opened = term;
                let now = its.clock;
                self.note(|| format!("shard {shard}: replica {seat} opens its clock of term {term} at {}", now.0));
            }
            _ => {
                its.floor = Some((term, floor));
                self.note(|| format!("shard {shard}: replica {seat} is told the floor {}", floor.0));
            }
        }
    }

    /// A follower takes the bare index for its own entry at that place, which was never committed, and applies it.
    pub(crate) fn goes_astray(&mut self, shard: usize, seat: usize, index: usize) -> bool {
        let group = &self.groups[shard];
        let its = &group.seats[seat];
        let has_it = its.stray_from < index && index <= its.stray_from + its.stray.len();
        if !has_it || its.leads == Some(group.term) || its.stray_from > group.committed {
            return false;
        }
        let (from, count) = (its.stray_from, index - its.stray_from);
        while self.groups[shard].seats[seat].applied < from && self.apply(shard, seat) {}
        let group = &mut self.groups[shard];
        let its = &group.seats[seat];
        if its.applied != from || its.stray.is_empty() {
            return false;
        }
        let mut rows = its.rows.clone();
        for (position, entry) in its.stray[..count].iter().enumerate().filter(|(_, entry)| !entry.command.is_empty()) {
            let (term, index) = (Term(u64::from(entry.term)), LogIndex((from + position) as u64 + 1));
            let context = CommandContext { term, index, position: 0, stamp: entry.stamp };
            ShardMachine.apply(&mut rows, context, &entry.command);
        }
        group.astray = rows;
        self.note(|| format!("shard {shard}: replica {seat} takes its own entry {index} for the committed one"));
        true
    }

    pub(crate) fn transaction_of(op: usize) -> TransactionId {
        TransactionId(op as u128 + 1)
    }
}
