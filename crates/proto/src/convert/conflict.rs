//! Conflict.

use strata_types::{Conflict, ConflictReason, Error, SpaceKey, Timestamp};

use super::transaction::{transaction_id_bytes, transaction_id_of};
use crate::v1;

impl From<Conflict> for v1::Conflict {
    fn from(conflict: Conflict) -> v1::Conflict {
        v1::Conflict {
            reason: v1::ConflictReason::from(conflict.reason).into(),
            key: conflict.key.map(v1::SpaceKey::from),
            rival: conflict.rival.map(transaction_id_bytes).unwrap_or_default(),
            at: conflict.at.0,
        }
    }
}

impl TryFrom<v1::Conflict> for Conflict {
    type Error = Error;

    fn try_from(conflict: v1::Conflict) -> Result<Conflict, Error> {
        Ok(Conflict {
            reason: conflict.reason().into(),
            key: conflict.key.map(SpaceKey::from),
            rival: (!conflict.rival.is_empty()).then(|| transaction_id_of(&conflict.rival)).transpose()?,
            at: Timestamp(conflict.at),
        })
    }
}

impl From<ConflictReason> for v1::ConflictReason {
    fn from(reason: ConflictReason) -> v1::ConflictReason {
        match reason {
            ConflictReason::Changed => v1::ConflictReason::Changed,
            ConflictReason::Aborted => v1::ConflictReason::Aborted,
            ConflictReason::TooOld => v1::ConflictReason::TooOld,
            ConflictReason::Wounded => v1::ConflictReason::Wounded,
            ConflictReason::Locked => v1::ConflictReason::Locked,
        }
    }
}

impl From<v1::ConflictReason> for ConflictReason {
    fn from(reason: v1::ConflictReason) -> ConflictReason {
        match reason {
            v1::ConflictReason::Changed => ConflictReason::Changed,
            // Whatever a newer node means by it, the transaction is over.
            v1::ConflictReason::Aborted | v1::ConflictReason::Unspecified => ConflictReason::Aborted,
            v1::ConflictReason::TooOld => ConflictReason::TooOld,
            v1::ConflictReason::Wounded => ConflictReason::Wounded,
            v1::ConflictReason::Locked => ConflictReason::Locked,
        }
    }
}
