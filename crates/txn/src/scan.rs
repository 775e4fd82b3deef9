//! Scans of a transaction: what was committed, with the own writes in their places.

use std::collections::VecDeque;
use std::iter::Peekable;

use bytes::{BufMut, Bytes, BytesMut};
use strata_router::{Scan, ScanRange};
use strata_types::{Item, Result, Space, Timestamp};

use crate::Transaction;
use crate::transaction::own_item;

/// A running scan of a [`Transaction`], which it is given for each page.
pub struct TransactionScan {
    space: Space,
    /// Every key below it was returned.
    position: Bytes,
    end: Option<Bytes>,
    /// Items still wanted.
    left: u64,
    /// Of what was committed, and up to when. Asked anew when the transaction reads at another timestamp.
    below: Option<(Timestamp, Scan)>,
}

impl TransactionScan {
    pub(crate) fn new(space: Space, start: Bytes, end: Option<Bytes>, limit: Option<u64>) -> TransactionScan {
        TransactionScan { space, position: start, end, left: limit.unwrap_or(u64::MAX), below: None }
    }

    /// The next items, in key order; `None` after the last one. An error leaves the scan where it was: it may be asked
    /// again. `transaction` is the one whose scan it is.
    pub async fn next_page(&mut self, transaction: &mut Transaction) -> Result<Option<Vec<Item>>> {
        while self.left > 0 && self.end.as_ref().is_none_or(|end| self.position < *end) {
            let (items, reached) = self.fetch(transaction).await?;
            let own = transaction.writes.in_range(self.space, &self.position, reached.as_ref());
            let own = own.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>();
            let mut page = merge(items, own);
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
            let reached = match page.len() {
                count if count >= wanted => {
                    page.truncate(wanted);
                    page.last().map(|last| successor(&last.key))
                }
                _ => reached,
            };
            self.left -= page.len() as u64;
            transaction.reads.note_range(self.space, self.position.clone(), reached.clone());
            match reached {
                Some(reached) => self.position = reached,
                // Everything was read: there is nothing left to ask for.
                None => self.end = Some(self.position.clone()),
            }
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// Where another scan would go on: every key below was returned.
    pub fn position(&self) -> &Bytes {
        &self.position
    }

    /// Whether it ended because it returned as many items as were asked for.
    pub fn is_limit_reached(&self) -> bool {
        self.left == 0
    }

    /// The next committed items, and how far they reach: there are no others below that.
    async fn fetch(&mut self, transaction: &mut Transaction) -> Result<(Vec<Item>, Option<Bytes>)> {
        let at = transaction.begun().await?;
        loop {
            let scan = match self.below.take().filter(|(before, _)| *before == at) {
                Some((_, scan)) => scan,
                None => self.ask(transaction, at),
            };
            let (_, scan) = self.below.insert((at, scan));
            if let Some(items) = scan.next_page().await? {
                let reached = scan.position().clone();
                return Ok((items, Some(reached)));
            }
            if !scan.is_limit_reached() {
                return Ok((Vec::new(), self.end.clone()));
            }
            // The own writes hide some of what it found: more is needed.
            self.below = None;
        }
    }

    /// A scan of what was committed, from the present position on.
    fn ask(&self, transaction: &Transaction, at: Timestamp) -> Scan {
        let own = transaction.writes.in_range(self.space, &self.position, self.end.as_ref());
        // Each of them hides one item at most.
        let hidden = if self.left == u64::MAX { 0 } else { own.filter(|(_, value)| value.is_none()).count() as u64 };
        let limit = Some(self.left.saturating_add(hidden)).filter(|limit| *limit != u64::MAX);
        let header = transaction.core.header(self.space, at);
        let range = ScanRange { header, start: self.position.clone(), end: self.end.clone(), limit };
        Scan::new(transaction.core.router.clone(), range, transaction.deadline)
    }
}

/// Committed items with the own writes in their places; both in key order.
fn merge(items: Vec<Item>, own: Vec<(Bytes, Option<Bytes>)>) -> Vec<Item> {
    let mut merged = Vec::with_capacity(items.len() + own.len());
    let mut items: Peekable<_> = VecDeque::from(items).into_iter().peekable();
    for (key, value) in own {
        while let Some(item) = items.next_if(|item| item.key < key) {
            merged.push(item);
        }
        // It is another value now, or gone.
        items.next_if(|item| item.key == key);
        merged.extend(own_item(&key, value));
    }
    merged.extend(items);
    merged
}

/// The smallest key above `key`.
fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
