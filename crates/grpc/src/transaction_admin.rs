//! What operators ask about transactions.

use std::time::Duration;

use strata_proto::{transaction_id_of, v1};
use strata_router::Kv;
use strata_types::{
    Error, ErrorCode, Operation, Reply, Request, RequestHeader, Result, Transaction, TransactionCall, TransactionId,
    TransactionReply, TransactionStatus,
};

use crate::operations::{invalid, refused};
use crate::{ClusterView, OpenTransactions, TransactionList};

pub(crate) async fn list(
    view: &dyn ClusterView,
    kept: Option<&OpenTransactions>,
    deadline: Duration,
) -> Result<v1::ListTransactionsReply> {
    let TransactionList { transactions, problems } = overview(view, kept, deadline).await?;
    let transactions = transactions.into_iter().map(v1::OpenTransaction::from).collect();
    Ok(v1::ListTransactionsReply { transactions, problems })
}

/// A transaction that was not sent to any shard ends where it is kept. Of others only the shard of the record can say for
/// certain, so that is who is asked.
pub(crate) async fn abort(
    kv: &dyn Kv,
    view: &dyn ClusterView,
    kept: Option<&OpenTransactions>,
    request: v1::AbortTransactionRequest,
    deadline: Duration,
) -> Result<v1::AbortTransactionReply> {
    let id = transaction_id_of(&request.id)?;
    let here = match kept {
        Some(kept) => kept.abort(id, deadline).await?,
        None => None,
    };
    let status = match here {
        Some(status) => status,
        None => abort_at_anchor(kv, view, id, deadline).await?,
    };
    Ok(v1::AbortTransactionReply { status: Some(status.into()) })
}

async fn overview(
    view: &dyn ClusterView,
    kept: Option<&OpenTransactions>,
    deadline: Duration,
) -> Result<TransactionList> {
    let kept = kept.map(OpenTransactions::list).unwrap_or_default();
    Ok(view.transactions(deadline).await?.with(kept))
}

async fn abort_at_anchor(
    kv: &dyn Kv,
    view: &dyn ClusterView,
    id: TransactionId,
    deadline: Duration,
) -> Result<TransactionStatus> {
    let transaction = find(&overview(view, None, deadline).await?, id)?;
    let operation = Operation::Transact(Box::new(TransactionCall::Abort { transaction }));
    match kv.call(Request { header: RequestHeader::default(), operation }, deadline).await? {
        Reply::Transact(TransactionReply::Status(status)) => Ok(status),
        other => Err(Error::unknown(ErrorCode::Internal, format!("the shard answered something else: {other:?}"))),
    }
}

/// What is told of a transaction in any place where its anchor is known.
fn find(overview: &TransactionList, id: TransactionId) -> Result<Transaction> {
    let mut places = overview.transactions.iter().filter(|open| open.id == id).peekable();
    if places.peek().is_none() {
        return Err(invalid(format!("no open transaction has this id: id=`{id}`")));
    }
    let known = places.find_map(|open| {
        Some(Transaction { id, anchor: open.anchor?, read_timestamp: open.read_timestamp, age: open.age })
    });
    known.ok_or_else(|| refused(format!("the transaction has written nothing, so nobody waits for it: id=`{id}`")))
}
