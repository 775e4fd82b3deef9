//! Applying entries to a tablet.
//!
//! Many at a time: their writes, the position they reach, the membership and the hash chain go into the tablet as one
//! atomic batch, and only then are the replies sent (RAFT-3).
//!
//! An entry is applied in the term that it was stamped in, or not at all: its leader stamped it by a clock that was
//! good for that term only (RAFT-12). Whoever proposed it is told that nothing was applied, on all replicas alike.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bytes::Bytes;
use openraft::StoredMembership;
use openraft::storage::ApplyResponder;
use strata_codec::{APPLIED_KEY, EntryPayload};
use strata_machine::CommandContext;
use strata_storage::StorageError;
use strata_types::{LogIndex, Term, Timestamp};

use crate::applied::Applied;
use crate::overlay::{Overlay, Waiting};
use crate::replica::Replica;
use crate::types::{Entry, EntryBody, Replies, Types};

/// An entry, and whom to tell.
pub(crate) type Item = (Entry, Option<ApplyResponder<Types>>);

impl Replica {
    /// Applies entries in one atomic write, without those that the tablet holds already. Gives them back when that
    /// failed, so that it can be tried again.
    pub(crate) fn apply_entries(
        &self,
        mut items: Vec<Item>,
        waiting: Waiting,
    ) -> Result<(), (Vec<Item>, StorageError)> {
        let one = match waiting {
            Waiting::Allowed => Some(self.changing.lock()),
            Waiting::Forbidden => self.changing.try_lock(),
        };
        let Some(mut common) = one else { return Err((items, StorageError::WouldBlock)) };
        let engine = self.tablet();
        let mut applied = self.applied();
        items.retain(|(entry, _)| Some(entry.log_id) > applied.log_id);
        if items.is_empty() {
            return Ok(());
        }
        // Not put back if this fails.
        let known = std::mem::take(&mut *common);
        let mut overlay = Overlay::new(engine.as_ref(), applied.chain, waiting, known);
        let mut replies = Vec::with_capacity(items.len());
        for (entry, _) in &items {
            let next = applied.log_id.map_or(0, |id| id.index + 1);
            assert!(
                entry.log_id.index == next || applied.log_id.is_none(),
                "{}: entry {} applied after {:?}",
                self.group,
                entry.log_id,
                applied.log_id
            );
            match catch_unwind(AssertUnwindSafe(|| self.apply_entry(&mut overlay, entry, &mut applied))) {
                Ok(reply) => replies.push(reply),
                // A machine is shown nothing in the place of what cannot be read. It may rightly not know what to do.
                Err(panic) if !overlay.has_failed() => resume_unwind(panic),
                Err(_) => {}
            }
            if overlay.has_failed() {
                break;
            }
        }
        applied.chain = overlay.chain();
        // Before anybody can read it: whoever tells of it must not name an earlier time (ROUTE-7).
        self.clock.raise(applied.stamp);
        let known = overlay.known(self.machine.common_rows());
        let written = overlay.finish().and_then(|mut batch| {
            batch.put(Bytes::from_static(APPLIED_KEY), applied.encode());
            match waiting {
                Waiting::Allowed => engine.write(batch),
                Waiting::Forbidden => engine.write_now(batch),
            }
        });
        if let Err(error) = written {
            return Err((items, error));
        }
        *common = known;
        self.set_applied(applied);
        self.transfers.note_applied(replies.len());
        for ((_, responder), replies) in items.into_iter().zip(replies) {
            if let Some(responder) = responder {
                responder.send(replies);
            }
        }
        Ok(())
    }

    fn apply_entry(&self, overlay: &mut Overlay<'_>, entry: &Entry, applied: &mut Applied) -> Replies {
        applied.log_id = Some(entry.log_id);
        match &entry.payload {
            EntryBody::Blank => Replies::default(),
            EntryBody::Membership(membership) => {
                applied.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                Replies::default()
            }
            EntryBody::Normal(payload) => {
                let payload = EntryPayload::decode(payload.0.clone()).expect("entries are written by our own batcher");
                if is_refused(entry, &payload, applied.stamp) {
                    return Replies::Refused;
                }
                let (stamp, before) = (payload.stamp, applied.stamp);
                assert!(stamp >= before, "{}: {} stamped {stamp} after {before}", self.group, entry.log_id);
                applied.stamp = stamp;
                let mut context = CommandContext {
                    term: Term(entry.log_id.leader_id.term),
                    index: LogIndex(entry.log_id.index),
                    position: 0,
                    stamp,
                };
                let apply = |command: &Bytes| {
                    let reply = self.machine.apply(overlay, context, command);
                    context.position += 1;
                    reply
                };
                Replies::Applied(payload.commands.iter().map(apply).collect())
            }
        }
    }
}

/// Whether nothing of an entry may be applied: it came into the log in another term than it was stamped in, or it has
/// no stamp and comes from a leader that did not know yet that the group is timed.
fn is_refused(entry: &Entry, payload: &EntryPayload, before: Timestamp) -> bool {
    let is_foreign = payload.stamped_term != Term(0) && payload.stamped_term != Term(entry.log_id.leader_id.term);
    #[cfg(debug_assertions)]
    let is_foreign = is_foreign && !crate::mutant::is(crate::mutant::Mutant::EntryOfAnotherTerm);
    is_foreign || (payload.stamp == Timestamp(0) && before != Timestamp(0))
}

#[cfg(test)]
mod tests;
