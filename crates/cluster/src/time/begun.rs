//! A timestamp that is there before it is certain.
//!
//! ```text
//!   asker --- begin ---> leader of the meta group --- T, and who can tell whether it leads ---> asker
//!     raises its clock above T, and asks those voters while it asks those of its own shard (strata_raft::RollCall)
//! ```
//! Where the asker is one of these voters, and with the leader a majority, it asks nobody but itself. The leader's node may
//! also be asked whether its voters of other groups still vote for leaders on the asker's node, and look at their votes
//! when T is there: they are witnesses then, and these groups need no round (strata_raft::Witness).
//!
//! T is from the block of who answered, who had found no later one since it was elected. If a majority still voted for it
//! after the question came, nobody was elected above it before that, and T is above all that was handed out (TIME-1,
//! TIME-3). If not, T was handed out to nobody: later leaders begin above the block, and what was raised above T is
//! below them all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strata_raft::{Ballot, Host, RollCall, Witness};
use strata_types::{GroupId, Timestamp};
use tokio::sync::OnceCell;

/// A timestamp, and what makes it certain.
#[derive(Clone)]
pub struct Begun {
    at: Timestamp,
    proof: Option<Arc<Proof>>,
    witnesses: Arc<[Witness]>,
}

struct Proof {
    ballot: Ballot,
    calls: Arc<RollCall>,
    /// Asked once, for all who share the answer.
    is_confirmed: OnceCell<bool>,
    /// Set when it was in vain: then the leader is to make sure itself, and say why it cannot.
    doubt: Arc<AtomicBool>,
}

impl Begun {
    /// Who handed it out was certain.
    pub(crate) fn certain(at: Timestamp) -> Begun {
        Begun { at, proof: None, witnesses: Arc::default() }
    }

    /// Certain once the ballot is, or now if this node's own vote makes it so.
    pub(crate) fn claimed(at: Timestamp, ballot: Ballot, host: &Host, doubt: Arc<AtomicBool>) -> Begun {
        let own = ballot.claim_on(host.node());
        if own.is_some_and(|own| ballot.needs_only(own.voter()) && host.is_true(&own)) {
            return Begun::certain(at);
        }
        let calls = host.roll_call().clone();
        let proof = Some(Arc::new(Proof { ballot, calls, is_confirmed: OnceCell::new(), doubt }));
        Begun { proof, ..Begun::certain(at) }
    }

    /// With witnesses for leaders of this node.
    pub(crate) fn with(self, witnesses: impl Iterator<Item = Witness>) -> Begun {
        Begun { witnesses: witnesses.collect(), ..self }
    }

    /// The witness for this node's leader of a group, if there is one.
    pub fn witness(&self, group: GroupId) -> Option<&Witness> {
        self.witnesses.iter().find(|witness| witness.group() == group)
    }

    /// The timestamp.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether it may be used: asks, unless somebody has already. Takes as long as the voters do.
    pub async fn is_confirmed(&self) -> bool {
        let Some(proof) = &self.proof else { return true };
        #[cfg(debug_assertions)]
        if crate::mutant::is(crate::mutant::Mutant::BeginWithoutBarrier) {
            return true;
        }
        let ask = || async {
            let is_confirmed = proof.calls.confirm(&proof.ballot).await;
            proof.doubt.fetch_or(!is_confirmed, Ordering::Relaxed);
            is_confirmed
        };
        *proof.is_confirmed.get_or_init(ask).await
    }
}
