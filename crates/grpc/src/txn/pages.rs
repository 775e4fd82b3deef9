//! The messages of one scan of a transaction, each made when the client begins to read the one before it; the first is
//! made at once.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use strata_env::Mono;
use strata_proto::{status_of, v1};
use strata_txn::{SnapshotScan, TransactionScan};
use strata_types::{Error, ErrorCode, Item, Result, TransactionId};
use tonic::Status;

use super::OpenTransactions;
use super::entry::{Entered, State};
use crate::deadline::sooner;
use crate::scan_pages::next_message;

/// Whose scan it is decides what it needs for a page.
enum Running {
    Writer(TransactionScan),
    Reader(SnapshotScan),
}

/// A scan and the items that did not fit its last message. Between two pages other calls of the transaction go on.
pub(crate) struct Pages {
    open: OpenTransactions,
    id: TransactionId,
    running: Running,
    deadline: Mono,
    waiting: VecDeque<Item>,
    is_over: bool,
}

impl Pages {
    /// Of the transaction that was entered.
    pub(crate) fn new(
        open: OpenTransactions,
        entered: &Entered,
        request: v1::TxnScanRequest,
        deadline: Mono,
    ) -> Result<Pages> {
        let v1::TxnScanRequest { start, end, limit, .. } = request;
        let limit = (limit > 0).then_some(limit);
        let running = match &*entered.state {
            State::Writer(transaction) => {
                // What is read of it is charged with its pages.
                open.charge(entered, weight(&Bytes::new(), 0))?;
                Running::Writer(transaction.scan(start, end, limit))
            }
            State::Reader(snapshot) => {
                let left = deadline.since(open.env().now());
                Running::Reader(snapshot.with_deadline(sooner(left)).scan(start, end, limit))
            }
            State::Over(over) => return Err(over.error()),
        };
        let id = entered.entry.told().handle.id;
        Ok(Pages { open, id, running, deadline, waiting: VecDeque::new(), is_over: false })
    }

    /// The messages. Each but an empty last one says where to go on after it.
    pub(crate) fn into_stream(self) -> impl Stream<Item = std::result::Result<v1::TxnScanReply, Status>> + Send {
        stream::try_unfold(self, |mut pages| async move {
            match pages.next().await {
                Ok(Some(message)) => Ok(Some((message, pages))),
                Ok(None) => Ok(None),
                Err(error) => Err(status_of(&error)),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<v1::TxnScanReply>> {
        if self.is_over {
            return Ok(None);
        }
        if self.waiting.is_empty() {
            match self.fetch().await? {
                Some(items) => self.waiting = items.into(),
                None => {
                    self.is_over = true;
                    // Where the limit ended it something may be left; otherwise it is told that nothing is.
                    return Ok((!self.is_limit_reached()).then(v1::TxnScanReply::default));
                }
            }
        }
        let (items, resume) = next_message(&mut self.waiting);
        Ok(Some(v1::TxnScanReply { items, resume }))
    }

    async fn fetch(&mut self) -> Result<Option<Vec<Item>>> {
        let env = self.open.env().clone();
        let left = self.deadline.since(env.now());
        let late = |_| Error::not_applied(ErrorCode::DeadlineExceeded, "the scan did not end by its deadline");
        let fetched = env.timeout(left, self.page()).await.map_err(late)?;
        // An error of the last call says more than that there is nothing more.
        fetched
    }

    async fn page(&mut self) -> Result<Option<Vec<Item>>> {
        let left = self.deadline.since(self.open.env().now());
        let mut entered = self.open.enter(self.id, left).await?;
        match (&mut self.running, &mut *entered.state) {
            (Running::Writer(scan), State::Writer(transaction)) => {
                let before = transaction.read_bytes();
                let page = scan.next_page(transaction.with_deadline(sooner(left))).await?;
                let more = transaction.read_bytes().saturating_sub(before);
                self.open.charge(&entered, more)?;
                Ok(page)
            }
            (Running::Reader(scan), State::Reader(_)) => scan.next_page().await,
            (_, State::Over(over)) => Err(over.error()),
            (_, State::Writer(_) | State::Reader(_)) => {
                Err(Error::not_applied(ErrorCode::Internal, "the transaction is another one now"))
            }
        }
    }

    fn is_limit_reached(&self) -> bool {
        match &self.running {
            Running::Writer(scan) => scan.is_limit_reached(),
            Running::Reader(scan) => scan.is_limit_reached(),
        }
    }
}

/// What a read or written key takes of the room for all transactions.
pub(crate) fn weight(key: &Bytes, value: usize) -> usize {
    key.len() + value + strata_router::RESULT_OVERHEAD
}
