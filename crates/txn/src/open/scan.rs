//! Scans of open transactions.

use std::time::Duration;

use bytes::Bytes;
use strata_types::{Error, ErrorCode, Item, Result, TransactionId};

use super::OpenTransactions;
use super::calls::weight;
use super::entry::State;
use crate::{SnapshotScan, TransactionScan, sooner};

/// Whose scan it is decides what it needs for a page.
enum Running {
    Writer(TransactionScan),
    Reader(SnapshotScan),
}

/// A scan of an open transaction. Between two pages other calls of the transaction go on.
pub struct OpenScan {
    open: OpenTransactions,
    id: TransactionId,
    running: Running,
}

impl OpenTransactions {
    /// The items from `start` up to but not including `end` in key order, at most `limit` of them. Nothing is read
    /// before the first page. `deadline` is that of the whole scan.
    pub async fn scan(
        &self,
        id: TransactionId,
        start: Bytes,
        end: Option<Bytes>,
        limit: Option<u64>,
        deadline: Duration,
    ) -> Result<OpenScan> {
        let until = self.env().now() + deadline;
        let entered = self.entered(id, deadline).await?;
        let running = match &*entered.state {
            State::Writer(transaction) => {
                // What is read of it is charged with its pages.
                self.charge(&entered, weight(&Bytes::new(), 0))?;
                Running::Writer(transaction.scan(start, end, limit))
            }
            State::Reader(snapshot) => {
                let left = until.since(self.env().now());
                Running::Reader(snapshot.with_deadline(sooner(left)).scan(start, end, limit))
            }
            State::Over(over) => return Err(over.error()),
        };
        Ok(OpenScan { open: self.clone(), id, running })
    }
}

impl OpenScan {
    /// The next items, in key order; `None` after the last one. `deadline`: what is left of that of the scan.
    pub async fn next_page(&mut self, deadline: Duration) -> Result<Option<Vec<Item>>> {
        let env = self.open.env().clone();
        let late = |_| Error::not_applied(ErrorCode::DeadlineExceeded, "the scan did not end by its deadline");
        env.timeout(deadline, self.page(deadline)).await.map_err(late)?
    }

    async fn page(&mut self, deadline: Duration) -> Result<Option<Vec<Item>>> {
        let mut entered = self.open.enter(self.id, deadline).await?;
        match (&mut self.running, &mut *entered.state) {
            (Running::Writer(scan), State::Writer(transaction)) => {
                let before = transaction.read_bytes();
                let page = scan.next_page(transaction.with_deadline(sooner(deadline))).await?;
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

    /// Whether it ended because it returned as many items as were asked for.
    pub fn is_limit_reached(&self) -> bool {
        match &self.running {
            Running::Writer(scan) => scan.is_limit_reached(),
            Running::Reader(scan) => scan.is_limit_reached(),
        }
    }
}
