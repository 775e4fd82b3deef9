//! What voters are asked, and what they answer: is this still whom you voted for?

use std::sync::Weak;

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_net::{Handler, Replier};
use strata_types::{GroupId, NodeId, ReplicaId};

use crate::ballot::is_vote_for;
use crate::host::Host;
use crate::types::LeaderId;

/// What a voter is asked: is this still whom you voted for?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub(crate) group: GroupId,
    pub(crate) voter: ReplicaId,
    pub(crate) leader: LeaderId,
}

impl Claim {
    /// Of one claim in a message.
    pub const BYTES: usize = 32;

    /// Who is asked.
    pub fn voter(&self) -> ReplicaId {
        self.voter
    }

    /// Adds it to a message. A wire format, not a persisted one.
    ///
    /// ```text
    ///   group u64, voter u64, leader's term u64, leader u64
    /// ```
    pub fn put(&self, out: &mut Encoder) {
        out.u64(self.group.0).u64(self.voter.0).u64(self.leader.term).u64(self.leader.node_id.0);
    }

    /// Takes it off a message.
    pub fn take(input: &mut Decoder) -> Result<Claim, DecodeError> {
        let (group, voter) = (GroupId(input.u64("claim group")?), ReplicaId(input.u64("claim voter")?));
        let leader = LeaderId { term: input.u64("claim term")?, node_id: ReplicaId(input.u64("claim leader")?) };
        Ok(Claim { group, voter, leader })
    }
}

/// Claims as bytes, one after the other.
pub(crate) fn encode_claims<'c>(claims: impl ExactSizeIterator<Item = &'c Claim>) -> Bytes {
    let mut out = Encoder::with_capacity(claims.len() * Claim::BYTES);
    claims.for_each(|claim| claim.put(&mut out));
    out.finish()
}

fn decode_claims(body: Bytes) -> Result<Vec<Claim>, DecodeError> {
    let mut claims = Vec::with_capacity(body.len() / Claim::BYTES);
    let mut input = Decoder::new(body);
    while input.remaining() > 0 {
        claims.push(Claim::take(&mut input)?);
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
        self.host.upgrade().is_some_and(|host| host.is_true(claim))
    }
}

impl Host {
    /// Whether the voter that a claim names is here, and still votes for the leader.
    pub fn is_true(&self, claim: &Claim) -> bool {
        #[cfg(debug_assertions)]
        if crate::mutant::is(crate::mutant::Mutant::RollCallBelievesAll) {
            return true;
        }
        let group = self.group(claim.group).filter(|group| group.replica() == claim.voter);
        group.is_some_and(|group| is_vote_for(group.log(), &claim.leader))
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
        for length in (0..bytes.len()).filter(|length| length % Claim::BYTES != 0) {
            assert!(decode_claims(bytes.slice(..length)).is_err(), "cut at {length}");
        }
        assert_eq!(decode_claims(bytes), Ok(claims.to_vec()));
    }
}
