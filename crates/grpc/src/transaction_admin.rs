//! What operators ask about transactions.

use std::time::Duration;

use strata_env::Env;
use strata_proto::{transaction_id_of, v1};
use strata_router::{KeptElsewhere, KeptStage, KeptTransaction, Kv};
use strata_txn::OpenTransactions;
use strata_types::{
    Error, ErrorCode, NodeId, Operation, Reply, Request, RequestHeader, Result, Transaction, TransactionCall,
    TransactionId, TransactionReply, TransactionStatus,
};

use crate::operations::{invalid, refused};
use crate::{ClusterView, TransactionList, TransactionOverview};

pub(crate) async fn list(
    view: &dyn ClusterView,
    kept: Option<&OpenTransactions>,
    deadline: Duration,
) -> Result<v1::ListTransactionsReply> {
    let kept = kept.map(OpenTransactions::list).unwrap_or_default();
    let kept = kept.into_iter().map(TransactionOverview::from).collect();
    let TransactionList { transactions, problems } = view.transactions(deadline).await?.with(kept);
    let transactions = transactions.into_iter().map(v1::OpenTransaction::from).collect();
    Ok(v1::ListTransactionsReply { transactions, problems })
}

/// A transaction that was not sent to any shard ends where it is kept: here or at another node. Of others only the shard of
/// the record can say for certain, so that is who is asked.
pub(crate) async fn abort(
    env: &Env,
    kv: &dyn Kv,
    view: &dyn ClusterView,
    open: Option<&OpenTransactions>,
    request: v1::AbortTransactionRequest,
    deadline: Duration,
) -> Result<v1::AbortTransactionReply> {
    let id = transaction_id_of(&request.id)?;
    let until = env.now() + deadline;
    let left = || until.since(env.now());
    let KeptElsewhere { kept, silent } = match open {
        // The shard of the record may have to be asked as well.
        Some(open) => open.abort(id, deadline / 2).await,
        None => KeptElsewhere::default(),
    };
    let status = match kept {
        Some(kept) => abort_kept(kv, &kept, left()).await?,
        None => {
            let transaction = find(&view.transactions(left() / 2).await?, id, &silent)?;
            abort_at_anchor(kv, transaction, left()).await?
        }
    };
    Ok(v1::AbortTransactionReply { status: Some(status.into()) })
}

/// Its node has done what it could.
async fn abort_kept(kv: &dyn Kv, kept: &KeptTransaction, deadline: Duration) -> Result<TransactionStatus> {
    let KeptTransaction { node, id, read_timestamp, age, .. } = *kept;
    match (kept.stage, kept.anchor) {
        (KeptStage::Ended(decision), _) => Ok(TransactionStatus::Decided(decision)),
        (KeptStage::Open, _) => {
            let sentence =
                format!("a call of the transaction is under way at {node}, and it goes on: try again: id=`{id}`");
            Err(Error::not_applied(ErrorCode::DeadlineExceeded, sentence))
        }
        (KeptStage::Committing | KeptStage::Unanswered, Some(anchor)) => {
            abort_at_anchor(kv, Transaction { id, anchor, read_timestamp, age }, deadline).await
        }
        (KeptStage::Committing | KeptStage::Unanswered, None) => Err(without_writes(id)),
    }
}

async fn abort_at_anchor(kv: &dyn Kv, transaction: Transaction, deadline: Duration) -> Result<TransactionStatus> {
    let operation = Operation::Transact(Box::new(TransactionCall::Abort { transaction }));
    match kv.call(Request { header: RequestHeader::default(), operation }, deadline).await? {
        Reply::Transact(TransactionReply::Status(status)) => Ok(status),
        other => Err(Error::unknown(ErrorCode::Internal, format!("the shard answered something else: {other:?}"))),
    }
}

/// What is told of a transaction in any place where its anchor is known (COORD-6). `silent`: these may keep it.
fn find(overview: &TransactionList, id: TransactionId, silent: &[NodeId]) -> Result<Transaction> {
    let mut places = overview.transactions.iter().filter(|open| open.id == id).peekable();
    if places.peek().is_none() {
        return Err(not_found(id, silent));
    }
    let known = places.find_map(|open| {
        Some(Transaction { id, anchor: open.anchor?, read_timestamp: open.read_timestamp, age: open.age })
    });
    // Whoever keeps it for a client knows whether it has written something.
    let is_kept = || overview.transactions.iter().any(|open| open.id == id && open.shard.is_none());
    known.ok_or_else(|| if is_kept() { without_writes(id) } else { only_locks(id, silent) })
}

fn not_found(id: TransactionId, silent: &[NodeId]) -> Error {
    if silent.is_empty() {
        return invalid(format!("no open transaction has this id: id=`{id}`"));
    }
    let silent: Vec<String> = silent.iter().map(NodeId::to_string).collect();
    let sentence =
        format!("nobody who answers knows the transaction, and {} may keep it: id=`{id}`", silent.join(", "));
    Error::not_applied(ErrorCode::Unavailable, sentence)
}

fn without_writes(id: TransactionId) -> Error {
    refused(format!("the transaction has written nothing, so there is nothing to abort: id=`{id}`"))
}

/// A program that keeps its transaction by itself tells nobody where it is going to be decided.
fn only_locks(id: TransactionId, silent: &[NodeId]) -> Error {
    let sentence = "nothing was aborted: only locks of the transaction are known, and they do not tell where it would \
                    be decided; they are free when its program ends it, or soon after that falls silent";
    if silent.is_empty() {
        return refused(format!("{sentence}: id=`{id}`"));
    }
    let silent: Vec<String> = silent.iter().map(NodeId::to_string).collect();
    let sentence = format!("{sentence}; {}, which did not answer, may know more: id=`{id}`", silent.join(", "));
    Error::not_applied(ErrorCode::Unavailable, sentence)
}
