//! What each call of strata.v1.Txn does.

use std::time::Duration;

use bytes::Bytes;
use strata_proto::{lock_wait_of, slot_of, transaction_id_of, v1};
use strata_router::TimestampKind;
use strata_txn::{Savepoint, Snapshot, Transaction, TransactionHandle};
use strata_types::{
    Conflict, ConflictReason, DatabaseId, Error, ErrorCode, Item, KeySpaceId, LockWait, Result, Slot, Space, SpaceKey,
    Timestamp, TransactionId,
};

use super::OpenTransactions;
use super::entry::{Entered, IDLE_MAX, State};
use super::pages::{Pages, weight};
use super::registry::Wish;
use crate::deadline::sooner;

pub(crate) async fn begin(
    open: &OpenTransactions,
    request: v1::TxnBeginRequest,
    deadline: Duration,
) -> Result<v1::TxnBeginReply> {
    let v1::TxnBeginRequest { read_only, at, age, database, key_space } = request;
    if at.is_some() && !read_only {
        return Err(invalid(
            "only a transaction with read_only can read what was committed up to a timestamp of its own",
        ));
    }
    let space = Space { database: DatabaseId(database), key_space: KeySpaceId(key_space) };
    let wish = Wish { is_reader: read_only, at: at.map(Timestamp), age: age.map(Timestamp), space };
    let entry = open.begin(wish, deadline).await?;
    Ok(v1::TxnBeginReply { handle: Some(entry.wire()) })
}

pub(crate) async fn get(
    open: &OpenTransactions,
    request: v1::TxnGetRequest,
    deadline: Duration,
) -> Result<v1::TxnGetReply> {
    let v1::TxnGetRequest { id, key } = request;
    let read = async {
        let mut entered = enter(open, &id, deadline).await?;
        let bytes = weight(&key, 0);
        let item = match &mut *entered.state {
            State::Reader(snapshot) => read_snapshot(snapshot, key, deadline).await?,
            State::Writer(transaction) => {
                let item = patient(transaction, deadline).get(key).await?;
                open.charge(&entered, bytes)?;
                item
            }
            State::Over(over) => return Err(over.error()),
        };
        Ok((item, entered))
    };
    let (item, entered) = within(open, deadline, read).await?;
    Ok(v1::TxnGetReply { item: item.map(v1::Item::from), handle: told(entered) })
}

pub(crate) async fn get_for_update(
    open: &OpenTransactions,
    request: v1::TxnGetForUpdateRequest,
    deadline: Duration,
) -> Result<v1::TxnGetForUpdateReply> {
    let v1::TxnGetForUpdateRequest { id, key, wait, timeout_millis } = request;
    let wait = lock_wait_of(wait)?;
    let patience = match (wait, Duration::from_millis(timeout_millis.into())) {
        (LockWait::Wait, timeout) if !timeout.is_zero() => timeout.min(deadline),
        _ => deadline,
    };
    let mut entered = within(open, deadline, enter(open, &id, deadline)).await?;
    let transaction = patient(entered.writer()?, patience);
    let locked = transaction.get_for_update(key.clone(), wait);
    let item = match open.env().timeout(patience, locked).await {
        Ok(item) => item?,
        Err(_) if patience < deadline => return Err(taken(&entered, &key)),
        Err(_) => return Err(late()),
    };
    open.charge(&entered, weight(&key, 0))?;
    Ok(v1::TxnGetForUpdateReply { item: item.map(v1::Item::from), handle: told(entered) })
}

pub(crate) async fn put(
    open: &OpenTransactions,
    request: v1::TxnPutRequest,
    deadline: Duration,
) -> Result<v1::TxnPutReply> {
    let v1::TxnPutRequest { id, key, value } = request;
    let mut entered = within(open, deadline, enter(open, &id, deadline)).await?;
    entered.writer()?;
    open.charge(&entered, weight(&key, value.len()))?;
    entered.writer()?.put(key, value).await?;
    entered.note_write();
    Ok(v1::TxnPutReply { handle: told(entered) })
}

pub(crate) async fn delete(
    open: &OpenTransactions,
    request: v1::TxnDeleteRequest,
    deadline: Duration,
) -> Result<v1::TxnDeleteReply> {
    let v1::TxnDeleteRequest { id, key } = request;
    let mut entered = within(open, deadline, enter(open, &id, deadline)).await?;
    entered.writer()?;
    open.charge(&entered, weight(&key, 0))?;
    entered.writer()?.delete(key).await?;
    entered.note_write();
    Ok(v1::TxnDeleteReply { handle: told(entered) })
}

/// The first page is asked for as soon as the reply has begun, whatever the client reads.
pub(crate) async fn scan(open: &OpenTransactions, request: v1::TxnScanRequest, deadline: Duration) -> Result<Pages> {
    let until = open.env().now() + deadline;
    let entered = within(open, deadline, enter(open, &request.id, deadline)).await?;
    Pages::new(open.clone(), &entered, request, until)
}

pub(crate) async fn savepoint(
    open: &OpenTransactions,
    request: v1::TxnSavepointRequest,
    deadline: Duration,
) -> Result<v1::TxnSavepointReply> {
    let mut entered = within(open, deadline, enter(open, &request.id, deadline)).await?;
    entered.writer()?;
    open.charge(&entered, weight(&Bytes::new(), 0))?;
    Ok(v1::TxnSavepointReply { savepoint: entered.writer()?.savepoint().number() })
}

pub(crate) async fn rollback_to(
    open: &OpenTransactions,
    request: v1::TxnRollbackToRequest,
    deadline: Duration,
) -> Result<v1::TxnRollbackToReply> {
    let mut entered = within(open, deadline, enter(open, &request.id, deadline)).await?;
    entered.writer()?.rollback_to(Savepoint::from_number(request.savepoint))?;
    Ok(v1::TxnRollbackToReply {})
}

pub(crate) async fn commit(
    open: &OpenTransactions,
    request: v1::TxnCommitRequest,
    deadline: Duration,
) -> Result<v1::TxnCommitReply> {
    let id = transaction_id_of(&request.id)?;
    let at = open.commit(id, own_handle(id, request.handle)?, deadline).await?;
    Ok(v1::TxnCommitReply { timestamp: at.0 })
}

pub(crate) async fn rollback(
    open: &OpenTransactions,
    request: v1::TxnRollbackRequest,
    deadline: Duration,
) -> Result<v1::TxnRollbackReply> {
    let id = transaction_id_of(&request.id)?;
    open.roll_back(id, own_handle(id, request.handle)?, deadline).await?;
    Ok(v1::TxnRollbackReply {})
}

pub(crate) async fn heartbeat(
    open: &OpenTransactions,
    request: v1::TxnHeartbeatRequest,
    deadline: Duration,
) -> Result<v1::TxnHeartbeatReply> {
    let entered = within(open, deadline, enter(open, &request.id, deadline)).await?;
    if let State::Over(over) = &*entered.state {
        return Err(over.error());
    }
    let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    let left_millis = millis(entered.entry.time_left(open.env().now()));
    Ok(v1::TxnHeartbeatReply { idle_millis: millis(IDLE_MAX), left_millis, handle: told(entered) })
}

pub(crate) async fn outcome(
    open: &OpenTransactions,
    request: v1::TxnOutcomeRequest,
    deadline: Duration,
) -> Result<v1::TxnOutcomeReply> {
    let v1::TxnOutcomeRequest { handle, settle } = request;
    let wire = handle.unwrap_or_default();
    let id = transaction_id_of(&wire.id)?;
    // Where it began, its id is enough.
    let handle = match open.told(id) {
        Some(handle) => handle,
        None => handle_of(&wire)?,
    };
    let status = if settle { open.settle(handle, deadline).await? } else { open.outcome(handle, deadline).await? };
    Ok(v1::TxnOutcomeReply { status: Some(status.into()) })
}

pub(crate) async fn timestamp(
    open: &OpenTransactions,
    request: v1::TimestampRequest,
    deadline: Duration,
) -> Result<v1::TimestampReply> {
    let kind = match v1::TimestampKind::try_from(request.kind) {
        Ok(v1::TimestampKind::Unspecified | v1::TimestampKind::Begin) => Some(TimestampKind::Begin),
        Ok(v1::TimestampKind::Floor) => Some(TimestampKind::Floor),
        Ok(v1::TimestampKind::None) => None,
        Err(_) => return Err(invalid(format!("there is no timestamp of kind number {}", request.kind))),
    };
    let router = open.router();
    if request.hold != 0 {
        router.hold(Timestamp(request.hold), sooner(deadline)).await?;
    }
    let timestamp = match kind {
        Some(kind) => router.timestamp(kind, sooner(deadline)).await?,
        None => Timestamp::default(),
    };
    Ok(v1::TimestampReply { timestamp: timestamp.0 })
}

async fn enter(open: &OpenTransactions, id: &[u8], deadline: Duration) -> Result<Entered> {
    open.enter(transaction_id_of(id)?, deadline).await
}

/// A read or a write that is only remembered: whatever ends it, nothing was applied.
async fn within<T>(open: &OpenTransactions, deadline: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    open.env().timeout(deadline, work).await.unwrap_or_else(|_| Err(late()))
}

fn patient(transaction: &mut Transaction, deadline: Duration) -> &mut Transaction {
    transaction.with_deadline(sooner(deadline))
}

async fn read_snapshot(snapshot: &Snapshot, key: Bytes, deadline: Duration) -> Result<Option<Item>> {
    snapshot.with_deadline(sooner(deadline)).get(key).await
}

/// The transaction as it is after the call.
fn told(entered: Entered) -> Option<v1::TransactionHandle> {
    let entry = entered.entry.clone();
    drop(entered);
    Some(entry.wire())
}

/// The handle that a client sends along, if it does.
fn own_handle(id: TransactionId, wire: Option<v1::TransactionHandle>) -> Result<Option<TransactionHandle>> {
    let handle = wire.map(|handle| handle_of(&handle)).transpose()?;
    match handle {
        Some(handle) if handle.id != id => Err(invalid("the handle is that of another transaction")),
        handle => Ok(handle),
    }
}

fn handle_of(wire: &v1::TransactionHandle) -> Result<TransactionHandle> {
    let Some(anchor) = wire.anchor else {
        let sentence =
            "the handle has no anchor: nobody but the node where it began knows a transaction without writes";
        return Err(invalid(sentence));
    };
    let anchor: Slot = slot_of(anchor)?;
    Ok(TransactionHandle { id: transaction_id_of(&wire.id)?, anchor, read_timestamp: Timestamp(wire.read_timestamp) })
}

/// The lock was not given in the time that the client wanted to wait.
fn taken(entered: &Entered, key: &Bytes) -> Error {
    let key = Some(SpaceKey { space: entered.entry.space, key: key.clone() });
    Error::of_conflict(Conflict { reason: ConflictReason::Locked, key, rival: None, at: Timestamp::default() })
}

fn late() -> Error {
    Error::not_applied(ErrorCode::DeadlineExceeded, "the call was not answered by its deadline; nothing was written")
}

fn invalid(message: impl Into<String>) -> Error {
    Error::not_applied(ErrorCode::InvalidArgument, message)
}
