//! At the leader of the meta group: hands out timestamps from a block in memory.
//!
//! ```text
//!   row `time`    1 ............................................. bound
//!   blocks        [ somebody's ][ this process ][ this process's next ]
//!                                    ^ last                     end ^
//! ```
//! Blocks of this process that follow each other are one. An answer needs `bound <= end`: then nobody has reserved,
//! hence handed out, anything above `last` but this process. The bound is read after the barrier of the question
//! (TIME-3).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use strata_meta::{MetaCommand, MetaReply, RowReader, read_timestamp_bound};
use strata_raft::{ProposeError, ReadError};
use strata_storage::{Engine, StorageError};
use strata_types::{Feature, GroupId, ReplicaId, Term, Timestamp};
use tokio::sync::{Notify, watch};

use crate::meta_group;
use crate::node::Node;
use crate::question::Reply;
use crate::time::Ask;

/// Timestamps of one block: a second of very busy times, so that writes for time are rare.
const BLOCK: u32 = 100_000;
/// With fewer left than this, the next block is reserved, so that nobody waits for it.
const LOW: u64 = BLOCK as u64 / 2;
/// How long a majority may take to confirm that this node leads. Shorter than those who ask wait: they want to know
/// why.
const BARRIER_DEADLINE: Duration = Duration::from_millis(500);

/// The block in memory.
#[derive(Debug, Default)]
struct Desk {
    /// The last timestamp that was handed out, here or by anybody before.
    last: u64,
    /// The last one of the block.
    end: u64,
    /// The highest bound that was met.
    bound: u64,
    /// The leadership of this replica under which an answer was certain last.
    certain: Option<Leadership>,
}

impl Desk {
    /// The answer, if the block in memory is the newest of all, and holds one.
    fn answer(&mut self, ask: Ask, bound: Timestamp) -> Option<Timestamp> {
        self.bound = self.bound.max(bound.0);
        if bound.0 > self.end {
            return None;
        }
        match ask {
            Ask::Floor => {}
            Ask::Begin if self.last < self.end => self.last += 1,
            Ask::Begin => return None,
        }
        Some(Timestamp(self.last))
    }

    /// A new timestamp for somebody who makes sure that this leadership is not over: nobody reserved a block under
    /// another one before it, and nobody but this process does under it.
    fn claim(&mut self, leadership: Leadership) -> Option<Timestamp> {
        if self.certain == Some(leadership) { self.answer(Ask::Begin, Timestamp(self.bound)) } else { None }
    }

    /// A block was reserved.
    fn add(&mut self, first: Timestamp, count: u32) {
        assert!(first.0 > self.end, "META-10: reserved twice: first=`{first}` end=`{}`", self.end);
        #[cfg(debug_assertions)]
        if crate::mutant::is(crate::mutant::Mutant::TimestampsGoBack) {
            self.end = first.0 - 1;
        }
        if first.0 != self.end + 1 {
            // Somebody else has reserved meanwhile, and may have handed out all of it.
            self.last = first.0 - 1;
        }
        self.end = first.0 - 1 + u64::from(count);
    }

    fn is_low(&self) -> bool {
        self.bound > self.end || self.end - self.last < LOW
    }
}

/// The term and the replica of a leader of the meta group: no two leaders have the same.
type Leadership = (Term, ReplicaId);

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
pub(crate) async fn answer_at_once(node: &Node) -> Reply {
    let issuer = &node.timestamps().issuer;
    let ballot = node.host().group(GroupId::META).and_then(|group| group.ballot());
    let begun = ballot.and_then(|ballot| {
        let mut desk = issuer.desk.lock();
        let at = desk.claim(ballot.leader());
        if desk.is_low() {
            issuer.wanted.notify_one();
        }
        at.map(|at| (at, ballot))
    });
    match begun {
        Some((at, ballot)) => {
            node.timestamps().note_handed_out(at);
            Reply::Begun { at, ballot }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(desk: &mut Desk, bound: u64) -> Option<u64> {
        desk.answer(Ask::Begin, Timestamp(bound)).map(|at| at.0)
    }

    fn floor(desk: &mut Desk, bound: u64) -> Option<u64> {
        desk.answer(Ask::Floor, Timestamp(bound)).map(|at| at.0)
    }

    #[test]
    fn a_block_is_handed_out_to_its_end() {
        let mut desk = Desk::default();
        assert_eq!((floor(&mut desk, 0), begin(&mut desk, 0)), (Some(0), None), "nothing was reserved ever");
        desk.add(Timestamp(1), 2);
        assert_eq!(floor(&mut desk, 2), Some(0));
        assert_eq!([begin(&mut desk, 2), begin(&mut desk, 2), begin(&mut desk, 2)], [Some(1), Some(2), None]);
        assert_eq!(floor(&mut desk, 2), Some(2));
        desk.add(Timestamp(3), 10);
        assert_eq!([begin(&mut desk, 12), floor(&mut desk, 12)], [Some(3); 2], "blocks that follow each other are one");
    }

    /// TIME-1, TIME-2: what others reserved they may have handed out.
    #[test]
    fn who_leads_again_after_others_hands_out_nothing_of_before() {
        let mut desk = Desk::default();
        desk.add(Timestamp(1), 100);
        assert_eq!(begin(&mut desk, 100), Some(1));
        assert_eq!((begin(&mut desk, 200), floor(&mut desk, 200)), (None, None), "somebody has reserved up to 200");
        assert!(desk.is_low(), "so that a block is reserved");
        desk.add(Timestamp(201), 100);
        assert_eq!((floor(&mut desk, 300), begin(&mut desk, 300)), (Some(200), Some(201)));
        // The question of before is answered from the new block, too: it is above all that was reserved when it came.
        assert_eq!(begin(&mut desk, 200), Some(202));
    }

    /// TIME-3
    #[test]
    fn nothing_is_claimed_under_a_leadership_that_nothing_is_known_under() {
        let (first, second) = ((Term(1), ReplicaId(1)), (Term(3), ReplicaId(1)));
        let mut desk = Desk::default();
        desk.add(Timestamp(1), 2);
        assert_eq!(desk.claim(first), None, "others may have reserved before");
        desk.certain = Some(first);
        assert_eq!([desk.claim(first), desk.claim(second)], [Some(Timestamp(1)), None], "others may have led between");
        assert_eq!((begin(&mut desk, 100), desk.claim(first)), (None, None), "somebody has reserved");
        desk.add(Timestamp(101), 2);
        assert_eq!([desk.claim(first), desk.claim(first)], [101, 102].map(|at| Some(Timestamp(at))));
        assert_eq!(desk.claim(first), None, "the block is used up");
    }

    #[test]
    fn the_next_block_is_wanted_before_the_present_one_is_used_up() {
        let mut desk = Desk::default();
        desk.add(Timestamp(1), BLOCK);
        let used =
            (1..=u64::from(BLOCK)).take_while(|_| !desk.is_low() && desk.answer(Ask::Begin, Timestamp(0)).is_some());
        assert_eq!(used.count() as u64, u64::from(BLOCK) - LOW + 1);
    }

    #[test]
    #[should_panic(expected = "META-10")]
    fn what_was_reserved_is_not_reserved_again() {
        let mut desk = Desk::default();
        desk.add(Timestamp(1), 100);
        desk.add(Timestamp(51), 100);
    }
}
