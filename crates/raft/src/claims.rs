//! What voters are asked, and what they answer: is this still whom you voted for?

use std::sync::Weak;

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_net::{Handler, Replier};
use strata_types::{GroupId, NodeId, ReplicaId};

use crate::ballot::is_vote_for;
use crate::host::Host;
use crate::types::LeaderId;

/// Bytes of a question.
const CLAIM_BYTES: usize = 32;

/// What a voter is asked: is this still whom you voted for?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) group: GroupId,
    pub(crate) voter: ReplicaId,
    pub(crate) leader: LeaderId,
}

/// Claims as bytes, one after the other. A wire format, not a persisted one.
///
/// ```text
///   group u64, voter u64, leader's term u64, leader u64
/// ```
pub(crate) fn encode_claims<'c>(claims: impl ExactSizeIterator<Item = &'c Claim>) -> Bytes {
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
}
