//! Many client commands, one log entry.
//!
//! While an entry is being replicated and made durable, the commands that arrive wait and together become the next
//! entry: the busier a group is, the more commands an entry carries, without anybody ever waiting on a timer.
//!
//! What an entry costs is CPU time on three nodes, far more than its commands do. So a second entry of a group goes out
//! before the first is back only while this node has cores to spare: it saves the commands some waiting, but where the
//! cores are busy they would only wait elsewhere, in thinner entries.
//!
//! An entry of a timed group is stamped when it goes out, and handed to openraft before the next one is stamped. While
//! the leader's clock is closed nothing goes out; what waits is refused together when that lasts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use openraft::errors::ClientWriteError;
use parking_lot::Mutex;
use strata_codec::EntryPayload;
use strata_env::Env;
use strata_types::limits::{ENTRY_BYTES_TARGET, SHARD_INFLIGHT_BYTES_MAX};
use strata_types::{Reach, Timestamp};
use tokio::sync::{Notify, oneshot};

use crate::clock::{Clock, Stamped};
use crate::error::ProposeError;
use crate::types::{FnResponder, Payload, Raft, Replies, WriteResult};

/// Entries of one group on their way at once: one being made durable while the next one is sent.
const ENTRIES_IN_FLIGHT_MAX: usize = 2;

/// Entries that a node has proposed and that are still on their way.
pub(crate) struct Traffic {
    entries: AtomicUsize,
    /// With so many on their way the node is busy.
    busy: usize,
}

impl Traffic {
    /// Of a node with so many cores.
    pub(crate) fn new(cores: u32) -> Arc<Traffic> {
        Arc::new(Traffic { entries: AtomicUsize::new(0), busy: cores.max(1) as usize })
    }

    fn is_busy(&self) -> bool {
        self.entries.load(Ordering::Relaxed) >= self.busy
    }
}

/// Replies in the order of the commands and the stamp of their entry, or why there are none.
pub(crate) type Outcome = Result<(Vec<Bytes>, Timestamp), ProposeError>;

/// Commands of one caller that go into one entry together.
struct Proposal {
    commands: Vec<Bytes>,
    reach: Reach,
    bytes: usize,
    not_before: Timestamp,
    respond: oneshot::Sender<Outcome>,
}

#[derive(Default)]
struct Queue {
    proposals: VecDeque<Proposal>,
    /// Bytes that wait or are on their way.
    bytes: usize,
    /// Entries on their way.
    entries: usize,
    /// Nothing is taken any more.
    is_closed: bool,
}

/// Collects proposals of one group into entries.
pub(crate) struct Batcher {
    queue: Mutex<Queue>,
    /// There is something to look at: commands arrived, or an entry is back.
    changed: Notify,
    traffic: Arc<Traffic>,
    clock: Arc<Clock>,
}

impl Batcher {
    pub(crate) fn new(traffic: Arc<Traffic>, clock: Arc<Clock>) -> Arc<Batcher> {
        Arc::new(Batcher { queue: Mutex::default(), changed: Notify::new(), traffic, clock })
    }

    /// Queues commands, which change nothing but what they reach. They go into one entry, in order, that is not stamped before
    /// the given time; the receiver gets their replies.
    pub(crate) fn submit(
        &self,
        commands: Vec<Bytes>,
        reach: Reach,
        not_before: Timestamp,
    ) -> Result<oneshot::Receiver<Outcome>, ProposeError> {
        let bytes = commands.iter().map(|command| command.len() + 4).sum();
        let (respond, receiver) = oneshot::channel();
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return Err(stopping());
        }
        if queue.bytes > 0 && queue.bytes + bytes > SHARD_INFLIGHT_BYTES_MAX {
            return Err(ProposeError::Overloaded);
        }
        queue.bytes += bytes;
        queue.proposals.push_back(Proposal { commands, reach, bytes, not_before, respond });
        drop(queue);
        self.changed.notify_one();
        Ok(receiver)
    }

    /// Turns what arrives into entries, for ever. `raft` gives the present incarnation of the group.
    pub(crate) async fn run(self: Arc<Self>, env: Env, raft: impl Fn() -> Option<Raft> + Send) {
        loop {
            let entry = loop {
                if self.clock.closed().is_some() && self.has_proposals() {
                    if let Err(closed) = self.clock.wait_open(&env).await {
                        self.refuse(closed.into());
                    }
                    continue;
                }
                if let Some(entry) = self.take() {
                    break entry;
                }
                self.changed.notified().await;
            };
            match raft() {
                Some(raft) => propose(&raft, entry).await,
                None => entry.fail(stopping()),
            }
        }
    }

    /// The replica stops for good: refuses all that waits and all that comes. Nobody else would ever answer it.
    pub(crate) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.refuse(stopping());
    }

    /// Whether everything that was proposed here has its outcome.
    pub(crate) fn is_idle(&self) -> bool {
        let queue = self.queue.lock();
        queue.entries == 0 && queue.proposals.is_empty()
    }

    fn has_proposals(&self) -> bool {
        !self.queue.lock().proposals.is_empty()
    }

    /// Refuses all that waits.
    fn refuse(&self, error: ProposeError) {
        let refused = {
            let mut queue = self.queue.lock();
            let refused = std::mem::take(&mut queue.proposals);
            queue.bytes -= refused.iter().map(|proposal| proposal.bytes).sum::<usize>();
            refused
        };
        for proposal in refused {
            let _ = proposal.respond.send(Err(error.clone()));
        }
    }

    /// The next entry, if there is something for it and it may go.
    fn take(self: &Arc<Self>) -> Option<InFlight> {
        let mut queue = self.queue.lock();
        let may_go = match queue.entries {
            0 => true,
            ENTRIES_IN_FLIGHT_MAX.. => false,
            _ => !self.traffic.is_busy(),
        };
        if queue.proposals.is_empty() || !may_go {
            return None;
        }
        queue.entries += 1;
        self.traffic.entries.fetch_add(1, Ordering::Relaxed);
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(proposal) =
            queue.proposals.pop_front_if(|next| bytes == 0 || bytes + next.bytes <= ENTRY_BYTES_TARGET)
        {
            bytes += proposal.bytes;
            taken.push(proposal);
        }
        drop(queue);
        Some(InFlight::new(self.clone(), taken))
    }
}

async fn propose(raft: &Raft, mut entry: InFlight) {
    let stamped = match entry.stamp() {
        Ok(stamped) => stamped,
        Err(refusal) => return entry.fail(refusal),
    };
    let commands: Vec<Bytes> = entry.proposals.iter_mut().flat_map(|p| std::mem::take(&mut p.commands)).collect();
    metrics::counter!("strata_raft_entries_total").increment(1);
    metrics::counter!("strata_raft_commands_total").increment(commands.len() as u64);
    let payload = EntryPayload { stamp: stamped.stamp, stamped_term: stamped.stamped_term, commands };
    let payload = payload.encode();
    let responder = FnResponder::new(move |result: WriteResult| entry.complete(result));
    // A stopped core drops the responder, and with it the senders: their callers see an unknown outcome.
    let _ = raft.client_write_ff(Payload(payload), Some(responder)).await;
}

/// One entry on its way. Whatever happens to it, its place and its bytes are given back when it is dropped, and the
/// clock hears of it.
struct InFlight {
    batcher: Arc<Batcher>,
    proposals: Vec<ProposalInFlight>,
    bytes: usize,
    not_before: Timestamp,
    reach: Reach,
    /// What it was stamped with, once it was.
    stamped: Option<Stamped>,
    /// Whether it may still be applied, for all that is known.
    is_lost: bool,
}

struct ProposalInFlight {
    commands: Vec<Bytes>,
    count: usize,
    respond: oneshot::Sender<Outcome>,
}

impl InFlight {
    fn new(batcher: Arc<Batcher>, batch: Vec<Proposal>) -> InFlight {
        let reach = batch.iter().map(|proposal| proposal.reach).fold(Reach::NOTHING, Reach::and);
        let bytes = batch.iter().map(|proposal| proposal.bytes).sum();
        let not_before = batch.iter().map(|proposal| proposal.not_before).max().unwrap_or_default();
        let in_flight = |proposal: Proposal| ProposalInFlight {
            count: proposal.commands.len(),
            commands: proposal.commands,
            respond: proposal.respond,
        };
        let proposals = batch.into_iter().map(in_flight).collect();
        InFlight { batcher, proposals, bytes, not_before, reach, stamped: None, is_lost: true }
    }

    fn stamp(&mut self) -> Result<Stamped, ProposeError> {
        let stamped = self.batcher.clock.stamp(self.not_before, self.reach)?;
        self.stamped = Some(stamped);
        Ok(stamped)
    }

    fn complete(mut self, result: WriteResult) {
        // What was handed on did not come into the log.
        self.is_lost = !matches!(result, Ok(_) | Err(ClientWriteError::ForwardToLeader(_)));
        match result.map(|response| response.data) {
            Ok(Replies::Refused) => self.fail(ProposeError::NotLeader { leader: None }),
            Ok(Replies::Applied(replies)) => {
                let mut replies = replies.into_iter();
                let stamp = self.stamped.unwrap_or_default().stamp;
                for proposal in self.proposals.drain(..) {
                    let own: Vec<Bytes> = replies.by_ref().take(proposal.count).collect();
                    assert_eq!(own.len(), proposal.count, "a machine answers every command of an entry");
                    let _ = proposal.respond.send(Ok((own, stamp)));
                }
            }
            Err(error) => self.fail(propose_error(error)),
        }
    }

    fn fail(mut self, error: ProposeError) {
        for proposal in self.proposals.drain(..) {
            let _ = proposal.respond.send(Err(error.clone()));
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(stamped) = self.stamped {
            self.batcher.clock.complete(stamped, self.is_lost);
        }
        let mut queue = self.batcher.queue.lock();
        queue.bytes -= self.bytes;
        queue.entries -= 1;
        let is_awaited = !queue.proposals.is_empty();
        drop(queue);
        self.batcher.traffic.entries.fetch_sub(1, Ordering::Relaxed);
        if is_awaited {
            self.batcher.changed.notify_one();
        }
    }
}

fn stopping() -> ProposeError {
    ProposeError::Stopped { reason: "the replica is stopping".into() }
}

fn propose_error(error: ClientWriteError<crate::types::Types>) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => {
            ProposeError::NotLeader { leader: forward.leader_node.map(|seat| seat.node) }
        }
        ClientWriteError::LogEntryDiscarded(_) => {
            ProposeError::Unknown { detail: "the leader changed while the entry was being replicated".into() }
        }
        error => ProposeError::Unknown { detail: error.to_string() },
    }
}
