//! openraft's state machine over a tablet and a [`Machine`].
//!
//! Entries are applied many at a time: their writes, the position they reach, the membership and the hash chain go
//! into the tablet as one atomic batch, and only then are the replies sent.
//!
//! An entry is applied in the term that it was stamped in, or not at all: its leader stamped it by a clock that was
//! good for that term only (RAFT-12). Whoever proposed it is told that nothing was applied, on all replicas alike.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{RaftSnapshotBuilder, StoredMembership as StoredMembershipOf};
use parking_lot::{Mutex, RwLock};
use strata_codec::{APPLIED_KEY, AppliedState, EntryPayload};
use strata_env::Env;
use strata_machine::{CommandContext, Machine};
use strata_storage::{Engine, Receiver, StorageError, Tablets};
use strata_types::{GroupId, LogIndex, ReplicaId, Term, Timestamp};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::encoding::{decode_log_id, decode_stored_membership, encode_log_id, encode_stored_membership};
use crate::lease::Leases;
use crate::overlay::{Overlay, Rows, Waiting};
use crate::snapshot::SnapshotSource;
use crate::transfers::Transfers;
use crate::types::{Entry, EntryBody, LeaderId, LogId, Replies, Snapshot, SnapshotMeta, StoredMembership, Types};

/// One atomic apply takes at most this many entries and bytes: it bounds memory and how long readers wait.
const APPLY_ENTRIES_MAX: usize = 256;
const APPLY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Applies of at most this much are tried without changing threads.
const INLINE_BYTES_MAX: usize = 4 * 1024;
/// How often a full disk is tried again.
const DISK_FULL_RETRY: Duration = Duration::from_millis(500);

/// How far a replica has applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Applied {
    pub(crate) log_id: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) chain: u64,
    /// The highest stamp of an entry.
    pub(crate) stamp: Timestamp,
}

impl Applied {
    fn encode(&self) -> Bytes {
        AppliedState {
            log_id: self.log_id.as_ref().map(encode_log_id).unwrap_or_default(),
            membership: encode_stored_membership(&self.membership),
            chain: self.chain,
            stamp: self.stamp,
        }
        .encode()
    }

    /// What a tablet says about itself. An empty tablet has applied nothing.
    pub(crate) fn decode(row: Option<Bytes>) -> Result<Applied, StorageError> {
        let Some(row) = row else { return Ok(Applied::default()) };
        let damaged = |error: strata_codec::DecodeError| StorageError::Corrupt {
            file: "tablet, applied row".into(),
            detail: error.to_string(),
        };
        let state = AppliedState::decode(row).map_err(damaged)?;
        Ok(Applied {
            log_id: (!state.log_id.is_empty()).then(|| decode_log_id(state.log_id)).transpose().map_err(damaged)?,
            membership: decode_stored_membership(state.membership).map_err(damaged)?,
            chain: state.chain,
            stamp: state.stamp,
        })
    }
}

/// The part of a replica that the raft tasks, readers and maintenance share.
pub(crate) struct Replica {
    pub(crate) env: Env,
    pub(crate) group: GroupId,
    pub(crate) id: ReplicaId,
    machine: Arc<dyn Machine>,
    tablets: Arc<dyn Tablets>,
    tablet: RwLock<Arc<dyn Engine>>,
    applied: Mutex<Applied>,
    /// One apply or install at a time. openraft makes one after the other, but an apply of a core that panicked may
    /// still run when the group has been reopened. With it, the machine's common rows as they are in the tablet.
    changing: Mutex<Rows>,
    /// Set under `changing` when the replica is deleted: no tablet is installed for it any more.
    retired: AtomicBool,
    applied_index: AtomicU64,
    applied_changed: Notify,
    /// How far other replicas were told that entries are committed: they may have applied them, and show them.
    told: Mutex<Option<LogId>>,
    /// The time of this shard here, for when this replica leads.
    pub(crate) clock: Arc<Clock>,
    /// What was promised here and to this replica.
    pub(crate) leases: Arc<Leases>,
    /// Bytes that are there of a snapshot on its way to this replica.
    pub(crate) arrived: AtomicU64,
    /// openraft asks for the current snapshot several times while it starts; a checkpoint would be wasted then.
    running: AtomicBool,
    /// Snapshots on their way, of all replicas of the node.
    pub(crate) transfers: Arc<Transfers>,
    /// Why this replica refuses to serve.
    problem: Mutex<Option<String>>,
    /// What it waits for, and why.
    obstacle: Mutex<Option<String>>,
}

impl Replica {
    pub(crate) fn open(
        env: Env,
        group: GroupId,
        id: ReplicaId,
        machine: Arc<dyn Machine>,
        tablets: Arc<dyn Tablets>,
        transfers: Arc<Transfers>,
    ) -> Result<Arc<Replica>, StorageError> {
        let tablet = tablets.open(id)?;
        let applied = Applied::decode(tablet.get(APPLIED_KEY)?)?;
        let index = applied.log_id.map_or(0, |id| id.index);
        let clock = Arc::new(Clock::new(applied.stamp));
        Ok(Arc::new(Replica {
            env,
            group,
            id,
            machine,
            tablets,
            tablet: RwLock::new(tablet),
            applied: Mutex::new(applied),
            changing: Mutex::default(),
            retired: AtomicBool::new(false),
            applied_index: AtomicU64::new(index),
            applied_changed: Notify::new(),
            told: Mutex::default(),
            clock,
            leases: Arc::new(Leases::new(id)),
            arrived: AtomicU64::new(0),
            running: AtomicBool::new(false),
            transfers,
            problem: Mutex::new(None),
            obstacle: Mutex::new(None),
        }))
    }

    pub(crate) fn tablet(&self) -> Arc<dyn Engine> {
        self.tablet.read().clone()
    }

    pub(crate) fn applied(&self) -> Applied {
        self.applied.lock().clone()
    }

    /// Another replica is about to be told that this entry is committed.
    pub(crate) fn note_told(&self, committed: Option<LogId>) {
        let mut told = self.told.lock();
        *told = (*told).max(committed);
    }

    /// The entry up to which everything is applied that anybody may have seen here or at a replica that follows this one.
    pub(crate) fn shown(&self) -> Option<LogId> {
        let told = *self.told.lock();
        self.applied.lock().log_id.max(told)
    }

    /// Whether all of that is applied here.
    pub(crate) fn shows_all(&self) -> bool {
        let told = *self.told.lock();
        self.applied.lock().log_id >= told
    }

    /// Who led when the last entry was written that is applied here.
    pub(crate) fn applied_under(&self) -> Option<LeaderId> {
        self.applied.lock().log_id.map(|id| id.leader_id)
    }

    pub(crate) fn applied_index(&self) -> LogIndex {
        LogIndex(self.applied_index.load(Ordering::Acquire))
    }

    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// What this replica waits for, if it does not get on. It serves what it has.
    pub(crate) fn obstacle(&self) -> Option<String> {
        self.obstacle.lock().clone()
    }

    pub(crate) fn set_obstacle(&self, obstacle: Option<String>) {
        *self.obstacle.lock() = obstacle;
    }

    /// Waits for what is being applied or installed, and lets nothing be installed from now on.
    pub(crate) fn retire(&self) {
        let _one = self.changing.lock();
        self.retired.store(true, Ordering::Release);
    }

    pub(crate) fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::Release);
    }

    /// Begins to receive a tablet from another replica.
    pub(crate) fn receive(&self) -> Result<Box<dyn Receiver>, StorageError> {
        self.tablets.receive(self.id)
    }

    /// Completes when the entry is applied, or one of a later leader, whose log has everything that was committed before
    /// it was elected: it may hold another entry at this index.
    pub(crate) async fn wait_reached(&self, id: &LogId) {
        loop {
            let changed = self.applied_changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.applied.lock().log_id.as_ref().is_some_and(|applied| applied >= id) {
                return;
            }
            changed.await;
        }
    }

    fn set_applied(&self, applied: Applied) {
        let index = applied.log_id.map_or(0, |id| id.index);
        self.clock.applied(applied.stamp);
        *self.applied.lock() = applied;
        self.applied_index.store(index, Ordering::Release);
        self.applied_changed.notify_waiters();
        self.machine.applied(LogIndex(index));
    }

    /// Refuses to serve from now on if the error says that this replica's files are damaged (CLUSTER-5). Returns
    /// whether that is news.
    pub(crate) fn refuse(&self, error: &StorageError) -> bool {
        if !matches!(error, StorageError::Corrupt { .. }) {
            return false;
        }
        let mut problem = self.problem.lock();
        let is_news = problem.is_none();
        if is_news {
            tracing::error!(group = %self.group, replica = %self.id, %error, "replica refuses to serve");
            metrics::counter!("strata_cluster_replicas_refused_total").increment(1);
            *problem = Some(error.to_string());
        }
        is_news
    }

    /// Turns a failed engine call into what the replica or the node must do about it.
    pub(crate) fn storage_failed(&self, error: &StorageError) -> io::Error {
        match error {
            // `maintain` has it leave the group.
            StorageError::Corrupt { .. } => drop(self.refuse(error)),
            StorageError::Full { .. } => {}
            // What a deleted replica still had under way ends with it.
            _ if self.retired.load(Ordering::Acquire) => {}
            _ => self.env.halt(format!("storage of {} failed: {error}", self.group)),
        }
        io::Error::other(error.clone())
    }

    /// Applies entries in one atomic write, without those that the tablet holds already. Gives them back when that
    /// failed, so that it can be tried again.
    fn apply_entries(&self, mut items: Vec<Item>, waiting: Waiting) -> Result<(), (Vec<Item>, StorageError)> {
        let one = match waiting {
            Waiting::Allowed => Some(self.changing.lock()),
            Waiting::Forbidden => self.changing.try_lock(),
        };
        let Some(mut common) = one else { return Err((items, StorageError::WouldBlock)) };
        let engine = self.tablet();
        let mut applied = self.applied();
        items.retain(|(entry, _)| Some(entry.log_id) > applied.log_id);
        if items.is_empty() {
            return Ok(());
        }
        // Not put back if this fails.
        let known = std::mem::take(&mut *common);
        let mut overlay = Overlay::new(engine.as_ref(), applied.chain, waiting, known);
        let mut replies = Vec::with_capacity(items.len());
        for (entry, _) in &items {
            let next = applied.log_id.map_or(0, |id| id.index + 1);
            assert!(
                entry.log_id.index == next || applied.log_id.is_none(),
                "{}: entry {} applied after {:?}",
                self.group,
                entry.log_id,
                applied.log_id
            );
            match catch_unwind(AssertUnwindSafe(|| self.apply_entry(&mut overlay, entry, &mut applied))) {
                Ok(reply) => replies.push(reply),
                // A machine is shown nothing in the place of what cannot be read. It may rightly not know what to do.
                Err(panic) if !overlay.has_failed() => resume_unwind(panic),
                Err(_) => {}
            }
            if overlay.has_failed() {
                break;
            }
        }
        applied.chain = overlay.chain();
        // Before anybody can read it: whoever tells of it must not name an earlier time (ROUTE-7).
        self.clock.raise(applied.stamp);
        let known = overlay.known(self.machine.common_rows());
        let written = overlay.finish().and_then(|mut batch| {
            batch.put(Bytes::from_static(APPLIED_KEY), applied.encode());
            match waiting {
                Waiting::Allowed => engine.write(batch),
                Waiting::Forbidden => engine.write_now(batch),
            }
        });
        if let Err(error) = written {
            return Err((items, error));
        }
        *common = known;
        self.set_applied(applied);
        self.transfers.note_applied(replies.len());
        for ((_, responder), replies) in items.into_iter().zip(replies) {
            if let Some(responder) = responder {
                responder.send(replies);
            }
        }
        Ok(())
    }

    fn apply_entry(&self, overlay: &mut Overlay<'_>, entry: &Entry, applied: &mut Applied) -> Replies {
        applied.log_id = Some(entry.log_id);
        match &entry.payload {
            EntryBody::Blank => Replies::default(),
            EntryBody::Membership(membership) => {
                applied.membership = StoredMembershipOf::new(Some(entry.log_id), membership.clone());
                Replies::default()
            }
            EntryBody::Normal(payload) => {
                let payload = EntryPayload::decode(payload.0.clone()).expect("entries are written by our own batcher");
                if is_refused(entry, &payload, applied.stamp) {
                    return Replies::Refused;
                }
                let (stamp, before) = (payload.stamp, applied.stamp);
                assert!(stamp >= before, "{}: {} stamped {stamp} after {before}", self.group, entry.log_id);
                applied.stamp = stamp;
                let mut context = CommandContext {
                    term: Term(entry.log_id.leader_id.term),
                    index: LogIndex(entry.log_id.index),
                    position: 0,
                    stamp,
                };
                let apply = |command: &Bytes| {
                    let reply = self.machine.apply(overlay, context, command);
                    context.position += 1;
                    reply
                };
                Replies::Applied(payload.commands.iter().map(apply).collect())
            }
        }
    }
}

/// Whether nothing of an entry may be applied: it came into the log in another term than it was stamped in, or it has
/// no stamp and comes from a leader that did not know yet that the group is timed.
fn is_refused(entry: &Entry, payload: &EntryPayload, before: Timestamp) -> bool {
    let is_foreign = payload.stamped_term != Term(0) && payload.stamped_term != Term(entry.log_id.leader_id.term);
    #[cfg(debug_assertions)]
    let is_foreign = is_foreign && !crate::mutant::is(crate::mutant::Mutant::EntryOfAnotherTerm);
    is_foreign || (payload.stamp == Timestamp(0) && before != Timestamp(0))
}

type Item = (Entry, Option<ApplyResponder<Types>>);

fn entry_bytes(entry: &Entry) -> usize {
    if let EntryBody::Normal(payload) = &entry.payload { payload.0.len() } else { 0 }
}

/// What openraft drives: a handle to the [`Replica`].
pub(crate) struct StateMachine {
    replica: Arc<Replica>,
}

impl StateMachine {
    pub(crate) fn new(replica: Arc<Replica>) -> StateMachine {
        StateMachine { replica }
    }

    async fn apply_items(&self, mut items: Vec<Item>, bytes: usize) -> io::Result<()> {
        // Two changes of threads cost more than a small apply. What is not in memory is tried again on another thread.
        let is_small = bytes <= INLINE_BYTES_MAX && !self.replica.machine.reads_everything();
        let mut waiting = if is_small { Waiting::Forbidden } else { Waiting::Allowed };
        let mut is_full = false;
        loop {
            let replica = self.replica.clone();
            let work = move || replica.apply_entries(items, waiting);
            let outcome = match waiting {
                Waiting::Allowed => self.replica.env.blocking(work).await,
                Waiting::Forbidden => catch_unwind(AssertUnwindSafe(work)).ok(),
            };
            match outcome {
                None => {
                    self.replica.env.halt(format!("applying entries of {} panicked", self.replica.group));
                    return Err(io::Error::other("applying panicked"));
                }
                Some(Ok(())) => {
                    if is_full {
                        self.replica.set_obstacle(None);
                    }
                    return Ok(());
                }
                Some(Err((back, StorageError::WouldBlock))) => (items, waiting) = (back, Waiting::Allowed),
                Some(Err((back, StorageError::Full { detail }))) => {
                    tracing::warn!(group = %self.replica.group, detail, "disk full: applying waits for room");
                    (items, is_full) = (back, true);
                    self.replica.set_obstacle(Some(format!("there is no room to apply entries: {detail}")));
                    self.replica.env.sleep(DISK_FULL_RETRY).await;
                }
                Some(Err((_, error))) => return Err(self.replica.storage_failed(&error)),
            }
        }
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotSource;
    type SnapshotBuilder = FlushingBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.replica.applied();
        Ok((applied.log_id, applied.membership))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + Send,
    {
        let mut entries = entries.fuse();
        loop {
            let mut items = Vec::new();
            let mut bytes = 0;
            while items.len() < APPLY_ENTRIES_MAX && bytes < APPLY_BYTES_MAX {
                let Some(item) = entries.next().await else { break };
                let item = item?;
                bytes += entry_bytes(&item.0);
                items.push(item);
            }
            if items.is_empty() {
                return Ok(());
            }
            self.apply_items(items, bytes).await?;
        }
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<FlushingBuilder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> FlushingBuilder {
        FlushingBuilder { replica: self.replica.clone(), applied: self.replica.applied() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotSource) -> io::Result<()> {
        let SnapshotSource::Received(received) = snapshot else {
            return Err(io::Error::other("only a received snapshot can be installed"));
        };
        let applied =
            Applied::decode(received.get(APPLIED_KEY).map_err(io::Error::other)?).map_err(io::Error::other)?;
        #[cfg(debug_assertions)]
        let applied = match crate::mutant::is(crate::mutant::Mutant::PurgeDuringTransfer) {
            true => Applied { log_id: meta.last_log_id, membership: meta.last_membership.clone(), ..applied },
            false => applied,
        };
        assert_eq!(applied.log_id, meta.last_log_id, "{}: the receiver checked this", self.replica.group);
        self.replica.transfers.forget(self.replica.id);
        let replica = self.replica.clone();
        let installed = self
            .replica
            .env
            .blocking(move || {
                let mut common = replica.changing.lock();
                common.clear();
                if replica.retired.load(Ordering::Acquire) {
                    return Err(StorageError::Invalid { detail: format!("{} was deleted", replica.id) });
                }
                replica.tablets.install(replica.id, received.clone())?;
                *replica.tablet.write() = received;
                replica.set_applied(applied);
                Ok::<_, StorageError>(())
            })
            .await;
        match installed {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.replica.storage_failed(&error)),
            None => Err(io::Error::other("installing a snapshot panicked")),
        }
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        if !self.replica.running.load(Ordering::Acquire) {
            return Ok(None);
        }
        let transfers = &self.replica.transfers;
        // One that broke off goes on; and what one follower takes serves another one.
        if let Some(kept) = transfers.kept(self.replica.id) {
            return Ok(Some(Snapshot { meta: kept.meta.clone(), snapshot: SnapshotSource::Checkpoint(kept) }));
        }
        // This runs in the worker that applies, so the checkpoint holds exactly what is applied now.
        let applied = self.replica.applied();
        let tablet = self.replica.tablet();
        // Not in the background: what is to be applied waits for it.
        match self.replica.env.blocking(move || tablet.checkpoint()).await {
            Some(Ok(checkpoint)) => {
                let meta = meta_of(&applied);
                let kept = transfers.keep(self.replica.id, meta.clone(), checkpoint);
                Ok(Some(Snapshot { meta, snapshot: SnapshotSource::Checkpoint(kept) }))
            }
            Some(Err(error)) => Err(self.replica.storage_failed(&error)),
            None => Err(io::Error::other("making a checkpoint panicked")),
        }
    }
}

pub(crate) fn meta_of(applied: &Applied) -> SnapshotMeta {
    SnapshotMeta { last_log_id: applied.log_id, last_membership: applied.membership.clone() }
}

/// "Building a snapshot" is making the tablet durable: from then on the log up to there is not needed for recovery.
/// A copy is made only when a follower needs one.
pub(crate) struct FlushingBuilder {
    replica: Arc<Replica>,
    applied: Applied,
}

impl RaftSnapshotBuilder<Types> for FlushingBuilder {
    type SnapshotData = SnapshotSource;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        loop {
            let tablet = self.replica.tablet();
            // Not in the background: for a moment nobody else can write to the tablet.
            match self.replica.env.blocking(move || tablet.flush()).await {
                Some(Ok(())) => {
                    return Ok(Snapshot { meta: meta_of(&self.applied), snapshot: SnapshotSource::Flushed });
                }
                Some(Err(StorageError::Full { .. })) => self.replica.env.sleep(DISK_FULL_RETRY).await,
                Some(Err(error)) => return Err(self.replica.storage_failed(&error)),
                None => return Err(io::Error::other("flushing a tablet panicked")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::entry::RaftEntry as _;
    use strata_env::sim::SimWorld;
    use strata_machine::ViewMut;
    use strata_storage::memory::{Durable, MemoryTablets};

    use super::*;
    use crate::types::{Payload, log_id};

    /// Counts how many commands it applied.
    struct Counter;

    impl Machine for Counter {
        fn apply(&self, view: &mut dyn ViewMut, _context: CommandContext, _command: &Bytes) -> Bytes {
            let count = view.get(b"count").map_or(0, |count| count[0]) + 1;
            view.put(Bytes::from_static(b"count"), vec![count].into());
            Bytes::new()
        }

        fn common_rows(&self) -> &'static [&'static [u8]] {
            &[b"count"]
        }
    }

    fn items(indexes: std::ops::RangeInclusive<u64>) -> Vec<Item> {
        stamped(indexes, 0, 0)
    }

    /// Entries of term 1.
    fn stamped(indexes: std::ops::RangeInclusive<u64>, stamp: u64, term: u64) -> Vec<Item> {
        let commands = vec![Bytes::from_static(b"x")];
        let payload = EntryPayload { stamp: Timestamp(stamp), stamped_term: Term(term), commands }.encode();
        let entry = |index| Entry::new(log_id(1, ReplicaId(1), index), EntryBody::Normal(Payload(payload.clone())));
        indexes.map(|index| (entry(index), None)).collect()
    }

    fn replica(tablets: Arc<MemoryTablets>, machine: Arc<dyn Machine>) -> Arc<Replica> {
        let env = SimWorld::new(1).node(1).env();
        let transfers = Transfers::new(env.clone(), 1 << 20);
        Replica::open(env, GroupId(1), ReplicaId(1), machine, tablets, transfers).expect("opens")
    }

    /// RAFT-3
    #[tokio::test(start_paused = true)]
    async fn entries_that_come_twice_are_applied_once() {
        let replica = replica(Arc::new(MemoryTablets::new()), Arc::new(Counter));
        for range in [1..=3, 1..=3, 2..=5] {
            assert!(replica.apply_entries(items(range), Waiting::Allowed).is_ok());
        }
        assert_eq!(replica.applied_index(), LogIndex(5));
        assert_eq!(replica.tablet().get(b"count").expect("memory").as_deref(), Some([5].as_slice()));
    }

    fn count(replica: &Replica) -> Option<u8> {
        replica.tablet().get(b"count").expect("memory").map(|count| count[0])
    }

    /// RAFT-12: nothing of it is applied, and the position is, or the replicas would not agree on what comes next.
    #[tokio::test(start_paused = true)]
    async fn an_entry_that_was_stamped_in_another_term_is_refused() {
        let durable = Durable::new();
        let tablets = Arc::new(MemoryTablets::over(durable.clone()));
        let replica = replica(tablets.clone(), Arc::new(Counter));
        assert!(replica.apply_entries(items(1..=1), Waiting::Allowed).is_ok());
        assert!(!replica.clock.is_timed() && AppliedState::decode(row(&replica)).expect("whole").stamp.0 == 0);
        for (index, stamp, term, applied) in [(2, 7, 1, 2), (3, 9, 2, 2), (4, 6, 3, 2), (5, 0, 0, 2), (6, 7, 1, 3)] {
            assert!(replica.apply_entries(stamped(index..=index, stamp, term), Waiting::Allowed).is_ok());
            assert_eq!(replica.applied_index(), LogIndex(index));
            assert_eq!((count(&replica), replica.applied().stamp), (Some(applied), Timestamp(7)), "entry {index}");
        }
        assert!(replica.clock.is_timed(), "whoever applied a stamp knows that there is time");
        let env = SimWorld::new(1).node(1).env();
        let (machine, transfers) = (Arc::new(Counter), Transfers::new(env.clone(), 1 << 20));
        let reopened = Replica::open(env, GroupId(1), ReplicaId(1), machine, tablets, transfers).expect("opens");
        assert_eq!((reopened.applied().stamp, reopened.clock.is_timed()), (Timestamp(7), true));
        assert_eq!(reopened.clock.stamp(Timestamp(0)), Err(crate::clock::Closed::NotLeader));
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_replaces_what_was_known_of_common_rows() {
        let [ahead, behind] = [(); 2].map(|()| replica(Arc::new(MemoryTablets::new()), Arc::new(Counter)));
        assert!(ahead.apply_entries(items(1..=5), Waiting::Allowed).is_ok());
        assert!(behind.apply_entries(items(1..=2), Waiting::Allowed).is_ok());
        let checkpoint = ahead.tablet().checkpoint().expect("memory");
        let mut receiver = behind.receive().expect("memory");
        for file in checkpoint.files().expect("memory") {
            let bytes = checkpoint.read(&file.name, 0, file.length as usize).expect("memory");
            receiver.write(&file.name, 0, &bytes).expect("memory");
        }
        let received = SnapshotSource::Received(receiver.finish().expect("whole"));
        let (mut machine, meta) = (StateMachine::new(behind.clone()), meta_of(&ahead.applied()));
        machine.install_snapshot(&meta, received).await.expect("memory");
        assert!(behind.apply_entries(items(6..=6), Waiting::Allowed).is_ok());
        assert_eq!(count(&behind), Some(6));
    }

    fn row(replica: &Replica) -> Bytes {
        replica.tablet().get(APPLIED_KEY).expect("memory").expect("it applied something")
    }

    /// RAFT-12
    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "stamped @6 after @7")]
    async fn a_stamp_that_falls_is_a_broken_promise() {
        let replica = replica(Arc::new(MemoryTablets::new()), Arc::new(Counter));
        assert!(replica.apply_entries(stamped(1..=1, 7, 1), Waiting::Allowed).is_ok());
        let _ = replica.apply_entries(stamped(2..=2, 6, 1), Waiting::Allowed);
    }

    /// Knows that something is there, and panics if it is not.
    struct Strict;

    impl Machine for Strict {
        fn apply(&self, view: &mut dyn ViewMut, context: CommandContext, _command: &Bytes) -> Bytes {
            assert!(context.index == LogIndex(1) || view.get(b"k").is_some(), "a row that must be there");
            view.put(Bytes::from_static(b"k"), Bytes::new());
            Bytes::new()
        }
    }

    /// CLUSTER-5
    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_while_applying_is_damage_even_if_the_machine_panics_over_it() {
        let durable = Durable::new();
        let replica = replica(Arc::new(MemoryTablets::over(durable.clone())), Arc::new(Strict));
        assert!(replica.apply_entries(items(1..=2), Waiting::Allowed).is_ok());
        assert!(durable.damage(ReplicaId(1)));
        let (back, error) =
            replica.apply_entries(items(3..=4), Waiting::Allowed).expect_err("the tablet cannot be read");
        assert_eq!((back.len(), replica.applied_index()), (2, LogIndex(2)), "nothing of it was applied");
        replica.storage_failed(&error);
        let problem = replica.problem().expect("it refuses to serve");
        assert!(problem.contains("r1/image"), "and names the file: {problem}");
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "a row that must be there")]
    async fn a_panic_of_the_machine_alone_stays_one() {
        let replica = replica(Arc::new(MemoryTablets::new()), Arc::new(Strict));
        let _ = replica.apply_entries(items(2..=2), Waiting::Allowed);
    }
}
