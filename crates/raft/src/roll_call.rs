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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use parking_lot::Mutex;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_env::{Env, courtesy};
use strata_net::{Caller, Handler, Lane, MessageKind, Replier};
use strata_types::{GroupId, NodeId, ReplicaId, Term};
use strata_wal::ReplicaLog;
use tokio::sync::mpsc;

use crate::encoding::decode_vote;
use crate::group::Group;
use crate::host::Host;
use crate::reads::ROUND_DEADLINE;
use crate::state_machine::Replica;
use crate::types::{LeaderId, LogId, Raft};

/// Bytes of a question.
const CLAIM_BYTES: usize = 32;
/// Questions that may stand in a line before those are let go whom nobody waits for any more.
const LINE_LENGTH: usize = 256;
/// Questions to a node that are on their way at once: who comes while one is, need not wait for its answer.
const ASKING_MAX: usize = 2;
/// An answer that takes longer is late: then the others are asked, too.
const PATIENCE: Duration = Duration::from_millis(10);

/// What a voter is asked: is this still whom you voted for?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    group: GroupId,
    voter: ReplicaId,
    leader: LeaderId,
}

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

/// A leader, and who can tell whether it still is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    group: GroupId,
    leader: LeaderId,
    /// The voters of the configuration and their nodes; of both configurations while it changes.
    voters: Vec<BTreeMap<ReplicaId, NodeId>>,
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

impl Ballot {
    fn is_majority(&self, said: &BTreeSet<ReplicaId>) -> bool {
        let has = |voters: &BTreeMap<ReplicaId, NodeId>| {
            voters.keys().filter(|voter| said.contains(voter)).count() * 2 > voters.len()
        };
        self.voters.iter().all(has)
    }

    /// Adds it to a message.
    pub fn put(&self, out: &mut Encoder) {
        out.u64(self.group.0).u64(self.leader.term).u64(self.leader.node_id.0).u8(self.voters.len() as u8);
        for voters in &self.voters {
            out.u32(voters.len() as u32);
            for (voter, node) in voters {
                out.u64(voter.0).u64(node.0);
            }
        }
    }

    /// Takes it off a message.
    pub fn take(input: &mut Decoder) -> Result<Ballot, DecodeError> {
        let group = GroupId(input.u64("ballot group")?);
        let leader = LeaderId { term: input.u64("ballot term")?, node_id: ReplicaId(input.u64("ballot leader")?) };
        let mut voters = Vec::new();
        for _ in 0..input.u8("ballot configurations")? {
            let count = input.count(16, "ballot voters")?;
            let voter =
                |input: &mut Decoder| Ok((ReplicaId(input.u64("ballot voter")?), NodeId(input.u64("ballot node")?)));
            voters.push((0..count).map(|_| voter(input)).collect::<Result<_, DecodeError>>()?);
        }
        Ok(Ballot { group, leader, voters })
    }

    /// Who leads, in words that no other leader of the group has.
    pub fn leader(&self) -> (Term, ReplicaId) {
        (Term(self.leader.term), self.leader.node_id)
    }
}

/// The ballot of a replica that leads, as far as it knows, and has applied an entry of its own.
fn ballot(raft: &Raft, replica: &Replica, log: &ReplicaLog) -> Option<Ballot> {
    let (leader, membership) = {
        let metrics = raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let leads = metrics.state.is_leader() && metrics.vote.is_committed();
        let membership = leads.then(|| metrics.membership_config.membership().clone())?;
        (*metrics.vote.leader_id(), membership)
    };
    let has_applied_own = replica.applied().log_id.is_some_and(|applied| applied.leader_id == leader);
    if leader.node_id != replica.id || !has_applied_own || !is_vote_for(log, &leader) {
        return None;
    }
    let seat = |voter: &ReplicaId| membership.get_node(voter).map(|seat| (*voter, seat.node));
    let voters = |config: &BTreeSet<ReplicaId>| config.iter().map(seat).collect::<Option<_>>();
    let voters = membership.get_joint_config().iter().map(voters).collect::<Option<_>>()?;
    Some(Ballot { group: replica.group, leader, voters })
}

fn is_vote_for(log: &ReplicaLog, leader: &LeaderId) -> bool {
    let vote = log.vote().and_then(|vote| decode_vote(vote).ok());
    vote.is_some_and(|vote| vote.leader_id() == leader)
}

impl Group {
    /// Who can tell whether this replica leads; `None` if it does not, or is too new to know what is committed.
    pub fn ballot(&self) -> Option<Ballot> {
        ballot(&self.raft()?, self.state(), self.log())
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

/// Claims as bytes, one after the other. A wire format, not a persisted one.
///
/// ```text
///   group u64, voter u64, leader's term u64, leader u64
/// ```
fn encode_claims<'c>(claims: impl ExactSizeIterator<Item = &'c Claim>) -> Bytes {
    let mut out = Encoder::with_capacity(claims.len() * CLAIM_BYTES);
    for claim in claims {
        out.u64(claim.group.0).u64(claim.voter.0).u64(claim.leader.term).u64(claim.leader.node_id.0);
    }
    out.finish()
}

fn decode_claims(body: Bytes) -> Result<Vec<Claim>, DecodeError> {
    let mut claims = Vec::with_capacity(body.len() / CLAIM_BYTES);
    let mut input = Decoder::new(body);
    while input.remaining() > 0 {
        let (group, voter) = (GroupId(input.u64("claim group")?), ReplicaId(input.u64("claim voter")?));
        let leader = LeaderId { term: input.u64("claim term")?, node_id: ReplicaId(input.u64("claim leader")?) };
        claims.push(Claim { group, voter, leader });
    }
    Ok(claims)
}

/// Answers for all replicas of this node: one byte a claim, 1 where it is so.
pub(crate) struct Voters {
    host: Weak<Host>,
}

impl Voters {
    pub(crate) fn new(host: Weak<Host>) -> Voters {
        Voters { host }
    }

    fn answer(&self, claim: &Claim) -> bool {
        #[cfg(debug_assertions)]
        if crate::mutant::is(crate::mutant::Mutant::RollCallBelievesAll) {
            return true;
        }
        let Some(group) = self.host.upgrade().and_then(|host| host.group(claim.group)) else { return false };
        group.replica() == claim.voter && is_vote_for(group.log(), &claim.leader)
    }
}

impl Handler for Voters {
    fn handle(&self, _from: NodeId, _group: GroupId, body: Bytes, replier: Replier) {
        match decode_claims(body) {
            Ok(claims) => replier.reply(Ok(claims.iter().map(|claim| u8::from(self.answer(claim))).collect())),
            Err(error) => replier.reply(Err(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_have_pinned_bytes_and_damaged_ones_are_errors() {
        let claim = |group, voter, term, leader| Claim {
            group: GroupId(group),
            voter: ReplicaId(voter),
            leader: LeaderId { term, node_id: ReplicaId(leader) },
        };
        let claims = [claim(1, 2, 3, 4), claim(5, 6, 7, 8)];
        let bytes = encode_claims(claims.iter());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = |number: u64| format!("{number:016x}");
        assert_eq!(hex, (1..=8).map(golden).collect::<String>());
        for length in (0..bytes.len()).filter(|length| length % CLAIM_BYTES != 0) {
            assert!(decode_claims(bytes.slice(..length)).is_err(), "cut at {length}");
        }
        assert_eq!(decode_claims(bytes), Ok(claims.to_vec()));
    }

    fn ballot(configs: &[&[u64]]) -> Ballot {
        let voters = |config: &&[u64]| config.iter().map(|voter| (ReplicaId(*voter), NodeId(voter * 10))).collect();
        let leader = LeaderId { term: 2, node_id: ReplicaId(1) };
        Ballot { group: GroupId(7), leader, voters: configs.iter().map(voters).collect() }
    }

    #[test]
    fn each_configuration_needs_its_own_majority() {
        let set = |replicas: &[u64]| replicas.iter().map(|replica| ReplicaId(*replica)).collect::<BTreeSet<_>>();
        let joint = ballot(&[&[1, 2, 3], &[3, 4, 5]]);
        let cases: [(&[u64], bool); 5] =
            [(&[1, 2], false), (&[3, 4], false), (&[3, 4, 1], true), (&[1, 2, 4, 5], true), (&[3], false)];
        for (said, enough) in cases {
            assert_eq!(joint.is_majority(&set(said)), enough, "{said:?}");
        }
        assert!(ballot(&[&[1]]).is_majority(&set(&[1])), "a group of one");
    }

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

    #[test]
    fn a_damaged_ballot_is_an_error() {
        let whole = ballot(&[&[1, 2, 3], &[3, 4]]);
        let mut out = Encoder::with_capacity(64);
        whole.put(&mut out);
        let bytes = out.finish();
        for length in 0..bytes.len() {
            assert!(Ballot::take(&mut Decoder::new(bytes.slice(..length))).is_err(), "cut at {length}");
        }
        assert_eq!(Ballot::take(&mut Decoder::new(bytes)), Ok(whole));
    }
}
