//! Each call of strata.v1.Txn: what its message asks for, and the answer as a message.

use std::time::Duration;

use strata_proto::{lock_wait_of, slot_of, transaction_id_bytes, transaction_id_of, v1};
use strata_router::TimestampKind;
use strata_txn::{Heartbeat, OpenTransactions, OpenWish, Savepoint, Told, TransactionHandle, sooner};
use strata_types::{DatabaseId, Error, ErrorCode, KeySpaceId, Result, Slot, Space, Timestamp};

use super::pages::Pages;

pub(crate) async fn begin(
    open: &OpenTransactions,
    request: v1::TxnBeginRequest,
    deadline: Duration,
) -> Result<v1::TxnBeginReply> {
    let v1::TxnBeginRequest { read_only, at, age, database, key_space } = request;
    let space = Space { database: DatabaseId(database), key_space: KeySpaceId(key_space) };
    let wish = OpenWish { is_reader: read_only, at: at.map(Timestamp), age: age.map(Timestamp), space };
    Ok(v1::TxnBeginReply { handle: wire(open.begin(wish, deadline).await?) })
}

pub(crate) async fn get(
    open: &OpenTransactions,
    request: v1::TxnGetRequest,
    deadline: Duration,
) -> Result<v1::TxnGetReply> {
    let v1::TxnGetRequest { id, key } = request;
    let (item, told) = open.get(transaction_id_of(&id)?, key, deadline).await?;
    Ok(v1::TxnGetReply { item: item.map(v1::Item::from), handle: wire(told) })
}

pub(crate) async fn get_for_update(
    open: &OpenTransactions,
    request: v1::TxnGetForUpdateRequest,
    deadline: Duration,
) -> Result<v1::TxnGetForUpdateReply> {
    let v1::TxnGetForUpdateRequest { id, key, wait, timeout_millis } = request;
    let wait = lock_wait_of(wait)?;
    let patience = (timeout_millis > 0).then(|| Duration::from_millis(timeout_millis.into()));
    let (item, told) = open.get_for_update(transaction_id_of(&id)?, key, wait, patience, deadline).await?;
    Ok(v1::TxnGetForUpdateReply { item: item.map(v1::Item::from), handle: wire(told) })
}

pub(crate) async fn put(
    open: &OpenTransactions,
    request: v1::TxnPutRequest,
    deadline: Duration,
) -> Result<v1::TxnPutReply> {
    let v1::TxnPutRequest { id, key, value } = request;
    Ok(v1::TxnPutReply { handle: wire(open.put(transaction_id_of(&id)?, key, value, deadline).await?) })
}

pub(crate) async fn delete(
    open: &OpenTransactions,
    request: v1::TxnDeleteRequest,
    deadline: Duration,
) -> Result<v1::TxnDeleteReply> {
    let v1::TxnDeleteRequest { id, key } = request;
    Ok(v1::TxnDeleteReply { handle: wire(open.delete(transaction_id_of(&id)?, key, deadline).await?) })
}

/// The first page is asked for as soon as the reply has begun, whatever the client reads.
pub(crate) async fn scan(open: &OpenTransactions, request: v1::TxnScanRequest, deadline: Duration) -> Result<Pages> {
    let until = open.env().now() + deadline;
    let v1::TxnScanRequest { id, start, end, limit } = request;
    let limit = (limit > 0).then_some(limit);
    let scan = open.scan(transaction_id_of(&id)?, start, end, limit, deadline).await?;
    Ok(Pages::new(open.env().clone(), scan, until))
}

pub(crate) async fn savepoint(
    open: &OpenTransactions,
    request: v1::TxnSavepointRequest,
    deadline: Duration,
) -> Result<v1::TxnSavepointReply> {
    let savepoint = open.savepoint(transaction_id_of(&request.id)?, deadline).await?;
    Ok(v1::TxnSavepointReply { savepoint: savepoint.number() })
}

pub(crate) async fn rollback_to(
    open: &OpenTransactions,
    request: v1::TxnRollbackToRequest,
    deadline: Duration,
) -> Result<v1::TxnRollbackToReply> {
    let v1::TxnRollbackToRequest { id, savepoint } = request;
    open.rollback_to(transaction_id_of(&id)?, Savepoint::from_number(savepoint), deadline).await?;
    Ok(v1::TxnRollbackToReply {})
}

pub(crate) async fn commit(
    open: &OpenTransactions,
    request: v1::TxnCommitRequest,
    deadline: Duration,
) -> Result<v1::TxnCommitReply> {
    let id = transaction_id_of(&request.id)?;
    let at = open.commit(id, own_handle(request.handle)?, deadline).await?;
    Ok(v1::TxnCommitReply { timestamp: at.0 })
}

pub(crate) async fn rollback(
    open: &OpenTransactions,
    request: v1::TxnRollbackRequest,
    deadline: Duration,
) -> Result<v1::TxnRollbackReply> {
    let id = transaction_id_of(&request.id)?;
    open.roll_back(id, own_handle(request.handle)?, deadline).await?;
    Ok(v1::TxnRollbackReply {})
}

pub(crate) async fn heartbeat(
    open: &OpenTransactions,
    request: v1::TxnHeartbeatRequest,
    deadline: Duration,
) -> Result<v1::TxnHeartbeatReply> {
    let Heartbeat { idle_max, left, told } = open.heartbeat(transaction_id_of(&request.id)?, deadline).await?;
    let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    Ok(v1::TxnHeartbeatReply { idle_millis: millis(idle_max), left_millis: millis(left), handle: wire(told) })
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
    let handle = match open.handle_of(id) {
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

/// The transaction as it is after the call. What has written nothing has no anchor.
fn wire(told: Told) -> Option<v1::TransactionHandle> {
    let Told { handle, age, is_anchored, .. } = told;
    Some(v1::TransactionHandle {
        id: transaction_id_bytes(handle.id),
        anchor: is_anchored.then(|| handle.anchor.number().into()),
        read_timestamp: handle.read_timestamp.0,
        age: age.0,
    })
}

/// The handle that a client sends along, if it does.
fn own_handle(wire: Option<v1::TransactionHandle>) -> Result<Option<TransactionHandle>> {
    wire.map(|handle| handle_of(&handle)).transpose()
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

fn invalid(message: impl Into<String>) -> Error {
    Error::not_applied(ErrorCode::InvalidArgument, message)
}
