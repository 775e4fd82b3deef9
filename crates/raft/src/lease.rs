//! Leases: a leader reads without a round as long as nobody else can have been elected.
//!
//! # Problem
//! A round of the leader costs every reader a share of a trip to the followers. A follower that has just heard a leader
//! votes for nobody else for a while; as long as a majority is in that state, the leader need not ask.
//!
//! # Model
//! ```text
//!   leader    request sent at s ............ answered: reads until s + LEASE, by its own monotonic clock
//!   follower        taken at f >= s: no vote before f + election_max, nor before it ran for PROMISE, if it restarts
//!
//!   one read    lease?  --yes-->  read the tablet  -->  still the same lease?  --yes-->  answer
//!                 no: a round                             no: a round, and read again
//! ```
//! [`Leases`] is what one replica knows: who answered what it sent when, and what it must not do any more. All of it is
//! noted where it leaves or enters the replica: sending times by whoever sends ([`crate::network`]), votes and
//! memberships by the log store before anybody else can hear of them.
//!
//! # Why no lease read is old
//! Leader L of term t answers a read from what it held at some instant x. Let M be a leader that was elected by x,
//! above L; take the lowest such.
//!
//! 1. When L looked after the read, a majority of every configuration had answered requests sent less than
//!    [`LEASE`] before, L counting as answered. The majority that elected M has a voter V of these.
//! 2. V is not L: L's own newest vote is for itself in term t (RAFT-17). It is noted before it is durable that L votes
//!    for another, so before anybody can count that vote.
//! 3. V took L's request at f. It voted for M after that, for otherwise it would have refused the request. If V did not
//!    restart in between, openraft has it refuse votes until f + election_max, which the settings keep at or above
//!    [`PROMISE`]; an election timer waits longer than that, and a pre-vote that is under way ends when a leader is
//!    heard. If V restarted, it began after f and neither votes nor asks for votes within [`PROMISE`] (RAFT-16): the
//!    restarted core has forgotten when it heard a leader, but finds that there was one, for L's vote was on V's disk
//!    before it answered.
//! 4. So more than `PROMISE` by V's clock passed between s and x, but less than `LEASE` by L's. One clock would have to
//!    run a quarter faster than the other.
//! 5. Two votes do not wait. One on behalf of a leader that hands over: L gives up its lease for good in the term in
//!    which it sends that, before it is sent (RAFT-17). An older leader's transfer cannot elect M: it was sent before L
//!    was elected, so M's log lacks L's first entry, which a majority has (see 7), and one of them would have had to
//!    accept it and then vote for a shorter log. The other is that of a replica that is the only voter, and waits for
//!    nobody: the leader that removes itself gives up its lease for good when it writes a membership without itself.
//! 6. L saw its lease in what openraft last published of the term and the membership. That may be late, but late means
//!    an older membership: of the one that follows, its majority and this one share a voter, because a change goes
//!    through both. Memberships two steps apart are never written before the first was published.
//! 7. L answers only if it had applied an entry of its own term before the read (RAFT-8 has the reason), so that the
//!    tablet showed all that was acknowledged by former leaders; what L acknowledged itself was applied here first
//!    (RAFT-1), and so was what replicas that follow may have shown to readers: L has noted what it told them is
//!    committed, and reads without a round only when it has applied all of that.
//!
//! The look after the read (RAFT-15) is for a process that was stopped in between, for however long.
//!
//! # What is trusted
//! That monotonic clocks run at about the same rate, and nothing else of them; this file is the only place. A machine
//! whose clock stands still while the others' run breaks that: a virtual machine that is stopped, copied or moved under
//! its guest may. Hence leases are off unless the operator says `--lease-reads`, and a reader asks for them. Nodes
//! where they are off make and keep the promise all the same, so that nothing depends on who was started how.
//!
//! Neither length is a setting. If a node's were longer than another's promise, every node would be fine by itself.
//!
//! # The answers that openraft counts
//! openraft keeps times of its own, but takes the answer to a request for an answer to all later ones that end at the
//! same entry: a notice of a commit that was sent just before an old answer came in counts as answered. Neither leases
//! nor rounds rest on that; both ask [`Leases::is_backed`], rounds since they began (RAFT-6).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use parking_lot::Mutex;
use strata_env::Mono;
use strata_types::ReplicaId;
use tokio::sync::Notify;

use crate::group::Group;
use crate::types::{LeaderId, Membership, Raft};

#[cfg(test)]
mod tests;

/// How long a leader reads after it sent what a majority answered. Its heartbeats are a little closer.
pub(crate) const LEASE: Duration = Duration::from_millis(240);

/// How long a voter that has taken a leader's request makes no other one, at least.
pub const PROMISE: Duration = Duration::from_millis(300);

/// The leadership under which a read may do without a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    leader: LeaderId,
}

/// What one replica knows of promises, its own and others'.
pub(crate) struct Leases {
    replica: ReplicaId,
    state: Mutex<State>,
    answered: Notify,
}

#[derive(Default)]
struct State {
    /// It takes no part in elections before.
    silent_until: Option<Mono>,
    /// Another one that does not answer for so long may have been away.
    silence_max: Duration,
    /// For whom this replica voted last, since it started.
    voted: Option<LeaderId>,
    /// The last leadership that is without a lease for good.
    given_up: Option<LeaderId>,
    /// The last leadership of this replica under which anybody answered.
    leader: Option<LeaderId>,
    /// What each replica answered under it.
    answered: BTreeMap<ReplicaId, Answered>,
}

/// That a replica answers.
#[derive(Clone, Copy)]
struct Answered {
    /// When that was sent which it answered first, after it had been silent.
    since: Mono,
    /// When that was sent which it answered last.
    last: Mono,
}

impl Leases {
    pub(crate) fn new(replica: ReplicaId) -> Leases {
        Leases { replica, state: Mutex::default(), answered: Notify::new() }
    }

    /// The core starts and has forgotten whom it heard. Without a vote in its log it never took anything from a leader.
    pub(crate) fn start(&self, now: Mono, has_voted: bool, silence_max: Duration) {
        let mut state = self.state.lock();
        let given_up = state.given_up;
        let silent_until = has_voted.then(|| now + PROMISE);
        *state = State { silent_until, silence_max, given_up, ..State::default() };
    }

    /// How much longer this replica takes no part in elections, if it does not (RAFT-16).
    pub(crate) fn silence(&self, now: Mono) -> Option<Duration> {
        #[cfg(debug_assertions)]
        if crate::mutant::is(crate::mutant::Mutant::LeaseBootDelayLeftOut) {
            return None;
        }
        let until = self.state.lock().silent_until?;
        Some(until.since(now)).filter(|left| !left.is_zero())
    }

    /// This replica is about to vote.
    pub(crate) fn vote(&self, vote: LeaderId) {
        self.state.lock().voted = Some(vote);
    }

    /// There is no lease under this leadership any more (RAFT-17).
    pub(crate) fn give_up(&self, leader: LeaderId) {
        let mut state = self.state.lock();
        state.given_up = state.given_up.max(Some(leader));
    }

    /// A membership was written. One without this replica ends its lease.
    pub(crate) fn note_membership(&self, leader: LeaderId, membership: &Membership) {
        if membership.get_joint_config().iter().any(|config| !config.contains(&self.replica)) {
            self.give_up(leader);
        }
    }

    /// Another replica took what was sent at an instant.
    pub(crate) fn answered(&self, leader: LeaderId, by: ReplicaId, sent: Mono) {
        let mut state = self.state.lock();
        if state.leader < Some(leader) {
            state.leader = Some(leader);
            state.answered.clear();
        }
        if state.leader == Some(leader) {
            let silence_max = state.silence_max;
            let answered = state.answered.entry(by).or_insert(Answered { since: sent, last: sent });
            if sent.since(answered.last) > silence_max {
                answered.since = sent;
            }
            answered.last = answered.last.max(sent);
            drop(state);
            self.answered.notify_waiters();
        }
    }

    /// Since when a replica has answered this leader without a long pause; for guessing, not for promises.
    pub(crate) fn answers_since(&self, by: ReplicaId) -> Option<Mono> {
        self.state.lock().answered.get(&by).map(|answered| answered.since)
    }

    /// Whether a majority of each configuration has answered what was sent recently enough.
    fn is_backed(&self, leader: LeaderId, configs: &[BTreeSet<ReplicaId>], is_recent: impl Fn(Mono) -> bool) -> bool {
        let state = self.state.lock();
        let answered = |voter: &&ReplicaId| {
            **voter == self.replica
                || state.leader == Some(leader)
                    && state.answered.get(voter).is_some_and(|answered| is_recent(answered.last))
        };
        configs.iter().all(|config| config.iter().filter(answered).count() * 2 > config.len())
    }

    /// Whether this replica holds the lease of a leadership now.
    fn holds(&self, leader: LeaderId, configs: &[BTreeSet<ReplicaId>], now: Mono) -> bool {
        {
            let state = self.state.lock();
            if state.voted != Some(leader) || state.given_up >= Some(leader) {
                return false;
            }
        }
        self.is_backed(leader, configs, |sent| now.since(sent) < LEASE)
    }

    /// Waits until a majority answered this leader what it sent at an instant or later, for a while. Returns whether.
    pub(crate) async fn wait_backed(
        &self,
        env: &strata_env::Env,
        raft: &Raft,
        since: Mono,
        patience: Duration,
    ) -> bool {
        let look = || leadership(raft, |leader, configs| self.is_backed(leader, configs, |sent| sent >= since));
        let backed = async {
            loop {
                let mut answered = std::pin::pin!(self.answered.notified());
                answered.as_mut().enable();
                match look() {
                    Some(false) => answered.await,
                    known => return known.is_some(),
                }
            }
        };
        // Nearly always it is so already, and needs no timer.
        match look() {
            Some(false) => env.timeout(patience, backed).await.unwrap_or(false),
            known => known.is_some(),
        }
    }
}

/// What openraft last published, if this replica leads: under which leadership, with which configurations.
fn leadership<T>(raft: &Raft, look: impl FnOnce(LeaderId, &[BTreeSet<ReplicaId>]) -> T) -> Option<T> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let leader = *metrics.vote.leader_id();
    let leads = metrics.state.is_leader() && leader.node_id == metrics.id;
    leads.then(|| look(leader, metrics.membership_config.membership().get_joint_config()))
}

impl Group {
    /// The lease that this replica holds, if it may use one. What the tablet shows from now on is a linearizable read if
    /// [`Group::holds`] still says so afterwards (RAFT-15).
    pub fn lease(&self) -> Option<Lease> {
        if !self.timing().lease_reads || self.check_sound().is_err() {
            return None;
        }
        // What was applied in its own term was applied after everything of former leaders.
        let lease = Lease { leader: self.state().applied_under()? };
        (self.state().shows_all() && self.holds(&lease)).then_some(lease)
    }

    /// Whether this replica has held a lease until now, however long it was stopped.
    pub fn holds(&self, lease: &Lease) -> bool {
        let Some(raft) = self.raft() else { return false };
        let holds = leadership(&raft, |leader, configs| {
            // All of this is looked at after the value was read: what is so now was so then.
            leader == lease.leader && self.state().leases.holds(leader, configs, self.env().now())
        });
        holds.unwrap_or(false)
    }
}
