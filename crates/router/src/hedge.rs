//! A second replica for reads whose answer is late.
//!
//! ```text
//!   batch --> first replica ............... late? (p95 of what such batches took lately, at least a floor)
//!                 |                           |   budget left?
//!                 |                           +--> its reads --> second replica, by read index
//!                 +------- whichever answers a read first answers it --------+
//! ```
//! Only reads: they change nothing, so asking twice is safe. Whatever goes wrong with the second question is nobody's
//! business: the first one goes on.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use strata_types::{Epoch, NodeId, ReadPreference, Request, ShardPlacement};

use crate::core::Core;
use crate::load::Waiter;
use crate::path::Path;
use crate::queue::ShardQueue;
use crate::{LinkError, ShardReply};

type Attempt = Result<ShardReply, LinkError>;

/// A question that is asked when the first one takes too long.
pub(crate) struct Hedge {
    /// The reads of the batch.
    positions: Arc<Vec<usize>>,
    /// `None`: there was no budget, or no answer.
    question: Pin<Box<dyn Future<Output = Option<ShardReply>> + Send>>,
}

/// What came first.
pub(crate) enum Arrived {
    /// The answer to the batch.
    Answer(Attempt),
    /// What the second replica said, if anything.
    Hedged(Option<ShardReply>),
}

/// A batch that was just sent.
pub(crate) struct Asked<'a> {
    pub(crate) node: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) placement: &'a ShardPlacement,
    pub(crate) requests: &'a Arc<Vec<Request>>,
    /// How many of them are reads.
    pub(crate) reads: usize,
    /// When every one of them is late for its caller.
    pub(crate) limit: Duration,
}

impl Hedge {
    /// A second question for a batch, if there is something to ask, somebody to be asked, and budget.
    pub(crate) fn plan(core: &Arc<Core>, queue: &Arc<ShardQueue>, asked: &Asked<'_>) -> Option<Hedge> {
        // Twice the work for a page would be felt, and the scan has many to come.
        if asked.reads == 0 || queue.path == Path::Pages || !core.hedge_budget.has(asked.reads) {
            return None;
        }
        let late = queue.latencies(asked.reads < asked.requests.len()).late();
        let delay = late.unwrap_or(core.options.hedge_delay_first).max(core.options.hedge_delay_min);
        let now = core.env.now();
        let own = core.link.own_node();
        let second = core.shunned.choose(asked.placement, own, queue.turn(), Some(asked.node), now);
        let second = second.filter(|second| *second != asked.node && delay < asked.limit)?;
        let reads = asked.requests.iter().enumerate().filter(|(_, request)| request.operation.is_read());
        let positions: Arc<Vec<usize>> = Arc::new(reads.map(|(position, _)| position).collect());
        let (core, queue, epoch, requests) = (core.clone(), queue.clone(), asked.epoch, asked.requests.clone());
        let (wanted, limit) = (positions.clone(), asked.limit - delay);
        let question = async move {
            core.env.sleep(delay).await;
            if !core.hedge_budget.spend_all(wanted.len(), core.env.now()) {
                return None;
            }
            core.hedges.increment(wanted.len() as u64);
            let reads = wanted.iter().map(|&position| anywhere(&requests[position])).collect();
            drop(requests);
            core.link.execute(second, queue.batch(epoch, reads), limit).await.ok()
        };
        Some(Hedge { positions, question: Box::pin(question) })
    }

    /// Answers the reads that the second replica could answer and nobody has answered yet. Returns how many.
    pub(crate) fn settle(&self, reply: Option<ShardReply>, waiters: &mut [Waiter]) -> usize {
        let Some(ShardReply::Done { results, .. }) = reply else { return 0 };
        let mut answered = 0;
        for (position, result) in self.positions.iter().zip(results) {
            let waiter = &mut waiters[*position];
            if result.is_ok() && waiter.is_open() {
                waiter.answer(result);
                answered += 1;
            }
        }
        answered
    }
}

fn anywhere(read: &Request) -> Request {
    let mut read = read.clone();
    read.header.prefer = ReadPreference::Any;
    read
}

/// Waits for the answer to a batch, or to its hedge, whichever comes first.
pub(crate) async fn race<C: Future<Output = Attempt>>(mut call: Pin<&mut C>, hedge: &mut Option<Hedge>) -> Arrived {
    poll_fn(|context| {
        if let Poll::Ready(result) = call.as_mut().poll(context) {
            return Poll::Ready(Arrived::Answer(result));
        }
        match hedge.as_mut().map(|hedge| hedge.question.as_mut().poll(context)) {
            Some(Poll::Ready(reply)) => Poll::Ready(Arrived::Hedged(reply)),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    })
    .await
}
