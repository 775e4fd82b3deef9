//! The messages of one scan of a transaction, each made when the client begins to read the one before it; the first is
//! made at once.

use std::collections::VecDeque;

use futures_util::Stream;
use futures_util::stream;
use strata_env::{Env, Mono};
use strata_proto::{status_of, v1};
use strata_txn::OpenScan;
use strata_types::{Item, Result};
use tonic::Status;

use crate::scan_pages::next_message;

/// A scan and the items that did not fit its last message.
pub(crate) struct Pages {
    env: Env,
    scan: OpenScan,
    deadline: Mono,
    waiting: VecDeque<Item>,
    is_over: bool,
}

impl Pages {
    pub(crate) fn new(env: Env, scan: OpenScan, deadline: Mono) -> Pages {
        Pages { env, scan, deadline, waiting: VecDeque::new(), is_over: false }
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
            let left = self.deadline.since(self.env.now());
            match self.scan.next_page(left).await? {
                Some(items) => self.waiting = items.into(),
                None => {
                    self.is_over = true;
                    // Where the limit ended it something may be left; otherwise it is told that nothing is.
                    return Ok((!self.scan.is_limit_reached()).then(v1::TxnScanReply::default));
                }
            }
        }
        let (items, resume) = next_message(&mut self.waiting);
        Ok(Some(v1::TxnScanReply { items, resume }))
    }
}
