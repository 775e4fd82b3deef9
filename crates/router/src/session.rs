//! Numbers for writes, so that a shard applies a repeated one once.

use std::collections::BTreeSet;

use strata_types::{ClientId, LogIndex, SessionRequest, limits::SESSION_RESULTS_MAX};

/// This router's session on one shard.
///
/// # Invariants
/// - SESSION-1: `sequence - floor < SESSION_RESULTS_MAX` for every number given out, so that the shard still has the
///   result of every write that may be repeated.
/// - SESSION-2: the floor never passes a number that is still open, so no repeated write is below it.
#[derive(Debug)]
pub(crate) struct SessionWindow {
    client: ClientId,
    /// How far the shard's log was known to be when the client was chosen; zero for the first session.
    opened: LogIndex,
    next: u64,
    open: BTreeSet<u64>,
}

impl SessionWindow {
    /// A new session; `client` is random, and chosen when the shard's log was known to have reached `opened`.
    pub(crate) fn new(client: ClientId, opened: LogIndex) -> SessionWindow {
        SessionWindow { client, opened, next: 1, open: BTreeSet::new() }
    }

    /// A number for the next write; `None` while too many are unanswered.
    pub(crate) fn open(&mut self) -> Option<SessionRequest> {
        let sequence = self.next;
        let floor = self.open.first().copied().unwrap_or(sequence);
        if sequence - floor >= SESSION_RESULTS_MAX as u64 {
            return None;
        }
        self.next += 1;
        self.open.insert(sequence);
        Some(SessionRequest { client: self.client, sequence, floor, opened: self.opened })
    }

    /// A write was answered, or its caller was told that the outcome is unknown: it is not repeated any more.
    pub(crate) fn close(&mut self, request: SessionRequest) {
        if request.client == self.client {
            self.open.remove(&request.sequence);
        }
    }

    /// The shard forgot a session, or cannot tell a new one from those it forgot: start another one where it said that
    /// its log is, unless that was done already.
    pub(crate) fn renew(&mut self, forgotten: ClientId, fresh: ClientId, position: Option<LogIndex>) {
        if forgotten == self.client {
            *self = SessionWindow::new(fresh, position.unwrap_or(self.opened));
        }
    }
}
