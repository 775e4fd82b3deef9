//! A leader, and who can tell whether it still is one.

use std::collections::{BTreeMap, BTreeSet};

use openraft::async_runtime::watch::WatchReceiver as _;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_types::{GroupId, NodeId, ReplicaId, Term};
use strata_wal::ReplicaLog;

use crate::claims::Claim;
use crate::encoding::decode_vote;
use crate::group::Group;
use crate::replica::Replica;
use crate::types::{LeaderId, Raft};

/// A leader, and who can tell whether it still is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    pub(crate) group: GroupId,
    pub(crate) leader: LeaderId,
    /// The voters of the configuration and their nodes; of both configurations while it changes.
    pub(crate) voters: Vec<BTreeMap<ReplicaId, NodeId>>,
}

impl Ballot {
    /// Whether these are a majority of each configuration.
    pub(crate) fn is_majority(&self, said: &BTreeSet<ReplicaId>) -> bool {
        let has = |voters: &BTreeMap<ReplicaId, NodeId>| {
            voters.keys().filter(|voter| said.contains(voter)).count() * 2 > voters.len()
        };
        self.voters.iter().all(has)
    }

    /// What to ask of another voter that a node has, if it has one.
    pub fn claim_on(&self, node: NodeId) -> Option<Claim> {
        let is_other = |(voter, on): &(&ReplicaId, &NodeId)| **on == node && **voter != self.leader.node_id;
        let (voter, _) = self.voters.iter().flatten().find(is_other)?;
        Some(Claim { group: self.group, voter: *voter, leader: self.leader })
    }

    /// Whether the leader and one more are a majority of each configuration.
    pub fn needs_only(&self, voter: ReplicaId) -> bool {
        self.is_majority(&BTreeSet::from([self.leader.node_id, voter]))
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

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Who leads, in words that no other leader of the group has.
    pub fn leader(&self) -> (Term, ReplicaId) {
        (Term(self.leader.term), self.leader.node_id)
    }
}

/// The ballot of a replica that leads, as far as it knows, and has applied an entry of its own.
pub(crate) fn ballot(raft: &Raft, replica: &Replica, log: &ReplicaLog) -> Option<Ballot> {
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

/// Whether the newest vote in a log is for this leader.
pub(crate) fn is_vote_for(log: &ReplicaLog, leader: &LeaderId) -> bool {
    let vote = log.vote().and_then(|vote| decode_vote(vote).ok());
    vote.is_some_and(|vote| vote.leader_id() == leader)
}

impl Group {
    /// Who can tell whether this replica leads; `None` if it does not, or is too new to know what is committed.
    pub fn ballot(&self) -> Option<Ballot> {
        ballot(&self.raft()?, self.state(), self.log())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of replica 1 in term 2; each voter is on the node with ten times its number.
    pub(crate) fn ballot(configs: &[&[u64]]) -> Ballot {
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
