//! How far a replica has applied, as its tablet says.

use bytes::Bytes;
use strata_codec::AppliedState;
use strata_storage::StorageError;
use strata_types::Timestamp;

use crate::encoding::{decode_log_id, decode_stored_membership, encode_log_id, encode_stored_membership};
use crate::types::{LogId, SnapshotMeta, StoredMembership};

/// How far a replica has applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Applied {
    pub(crate) log_id: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) chain: u64,
    /// The highest stamp of an entry.
    pub(crate) stamp: Timestamp,
}

impl Applied {
    pub(crate) fn encode(&self) -> Bytes {
        AppliedState {
            log_id: self.log_id.as_ref().map(encode_log_id).unwrap_or_default(),
            membership: encode_stored_membership(&self.membership),
            chain: self.chain,
            stamp: self.stamp,
        }
        .encode()
    }

    /// What a tablet says about itself. An empty tablet has applied nothing.
    pub(crate) fn decode(row: Option<Bytes>) -> Result<Applied, StorageError> {
        let Some(row) = row else { return Ok(Applied::default()) };
        let damaged = |error: strata_codec::DecodeError| StorageError::Corrupt {
            file: "tablet, applied row".into(),
            detail: error.to_string(),
        };
        let state = AppliedState::decode(row).map_err(damaged)?;
        Ok(Applied {
            log_id: (!state.log_id.is_empty()).then(|| decode_log_id(state.log_id)).transpose().map_err(damaged)?,
            membership: decode_stored_membership(state.membership).map_err(damaged)?,
            chain: state.chain,
            stamp: state.stamp,
        })
    }

    /// What a snapshot of it is called.
    pub(crate) fn snapshot_meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.log_id, last_membership: self.membership.clone() }
    }
}
