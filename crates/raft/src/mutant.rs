//! Seeded bugs, for proving that the simulator finds them. Compiled into debug builds only and chosen at run time, so
//! that no release binary holds one and no cargo feature can leak one in.

use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::raft::VoteResponse;
use strata_codec::Decoder;

use crate::group::Group;
use crate::host::Host;
use crate::messages::{Parties, decode_vote_request, encode_vote_reply};
use crate::removal;
use crate::types::Raft;

/// A bug that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// None: the code as it is.
    None = 0,
    /// A leader answers linearizable reads without asking a quorum.
    ReadWithoutQuorum = 1,
    /// Entries count as durable before the log was synced.
    AckBeforeSync = 2,
    /// Voters change in one step: whoever reads the entry that makes both majorities necessary finds the new one only.
    /// The leader that wrote it reads it too, because its core starts anew. Two halves of a group then have a majority
    /// each, and SIM-RAFT-1, SIM-RAFT-5, SIM-MEMBER-2 or SIM-CLIENT-1 notice.
    OneStepChange = 3,
    /// A deleted replica leaves no tombstone, and an old map opens it again, empty: SIM-MEMBER-1.
    ReplicaIdReused = 4,
    /// The log is cut while a snapshot is on its way, and the snapshot is given out for one that reaches to where the log
    /// begins then. What lies between is missing on the replica that gets it: SIM-RAFT-5.
    PurgeDuringTransfer = 5,
    /// Of a shard that has moved, any replica answers reads that were routed by an older map, from what it happens to
    /// have: SIM-CLIENT-1.
    OldRouteServed = 6,
    /// A deleted replica grants every vote. What it had acknowledged may be on too few others: SIM-RAFT-1, SIM-RAFT-5 or
    /// SIM-CLIENT-1.
    RemovedNodeVotes = 7,
    /// A snapshot read does not raise the clock: what is written afterwards may get a stamp at or below it.
    ClockNotRaised = 8,
    /// A snapshot read does not wait for the entries that were stamped before it.
    BarrierSkipsStamped = 9,
    /// An entry is applied in another term than it was stamped in.
    EntryOfAnotherTerm = 10,
    /// The clock stays open over terms: a leader does not ask what was read at the ones between.
    ClockNotOpenedAnew = 11,
    /// A follower that reads at a timestamp waits until its log has an entry at the leader's index, not until it has
    /// applied the leader's entry.
    FollowerWaitsForIndex = 12,
    /// A voter that has just started votes at once, whatever it promised before: a leader that holds a lease may read what
    /// another one has overwritten.
    LeaseBootDelayLeftOut = 13,
    /// Whoever is asked says that it still votes for the leader that asks: SIM-CLIENT-1.
    RollCallBelievesAll = 14,
}

static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// Switches a bug on for the whole process.
pub fn choose(mutant: Mutant) {
    CHOSEN.store(mutant as u8, Ordering::SeqCst);
}

/// Lets the core of a group panic, as openraft does when it meets what it takes for impossible.
pub async fn panic_core(group: &Group) {
    if let Some(raft) = group.raft() {
        let _ = raft.with_raft_state(|_| -> () { panic!("a test asked for it") }).await;
    }
}

/// Begins a change of voters, and starts the core of the leader anew when the first entry of it is written.
pub(crate) async fn change_in_one_step<T>(group: &Group, change: impl Future<Output = T>) {
    let Some(raft) = group.raft() else { return };
    let before = raft.metrics().borrow_watched().last_log_index;
    let is_written = async {
        let mut metrics = raft.metrics();
        while metrics.borrow_watched().last_log_index == before && metrics.changed().await.is_ok() {}
    };
    let _ = futures_util::future::select(std::pin::pin!(change), std::pin::pin!(is_written)).await;
    group.stop_raft().await;
    let _ = group.start().await;
}

/// The answer of a deleted replica to a question for its vote: yes. `None` if it was not deleted.
pub(crate) fn vote_of_the_dead(host: &Host, body: Bytes) -> Option<Bytes> {
    let mut input = Decoder::new(body);
    let parties = Parties::take(&mut input).ok()?;
    if !removal::is_deleted(&host.parts.wal.log(parties.to)) {
        return None;
    }
    let (_, request) = decode_vote_request(input).ok()?;
    Some(encode_vote_reply(&VoteResponse::new(request.vote, None, true)))
}

/// Waits until the log of a replica reaches an index, whosever entry is there and whether or not it is applied.
pub(crate) async fn wait_logged(raft: &Raft, index: u64) {
    let mut metrics = raft.metrics();
    while metrics.borrow_watched().last_log_index < Some(index) && metrics.changed().await.is_ok() {}
}

/// Whether this bug is switched on.
pub fn is(mutant: Mutant) -> bool {
    CHOSEN.load(Ordering::Relaxed) == mutant as u8
}
