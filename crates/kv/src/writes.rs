//! Writes of a batch: into the log together, and again if a transaction was in the way.

use bytes::Bytes;
use strata_codec::decode_reply;
use strata_raft::{Group, ProposeError};
use strata_types::{
    Error, ErrorCode, Operation, Reach, Reply, Request, Result, SpaceRange, Timestamp, TransactionCall,
    TransactionReply,
    limits::{TRANSACTION_BOUNDS_BYTES_MAX, TRANSACTION_RANGE_BYTES_MAX, TRANSACTION_RANGE_ROWS_MAX},
};

use crate::LocalShards;
use crate::blockers::{self, InTheWay};
use crate::local_shards::{BLOCKED_SLICE, Work};
use crate::plan::Plan;
use crate::reads;

/// What came of a command: the group's refusal, or the machine's answer.
pub(crate) type Written = std::result::Result<Result<Reply>, ProposeError>;

impl LocalShards {
    /// Has commands replicated and applied. Those that meet a transaction which is not decided are proposed again when it
    /// is: they changed nothing, and their new entry gets a new stamp.
    pub(crate) async fn write(
        &self,
        work: &Work<'_>,
        plan: &Plan,
        mut commands: Vec<Bytes>,
        requests: &[Request],
    ) -> Vec<Written> {
        let asked = |at: usize| &requests[plan.writes[at]].operation;
        let mut written: Vec<Option<Written>> = (0..commands.len()).map(|at| self.enter(work, asked(at))).collect();
        self.check_ranges(work, plan, requests, &mut written).await;
        let mut todo: Vec<usize> = (0..commands.len()).filter(|at| written[*at].is_none()).collect();
        let until = self.node().env().now() + BLOCKED_SLICE;
        while !todo.is_empty() {
            let proposed: Vec<Bytes> = todo.iter().map(|at| commands[*at].clone()).collect();
            let reach = todo.iter().map(|at| plan.reaches[*at]).fold(Reach::NOTHING, Reach::and);
            let replies = propose(work.place.group, proposed, reach, plan.not_before).await;
            let (mut in_the_way, mut again) = (InTheWay::new(), Vec::new());
            for (at, reply) in todo.into_iter().zip(replies) {
                match reply.map(decode) {
                    Ok(Ok(Reply::Blocked { by })) => {
                        blockers::note(&mut in_the_way, by, age_of(asked(at)));
                        written[at] = Some(Ok(Err(blockers::blocked(&by))));
                        again.push(at);
                    }
                    reply => written[at] = Some(reply),
                }
            }
            todo = again;
            if !todo.is_empty() {
                let cleared = self.steps().blockers.clear(work.slot(), in_the_way).await;
                if !cleared && self.node().env().now() >= until {
                    break;
                }
            }
        }
        commands.clear();
        let written: Vec<Written> = written.into_iter().map(|result| result.expect("each has its answer")).collect();
        for (at, result) in written.iter().enumerate() {
            self.leave(work, asked(at), result);
        }
        written
    }

    /// A part of a transaction arrives: its refusal, if the transaction lost a lock here.
    fn enter(&self, work: &Work<'_>, operation: &Operation) -> Option<Written> {
        let Operation::Transact(call) = operation else { return None };
        match &**call {
            TransactionCall::Commit(part) | TransactionCall::Prepare(part) => {
                let refusal = self.steps().enter(&work.place, &part.transaction)?;
                Some(Ok(Ok(Reply::Transact(refusal))))
            }
            _ => None,
        }
    }

    /// Refuses parts whose ranges hold too much. Every replica has to look at all of it before it applies anything else,
    /// and again after a restart: so it does not get into the log.
    async fn check_ranges(&self, work: &Work<'_>, plan: &Plan, requests: &[Request], written: &mut [Option<Written>]) {
        let asked = |at: usize| &requests[plan.writes[at]].operation;
        let is_ranged = |at: &usize| written[*at].is_none() && !ranges_of(asked(*at)).is_empty();
        let (long, ranged): (Vec<usize>, Vec<usize>) = (0..written.len())
            .filter(is_ranged)
            .partition(|at| locked_bounds(asked(*at)) > TRANSACTION_BOUNDS_BYTES_MAX);
        for at in long {
            let bytes = locked_bounds(asked(at));
            let sentence = format!(
                "the bounds of the ranges that the transaction has read take {bytes} bytes, over the limit of \
                 {TRANSACTION_BOUNDS_BYTES_MAX} bytes of one that concerns several shards: read fewer ranges, or read \
                 them through a snapshot"
            );
            written[at] = Some(Ok(Err(Error::not_applied(ErrorCode::TooLarge, sentence))));
        }
        if ranged.is_empty() || !work.place.group.leads() {
            return;
        }
        let parts = ranged.iter().map(|at| ranges_of(asked(*at)).to_vec()).collect();
        // What cannot be read is found out where it is applied.
        let Ok(short) = reads::are_short(self.node().env(), work.place.group.tablet(), parts).await else { return };
        for (at, _) in ranged.into_iter().zip(short).filter(|(_, is_short)| !is_short) {
            let sentence = format!(
                "the ranges that the transaction has read hold more than {TRANSACTION_RANGE_ROWS_MAX} rows or {} MiB \
                 of shard {}: read them through a snapshot, or in several transactions",
                TRANSACTION_RANGE_BYTES_MAX >> 20,
                work.place.shard
            );
            written[at] = Some(Ok(Err(Error::not_applied(ErrorCode::TooLarge, sentence))));
        }
    }

    /// Gives back the locks of a transaction that has ended here.
    fn leave(&self, work: &Work<'_>, operation: &Operation, result: &Written) {
        let Operation::Transact(call) = operation else { return };
        let is_refused = matches!(result, Ok(Ok(Reply::Transact(TransactionReply::Conflict(_)))));
        let has_ended = match **call {
            TransactionCall::Resolve { .. } | TransactionCall::Commit(_) => true,
            TransactionCall::Prepare(_) => is_refused,
            _ => false,
        };
        if has_ended {
            self.steps().release(work.place.shard, call.transaction().id);
        }
    }
}

/// The ranges that a part of a transaction has read.
fn ranges_of(operation: &Operation) -> &[SpaceRange] {
    let Operation::Transact(call) = operation else { return &[] };
    match &**call {
        TransactionCall::Commit(part) | TransactionCall::Prepare(part) => &part.ranges,
        _ => &[],
    }
}

/// Bytes of the bounds of the ranges that are locked if a part is prepared.
fn locked_bounds(operation: &Operation) -> usize {
    let Operation::Transact(call) = operation else { return 0 };
    let TransactionCall::Prepare(part) = &**call else { return 0 };
    let bounds = |range: &SpaceRange| range.start.len() + range.end.as_ref().map_or(0, Bytes::len);
    part.ranges.iter().map(bounds).sum()
}

async fn propose(
    group: &Group,
    commands: Vec<Bytes>,
    reach: Reach,
    not_before: Timestamp,
) -> Vec<std::result::Result<Bytes, ProposeError>> {
    metrics::counter!("strata_kv_writes_total").increment(commands.len() as u64);
    group
        .propose_within(commands, reach, not_before)
        .await
        .into_iter()
        .map(|result| result.map(|proposed| proposed.reply))
        .collect()
}

/// The age of the transaction that asks, if one does.
fn age_of(operation: &Operation) -> Option<Timestamp> {
    let Operation::Transact(call) = operation else { return None };
    Some(call.transaction().age)
}

/// The reply of a command. One that does not decode was applied all the same.
pub(crate) fn decode(reply: Bytes) -> Result<Reply> {
    decode_reply(reply).unwrap_or_else(|error| {
        let message = format!("the write was applied, but its reply is damaged: {error}");
        Err(Error::new(ErrorCode::Internal, strata_types::Outcome::Applied, message))
    })
}
