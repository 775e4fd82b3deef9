//! Whether leaders still lead: one question to a node for all groups that want to know.
//!
//! ```text
//!   group 3: do r7 and r9 still vote for me? --+             +--> node n2: r7 and r12 are asked ---> the votes in the log
//!   group 5: do r12 and r14?                 --+-- a line ---+
//!   group 8: ...                             --+   a node    +--> node n3: r9 and r14 are asked
//! ```
//! openraft confirms a leader by heartbeats: several messages and tasks for every group, through the core of each replica.
//! Here those who want to know stand in one line for each node that they ask, and whoever comes while a question is on its
//! way waits for the next one. The answer is read from the log: no core is woken.
//!
//! Only as many are asked as a majority needs, this node itself first, then the next one in the order of their numbers, so
//! that all groups of a node ask the same one. The others are asked when an answer is late or a "no". Who was late is asked
//! last until it answers again.
//!
//! # Why it is enough
//! Leader L of a group asks at s, and a majority of every configuration answers, each at some instant after s, that its
//! newest vote is still for L; L looks at its own last. A vote is in memory before it is durable, and durable before it is
//! told: so nobody had been elected above L by s, and nothing was acknowledged by s but by L and by leaders before it. All
//! of that is applied at L, if L has applied an entry of its own: what former leaders acknowledged comes before that
//! entry, and what L acknowledged was applied here first (RAFT-1).
//!
//! Nor was anything else seen by s that is not acknowledged yet: a replica that follows may have applied an entry, and
//! shown it to a reader, while L is still about to apply it. It did so because L told it that the entry is committed, so L
//! notes first what it tells. So what is applied, or was told, when the answers are there is what a read must see that
//! began before s (RAFT-6).
//!
//! The configuration is the newest one that openraft has published. It may be one step behind what this leader has
//! written, never two, and majorities of neighbours share a voter.
//!
//! Who gets no majority this way asks openraft, which also knows why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::{Env, courtesy};
use strata_net::{Caller, Lane, MessageKind};
use strata_types::{GroupId, NodeId, ReplicaId};
use strata_wal::ReplicaLog;
use tokio::sync::mpsc;

use crate::ballot::{Ballot, ballot, is_vote_for};
use crate::claims::{Claim, encode_claims};
use crate::reads::ROUND_DEADLINE;
use crate::replica::Replica;
use crate::types::{LogId, Raft};

/// Questions that may stand in a line before those are let go whom nobody waits for any more.
const LINE_LENGTH: usize = 256;
/// Questions to a node that are on their way at once: who comes while one is, need not wait for its answer.
const ASKING_MAX: usize = 2;
/// An answer that takes longer is late: then the others are asked, too.
const PATIENCE: Duration = Duration::from_millis(10);

/// A claim, and who wants to know.
struct Ask {
    claim: Claim,
    answer: mpsc::UnboundedSender<(ReplicaId, bool)>,
}

/// A voter and its node.
type Voter = (ReplicaId, NodeId);

/// What the voters answer who were asked.
struct Answers {
    /// Those who say that it is so.
    said: BTreeSet<ReplicaId>,
    /// Those who said anything.
    heard: BTreeSet<ReplicaId>,
    answers: mpsc::UnboundedReceiver<(ReplicaId, bool)>,
}

impl Answers {
    /// Listens until a majority has said yes, or so many have said something, or nobody is left.
    async fn hear(&mut self, ballot: &Ballot, asked: usize) -> bool {
        while !ballot.is_majority(&self.said) {
            if self.heard.len() >= asked {
                return false;
            }
            let Some((voter, is_so)) = self.answers.recv().await else { return false };
            self.heard.insert(voter);
            if is_so {
                self.said.insert(voter);
            }
        }
        true
    }
}

/// Those who want to ask one node.
#[derive(Default)]
struct Line {
    waiting: Vec<Ask>,
    /// Questions on their way.
    asking: usize,
    /// The last thing known of the node is that it did not answer in time.
    is_late: bool,
}

/// The lines of one node, to all others.
pub struct RollCall {
    node: NodeId,
    env: Env,
    caller: Arc<Caller>,
    lines: Mutex<BTreeMap<NodeId, Line>>,
    is_understood: AtomicBool,
}

impl RollCall {
    pub(crate) fn new(node: NodeId, env: Env, caller: Arc<Caller>) -> Arc<RollCall> {
        Arc::new(RollCall { node, env, caller, lines: Mutex::default(), is_understood: AtomicBool::new(false) })
    }

    /// All nodes of the cluster understand the question. Before, nobody is asked.
    pub fn set_understood(&self) {
        self.is_understood.store(true, Ordering::Relaxed);
    }

    /// Whether a majority still votes for a leader, at some instant between the call and its end. The leader's own voice
    /// counts: whoever asks has heard it.
    pub async fn confirm(self: &Arc<Self>, ballot: &Ballot) -> bool {
        let (sender, answers) = mpsc::unbounded_channel();
        let mut roll = Answers { said: BTreeSet::from([ballot.leader.node_id]), heard: BTreeSet::new(), answers };
        let (first, rest) = self.chosen(ballot, &roll.said);
        first.iter().for_each(|voter| self.ask(*voter, ballot, &sender));
        let early = self.env.timeout(PATIENCE, roll.hear(ballot, first.len())).await;
        if early == Ok(true) {
            return true;
        }
        self.note_late(first.iter().filter(|(voter, _)| !roll.heard.contains(voter)).map(|(_, node)| *node));
        rest.iter().for_each(|voter| self.ask(*voter, ballot, &sender));
        drop(sender);
        roll.hear(ballot, first.len() + rest.len()).await
    }

    /// Those of the voters who are asked first, as many as a majority needs, and the others.
    fn chosen(&self, ballot: &Ballot, said: &BTreeSet<ReplicaId>) -> (Vec<Voter>, Vec<Voter>) {
        let voters: BTreeMap<_, _> = ballot.voters.iter().flatten().map(|(id, node)| (*id, *node)).collect();
        let mut others: Vec<Voter> = voters.into_iter().filter(|(voter, _)| !said.contains(voter)).collect();
        {
            let lines = self.lines.lock();
            let is_late = |node: &NodeId| lines.get(node).is_some_and(|line| line.is_late);
            others.sort_by_key(|(_, node)| (is_late(node), *node < self.node, *node));
        }
        let mut sayers = said.clone();
        let needed =
            others.iter().take_while(|(voter, _)| !ballot.is_majority(&sayers) && sayers.insert(*voter)).count();
        let rest = others.split_off(needed);
        (others, rest)
    }

    fn note_late(&self, nodes: impl Iterator<Item = NodeId>) {
        let mut lines = self.lines.lock();
        nodes.for_each(|node| lines.entry(node).or_default().is_late = true);
    }

    /// Whether all nodes of the cluster understand the question.
    pub fn is_understood(&self) -> bool {
        self.is_understood.load(Ordering::Relaxed)
    }

    fn ask(self: &Arc<Self>, (voter, node): Voter, ballot: &Ballot, answer: &mpsc::UnboundedSender<(ReplicaId, bool)>) {
        let claim = Claim { group: ballot.group, voter, leader: ballot.leader };
        let ask = Ask { claim, answer: answer.clone() };
        let mut lines = self.lines.lock();
        let line = lines.entry(node).or_default();
        if line.waiting.len() >= LINE_LENGTH {
            line.waiting.retain(|ask| !ask.answer.is_closed());
        }
        line.waiting.push(ask);
        if line.asking < ASKING_MAX {
            line.asking += 1;
            self.env.spawn("raft-roll-call", self.clone().work_off(node));
        }
    }

    /// The line to a node, until nobody stands in it.
    async fn work_off(self: Arc<Self>, node: NodeId) {
        loop {
            // Whoever is about to ask gets into the same question.
            courtesy().await;
            let asks = {
                let mut lines = self.lines.lock();
                let line = lines.entry(node).or_default();
                line.waiting.retain(|ask| !ask.answer.is_closed());
                if line.waiting.is_empty() {
                    line.asking -= 1;
                    return;
                }
                std::mem::take(&mut line.waiting)
            };
            metrics::counter!("strata_raft_roll_calls_total").increment(1);
            let body = encode_claims(asks.iter().map(|ask| &ask.claim));
            let call =
                self.caller.call(node, Lane::Control, GroupId::META, MessageKind::RollCall, body, ROUND_DEADLINE);
            let answers = call.await;
            self.lines.lock().entry(node).or_default().is_late = answers.is_err();
            // No answer is as good as a "no".
            let answers = answers.unwrap_or_default().into_iter().chain(std::iter::repeat(0));
            for (ask, answer) in asks.into_iter().zip(answers) {
                // Whoever has a majority already does not listen any more.
                let _ = ask.answer.send((ask.claim.voter, answer != 0));
            }
        }
    }
}

/// The way of one replica to know whether it leads.
#[derive(Clone)]
pub(crate) struct Roll {
    pub(crate) calls: Arc<RollCall>,
    pub(crate) log: ReplicaLog,
}

impl Roll {
    /// The entry at which everything is applied that anybody was told or shown before the call, if this replica leads and a
    /// majority says so.
    pub(crate) async fn confirm(&self, raft: &Raft, replica: &Replica) -> Option<LogId> {
        if !self.calls.is_understood() {
            return None;
        }
        let ballot = ballot(raft, replica, &self.log)?;
        // This replica's own voice comes after all others.
        let is_confirmed = self.calls.confirm(&ballot).await && is_vote_for(&self.log, &ballot.leader);
        if is_confirmed { replica.shown() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ballot::tests::ballot;

    #[test]
    fn as_many_are_asked_first_as_a_majority_needs_and_who_was_late_last() {
        let env = strata_env::sim::SimWorld::new(1).node(1).env();
        let calls = RollCall::new(NodeId(20), env.clone(), Caller::new(env, Arc::new(Nowhere)));
        let first = |ballot: &Ballot| {
            let (first, rest) = calls.chosen(ballot, &BTreeSet::from([ballot.leader.node_id]));
            let names = |voters: Vec<Voter>| voters.into_iter().map(|(voter, _)| voter.0).collect::<Vec<_>>();
            (names(first), names(rest))
        };
        assert_eq!(first(&ballot(&[&[1]])), (vec![], vec![]));
        // This node has voter 2; after it come those behind it, then those before.
        let five = ballot(&[&[1, 2, 3, 4, 5]]);
        assert_eq!(first(&five), (vec![2, 3], vec![4, 5]));
        assert_eq!(first(&ballot(&[&[1, 2, 3], &[3, 4, 5]])), (vec![2, 3, 4], vec![5]), "a majority of each");
        calls.note_late([NodeId(20), NodeId(30)].into_iter());
        assert_eq!(first(&five), (vec![4, 5], vec![2, 3]));
    }

    /// Nobody is there.
    struct Nowhere;

    #[async_trait::async_trait]
    impl strata_net::Transport for Nowhere {
        fn send(&self, _lane: Lane, _message: strata_net::Message) -> Result<(), strata_net::NetError> {
            Ok(())
        }

        fn identify(&self, _cluster: strata_types::ClusterId, _node: NodeId) {}

        fn set_address(&self, _node: NodeId, _address: &str) {}

        async fn introduce(&self, _: &str, _: Bytes, _: Duration) -> Result<Bytes, strata_net::NetError> {
            unreachable!("nobody is introduced here")
        }
    }
}
