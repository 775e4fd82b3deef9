//! A shard's group without Raft: one log with a committed beginning, and replicas that lead, led, or follow.
//!
//! ```text
//!   log   [ e e e e | e e b ]      e: an entry, b: the blank one with which a leader begins
//!                   ^ committed    what is right of it is the newest leader's, and may vanish with it
//! ```
//! What is replaced is what Raft promises: what is committed is in the log of every later leader, a leader commits by
//! an entry of its own term, and a deposed one commits nothing. What is not promised happens: leaders that do not know
//! that they are deposed, new ones that do not know how far is committed, entries that were stamped and not handed
//! over. The clock of a leader is that of `strata_raft`, whose own one is bound to its runtime.

use std::collections::VecDeque;

use bytes::Bytes;
use strata_types::{Conflict, Reach, Timestamp, Transaction, TransactionReply, TransactionStatus};

use super::history::Value;
use super::rows::Rows;
use super::rule::Rule;

/// Replicas of each shard.
pub(crate) const SEATS: usize = 3;

/// What an applied command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// To what writes single keys.
    Written,
    /// To a compare-and-set that failed: what the key holds.
    Holds(Value),
    Committed(Timestamp),
    Prepared(Timestamp),
    Conflict(strata_types::ConflictReason),
    Status(TransactionStatus),
    Done,
    Blocked(Transaction),
    /// It should not have been asked. Happens where a rule is taken out that the shard keeps as well.
    Invalid,
}

impl Answer {
    pub(crate) fn of(reply: TransactionReply) -> Answer {
        match reply {
            TransactionReply::Committed { at } => Answer::Committed(at),
            TransactionReply::Prepared { at } => Answer::Prepared(at),
            TransactionReply::Conflict(Conflict { reason, .. }) => Answer::Conflict(reason),
            TransactionReply::Status(status) => Answer::Status(status),
            TransactionReply::Done => Answer::Done,
            reply => panic!("not an answer to a command: {reply:?}"),
        }
    }
}

/// A command as a leader gets it.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) command: Bytes,
    /// What it may change.
    pub(crate) reach: Reach,
}

/// One command in a log.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The term in which it was appended; as a log entry has.
    pub(crate) term: u32,
    pub(crate) stamped_term: u32,
    pub(crate) stamp: Timestamp,
    /// Empty: the blank entry of a leader.
    pub(crate) command: Bytes,
    /// Who waits for it, and on which replica.
    pub(crate) call: usize,
    pub(crate) seat: usize,
    pub(crate) number: u64,
    /// The answer, once it was applied anywhere.
    pub(crate) answer: Option<Answer>,
}

/// One replica.
#[derive(Clone, Default)]
pub(crate) struct Seat {
    pub(crate) rows: Rows,
    pub(crate) applied: usize,
    /// The term in which it leads, as far as it knows.
    pub(crate) leads: Option<u32>,
    /// How far it knows the log to be committed, while it leads.
    pub(crate) known: usize,
    /// Where its term's blank entry is.
    blank: usize,
    pub(crate) clock: Timestamp,
    /// The term for which the clock is open.
    pub(crate) opened: u32,
    /// The counter's answer for the clock of a term.
    pub(crate) floor: Option<(u32, Timestamp)>,
    /// Stamped, and not with Raft yet.
    pub(crate) in_hand: VecDeque<Entry>,
    /// This term's entries that are not applied: their numbers, and what they may change.
    pub(crate) in_flight: Vec<(u64, Reach)>,
    pub(crate) stamped: u64,
    /// What it has in its log from `stray_from` on that is not in the group's.
    pub(crate) stray: Vec<Entry>,
    pub(crate) stray_from: usize,
}

impl Seat {
    /// The term in which it leads and has time.
    pub(crate) fn open_term(&self) -> Option<u32> {
        self.leads.filter(|term| *term == self.opened)
    }
}

/// What a snapshot read waits for.
#[derive(Clone, Copy)]
pub(crate) struct Noted {
    pub(crate) seat: usize,
    pub(crate) term: u32,
    pub(crate) number: u64,
}

/// One shard.
pub(crate) struct Group {
    pub(crate) seats: [Seat; SEATS],
    pub(crate) log: Vec<Entry>,
    pub(crate) committed: usize,
    pub(crate) term: u32,
    /// Up to here some replica has applied.
    pub(crate) first_applied: usize,
    /// The highest stamp that was applied.
    pub(crate) highest: Timestamp,
    /// What a follower has made of its own log, if it was let.
    pub(crate) astray: Rows,
}

/// The place of [`Group::astray`] among the replicas.
pub(crate) const ASTRAY: usize = SEATS;

impl Group {
    pub(crate) fn new() -> Group {
        let seats = std::array::from_fn(|_| Seat::default());
        let (log, highest, astray) = (Vec::new(), Timestamp(0), Rows::default());
        let mut group = Group { seats, log, committed: 0, term: 0, first_applied: 0, highest, astray };
        group.elect(0, 0);
        group
    }

    /// The seat of the newest leader.
    pub(crate) fn leader(&self) -> usize {
        let leads = |seat: &Seat| seat.leads == Some(self.term);
        self.seats.iter().position(leads).expect("somebody was elected")
    }

    /// A replica wins an election; `kept` of the uncommitted entries have reached it. Whoever led does not know.
    pub(crate) fn elect(&mut self, seat: usize, kept: usize) {
        if self.term > 0 {
            let old = self.leader();
            let from = if old == seat { self.log.len() } else { (self.committed + kept).min(self.log.len()) };
            self.seats[old].stray_from = from;
            self.seats[old].stray = self.log.split_off(from);
        }
        self.term += 1;
        let new = &mut self.seats[seat];
        new.leads = Some(self.term);
        new.known = new.applied;
        new.blank = self.log.len();
        new.in_flight.clear();
        new.stray.clear();
        let call = usize::MAX;
        let (term, stamped_term, stamp) = (self.term, self.term, Timestamp(0));
        self.log.push(Entry { term, stamped_term, stamp, command: Bytes::new(), call, seat, number: 0, answer: None });
    }

    /// A deposed leader hears of it.
    pub(crate) fn learn(&mut self, seat: usize) {
        if self.seats[seat].leads.is_some_and(|term| term < self.term) {
            self.seats[seat].leads = None;
        }
    }

    /// Stamps an entry: the clock, or what it may not be before. The caller has seen that the clock is open.
    pub(crate) fn stamp(&mut self, seat: usize, not_before: Timestamp, order: Order, call: usize) -> Timestamp {
        let Order { command, reach } = order;
        let its = &mut self.seats[seat];
        its.clock = its.clock.max(not_before);
        its.stamped += 1;
        its.in_flight.push((its.stamped, reach));
        let (stamped_term, stamp, number) = (its.opened, its.clock, its.stamped);
        its.in_hand.push_back(Entry { term: 0, stamped_term, stamp, command, call, seat, number, answer: None });
        stamp
    }

    /// Raft takes the next stamped entry of a replica; from one that does not lead it is lost.
    pub(crate) fn hand_over(&mut self, seat: usize) {
        let Some(mut entry) = self.seats[seat].in_hand.pop_front() else { return };
        if self.seats[seat].leads == Some(self.term) {
            entry.term = self.term;
            self.log.push(entry);
        }
    }

    /// The newest leader commits up to some entry at or behind its blank one.
    pub(crate) fn commit(&mut self, more: usize) {
        let leader = self.leader();
        self.committed = (self.committed + more).max(self.seats[leader].blank + 1).min(self.log.len());
        self.seats[leader].known = self.committed;
    }

    /// How far a replica may apply.
    pub(crate) fn limit(&self, seat: usize) -> usize {
        let seat = &self.seats[seat];
        if seat.leads.is_some() { seat.known } else { self.committed }
    }

    /// A read at a timestamp begins on a leader whose clock is open.
    pub(crate) fn begin_read(&mut self, seat: usize, at: Timestamp, without: Option<Rule>) -> Noted {
        let its = &mut self.seats[seat];
        if without != Some(Rule::ReadRaisesClock) {
            its.clock = its.clock.max(at.next());
        }
        let number = if without == Some(Rule::WaitForStamped) { 0 } else { its.stamped };
        Noted { seat, term: its.leads.unwrap_or_default(), number }
    }

    /// What a replica has.
    pub(crate) fn rows(&self, seat: usize) -> &Rows {
        self.seats.get(seat).map_or(&self.astray, |seat| &seat.rows)
    }

    /// Whether a leader has applied an entry of its own.
    pub(crate) fn has_applied_own(&self, seat: usize) -> bool {
        self.seats[seat].applied > self.seats[seat].blank
    }
}
