//! Steps of transactions.
//!
//! ```text
//!   one shard:   commit: check, write -------------------> committed at its stamp, or refused
//!
//!   several:     prepare on all but the anchor's: check, lock --> prepared at its stamp
//!                commit on the anchor's, stamped not below any of these: check, write, record: none -> committed
//!                resolve on the others: the writes become versions at that timestamp, the locks go
//!                forget: the record may go
//!   abort, by the coordinator or by somebody whom it blocks: record: none -> aborted; then resolve
//! ```
//! Who finds no record knows that it is not committed yet, and an abort makes that last: it leaves a record which refuses
//! the commit (SHARD-9). Each step may come twice, late, or out of order (SHARD-8): whether it has come before stands in
//! the rows.

use strata_codec::{
    Participant, RecordState, ResolvedParticipant, TransactionRecord, closed_record_key, participant_key, record_key,
    resolved_participant_key,
};
use strata_types::{
    Conflict, ConflictReason, Decision, Error, ErrorCode, Part, SpaceKey, Timestamp, Transaction, TransactionReply,
    TransactionStatus,
};

use crate::locks::{Checker, Unless};
use crate::rows::{is_resolved, participant, record};
use crate::versions::{change_after, newest_change};
use crate::work::Work;

/// What a step is answered, unless somebody is in the way.
pub(crate) type Answer = Result<TransactionReply, Error>;

impl Work<'_> {
    /// All of a transaction that does not lie here is prepared: checks what does, and writes. This is the point at which
    /// it is committed (SHARD-9).
    pub(crate) fn commit(&mut self, part: &Part) -> Unless<Answer> {
        let (transaction, prepared) = (part.transaction, &part.prepared);
        match record(self.view, transaction.id).map(|record| record.state) {
            Some(RecordState::Committed { at, .. }) => return Ok(Ok(TransactionReply::Committed { at })),
            Some(RecordState::Aborted) if !mutated!(LateCommitAllowed) => return Ok(Ok(aborted())),
            _ => {}
        }
        let is_last = !prepared.participants.is_empty();
        if is_last && self.stamp < prepared.at {
            let message = format!("what is prepared at {} cannot be committed at {}", prepared.at, self.stamp);
            return Ok(Err(Error::not_applied(ErrorCode::InvalidArgument, message)));
        }
        if let Some(refusal) = self.check(part)? {
            return Ok(refusal);
        }
        let at = self.stamp;
        for write in &part.writes {
            self.write(&write.key, at, write.value.as_deref());
        }
        let participants = prepared.participants.clone();
        let state = RecordState::Committed { at, acknowledged: !is_last, participants };
        if is_last {
            let record = TransactionRecord { transaction, state };
            self.view.put(record_key(transaction.id), record.encode());
        } else {
            self.close(transaction, state);
        }
        Ok(Ok(TransactionReply::Committed { at }))
    }

    /// Checks a part of a transaction and locks what it has read and wants to write, until it is decided.
    pub(crate) fn prepare(&mut self, part: &Part) -> Unless<Answer> {
        let transaction = part.transaction;
        let earlier = participant(self.view, transaction.id);
        if let Some(earlier) = &earlier
            && !mutated!(RepeatedPrepareAnew)
        {
            return Ok(Ok(TransactionReply::Prepared { at: earlier.stamp }));
        }
        if earlier.is_none() && is_resolved(self.view, transaction.id) && !mutated!(LatePrepareAllowed) {
            return Ok(Ok(aborted()));
        }
        if let Some(refusal) = self.check(part)? {
            return Ok(refusal);
        }
        let keys = self.lock(part);
        let (at, has_ranges) = (self.stamp, !part.ranges.is_empty());
        let row = Participant { transaction, stamp: at, has_ranges, keys };
        self.view.put(participant_key(transaction.id), row.encode());
        if earlier.is_none() {
            self.state.prepared += 1;
            self.state.ranged += u64::from(has_ranges);
        }
        Ok(Ok(TransactionReply::Prepared { at }))
    }

    /// What keeps a part from being committed or prepared. What it has read comes first: who cannot commit anyway must
    /// not abort others for it.
    fn check(&self, part: &Part) -> Unless<Option<Answer>> {
        let read_at = part.transaction.read_timestamp;
        if self.stamp <= read_at {
            let message = format!("a part that has read at {read_at} must be stamped later, not at {}", self.stamp);
            return Ok(Some(Err(Error::not_applied(ErrorCode::InvalidArgument, message))));
        }
        if self.is_below_horizon(read_at) && !mutated!(HorizonIgnored) {
            let at = self.state.horizon;
            return Ok(Some(Ok(conflict(ConflictReason::TooOld, None, at))));
        }
        if let Some((key, at)) = self.change_of(part) {
            return Ok(Some(Ok(conflict(ConflictReason::Changed, Some(key), at))));
        }
        Checker::new(self, Some(part.transaction.id)).part(self, part)?;
        Ok(None)
    }

    /// Something that a transaction has read and that was changed since (SHARD-10).
    fn change_of(&self, part: &Part) -> Option<(SpaceKey, Timestamp)> {
        let after = part.transaction.read_timestamp;
        if !mutated!(ReadUnvalidated) {
            let mut reads = part.reads.iter().map(|key| (key, newest_change(self.view, key)));
            if let Some((key, at)) = reads.find(|(_, at)| *at > after) {
                return Some((key.clone(), at));
            }
        }
        if mutated!(RangeUnvalidated) {
            return None;
        }
        part.ranges.iter().find_map(|range| change_after(self.view, range, after))
    }

    /// Aborts, unless it is decided: makes the record on which the commit is refused. Below the horizon it is refused
    /// anyway, but nobody can say any more whether it was committed before (TXN-26).
    pub(crate) fn abort(&mut self, transaction: Transaction) -> Answer {
        if let Some(record) = record(self.view, transaction.id) {
            return Ok(TransactionReply::Status(record.status()));
        }
        if self.is_below_horizon(transaction.read_timestamp) {
            return Ok(TransactionReply::Status(TransactionStatus::Unknown));
        }
        self.close(transaction, RecordState::Aborted);
        Ok(TransactionReply::Status(TransactionStatus::Decided(Decision::Aborted)))
    }

    /// Makes of the writes of a transaction what was decided, and gives back its locks.
    pub(crate) fn resolve(&mut self, transaction: Transaction, decision: Decision) -> Answer {
        let Some(participant) = participant(self.view, transaction.id) else {
            // Nothing was prepared; if it is aborted, nothing will be.
            if decision == Decision::Aborted && !is_resolved(self.view, transaction.id) {
                self.mark_resolved(transaction);
            }
            return Ok(TransactionReply::Done);
        };
        let commit_at = match decision {
            Decision::Committed(at) => Some(at),
            Decision::Aborted => None,
        };
        if let Some(at) = commit_at
            && (at < participant.stamp || at > self.stamp)
        {
            let (from, to) = (participant.stamp, self.stamp);
            let message = format!("what is prepared at {from} and resolved at {to} cannot be committed at {at}");
            return Err(Error::not_applied(ErrorCode::InvalidArgument, message));
        }
        for key in &participant.keys {
            self.unlock(key, transaction.id, commit_at);
        }
        if participant.has_ranges {
            self.unlock_ranges(transaction.id);
        }
        self.view.delete(participant_key(transaction.id));
        self.mark_resolved(participant.transaction);
        // Saturating, because the state may be one of those that only seem to be missing.
        self.state.prepared = self.state.prepared.saturating_sub(1);
        self.state.ranged = self.state.ranged.saturating_sub(u64::from(participant.has_ranges));
        Ok(TransactionReply::Done)
    }

    /// Everybody has resolved it: nobody but a repeated request asks for the record any more.
    pub(crate) fn forget(&mut self, transaction: Transaction) -> Answer {
        if let Some(TransactionRecord { transaction, state: RecordState::Committed { at, acknowledged, participants } }) =
            record(self.view, transaction.id)
            && !acknowledged
        {
            self.view.delete(record_key(transaction.id));
            self.close(transaction, RecordState::Committed { at, acknowledged: true, participants });
        }
        Ok(TransactionReply::Done)
    }

    /// Keeps a late prepare from succeeding. Below the horizon it does not succeed anyway.
    fn mark_resolved(&mut self, transaction: Transaction) {
        if !self.is_below_horizon(transaction.read_timestamp) && !mutated!(ResolvedForgotten) {
            self.view.put(resolved_participant_key(transaction.id), ResolvedParticipant { transaction }.encode());
        }
    }

    /// Puts a record that is settled. Below the horizon nobody needs it.
    fn close(&mut self, transaction: Transaction, state: RecordState) {
        if !self.is_below_horizon(transaction.read_timestamp) {
            let record = TransactionRecord { transaction, state };
            self.view.put(closed_record_key(transaction.id), record.encode());
        }
    }
}

fn conflict(reason: ConflictReason, key: Option<SpaceKey>, at: Timestamp) -> TransactionReply {
    TransactionReply::Conflict(Conflict { reason, key, rival: None, at })
}

fn aborted() -> TransactionReply {
    conflict(ConflictReason::Aborted, None, Timestamp(0))
}
