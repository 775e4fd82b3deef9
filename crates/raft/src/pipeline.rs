//! Appends to one follower are pipelined: many requests are on their way at once, in order, and their answers come back
//! in order.
//!
//! When an entry is committed and no other follows it, openraft sends a request without entries that only tells the
//! follower so. Such a notice is held back for [`NOTICE_DELAY`]: mostly the next entry overtakes it and says the same, which
//! halves the messages between replicas. A notice that was overtaken gets no answer of its own: openraft takes the answer
//! to a later request for an answer to all before it. Nothing is ever answered that the follower did not answer, because
//! openraft also counts answers as signs that this replica still leads (RAFT-6).
//!
//! Some wait for what the notice says, and for them it is held back for [`HASTE`] only: who reads at a follower; the
//! followers of a new leader, of which one may have led before and is to tell what became of what was proposed to it; and in
//! the meta group who wants the newest map. What is lost with a stream, a heartbeat says.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use openraft::errors::{RPCError, Unreachable};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult};
use strata_env::Mono;
use strata_net::NetError;
use strata_types::GroupId;

use crate::messages::{Order, decode_append_reply};
use crate::network::{CallFuture, Peer, Rpc, garbled, rpc_error};
use crate::replica::Replica;
use crate::types::{LeaderId, LogId, Types};

/// Append requests to one follower that may be unanswered at once.
const APPENDS_IN_FLIGHT_MAX: usize = 32;
/// How long a follower may not know that an entry is committed, which delays what it applies but nobody's write. On a shard
/// with ten entries a second and more the next one comes sooner.
const NOTICE_DELAY: Duration = Duration::from_millis(100);
/// The same where somebody waits for it.
const HASTE: Duration = Duration::from_millis(2);

/// Requests going out and answers coming back, in order.
pub(crate) struct Pipeline<S> {
    peer: Peer,
    /// Of the next request.
    next: Order,
    /// `None` once there is nothing more to send.
    input: Option<S>,
    held: Option<Held>,
    /// What the follower was told last to be committed.
    told: Option<LogId>,
    pending: VecDeque<Pending>,
}

/// A request without entries that waits for one with entries.
struct Held {
    request: AppendEntriesRequest<Types>,
    due: Pin<Box<dyn Future<Output = ()> + Send>>,
}

struct Pending {
    before: Option<LogId>,
    last: Option<LogId>,
    leader: LeaderId,
    sent: Mono,
    reply: CallFuture,
}

impl Pending {
    /// The result of one request, and whether the pipeline can go on after it.
    fn finish(self, peer: &Peer, reply: Result<Bytes, NetError>) -> (Rpc<StreamAppendResult<Types>>, bool) {
        let reply = match reply.map_err(rpc_error).and_then(|bytes| decode_append_reply(bytes).map_err(garbled)) {
            Ok(reply) => reply,
            Err(error) => return (Err(error), false),
        };
        peer.note_answer(self.leader, self.sent, &reply);
        let whole = match &reply {
            AppendEntriesResponse::PartialSuccess(last) => *last == self.last,
            _ => true,
        };
        let result = reply.into_stream_result(self.before, self.last);
        let goes_on = whole && result.is_ok();
        (Ok(result), goes_on)
    }
}

/// Completes when a notice of this leader should go, to a follower that was told so much.
async fn due(replica: Arc<Replica>, told: Option<LogId>, leader: LeaderId) {
    let is_new = told.is_none_or(|told| told.leader_id != leader);
    if !is_new && replica.group != GroupId::META {
        let asked = replica.wait_asked_beyond(told.map_or(0, |told| told.index));
        if replica.env.timeout(NOTICE_DELAY, asked).await.is_err() {
            return;
        }
    }
    replica.env.sleep(HASTE).await;
}

fn cut_off() -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::from_string("the log is cut behind what this follower has"))
}

impl<S: Stream<Item = AppendEntriesRequest<Types>> + Unpin> Pipeline<S> {
    pub(crate) fn new(peer: Peer, input: S) -> Pipeline<S> {
        let next = Order { stream: peer.env().rng.next_u64() | 1, place: 0 };
        Pipeline { peer, next, input: Some(input), held: None, told: None, pending: VecDeque::new() }
    }

    /// Sends what is to be sent.
    fn fill(&mut self, context: &mut Context<'_>) {
        while self.pending.len() < APPENDS_IN_FLIGHT_MAX
            && let Some(input) = &mut self.input
        {
            match Pin::new(input).poll_next(context) {
                Poll::Ready(Some(request)) if request.entries.is_empty() => self.hold(request),
                Poll::Ready(Some(request)) => {
                    // It says all that the notice would have said.
                    self.held = None;
                    self.send(&request);
                }
                Poll::Ready(None) => self.input = None,
                Poll::Pending => break,
            }
        }
        let is_over = self.input.is_none();
        let due = |held: &mut Held| is_over || held.due.as_mut().poll(context).is_ready();
        if let Some(held) = self.held.take_if(due) {
            self.send(&held.request);
        }
    }

    /// Keeps the newest notice, due when the oldest was.
    fn hold(&mut self, request: AppendEntriesRequest<Types>) {
        match &mut self.held {
            Some(held) => held.request = request,
            None => {
                // Nothing is told while one is held.
                let due = Box::pin(due(self.peer.replica().clone(), self.told, *request.vote.leader_id()));
                self.held = Some(Held { request, due });
            }
        }
    }

    fn send(&mut self, request: &AppendEntriesRequest<Types>) {
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let (leader, sent) = (*request.vote.leader_id(), self.peer.env().now());
        self.told = self.told.max(request.leader_commit);
        let reply = self.peer.append(self.next, request);
        self.next.place += 1;
        self.pending.push_back(Pending { before: request.prev_log_id, last, leader, sent, reply });
    }
}

impl<S: Stream<Item = AppendEntriesRequest<Types>> + Unpin> Stream for Pipeline<S> {
    type Item = Rpc<StreamAppendResult<Types>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.fill(context);
        let Some(first) = this.pending.front_mut() else {
            return if this.input.is_none() { Poll::Ready(None) } else { Poll::Pending };
        };
        let Poll::Ready(reply) = first.reply.as_mut().poll(context) else { return Poll::Pending };
        let first = this.pending.pop_front().expect("it was just looked at");
        let is_cut_off = this.peer.is_cut_off(first.last);
        let (result, goes_on) = match first.finish(&this.peer, reply) {
            // openraft cuts nothing that it is sending. This ends the sending, so that it cuts, and sends a snapshot.
            (Ok(Ok(_)), _) if is_cut_off => (Err(cut_off()), false),
            finished => finished,
        };
        if !goes_on {
            // What follows a conflict or a lost request is of no use: openraft probes and starts a new stream.
            this.input = None;
            this.held = None;
            this.pending.clear();
        }
        Poll::Ready(Some(result))
    }
}
