//! What a command works on.

use bytes::Bytes;
use strata_codec::{SHARD_STATE_KEY, ShardState};
use strata_machine::ViewMut;
use strata_types::{Revision, Timestamp};

use crate::rows::shard_state;

/// A command that is being carried out: the rows, where it stands, and what every command must know.
pub(crate) struct Work<'a> {
    pub(crate) view: &'a mut dyn ViewMut,
    /// Of whatever it writes (SHARD-2).
    pub(crate) revision: Revision,
    /// Its timestamp; not zero.
    pub(crate) stamp: Timestamp,
    pub(crate) state: ShardState,
    stored: ShardState,
}

impl<'a> Work<'a> {
    pub(crate) fn begin(view: &'a mut dyn ViewMut, revision: Revision, stamp: Timestamp) -> Work<'a> {
        let state = shard_state(view);
        Work { view, revision, stamp, state, stored: state }
    }

    /// Whether what was read at this timestamp may be gone (SHARD-11).
    pub(crate) fn is_below_horizon(&self, at: Timestamp) -> bool {
        at < self.state.horizon
    }

    /// Keeps what every command must know, if the command has changed it.
    pub(crate) fn finish(self) {
        if self.state != self.stored {
            self.view.put(Bytes::from_static(SHARD_STATE_KEY), self.state.encode());
        }
    }
}
