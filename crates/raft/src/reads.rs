//! Linearizable reads: one round of the leader for everybody who waits.
//!
//! A read that arrives while a round is under way joins the next one, never the one that already began: the round
//! must begin after the read did, or a leader deposed in between could answer with old data.

use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use parking_lot::Mutex;
use strata_types::LogIndex;
use tokio::sync::{Notify, oneshot};

use crate::error::ReadError;
use crate::state_machine::Replica;
use crate::types::{Raft, Types};

/// A round that took this long found no quorum.
const ROUND_DEADLINE: Duration = Duration::from_secs(1);

type Waiter = oneshot::Sender<Result<(), ReadError>>;

/// The readers of one group.
#[derive(Default)]
pub(crate) struct Reads {
    waiting: Mutex<Vec<Waiter>>,
    arrived: Notify,
}

impl Reads {
    /// Completes when this replica is known to lead and to have applied everything acknowledged before the call.
    pub(crate) async fn barrier(&self) -> Result<(), ReadError> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().push(sender);
        self.arrived.notify_one();
        receiver.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Makes rounds for those who wait, for ever.
    pub(crate) async fn run(self: Arc<Self>, replica: Arc<Replica>, raft: impl Fn() -> Option<Raft> + Send) {
        loop {
            let waiting = std::mem::take(&mut *self.waiting.lock());
            if waiting.is_empty() {
                self.arrived.notified().await;
                continue;
            }
            metrics::counter!("strata_raft_read_rounds_total").increment(1);
            metrics::counter!("strata_raft_reads_total").increment(waiting.len() as u64);
            let answer = match raft() {
                None => Err(stopped()),
                Some(raft) => match replica.env.timeout(ROUND_DEADLINE, round(&raft, &replica)).await {
                    Ok(answer) => answer,
                    Err(_) => Err(ReadError::NoQuorum { detail: format!("nothing heard for {ROUND_DEADLINE:?}") }),
                },
            };
            for waiter in waiting {
                let _ = waiter.send(answer.clone());
            }
        }
    }
}

fn stopped() -> ReadError {
    ReadError::Stopped { reason: "the replica is stopping".into() }
}

async fn round(raft: &Raft, replica: &Replica) -> Result<(), ReadError> {
    #[cfg(debug_assertions)]
    if crate::mutant::is(crate::mutant::Mutant::ReadWithoutQuorum) && raft.is_leader() {
        return Ok(());
    }
    let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await.map_err(read_error)?;
    replica.wait_applied(LogIndex(linearizer.read_log_id().index())).await;
    Ok(())
}

fn read_error(error: RaftError<Types, LinearizableReadError<Types>>) -> ReadError {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            ReadError::NotLeader { leader: forward.leader_node.map(|seat| seat.node) }
        }
        RaftError::APIError(error) => ReadError::NoQuorum { detail: error.to_string() },
        RaftError::Fatal(fatal) => ReadError::Stopped { reason: fatal.to_string() },
    }
}
