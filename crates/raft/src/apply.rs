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
use strata_machine::{CommandContext, Machine};
use strata_storage::StorageError;
use strata_types::{LogIndex, Term, Timestamp, limits::GRPC_MESSAGE_BYTES_MAX};

use crate::applied::Applied;
use crate::overlay::{Overlay, Waiting};
use crate::replica::Replica;
use crate::types::{Entry, EntryBody, Replies, Types};

/// Once an apply holds so much of what was read and written, what is left waits for the next one.
const APPLY_MEMORY_MAX: usize = 8 * 1024 * 1024;
/// Bytes of replies that one apply keeps until they can be sent: as many as go into one message.
const REPLY_BYTES_MAX: usize = GRPC_MESSAGE_BYTES_MAX;

/// What replies may still take until they are sent.
struct Room {
    left: usize,
    /// Whether somebody waits for those of the entry.
    is_wanted: bool,
}

impl Room {
    /// The reply, or one that says that there was no room for it, if it bears that.
    fn take(&mut self, reply: Bytes, machine: &dyn Machine) -> Bytes {
        let reply = match reply.len() > self.left {
            true => machine.withheld(&reply).unwrap_or(reply),
            false => reply,
        };
        self.left = self.left.saturating_sub(reply.len());
        reply
    }
}

/// An entry, and whom to tell.
pub(crate) type Item = (Entry, Option<ApplyResponder<Types>>);

impl Replica {
    /// Applies entries, without those that the tablet holds already. Gives back those that are left when that failed, so
    /// that it can be tried again.
    pub(crate) fn apply_entries(&self, items: Vec<Item>, waiting: Waiting) -> Result<(), (Vec<Item>, StorageError)> {
        let mut left = items;
        while !left.is_empty() {
            left = self.apply_some(left, waiting)?;
        }
        Ok(())
    }

    /// The same in one atomic write, as many of them as memory should hold what they read, write and answer. Returns the
    /// others.
    fn apply_some(&self, mut items: Vec<Item>, waiting: Waiting) -> Result<Vec<Item>, (Vec<Item>, StorageError)> {
        let one = match waiting {
            Waiting::Allowed => Some(self.changing.lock()),
            Waiting::Forbidden => self.changing.try_lock(),
        };
        let Some(mut common) = one else { return Err((items, StorageError::WouldBlock)) };
        let engine = self.tablet();
        let mut applied = self.applied();
        items.retain(|(entry, _)| Some(entry.log_id) > applied.log_id);
        if items.is_empty() {
            return Ok(items);
        }
        // Not put back if this fails.
        let known = std::mem::take(&mut *common);
        let mut overlay = Overlay::new(engine.as_ref(), applied.chain, waiting, known);
        let mut replies = Vec::with_capacity(items.len());
        let mut room = Room { left: REPLY_BYTES_MAX, is_wanted: false };
        for (entry, responder) in &items {
            let next = applied.log_id.map_or(0, |id| id.index + 1);
            assert!(
                entry.log_id.index == next || applied.log_id.is_none(),
                "{}: entry {} applied after {:?}",
                self.group,
                entry.log_id,
                applied.log_id
            );
            room.is_wanted = responder.is_some();
            match catch_unwind(AssertUnwindSafe(|| self.apply_entry(&mut overlay, entry, &mut applied, &mut room))) {
                Ok(reply) => replies.push(reply),
                // A machine is shown nothing in the place of what cannot be read. It may rightly not know what to do.
                Err(panic) if !overlay.has_failed() => resume_unwind(panic),
                Err(_) => {}
            }
            if overlay.has_failed() || overlay.bytes() + (REPLY_BYTES_MAX - room.left) >= APPLY_MEMORY_MAX {
                break;
            }
        }
        let mut left = items.split_off(replies.len().max(1));
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
            items.append(&mut left);
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
        Ok(left)
    }

    fn apply_entry(&self, overlay: &mut Overlay<'_>, entry: &Entry, applied: &mut Applied, room: &mut Room) -> Replies {
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
                let mut replies = Vec::with_capacity(if room.is_wanted { payload.commands.len() } else { 0 });
                for command in &payload.commands {
                    let reply = self.machine.apply(overlay, context, command);
                    context.position += 1;
                    if room.is_wanted {
                        replies.push(room.take(reply, self.machine.as_ref()));
                    }
                }
                Replies::Applied(replies)
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
