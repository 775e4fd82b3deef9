//! TransactionCall.

use strata_types::{Decision, Error, Part, Prepared, Slot, Timestamp, TransactionCall};

use super::invalid;
use super::lock_wait::lock_wait_of;
use super::transaction::{key_of, slot_of, transaction_of};
use crate::v1::{self, transaction_call as wire};

impl From<TransactionCall> for v1::TransactionCall {
    fn from(call: TransactionCall) -> v1::TransactionCall {
        let call = match call {
            TransactionCall::Commit(part) => commit(part),
            TransactionCall::Prepare(part) => wire::Call::Prepare(part.into()),
            TransactionCall::Abort { transaction } => wire::Call::Abort(transaction.into()),
            TransactionCall::Push { transaction, age } => {
                wire::Call::Push(wire::Push { transaction: Some(transaction.into()), age: age.map(|age| age.0) })
            }
            TransactionCall::Status { transaction } => wire::Call::Status(transaction.into()),
            TransactionCall::Resolve { transaction, slot, decision } => wire::Call::Resolve(wire::Resolve {
                transaction: Some(transaction.into()),
                slot: number(slot),
                decision: Some(decision.into()),
            }),
            TransactionCall::Forget { transaction } => wire::Call::Forget(transaction.into()),
            TransactionCall::Lock { transaction, key, wait } => wire::Call::Lock(wire::Lock {
                transaction: Some(transaction.into()),
                key: Some(key.into()),
                wait: v1::LockWait::from(wait).into(),
            }),
            TransactionCall::Unlock { transaction, slot } => {
                wire::Call::Unlock(wire::Unlock { transaction: Some(transaction.into()), slot: number(slot) })
            }
        };
        v1::TransactionCall { call: Some(call) }
    }
}

impl TryFrom<v1::TransactionCall> for TransactionCall {
    type Error = Error;

    fn try_from(call: v1::TransactionCall) -> Result<TransactionCall, Error> {
        Ok(match call.call {
            Some(wire::Call::Commit(part)) => TransactionCall::Commit(part.try_into()?),
            Some(wire::Call::CommitLast(last)) => TransactionCall::Commit(last_part(last)?),
            Some(wire::Call::Prepare(part)) => TransactionCall::Prepare(part.try_into()?),
            Some(wire::Call::Abort(transaction)) => TransactionCall::Abort { transaction: transaction.try_into()? },
            Some(wire::Call::Push(push)) => {
                TransactionCall::Push { transaction: transaction_of(push.transaction)?, age: push.age.map(Timestamp) }
            }
            Some(wire::Call::Status(transaction)) => TransactionCall::Status { transaction: transaction.try_into()? },
            Some(wire::Call::Resolve(resolve)) => TransactionCall::Resolve {
                transaction: transaction_of(resolve.transaction)?,
                slot: slot_of(resolve.slot)?,
                decision: Decision::try_from(resolve.decision.unwrap_or_default())?,
            },
            Some(wire::Call::Forget(transaction)) => TransactionCall::Forget { transaction: transaction.try_into()? },
            Some(wire::Call::Lock(lock)) => TransactionCall::Lock {
                transaction: transaction_of(lock.transaction)?,
                key: key_of(lock.key)?,
                wait: lock_wait_of(lock.wait)?,
            },
            Some(wire::Call::Unlock(unlock)) => TransactionCall::Unlock {
                transaction: transaction_of(unlock.transaction)?,
                slot: slot_of(unlock.slot)?,
            },
            None => return Err(invalid("a step of a transaction is of a kind that this node does not know")),
        })
    }
}

/// Two kinds: a node that does not know the second one must not take it for the first, and leave the other shards out.
fn commit(mut part: Part) -> wire::Call {
    let Prepared { at, participants } = std::mem::take(&mut part.prepared);
    if participants.is_empty() {
        return wire::Call::Commit(part.into());
    }
    let participants = participants.into_iter().map(number).collect();
    wire::Call::CommitLast(wire::CommitLast { part: Some(part.into()), prepared_at: at.0, participants })
}

fn last_part(last: wire::CommitLast) -> Result<Part, Error> {
    let part = last.part.ok_or_else(|| invalid("a commit must say what it is about"))?;
    let participants: Vec<Slot> = last.participants.into_iter().map(slot_of).collect::<Result<_, Error>>()?;
    if participants.is_empty() {
        return Err(invalid("a commit after prepares must say where they were"));
    }
    Ok(Part { prepared: Prepared { at: Timestamp(last.prepared_at), participants }, ..part.try_into()? })
}

fn number(slot: Slot) -> u32 {
    slot.number().into()
}
