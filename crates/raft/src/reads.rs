//! Reads: one round of the leader for everybody who waits, on the leader and on each replica that follows it.
//!
//! A read that arrives while a round is under way joins the next one, never the one that already began: the round
//! must begin after the read did, or a leader deposed in between could answer with old data (RAFT-6). On a follower a
//! round is a question to the leader, which the leader in turn answers by a round that began after the question came.
//!
//! When a round is over and its entries are applied, what is here is at least as new as the instant at which the round
//! began. That instant is remembered, and reads that may be a little old are let through by it (RAFT-10). Only the
//! replica's own monotonic clock is asked, twice; if it runs slower than true time, or stands still while the machine
//! sleeps, such reads may be older than they say by as much. Nothing else rests on a clock, but for leases (`lease.rs`).

use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use parking_lot::Mutex;
use strata_env::Mono;
use strata_net::Caller;
use tokio::sync::{Notify, oneshot};

use crate::error::ReadError;
use crate::group::Group;
use crate::read_index::ask_leader;
use crate::replica::Replica;
use crate::roll_call::Roll;
use crate::types::{LogId, Raft, Types};

/// A round that took this long found no quorum, or no leader.
pub(crate) const ROUND_DEADLINE: Duration = Duration::from_secs(1);

/// How long answers may be missing that openraft believes were given, before everybody is asked again.
const ANSWER_PATIENCE: Duration = Duration::from_millis(50);

pub(crate) type Answer<T> = oneshot::Sender<Result<T, ReadError>>;

/// Somebody who waits for a round.
enum Waiter {
    /// Reads here, if this replica leads.
    Leading(Answer<()>),
    /// Reads here, whoever leads.
    Here(Answer<()>),
    /// Another replica, which reads there.
    Elsewhere(Answer<LogId>),
}

/// Those who wait for the next round.
#[derive(Default)]
struct Waiting {
    waiters: Vec<Waiter>,
    /// Whether there will be no more rounds.
    is_closed: bool,
}

/// The readers of one replica.
#[derive(Default)]
pub(crate) struct Reads {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    /// What is applied here is at least as new as this instant.
    confirmed: Mutex<Option<Mono>>,
}

/// The round of a replica that follows, in words for those who count.
pub(crate) const FOLLOWER: &str = "follower";
pub(crate) const LEADER: &str = "leader";

impl Reads {
    async fn join<T>(&self, waiter: impl FnOnce(Answer<T>) -> Waiter) -> Result<T, ReadError> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.is_closed {
                return Err(stopped());
            }
            waiting.waiters.push(waiter(sender));
        }
        self.arrived.notify_one();
        receiver.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// There are no more rounds: those who wait, and those who come, are told.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        // A waiter that is dropped has its answer.
        waiting.waiters.clear();
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
            let waiting = std::mem::take(&mut self.waiting.lock().waiters);
            if waiting.is_empty() {
                self.arrived.notified().await;
                continue;
            }
            let Some(raft) = raft() else {
                Round::of(waiting).fail(&stopped());
                continue;
            };
            let role = if raft.is_leader() { LEADER } else { FOLLOWER };
            metrics::counter!("strata_raft_read_rounds_total", "role" => role).increment(1);
            metrics::counter!("strata_raft_reads_total", "role" => role).increment(waiting.len() as u64);
            let began = replica.env.now();
            let mut round = Round::of(waiting);
            let made = round.make(&raft, &replica, &caller, &roll, role == LEADER);
            let made = replica.env.timeout(ROUND_DEADLINE, made).await;
            match made.unwrap_or_else(|_| Err(nothing_heard(ROUND_DEADLINE))) {
                Ok(()) => {
                    self.confirm(began);
                    round.succeed();
                }
                Err(error) => round.fail(&error),
            }
        }
    }

    fn confirm(&self, began: Mono) {
        let mut confirmed = self.confirmed.lock();
        *confirmed = (*confirmed).max(Some(began));
    }

    /// How long ago the instant was which everything here is as new as, if that is known.
    fn age(&self, now: Mono) -> Option<Duration> {
        self.confirmed.lock().map(|at| now.since(at))
    }
}

/// Those who wait for one round.
struct Round {
    leading: Vec<Answer<()>>,
    here: Vec<Answer<()>>,
    elsewhere: Vec<Answer<LogId>>,
}

impl Round {
    fn of(waiting: Vec<Waiter>) -> Round {
        let mut round = Round { leading: Vec::new(), here: Vec::new(), elsewhere: Vec::new() };
        for waiter in waiting {
            match waiter {
                Waiter::Leading(answer) => round.leading.push(answer),
                Waiter::Here(answer) => round.here.push(answer),
                Waiter::Elsewhere(answer) => round.elsewhere.push(answer),
            }
        }
        round
    }

    /// One round. Other replicas get their answer when it is known, readers here when it is applied here.
    async fn make(
        &mut self,
        raft: &Raft,
        replica: &Replica,
        caller: &Arc<Caller>,
        roll: &Roll,
        is_leader: bool,
    ) -> Result<(), ReadError> {
        #[cfg(debug_assertions)]
        if crate::mutant::is(crate::mutant::Mutant::ReadWithoutQuorum)
            && is_leader
            && let Some(applied) = replica.applied().log_id
        {
            answer(self.elsewhere.drain(..), &Ok(applied));
            return Ok(());
        }
        let index =
            if is_leader { lead(raft, replica, roll).await? } else { self.follow(raft, replica, caller).await? };
        answer(self.elsewhere.drain(..), &Ok(index));
        replica.wait_reached(&index).await;
        Ok(())
    }

    /// The leader's round, on behalf of those who do not need this replica to be the leader.
    async fn follow(&mut self, raft: &Raft, replica: &Replica, caller: &Arc<Caller>) -> Result<LogId, ReadError> {
        if self.here.is_empty() {
            return Err(not_leader(raft, replica));
        }
        let refusal = not_leader(raft, replica);
        answer(self.leading.drain(..), &Err(refusal.clone()));
        answer(self.elsewhere.drain(..), &Err(refusal));
        ask_leader(raft, replica, caller, None, ROUND_DEADLINE).await
    }

    fn succeed(self) {
        answer(self.leading.into_iter().chain(self.here), &Ok(()));
    }

    fn fail(self, error: &ReadError) {
        answer(self.leading.into_iter().chain(self.here), &Err(error.clone()));
        answer(self.elsewhere.into_iter(), &Err(error.clone()));
    }
}

pub(crate) fn answer<T: Clone>(waiters: impl Iterator<Item = Answer<T>>, result: &Result<T, ReadError>) {
    for waiter in waiters {
        // A reader that gave up is nobody's error.
        let _ = waiter.send(result.clone());
    }
}

/// One round of this leader, which other groups of the node may share. Without a majority that way it is left to openraft,
/// which knows the reason. openraft may take an answer to something older for one to it (see `lease.rs`): it is over
/// when a majority has answered what was sent since.
pub(crate) async fn lead(raft: &Raft, replica: &Replica, roll: &Roll) -> Result<LogId, ReadError> {
    if let Some(shown) = roll.confirm(raft, replica).await {
        return Ok(shown);
    }
    let began = replica.env.now();
    loop {
        let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await.map_err(read_error)?;
        if replica.leases.wait_backed(&replica.env, raft, began, ANSWER_PATIENCE).await {
            return Ok(*linearizer.read_log_id().log_id());
        }
    }
}

pub(crate) fn stopped() -> ReadError {
    ReadError::Stopped { reason: "the replica is stopping".into() }
}

pub(crate) fn nothing_heard(duration: Duration) -> ReadError {
    ReadError::NoQuorum { detail: format!("nothing heard for {duration:?}") }
}

pub(crate) fn not_leader(raft: &Raft, replica: &Replica) -> ReadError {
    ReadError::NotLeader { leader: crate::read_index::followed(raft, replica).map(|(_, node)| node) }
}

fn read_error(error: RaftError<Types, LinearizableReadError<Types>>) -> ReadError {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            ReadError::NotLeader { leader: forward.leader_node.map(|seat| seat.node) }
        }
        RaftError::APIError(error) => ReadError::NoQuorum { detail: error.to_string() },
        RaftError::Fatal(fatal) => ReadError::Stopped { reason: fatal.to_string() },
    }
}

impl Group {
    /// Completes when this replica is known to lead and has applied every write acknowledged before the call: what
    /// the tablet then holds is a linearizable read.
    pub async fn read_barrier(&self) -> Result<(), ReadError> {
        self.check_sound()?;
        self.check_leader().map_err(|leader| ReadError::NotLeader { leader })?;
        self.reads().join(Waiter::Leading).await
    }

    /// The same on any replica: one that follows asks the leader how far it must have got, and waits until it has.
    pub async fn read_barrier_anywhere(&self) -> Result<(), ReadError> {
        self.check_sound()?;
        self.reads().join(Waiter::Here).await
    }

    /// Completes when the tablet shows every write that was acknowledged longer ago than `max_staleness` when the call
    /// was made. Returns how old the tablet's state is at most, or `None` after a round, when it is as new as the call.
    pub async fn read_within(&self, max_staleness: Duration) -> Result<Option<Duration>, ReadError> {
        self.check_sound()?;
        match self.reads().age(self.env().now()).filter(|age| *age <= max_staleness) {
            Some(age) => Ok(Some(age)),
            None => self.reads().join(Waiter::Here).await.map(|()| None),
        }
    }

    /// The read index, for a reader on another replica.
    pub(crate) async fn read_index(&self) -> Result<LogId, ReadError> {
        self.check_sound()?;
        self.check_leader().map_err(|leader| ReadError::NotLeader { leader })?;
        self.reads().join(Waiter::Elsewhere).await
    }

    pub(crate) fn check_sound(&self) -> Result<(), ReadError> {
        self.state().problem().map_or(Ok(()), |reason| Err(ReadError::Stopped { reason }))
    }
}
