//! The lane: the one writer of the log.
//!
//! ```text
//!   wait -> take what was gathered -> one buffer -> write -> sync -> index -> completions -> free old segments -> wait
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use strata_env::Env;
use strata_types::{LogIndex, ReplicaId};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::assembly::Assembly;
use crate::gather::{self, Gathered};
use crate::prepare::Spares;
use crate::record::{self, Change, ChangeKind, ENTRIES_HEADER_BYTES, ENTRY_HEADER_BYTES, EntriesKind};
use crate::replica::Replica;
use crate::segment::Segment;
use crate::shared::{Request, Shared, Work};
use crate::{Completion, WalError, WalOptions};

/// The first segment of a new log is this long, so that a first start does not wait for a whole one to be zeroed.
const FIRST_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// So much of a segment, one part in four, is not for entries of other nodes' leaders while the disk is full: votes, and the
/// truncations and removals that make room, must not wait for room.
const RESERVED_SHARE: u64 = 4;

/// The one writer.
pub(crate) struct Lane {
    pub(crate) env: Env,
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: WalOptions,
    pub(crate) spares: Spares,
    /// Random: tells the frames of this run from those of any other.
    epoch: u64,
    pub(crate) active: Option<Active>,
    assembly: Assembly,
    /// Number of the last frame that is durable.
    durable: u64,
    /// The segment from which live entries move with the next batch, so that it can go.
    pub(crate) cleaning: Option<u64>,
}

/// The segment that is being written.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    /// Where the assembled buffer will be written.
    pub(crate) offset: u64,
    /// Holds nothing but its checkpoint.
    fresh: bool,
}

impl Lane {
    pub(crate) fn new(env: Env, shared: Arc<Shared>, options: WalOptions, spares: Spares, last_batch: u64) -> Lane {
        let epoch = env.rng.next_u64();
        Lane {
            env,
            shared,
            options,
            spares,
            epoch,
            active: None,
            assembly: Assembly::default(),
            durable: last_batch,
            cleaning: None,
        }
    }

    /// Makes sure that there is a segment to begin with, unless the disk is full.
    pub(crate) async fn prepare(&mut self) -> Result<(), WalError> {
        if self.spares.count() == 0 {
            self.spares.request(self.options.segment_bytes.min(FIRST_SEGMENT_BYTES), None);
        }
        self.spares.settle().await
    }

    /// Serves until it is shut down, all handles are gone, or the disk fails.
    pub(crate) async fn run(mut self, mut queue: UnboundedReceiver<Gathered>) {
        loop {
            let Some(first) = queue.recv().await else { return };
            let submissions = self.drain(first, &mut queue);
            #[cfg_attr(not(debug_assertions), allow(unused_mut, reason = "only a mutant takes completions early"))]
            let (batch, mut completions) = split(submissions);
            let stop = batch.iter().any(|request| matches!(request.work, Work::Shutdown));
            #[cfg(debug_assertions)]
            if self.options.mutant == Some(crate::Mutant::AckBeforeSync) {
                complete(std::mem::take(&mut completions), &Ok(()));
            }
            match self.write(&batch).await {
                // WAL-1: the sync is over, and the one of every batch before it.
                Ok(()) => {
                    self.note_durable(&batch);
                    complete(completions, &Ok(()));
                }
                Err(error) => return self.fail(error, completions, queue),
            }
            if let Err(error) = self.collect() {
                return self.fail(error, Vec::new(), queue);
            }
            if stop {
                return refuse(queue, &WalError::Closed);
            }
        }
    }

    /// All that waits behind `first`, up to about the limit of a batch.
    fn drain(&self, first: Gathered, queue: &mut UnboundedReceiver<Gathered>) -> Gathered {
        let mut size = gather::bytes(&first);
        let mut submissions = first;
        while size < self.options.batch_bytes_max {
            let Ok(gathered) = queue.try_recv() else { break };
            size += gather::bytes(&gathered);
            submissions.extend(gathered);
        }
        submissions
    }

    /// Makes a batch durable.
    async fn write(&mut self, batch: &[Request]) -> Result<(), WalError> {
        // First, because where entries lie is known as of the last sync: what the batch drops must be dropped after.
        self.move_entries().await?;
        for request in batch {
            self.encode(request).await?;
        }
        self.flush().await
    }

    async fn encode(&mut self, request: &Request) -> Result<(), WalError> {
        let replica = request.replica.id;
        match &request.work {
            Work::Append { first, entries, .. } => {
                self.put_entries(EntriesKind::Append, replica, *first, entries).await?;
            }
            Work::Vote(vote) => self.put(replica, ChangeKind::Vote(vote.clone())).await?,
            #[cfg(debug_assertions)]
            Work::Truncate(_) if self.options.mutant == Some(crate::Mutant::TruncateNotDurable) => {}
            Work::Truncate(keep) => self.put(replica, ChangeKind::Truncate(*keep)).await?,
            Work::Purge(index, id) => self.put(replica, ChangeKind::Purge(*index, id.clone())).await?,
            Work::Remove => self.put(replica, ChangeKind::Remove).await?,
            Work::Flush | Work::Refuse(_) => {}
            // An empty frame: it says that the last one was durable, so that damage to it is noticed.
            Work::Shutdown if self.active.is_some() => {
                self.flush().await?;
                self.make_room(1).await?;
            }
            Work::Shutdown => {}
        }
        // Behind the entries it was saved after, in this frame or a later one (WAL-7).
        match &request.committed {
            Some(committed) => self.put(replica, ChangeKind::Committed(committed.clone())).await,
            None => Ok(()),
        }
    }

    async fn put(&mut self, replica: ReplicaId, kind: ChangeKind) -> Result<(), WalError> {
        self.make_room(record::encoded_bytes(&kind)).await?;
        self.assembly.put(Change { replica, kind });
        Ok(())
    }

    pub(crate) async fn put_entries(
        &mut self,
        kind: EntriesKind,
        replica: ReplicaId,
        first: LogIndex,
        entries: &[Bytes],
    ) -> Result<(), WalError> {
        let mut first = first;
        let mut rest = entries;
        while let Some(entry) = rest.first() {
            self.make_room(ENTRIES_HEADER_BYTES + ENTRY_HEADER_BYTES + entry.len()).await?;
            let (space, offset, segment) = {
                let active = self.active.as_ref().expect("room was made in it");
                (self.space(active), active.offset, active.segment.number)
            };
            let mut bytes = ENTRIES_HEADER_BYTES;
            let fitting = rest.iter().take_while(|entry| {
                bytes += ENTRY_HEADER_BYTES + entry.len();
                bytes <= space
            });
            // At least one: room was made for it, if need be in a segment of its own.
            let count = fitting.count().max(1);
            self.assembly.put_entries(offset, segment, kind, replica, first, &rest[..count]);
            first = LogIndex(first.0 + count as u64);
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Opens a frame with room for `bytes` in the active segment, in the next one if they do not fit. Bytes that fit
    /// into no segment go into a fresh one, whose file grows.
    async fn make_room(&mut self, bytes: usize) -> Result<(), WalError> {
        loop {
            let Some(active) = &self.active else {
                self.activate().await?;
                continue;
            };
            let as_large_as_any = active.segment.length >= self.options.segment_bytes;
            if bytes <= self.space(active) || (active.fresh && as_large_as_any) {
                break;
            }
            self.flush().await?;
            self.activate().await?;
        }
        if let Some(active) = &mut self.active {
            active.fresh = false;
        }
        self.assembly.open_frame();
        Ok(())
    }

    /// Bytes that fit into the present frame, or into the next one if none is open.
    fn space(&self, active: &Active) -> usize {
        let used = active.offset + self.assembly.bytes_with_open_frame() as u64;
        usize::try_from(active.segment.length.saturating_sub(used)).unwrap_or(usize::MAX)
    }

    /// Begins the next segment. All before it is durable: a later segment must not survive an earlier one's end.
    async fn activate(&mut self) -> Result<(), WalError> {
        assert!(self.assembly.is_empty(), "the former segment was flushed");
        if self.spares.count() == 0 {
            self.spares.request(self.options.segment_bytes, None);
        }
        let segment = Arc::new(self.spares.take().await?);
        let checkpoint = {
            let mut index = self.shared.index.lock();
            index.add_segment(segment.clone());
            index.checkpoint()
        };
        self.assembly.begin_segment(self.epoch, segment.number, self.durable + 1);
        self.assembly.open_frame();
        checkpoint.into_iter().for_each(|change| self.assembly.put(change));
        self.active = Some(Active { segment, offset: 0, fresh: true });
        self.note_room();
        Ok(())
    }

    /// Writes and syncs what is assembled, and brings the index up to it.
    async fn flush(&mut self) -> Result<(), WalError> {
        let Some(active) = self.active.as_mut().filter(|_| !self.assembly.is_empty()) else { return Ok(()) };
        let segment = active.segment.clone();
        let batch = self.durable + 1;
        let (bytes, changes) = self.assembly.seal(segment.number, self.epoch, batch, self.durable);
        let written = bytes.len() as u64;
        let started = self.env.now();
        let failed = |action, error| WalError::io(action, &segment.path, &error);
        segment.file.write_at(active.offset, bytes).await.map_err(|error| failed("write", error))?;
        segment.file.sync_data().await.map_err(|error| failed("sync", error))?;
        metrics::histogram!("strata_wal_sync_seconds").record(self.env.now().since(started).as_secs_f64());
        metrics::counter!("strata_wal_written_bytes_total").increment(written);
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        active.offset += written;
        self.durable = batch;
        {
            let mut index = self.shared.index.lock();
            index.note_written(segment.number, active.offset);
            changes.into_iter().for_each(|change| index.apply(change));
        }
        self.assembly.clear(self.options.batch_bytes_max);
        self.note_room();
        Ok(())
    }

    fn note_room(&self) {
        let Some(Active { segment, offset, .. }) = &self.active else { return };
        let left = segment.length.saturating_sub(*offset);
        self.shared.entry_bytes.store(left.saturating_sub(segment.length / RESERVED_SHARE), Ordering::Relaxed);
    }

    /// Entries of the batch are on the disk: memory may let go of them.
    fn note_durable(&self, batch: &[Request]) {
        for request in batch {
            if let Work::Append { first, entries, era } = &request.work {
                request.replica.memory.lock().mark_durable(*era, first.0 + entries.len() as u64);
            }
        }
        let cached = self.shared.cached.load(Ordering::Relaxed);
        if cached > self.options.cache_bytes {
            // A little more than needed, so that not every batch has to.
            self.evict(cached - self.options.cache_bytes / 8 * 7);
        }
    }

    /// Frees memory, from those first who have most.
    fn evict(&self, wanted: usize) {
        let mut holders: Vec<(usize, Arc<Replica>)> = {
            let replicas = self.shared.replicas.lock();
            replicas.values().map(|replica| (replica.memory.lock().cached(), replica.clone())).collect()
        };
        holders.sort_by_key(|(cached, _)| std::cmp::Reverse(*cached));
        let mut wanted = wanted;
        for (_, replica) in holders {
            if wanted == 0 {
                return;
            }
            let freed = replica.memory.lock().evict(wanted);
            self.shared.uncache(freed);
            wanted = wanted.saturating_sub(freed);
        }
    }

    /// Keeps segments ready ahead of the active one.
    pub(crate) fn keep_spares(&mut self) {
        let Some(active) = &self.active else { return };
        let remaining = active.segment.length.saturating_sub(active.offset);
        if remaining < self.options.segment_bytes / 2 {
            while self.spares.count() < self.options.spare_segments.max(1) {
                self.spares.request(self.options.segment_bytes, None);
            }
        }
    }

    /// The disk failed, or the log closed while it waited for room. Nothing is acknowledged any more (WAL-3).
    fn fail(self, error: WalError, completions: Vec<Completion>, queue: UnboundedReceiver<Gathered>) {
        self.shared.fail(error.clone());
        if error != WalError::Closed {
            self.env.halt(error.to_string());
        }
        complete(completions, &Err(error.clone()));
        refuse(queue, &error);
    }
}

/// Requests and completions; those of refused requests come with their refusal.
fn split(submissions: Gathered) -> (Vec<Request>, Vec<Completion>) {
    let mut batch = Vec::with_capacity(submissions.len());
    let mut completions = Vec::with_capacity(submissions.len());
    for (request, done) in submissions {
        if let Some(done) = done {
            completions.push(match &request.work {
                Work::Refuse(error) => {
                    let error = error.clone();
                    Box::new(move |_| done(Err(error))) as Completion
                }
                _ => done,
            });
        }
        batch.push(request);
    }
    (batch, completions)
}

/// Newest first: a caller that takes completions as a watermark wakes once a batch, not once an append.
fn complete(completions: Vec<Completion>, result: &Result<(), WalError>) {
    for done in completions.into_iter().rev() {
        done(result.clone());
    }
}

fn refuse(mut queue: UnboundedReceiver<Gathered>, error: &WalError) {
    queue.close();
    while let Ok(gathered) = queue.try_recv() {
        refuse_all(gathered, error);
    }
}

pub(crate) fn refuse_all(gathered: Gathered, error: &WalError) {
    complete(gathered.into_iter().filter_map(|(_, done)| done).collect(), &Err(error.clone()));
}
