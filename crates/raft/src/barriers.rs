//! Snapshot reads: whoever reads at a timestamp T must see everything that will ever have a stamp of T or below.
//!
//! ```text
//!   leader     raise the clock above T, note the last stamped entry --> round (reads.rs) --> each: wait until everything
//!              noted that may change what it reads is applied here --> read
//!   follower   --ReadIndex with T--> leader: all of that --> its applied log id --> wait until it is applied --> read
//! ```
//! The order matters. What is stamped after the raise is above T. What was stamped before is waited for, also what is
//! still on its way into the log (RAFT-13), unless it changes nothing that is read: on a busy shard there is always
//! something on its way. Entries of former leaders are all applied before a round is made. The round comes after the raise: it proves that no other leader was elected
//! before, and one that is elected later asks the meta group for a time above T (RAFT-14). It must be a round of the
//! term whose clock was raised.
//!
//! Those who wait share rounds as in `reads.rs`, and the clock is raised once, above the highest T of them. Plain reads
//! have rounds of their own, because they need no clock and should not wait for one.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strata_net::Caller;
use strata_types::{Reach, Timestamp};
use tokio::sync::{Notify, oneshot};

use crate::clock::{Clock, Closed, Noted, TIME_PATIENCE};
use crate::error::{ProposeError, ReadError};
use crate::group::Group;
use crate::read_index::ask_leader;
use crate::reads::{Answer, FOLLOWER, LEADER, ROUND_DEADLINE, answer, lead, not_leader, nothing_heard, stopped};
use crate::replica::Replica;
use crate::roll_call::Roll;
use crate::types::{LogId, Raft};

/// A leader that was asked may have to wait for its clock first.
const FOLLOWER_DEADLINE: Duration = TIME_PATIENCE.saturating_add(ROUND_DEADLINE);

/// What a round has found.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// What had been told or shown to anybody.
    pub(crate) shown: LogId,
    /// What is still to be waited for, on a leader.
    pub(crate) noted: Option<Noted>,
}

/// Those who wait for the next round.
#[derive(Default)]
struct Waiting {
    /// They read here.
    here: Vec<Answer<Round>>,
    /// Other replicas, which read there.
    elsewhere: Vec<Answer<Round>>,
    /// The highest timestamp of them all.
    at: Timestamp,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.elsewhere.is_empty()
    }

    fn len(&self) -> usize {
        self.here.len() + self.elsewhere.len()
    }

    fn finish(self, result: Result<Round, ReadError>) {
        answer(self.here.into_iter().chain(self.elsewhere), &result);
    }
}

#[derive(Default)]
struct State {
    waiting: Waiting,
    /// Whether there will be no more rounds.
    is_closed: bool,
}

/// Those who read one replica at timestamps.
#[derive(Default)]
pub(crate) struct Barriers {
    state: Mutex<State>,
    arrived: Notify,
}

impl Barriers {
    async fn join(
        &self,
        at: Timestamp,
        list: impl FnOnce(&mut Waiting) -> &mut Vec<Answer<Round>>,
    ) -> Result<Round, ReadError> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return Err(stopped());
            }
            state.waiting.at = state.waiting.at.max(at);
            list(&mut state.waiting).push(sender);
        }
        self.arrived.notify_one();
        receiver.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// There are no more rounds: those who wait, and those who come, are told.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        // A waiter that is dropped has its answer.
        state.waiting = Waiting::default();
    }

    fn take(&self) -> Waiting {
        std::mem::take(&mut self.state.lock().waiting)
    }

    /// Makes rounds for those who wait, for ever.
    pub(crate) async fn run(
        self: Arc<Self>,
        replica: Arc<Replica>,
        caller: Arc<Caller>,
        roll: Roll,
        raft: impl Fn() -> Option<Raft> + Send,
    ) {
        loop {
            if self.state.lock().waiting.is_empty() {
                self.arrived.notified().await;
                continue;
            }
            // Those who come meanwhile wait no longer than the first.
            let opened = if replica.clock.leads() { replica.clock.wait_open(&replica.env).await } else { Ok(()) };
            let mut round = self.take();
            if opened == Err(Closed::NoTime) {
                round.finish(Err(ReadError::NoTime));
                continue;
            }
            let Some(raft) = raft() else {
                round.finish(Err(stopped()));
                continue;
            };
            let leads = replica.clock.leads();
            let (role, deadline) = if leads { (LEADER, ROUND_DEADLINE) } else { (FOLLOWER, FOLLOWER_DEADLINE) };
            metrics::counter!("strata_raft_read_rounds_total", "role" => role).increment(1);
            metrics::counter!("strata_raft_reads_total", "role" => role).increment(round.len() as u64);
            let made = match leads {
                true => replica.env.timeout(deadline, lead_at(&raft, &replica, &roll, round.at)).await,
                false => replica.env.timeout(deadline, follow_at(&raft, &replica, &caller, &mut round)).await,
            };
            round.finish(made.unwrap_or_else(|_| Err(nothing_heard(deadline))));
        }
    }
}

/// The leader's round.
async fn lead_at(raft: &Raft, replica: &Replica, roll: &Roll, at: Timestamp) -> Result<Round, ReadError> {
    let noted = begin_at(&replica.clock, at)?;
    let shown = lead(raft, replica, roll).await?;
    check_term(&shown, noted)?;
    Ok(Round { shown, noted: Some(noted) })
}

/// Who has waited at a follower that leads now comes here without [`Group::ensure_stamped`]. While nothing was stamped, a
/// later leader that does not know of time yet may still write without a stamp, and change what was read (RAFT-13).
pub(crate) fn begin_at(clock: &Clock, at: Timestamp) -> Result<Noted, ReadError> {
    if !clock.has_stamped() {
        return Err(ReadError::NoTime);
    }
    Ok(clock.begin_read(at)?)
}

/// The round has the term of its leader, which has appended an entry of its own.
pub(crate) fn check_term(index: &LogId, noted: Noted) -> Result<(), ReadError> {
    if index.leader_id.term == noted.term.0 { Ok(()) } else { Err(Closed::NotLeader.into()) }
}

/// The leader's round, on behalf of those who read here.
async fn follow_at(
    raft: &Raft,
    replica: &Replica,
    caller: &Arc<Caller>,
    round: &mut Waiting,
) -> Result<Round, ReadError> {
    let refusal = not_leader(raft, replica);
    answer(round.elsewhere.drain(..), &Err(refusal.clone()));
    if round.here.is_empty() {
        return Err(refusal);
    }
    let id = ask_leader(raft, replica, caller, Some(round.at), FOLLOWER_DEADLINE).await?;
    #[cfg(debug_assertions)]
    if crate::mutant::is(crate::mutant::Mutant::FollowerWaitsForIndex) {
        crate::mutant::wait_logged(raft, id.index).await;
        return Ok(Round { shown: id, noted: None });
    }
    replica.wait_reached(&id).await;
    Ok(Round { shown: id, noted: None })
}

impl Group {
    /// Completes when the tablet shows everything that will ever have a stamp of `at` or below, on any replica: one
    /// that follows asks its leader. Nothing is stamped at or below `at` any more. Only a time that was handed out may be
    /// asked for, because the shard's time rises above it.
    pub async fn snapshot_barrier(&self, at: Timestamp) -> Result<(), ReadError> {
        self.snapshot_barrier_within(at, &Reach::ALL).await
    }

    /// The same for what is reached of it.
    pub(crate) async fn snapshot_barrier_within(&self, at: Timestamp, reach: &Reach) -> Result<(), ReadError> {
        self.prepare_snapshot().await?;
        let round = self.barriers().join(at, |waiting| &mut waiting.here).await?;
        self.env()
            .timeout(ROUND_DEADLINE, self.shows(round, reach))
            .await
            .unwrap_or_else(|_| Err(nothing_heard(ROUND_DEADLINE)))
    }

    /// Completes when this replica shows what is reached as it must after a round. When an entry of its own is applied, all that
    /// it is yet to apply of what was shown to anybody is its own, and noted.
    pub(crate) async fn shows(&self, round: Round, reach: &Reach) -> Result<(), ReadError> {
        let replica = self.state();
        // A follower has waited.
        let Some(noted) = round.noted else { return Ok(()) };
        replica.clock.wait_completed(noted, reach).await?;
        let is_settled = replica.applied_under() == Some(round.shown.leader_id);
        if *reach == Reach::ALL || !is_settled {
            replica.wait_reached(&round.shown).await;
        }
        Ok(())
    }

    /// The same for a reader on another replica: which entry it must have applied.
    pub(crate) async fn snapshot_index(&self, at: Timestamp) -> Result<LogId, ReadError> {
        self.check_timed()?;
        self.check_leader().map_err(|leader| ReadError::NotLeader { leader })?;
        self.ensure_stamped().await?;
        let round = self.barriers().join(at, |waiting| &mut waiting.elsewhere).await?;
        let shows = self.env().timeout(ROUND_DEADLINE, self.shows(round, &Reach::ALL)).await;
        shows.unwrap_or_else(|_| Err(nothing_heard(ROUND_DEADLINE)))?;
        // At least as far as what was shown.
        Ok(self.state().applied().log_id.unwrap_or(round.shown))
    }

    /// What every read at a timestamp needs.
    pub(crate) async fn prepare_snapshot(&self) -> Result<(), ReadError> {
        self.check_timed()?;
        self.ensure_stamped().await
    }

    /// Has an entry with a stamp applied, if there was none in this group yet. A leader that does not know yet that the
    /// group is timed writes without stamps, at no time that a snapshot could be told from; after the first stamp such
    /// entries are refused (RAFT-13).
    async fn ensure_stamped(&self) -> Result<(), ReadError> {
        if self.state().clock.has_stamped() || !self.leads() {
            return Ok(());
        }
        match self.propose_all(Vec::new(), Reach::NOTHING, Timestamp(0)).await {
            Ok(_) => Ok(()),
            Err(ProposeError::NotLeader { leader }) => Err(ReadError::NotLeader { leader }),
            Err(ProposeError::NoTime) => Err(ReadError::NoTime),
            Err(ProposeError::Stopped { reason }) => Err(ReadError::Stopped { reason }),
            Err(error) => Err(ReadError::NoQuorum { detail: error.to_string() }),
        }
    }

    fn check_timed(&self) -> Result<(), ReadError> {
        self.check_sound()?;
        if self.state().clock.is_timed() { Ok(()) } else { Err(ReadError::NoTime) }
    }
}

#[cfg(test)]
mod tests {
    use strata_types::Term;

    use super::*;

    /// RAFT-13
    #[test]
    fn nothing_is_read_at_a_timestamp_while_nothing_was_stamped() {
        let clock = Clock::default();
        clock.set_timed(true);
        clock.lead(Some(Term(2)));
        clock.open(Term(2), Timestamp(5));
        assert_eq!(clock.closed(), None, "entries may be stamped");
        assert_eq!(begin_at(&clock, Timestamp(7)), Err(ReadError::NoTime));
        assert_eq!(clock.now(), Some(Timestamp(5)), "it is not raised for nothing");
        clock.applied(Timestamp(5));
        assert_eq!(begin_at(&clock, Timestamp(7)).map(|noted| noted.term), Ok(Term(2)));
        assert_eq!(clock.now(), Some(Timestamp(8)));
    }
}
