//! Many client commands, one log entry.
//!
//! While an entry is being replicated and made durable, the commands that arrive wait and together become the next
//! entry: the busier a group is, the more commands an entry carries, without anybody ever waiting on a timer.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use openraft::errors::ClientWriteError;
use parking_lot::Mutex;
use strata_codec::EntryPayload;
use strata_types::limits::{ENTRY_BYTES_TARGET, SHARD_INFLIGHT_BYTES_MAX};
use strata_types::{Term, Timestamp};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::ProposeError;
use crate::types::{FnResponder, Payload, Raft, WriteResult};

/// Entries of one group on their way at once: one being made durable while the next one is sent.
const ENTRIES_IN_FLIGHT_MAX: usize = 2;

/// Replies in the order of the commands, or why there are none.
pub(crate) type Proposed = Result<Vec<Bytes>, ProposeError>;

/// Commands of one caller that go into one entry together.
struct Proposal {
    commands: Vec<Bytes>,
    bytes: usize,
    respond: oneshot::Sender<Proposed>,
}

#[derive(Default)]
struct Queue {
    proposals: VecDeque<Proposal>,
    /// Bytes that wait or are on their way.
    bytes: usize,
}

/// Collects proposals of one group into entries.
pub(crate) struct Batcher {
    queue: Mutex<Queue>,
    arrived: Notify,
    slots: Arc<Semaphore>,
}

impl Batcher {
    pub(crate) fn new() -> Arc<Batcher> {
        Arc::new(Batcher {
            queue: Mutex::default(),
            arrived: Notify::new(),
            slots: Arc::new(Semaphore::new(ENTRIES_IN_FLIGHT_MAX)),
        })
    }

    /// Queues commands. They go into one entry, in order; the receiver gets their replies.
    pub(crate) fn submit(&self, commands: Vec<Bytes>) -> Result<oneshot::Receiver<Proposed>, ProposeError> {
        let bytes = commands.iter().map(|command| command.len() + 4).sum();
        let (respond, receiver) = oneshot::channel();
        let mut queue = self.queue.lock();
        if queue.bytes > 0 && queue.bytes + bytes > SHARD_INFLIGHT_BYTES_MAX {
            return Err(ProposeError::Overloaded);
        }
        queue.bytes += bytes;
        queue.proposals.push_back(Proposal { commands, bytes, respond });
        drop(queue);
        self.arrived.notify_one();
        Ok(receiver)
    }

    /// Turns what arrives into entries, for ever. `raft` gives the present incarnation of the group.
    pub(crate) async fn run(self: Arc<Self>, raft: impl Fn() -> Option<Raft> + Send) {
        loop {
            let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            let batch = loop {
                let batch = self.take();
                if !batch.is_empty() {
                    break batch;
                }
                self.arrived.notified().await;
            };
            let entry = InFlight::new(self.clone(), slot, batch);
            match raft() {
                Some(raft) => propose(&raft, entry).await,
                None => entry.fail(ProposeError::Stopped { reason: "the replica is stopping".into() }),
            }
        }
    }

    /// The next entry's worth of proposals.
    fn take(&self) -> Vec<Proposal> {
        let mut queue = self.queue.lock();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(proposal) =
            queue.proposals.pop_front_if(|next| bytes == 0 || bytes + next.bytes <= ENTRY_BYTES_TARGET)
        {
            bytes += proposal.bytes;
            taken.push(proposal);
        }
        taken
    }
}

async fn propose(raft: &Raft, mut entry: InFlight) {
    let commands: Vec<Bytes> = entry.proposals.iter_mut().flat_map(|p| std::mem::take(&mut p.commands)).collect();
    metrics::counter!("strata_raft_entries_total").increment(1);
    metrics::counter!("strata_raft_commands_total").increment(commands.len() as u64);
    let payload = EntryPayload { stamp: Timestamp(0), stamped_term: Term(0), commands }.encode();
    let responder = FnResponder::new(move |result: WriteResult| entry.complete(result));
    // A stopped core drops the responder, and with it the senders: their callers see an unknown outcome.
    let _ = raft.client_write_ff(Payload(payload), Some(responder)).await;
}

/// One entry on its way. Whatever happens to it, its slot and its bytes are given back when it is dropped.
struct InFlight {
    batcher: Arc<Batcher>,
    _slot: OwnedSemaphorePermit,
    proposals: Vec<ProposalInFlight>,
    bytes: usize,
}

struct ProposalInFlight {
    commands: Vec<Bytes>,
    count: usize,
    respond: oneshot::Sender<Proposed>,
}

impl InFlight {
    fn new(batcher: Arc<Batcher>, slot: OwnedSemaphorePermit, batch: Vec<Proposal>) -> InFlight {
        let bytes = batch.iter().map(|proposal| proposal.bytes).sum();
        let in_flight = |proposal: Proposal| ProposalInFlight {
            count: proposal.commands.len(),
            commands: proposal.commands,
            respond: proposal.respond,
        };
        InFlight { batcher, _slot: slot, proposals: batch.into_iter().map(in_flight).collect(), bytes }
    }

    fn complete(mut self, result: WriteResult) {
        match result {
            Ok(response) => {
                let mut replies = response.data.0.into_iter();
                for proposal in self.proposals.drain(..) {
                    let own: Vec<Bytes> = replies.by_ref().take(proposal.count).collect();
                    assert_eq!(own.len(), proposal.count, "a machine answers every command of an entry");
                    let _ = proposal.respond.send(Ok(own));
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
        self.batcher.queue.lock().bytes -= self.bytes;
    }
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
