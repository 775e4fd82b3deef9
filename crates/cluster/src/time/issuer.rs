//! At the leader of the meta group: answers questions for time from the block on its desk, and has the next one reserved.
//! The bound that an answer needs is read after the barrier of the question (TIME-3).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use strata_meta::{MetaCommand, MetaReply, RowReader, read_timestamp_bound};
use strata_raft::{Claim, ProposeError, ReadError};
use strata_storage::{Engine, StorageError};
use strata_types::{Feature, GroupId, Timestamp};
use tokio::sync::{Notify, watch};

use crate::meta_group;
use crate::node::Node;
use crate::question::Reply;
use crate::time::Ask;
use crate::time::desk::{BLOCK, Desk, Leadership};

/// How long a majority may take to confirm that this node leads. Shorter than those who ask wait: they want to know
/// why.
const BARRIER_DEADLINE: Duration = Duration::from_millis(500);

/// Hands out timestamps while this node leads the meta group.
pub(crate) struct Issuer {
    desk: Mutex<Desk>,
    /// A block is wanted.
    wanted: Notify,
    /// Changes when a reservation has ended: why it failed, if it did.
    ended: watch::Sender<Option<Reply>>,
}

impl Default for Issuer {
    fn default() -> Issuer {
        Issuer { desk: Mutex::default(), wanted: Notify::new(), ended: watch::Sender::new(None) }
    }
}

impl Issuer {
    async fn hand_out(&self, ask: Ask, bound: Timestamp) -> Reply {
        let mut ended = self.ended.subscribe();
        loop {
            let (answer, is_low) = {
                let mut desk = self.desk.lock();
                (desk.answer(ask, bound), desk.is_low())
            };
            if is_low {
                self.wanted.notify_one();
            }
            if let Some(answer) = answer {
                return Reply::Timestamp(answer);
            }
            // Impossible while `self`, which holds the sender, is borrowed.
            let Ok(()) = ended.changed().await else { return failed("the node is stopping") };
            if let Some(failure) = ended.borrow_and_update().clone() {
                return failure;
            }
        }
    }
}

/// Answers a question for time, if this node leads the meta group.
pub(crate) async fn answer(node: &Node, ask: Ask) -> Reply {
    if !node.map().has(Feature::Transactions) {
        return failed("the cluster's version has no transactions");
    }
    let before = leadership(node);
    match confirmed_bound(node).await {
        Ok(bound) => {
            let timestamps = node.timestamps();
            let reply = timestamps.issuer.hand_out(ask, bound).await;
            if let Reply::Timestamp(at) = &reply {
                // From before the bound was read until now this replica led without a break.
                timestamps.issuer.desk.lock().certain = before.filter(|_| leadership(node) == before);
                if ask == Ask::Begin {
                    timestamps.note_handed_out(*at);
                }
            }
            reply
        }
        Err(refusal) => refusal,
    }
}

fn leadership(node: &Node) -> Option<Leadership> {
    node.host().group(GroupId::META)?.ballot().map(|ballot| ballot.leader())
}

/// Answers a question for a new timestamp without asking anybody, if this node leads the meta group as far as it knows.
/// Whether voters of this node still vote as it is claimed is looked at when the timestamp is there, not before
/// ([`strata_raft::Witness`]).
pub(crate) async fn answer_at_once(node: &Node, claims: &[Claim]) -> Reply {
    let issuer = &node.timestamps().issuer;
    let look = || node.host().group(GroupId::META).and_then(|group| group.ballot());
    let begun = look().and_then(|ballot| {
        let mut desk = issuer.desk.lock();
        let at = desk.claim(ballot.leader());
        if desk.is_low() {
            issuer.wanted.notify_one();
        }
        drop(desk);
        // Whoever asked hears this node's own voice by that: so it comes after the timestamp.
        at.filter(|_| look().as_ref() == Some(&ballot)).map(|at| (at, ballot))
    });
    match begun {
        Some((at, ballot)) => {
            node.timestamps().note_handed_out(at);
            let are_true = claims.iter().map(|claim| node.host().is_true(claim)).collect();
            Reply::Begun { at, ballot, are_true }
        }
        None => answer(node, Ask::Begin).await,
    }
}

/// The last timestamp that anybody had reserved when this began, if this node then led the meta group.
async fn confirmed_bound(node: &Node) -> Result<Timestamp, Reply> {
    let Some(group) = node.host().group(GroupId::META) else { return Err(Reply::NotLeader { leader: None }) };
    let barrier = async {
        #[cfg(debug_assertions)]
        if crate::mutant::is(crate::mutant::Mutant::BeginWithoutBarrier) && group.status().is_leader {
            return Ok(());
        }
        group.read_barrier().await
    };
    match node.env().timeout(BARRIER_DEADLINE, barrier).await {
        Ok(Ok(())) => {}
        Ok(Err(ReadError::NotLeader { leader })) => return Err(Reply::NotLeader { leader }),
        Ok(Err(ReadError::Stopped { reason })) => return Err(failed(&reason)),
        Ok(Err(_)) | Err(_) => return Err(failed("no majority of the meta group answers its leader")),
    }
    let tablet = group.tablet();
    match node.env().blocking(move || read_timestamp_bound(&Rows(tablet))).await {
        Some(Ok(bound)) => Ok(bound),
        Some(Err(error)) => Err(failed(&format!("the row of timestamps cannot be read: {error}"))),
        None => Err(failed("the node is stopping")),
    }
}

/// Reserves blocks when they are wanted, for ever: one at a time, and to the end, whoever gives up waiting.
pub(crate) async fn run(node: Arc<Node>) {
    let issuer = &node.timestamps().issuer;
    loop {
        issuer.wanted.notified().await;
        if !issuer.desk.lock().is_low() {
            continue;
        }
        let failure = reserve(&node, issuer).await.err();
        if let Some(failure) = &failure {
            tracing::debug!(?failure, "no timestamps were reserved");
        }
        issuer.ended.send_replace(failure);
    }
}

async fn reserve(node: &Node, issuer: &Issuer) -> Result<(), Reply> {
    let command = MetaCommand::ReserveTimestamps { count: BLOCK }.encode();
    let reply = meta_group::propose(node, command).await.map_err(|error| match error {
        ProposeError::NotLeader { leader } => Reply::NotLeader { leader },
        error => failed(&error.to_string()),
    })?;
    match MetaReply::decode(reply) {
        Ok(MetaReply::Timestamps { first, count }) => {
            metrics::counter!("strata_time_blocks_reserved_total").increment(1);
            issuer.desk.lock().add(first, count);
            Ok(())
        }
        Ok(MetaReply::Refused(refusal)) => Err(failed(&refusal.to_string())),
        Ok(other) => Err(failed(&format!("not a block of timestamps: {other:?}"))),
        Err(error) => Err(failed(&error.to_string())),
    }
}

fn failed(detail: &str) -> Reply {
    Reply::Failed { detail: detail.to_owned() }
}

struct Rows(Arc<dyn Engine>);

impl RowReader for Rows {
    type Error = StorageError;

    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.0.get(key)
    }
}
