//! The logical clock of a shard's leader, and the entries that it stamped.
//!
//! ```text
//!   meta group: highest timestamp handed out, asked after this replica was elected --> open(term, at)
//!   snapshot read at T --> raise above T          stamp(entry) = max(clock, what its proposals may not be before)
//! ```
//! Whoever reads at a timestamp must know that nothing will be written at or below it any more. So the clock is raised
//! first, and each entry that was stamped before and may change what is read is waited for: entries have a running number,
//! and whoever hands one to openraft says when it is completed (RAFT-13). A new leader knows nothing of what was read at
//! the one before: its clock is closed until the meta group, asked after the election, has named a time above all that
//! (RAFT-14). All of it lies under one lock, so that what is stamped and what is read are in one order.
//!
//! A clock never goes back, whoever leads: it is also raised by what this replica applies. An untimed group has no time
//! and its entries carry none; they are counted all the same, because the group may become timed at any moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::Env;
use strata_types::{Reach, Term, Timestamp};
use tokio::sync::Notify;

#[cfg(debug_assertions)]
use crate::mutant::{self, Mutant};

/// How long proposals and reads wait for a new leader's clock: shorter than routers wait for a node, so that they are told.
pub(crate) const TIME_PATIENCE: Duration = Duration::from_millis(400);

/// Why there is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// This replica does not lead, or not any more.
    NotLeader,
    /// It leads, and its clock has not been opened.
    NoTime,
}

/// What an entry gets on its way. Without time its stamp is zero, and so is the term that it carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamped {
    pub(crate) stamp: Timestamp,
    /// The term that the entry may be applied in, or zero.
    pub(crate) stamped_term: Term,
    /// The term in which this replica led.
    led: Term,
    number: u64,
}

/// How far a read must see: all that was stamped up to this number, while this term lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) term: Term,
    number: u64,
}

#[derive(Default)]
struct State {
    now: Timestamp,
    /// The last term that the clock was opened for.
    opened: Term,
    /// The term in which this replica leads.
    leads: Option<Term>,
    /// Number of the last entry that was stamped.
    stamped: u64,
    /// The entries on their way, the few that may be at once: their numbers, and what they may change.
    in_flight: Vec<(u64, Reach)>,
    /// The last term in which it was not learnt what became of an entry.
    lost: Term,
    /// Whether an entry with a stamp was applied: from then on the group is timed.
    is_stamped: bool,
}

impl State {
    /// The term in which the clock is open.
    fn open_term(&self) -> Result<Term, Closed> {
        let leads = self.leads.ok_or(Closed::NotLeader)?;
        #[cfg(debug_assertions)]
        if mutant::is(Mutant::ClockNotOpenedAnew) && self.opened > Term(0) {
            return Ok(leads);
        }
        if leads == self.opened { Ok(leads) } else { Err(Closed::NoTime) }
    }

    fn raise(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
    }
}

/// The clock of one replica.
#[derive(Default)]
pub(crate) struct Clock {
    state: Mutex<State>,
    timed: AtomicBool,
    changed: Notify,
}

impl Clock {
    /// Of a replica that has applied entries up to this stamp.
    pub(crate) fn new(applied: Timestamp) -> Clock {
        let clock = Clock::default();
        clock.applied(applied);
        clock
    }

    /// Whether entries get stamps.
    pub(crate) fn is_timed(&self) -> bool {
        self.timed.load(Ordering::Acquire)
    }

    /// Whether an entry with a stamp was applied here.
    pub(crate) fn has_stamped(&self) -> bool {
        self.state.lock().is_stamped
    }

    /// A group that has applied a stamp stays timed.
    pub(crate) fn set_timed(&self, timed: bool) {
        let state = self.state.lock();
        self.timed.store(timed || state.is_stamped, Ordering::Release);
        drop(state);
        self.changed.notify_waiters();
    }

    /// An entry with this stamp was applied here.
    pub(crate) fn applied(&self, stamp: Timestamp) {
        if stamp == Timestamp(0) {
            return;
        }
        let mut state = self.state.lock();
        state.raise(stamp);
        state.is_stamped = true;
        self.timed.store(true, Ordering::Release);
    }

    /// The term in which this replica leads, as far as it knows: an entry that is appended in another one is refused
    /// when it is applied.
    pub(crate) fn lead(&self, term: Option<Term>) {
        let mut state = self.state.lock();
        if state.leads != term {
            state.leads = term;
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// Opens the clock for a term at a time above all that was handed out before the election.
    pub(crate) fn open(&self, term: Term, at: Timestamp) {
        let mut state = self.state.lock();
        state.raise(at.max(Timestamp(1)));
        state.opened = state.opened.max(term);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Entries that are stamped from now on are not before this.
    pub(crate) fn raise(&self, at: Timestamp) {
        self.state.lock().raise(at);
    }

    /// The time, if the clock is open.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        let state = self.state.lock();
        (self.is_timed() && state.open_term().is_ok()).then_some(state.now)
    }

    /// The highest time that is known here, whoever leads.
    pub(crate) fn heard(&self) -> Timestamp {
        self.state.lock().now
    }

    /// Whether this replica leads.
    pub(crate) fn leads(&self) -> bool {
        self.state.lock().leads.is_some()
    }

    /// Whether entries must wait, or be refused.
    pub(crate) fn closed(&self) -> Option<Closed> {
        if self.is_timed() { self.state.lock().open_term().err() } else { None }
    }

    /// Waits until entries can be stamped, but not for long.
    pub(crate) async fn wait_open(&self, env: &Env) -> Result<(), Closed> {
        let open = async {
            loop {
                let changed = self.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                match self.closed() {
                    Some(Closed::NoTime) => changed.await,
                    Some(Closed::NotLeader) => return Err(Closed::NotLeader),
                    None => return Ok(()),
                }
            }
        };
        env.timeout(TIME_PATIENCE, open).await.unwrap_or(Err(Closed::NoTime))
    }

    /// Stamps an entry. The caller hands it to openraft before it stamps another one: so stamps rise with the log
    /// (RAFT-12).
    pub(crate) fn stamp(&self, not_before: Timestamp, reach: Reach) -> Result<Stamped, Closed> {
        let mut state = self.state.lock();
        let mut stamped = Stamped { led: state.leads.unwrap_or_default(), ..Stamped::default() };
        if self.is_timed() {
            stamped.stamped_term = state.open_term()?;
            state.raise(not_before);
            stamped.stamp = state.now;
        }
        state.stamped += 1;
        stamped.number = state.stamped;
        state.in_flight.push((stamped.number, reach));
        Ok(stamped)
    }

    /// Something became of an entry: it is applied here, or it is known that it never will be, or else it is lost.
    pub(crate) fn complete(&self, stamped: Stamped, is_lost: bool) {
        let mut state = self.state.lock();
        state.in_flight.retain(|(number, _)| *number != stamped.number);
        if is_lost {
            state.lost = state.lost.max(stamped.led);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Begins a read at a timestamp: nothing is stamped at or below it any more, and what was stamped is noted.
    pub(crate) fn begin_read(&self, at: Timestamp) -> Result<Noted, Closed> {
        let mut state = self.state.lock();
        if !self.is_timed() {
            return Err(Closed::NoTime);
        }
        let noted = Noted { term: state.open_term()?, number: state.stamped };
        #[cfg(debug_assertions)]
        if mutant::is(Mutant::ClockNotRaised) {
            return Ok(noted);
        }
        state.raise(Timestamp(at.0.saturating_add(1)));
        #[cfg(debug_assertions)]
        if mutant::is(Mutant::BarrierSkipsStamped) {
            return Ok(Noted { number: 0, ..noted });
        }
        Ok(noted)
    }

    /// Waits until all that was noted, and may change what is read, is applied here. Fails when that cannot be known, because
    /// an entry was lost or this replica leads no more.
    pub(crate) async fn wait_completed(&self, noted: Noted, reach: &Reach) -> Result<(), Closed> {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.state.lock();
                if state.lost >= noted.term {
                    return Err(Closed::NotLeader);
                }
                let is_later = |(number, its): &(u64, Reach)| *number > noted.number || !its.meets(reach);
                if state.in_flight.iter().all(is_later) {
                    return Ok(());
                }
                if state.leads != Some(noted.term) {
                    return Err(Closed::NotLeader);
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests;
