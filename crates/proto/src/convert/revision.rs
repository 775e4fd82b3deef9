//! Revision.

use strata_types::{LogIndex, Revision};

use crate::v1;

impl From<Revision> for v1::Revision {
    fn from(revision: Revision) -> v1::Revision {
        v1::Revision { index: revision.index.0, position: revision.position }
    }
}

impl From<v1::Revision> for Revision {
    fn from(revision: v1::Revision) -> Revision {
        Revision { index: LogIndex(revision.index), position: revision.position }
    }
}

/// A message that is not set means the same as one that is empty.
pub(super) fn revision_of(revision: Option<v1::Revision>) -> Revision {
    revision.unwrap_or_default().into()
}
