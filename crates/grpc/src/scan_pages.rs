//! The messages of one scan, each made when the client begins to read the one before it; the first is made at once.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use strata_env::{Env, Mono};
use strata_proto::{level_parts, status_of, v1};
use strata_router::{RESULT_OVERHEAD, Scan};
use strata_types::{Error, ErrorCode, Freshness, Item};
use tonic::Status;

/// A message of a scan closes after the item that passes this many bytes: large enough to be cheap, small enough that
/// a client sees progress and that encoding it keeps nobody else waiting.
const MESSAGE_BYTES_TARGET: usize = 256 * 1024;

/// A scan and the items that did not fit its last message.
pub(crate) struct ScanPages {
    env: Env,
    scan: Scan,
    deadline: Mono,
    waiting: VecDeque<Item>,
    is_over: bool,
}

impl ScanPages {
    pub(crate) fn new(env: Env, scan: Scan, deadline: Mono) -> ScanPages {
        ScanPages { env, scan, deadline, waiting: VecDeque::new(), is_over: false }
    }

    /// The messages. Each but an empty last one says where to go on after it.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<v1::ScanReply, Status>> + Send {
        stream::try_unfold(self, |mut pages| async move {
            match pages.next().await {
                Ok(Some(message)) => Ok(Some((message, pages))),
                Ok(None) => Ok(None),
                Err(error) => Err(status_of(&error)),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<v1::ScanReply>, Error> {
        if self.is_over {
            return Ok(None);
        }
        if self.waiting.is_empty() {
            match self.fetch().await? {
                Some(items) => self.waiting = items.into(),
                None => {
                    self.is_over = true;
                    if self.scan.is_limit_reached() {
                        return Ok(None);
                    }
                    // Tells that nothing is left.
                    return Ok(Some(self.message(Vec::new(), None)));
                }
            }
        }
        let (items, resume) = next_message(&mut self.waiting);
        Ok(Some(self.message(items, resume)))
    }

    fn message(&self, items: Vec<v1::Item>, resume: Option<Bytes>) -> v1::ScanReply {
        let freshness = self.scan.level().map(|level| Freshness { level, ..Freshness::default() });
        let (level, staleness_millis) = level_parts(freshness);
        v1::ScanReply { items, resume, timestamp: self.scan.time().0, level, staleness_millis }
    }

    async fn fetch(&mut self) -> Result<Option<Vec<Item>>, Error> {
        let left = self.deadline.since(self.env.now());
        let late = |_| Error::not_applied(ErrorCode::DeadlineExceeded, "the scan did not end by its deadline");
        self.env.timeout(left, self.scan.next_page()).await.map_err(late)?
    }
}

/// The items of the next message, and where a scan would go on after them.
pub(crate) fn next_message(waiting: &mut VecDeque<Item>) -> (Vec<v1::Item>, Option<Bytes>) {
    let mut bytes = 0;
    let mut items = Vec::new();
    while let Some(item) = waiting.pop_front() {
        bytes += item.key.len() + item.value.len() + RESULT_OVERHEAD;
        items.push(v1::Item::from(item));
        let next = waiting.front().map_or(0, |next| next.value.len());
        if bytes + next > MESSAGE_BYTES_TARGET {
            break;
        }
    }
    let resume = items.last().map(|item| after(&item.key));
    (items, resume)
}

/// The smallest key above `key`.
fn after(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}
