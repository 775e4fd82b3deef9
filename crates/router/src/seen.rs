//! What a session has seen, in logical time.
//!
//! All calls of a router are one session: each answer brings a time, and each write is stamped no lower than the highest
//! of them. So whoever sees a later write of the session, in a snapshot, sees the earlier ones as well (ROUTE-7).

use std::sync::atomic::{AtomicU64, Ordering};

use strata_types::{Request, Timestamp};

use crate::ShardReply;

/// The highest time of any answer.
#[derive(Debug, Default)]
pub(crate) struct Seen(AtomicU64);

impl Seen {
    pub(crate) fn time(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Acquire))
    }

    /// Something up to this time was told to somebody.
    pub(crate) fn note(&self, time: Timestamp) {
        self.0.fetch_max(time.0, Ordering::AcqRel);
    }

    /// An answer came. To be called before anybody is told of it.
    pub(crate) fn note_reply(&self, reply: &ShardReply) {
        if let ShardReply::Done { time, .. } = reply {
            self.note(*time);
        }
    }

    /// Has writes that are about to be sent stamped after everything that was seen. Reads see what there is.
    pub(crate) fn mark(&self, requests: &mut [Request]) {
        let time = self.time();
        for request in requests.iter_mut().filter(|request| !request.operation.is_read()) {
            request.header.seen = request.header.seen.max(time);
        }
    }
}
