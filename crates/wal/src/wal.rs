//! The log of a node.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use strata_env::{Disk, Env};
use strata_types::ReplicaId;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::gather::{self, Gathered};
use crate::lane::Lane;
use crate::prepare::Spares;
use crate::reader::{self, ColdRead};
use crate::recovery::{self, RecoveryProgress};
use crate::replica::Replica;
use crate::replica_log::ReplicaLog;
use crate::segment::Directory;
use crate::shared::{Request, Shared, Submission, Work};
use crate::{Completion, WalError, WalOptions};

/// The log of all replicas of a node.
pub struct Wal {
    pub(crate) shared: Arc<Shared>,
    queue: UnboundedSender<Submission>,
    pub(crate) cold_reads: UnboundedSender<ColdRead>,
}

enum Startup {
    Progress(RecoveryProgress),
    Ready(Result<(), WalError>),
}

impl Wal {
    /// Reads the log in `dir` back, creating it if there is none, and starts its tasks.
    ///
    /// # Errors
    /// [`WalError::Corrupt`] if bytes that were durable are damaged or missing: then nothing was changed.
    /// [`WalError::Failed`] if the disk fails. A full disk is no error: see [`Wal::room`].
    pub async fn open(
        env: Env,
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: WalOptions,
        progress: &(dyn Fn(RecoveryProgress) + Sync),
    ) -> Result<Arc<Wal>, WalError> {
        let shared = Arc::new(Shared::default());
        let directory = Directory { disk, path: dir.to_path_buf() };
        let (queue, requests) = unbounded_channel();
        let (gathering, gathered) = unbounded_channel();
        env.spawn("wal-gather", gather::run(requests, gathering, options.batch_bytes_max, shared.clone()));
        let (events, mut startup) = unbounded_channel();
        let (lane_env, lane_shared) = (env.clone(), shared.clone());
        // The disk blocks, so reading back happens where writing will.
        env.dedicated("wal-lane", async move {
            run_lane(lane_env, lane_shared, directory, options, events, gathered).await;
        });
        loop {
            match startup.recv().await {
                Some(Startup::Progress(state)) => progress(state),
                Some(Startup::Ready(result)) => {
                    result?;
                    break;
                }
                None => return Err(WalError::Closed),
            }
        }
        {
            let index = shared.index.lock();
            let recovered = index.replicas().iter().map(|(id, state)| (*id, Arc::new(Replica::recovered(*id, state))));
            *shared.replicas.lock() = recovered.collect();
        }
        Ok(Arc::new(Wal { shared, queue, cold_reads: reader::start(&env) }))
    }

    /// The log of one replica; empty if it is new.
    pub fn log(self: &Arc<Wal>, replica: ReplicaId) -> ReplicaLog {
        let mut replicas = self.shared.replicas.lock();
        let replica = replicas.entry(replica).or_insert_with(|| Arc::new(Replica::new(replica))).clone();
        ReplicaLog::new(self.clone(), replica)
    }

    /// The replicas that have stored something.
    pub fn replicas(&self) -> Vec<ReplicaId> {
        let replicas = self.shared.replicas.lock();
        replicas.values().filter(|replica| !replica.memory.lock().is_blank()).map(|replica| replica.id).collect()
    }

    /// Forgets a replica, durably before it returns. Handles of its log refuse from then on.
    pub async fn remove(&self, replica: ReplicaId) -> Result<(), WalError> {
        let waiter = {
            let mut replicas = self.shared.replicas.lock();
            let Some(removed) = replicas.remove(&replica) else { return Ok(()) };
            self.shared.uncache(removed.memory.lock().clear());
            self.submit(removed, Work::Remove, None)
        };
        self.wait(waiter).await
    }

    /// Whether there is room for more. While false, proposals must be refused: no segment can be allocated. What room
    /// is left serves votes and what is under way. It turns true again by itself.
    pub fn room(&self) -> bool {
        !self.shared.full.load(Ordering::Relaxed)
    }

    /// Whether entries of another node's leader should be taken. On a full disk only as long as enough is left for votes, and for
    /// what makes room: roughly, because what is on its way to the lane is not counted.
    pub fn takes(&self, bytes: u64) -> bool {
        let left = || self.shared.entry_bytes.load(Ordering::Relaxed) + self.shared.spare_bytes.load(Ordering::Relaxed);
        self.room() || bytes <= left()
    }

    /// Who keeps the oldest segment alive, with how many bytes, biggest first: whom to flush so that it can purge.
    pub fn oldest_pins(&self) -> Vec<(ReplicaId, u64)> {
        let index = self.shared.index.lock();
        // The only segment is the one that is written, and goes in no case.
        if index.segment_count() > 1 { index.oldest_pins() } else { Vec::new() }
    }

    /// Bytes of all segment files, spares included.
    pub fn disk_bytes(&self) -> u64 {
        self.shared.index.lock().disk_bytes() + self.shared.spare_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of entries held in memory, over all replicas.
    pub fn cached_bytes(&self) -> usize {
        self.shared.cached.load(Ordering::Relaxed)
    }

    /// Syncs so far: how many writes shared one is what group commit is about.
    pub fn sync_count(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// Makes everything durable and stops. Later calls fail with [`WalError::Closed`]. While the disk is full, what
    /// does not fit is given up and reported as an error.
    pub async fn shutdown(&self) -> Result<(), WalError> {
        let replicas: Vec<_> = self.shared.replicas.lock().values().cloned().collect();
        for replica in &replicas {
            let mut memory = replica.memory.lock();
            if std::mem::take(&mut memory.committed_waits) {
                let committed = memory.committed.clone();
                self.send(Request { replica: replica.clone(), work: Work::Flush, committed }, None);
            }
        }
        let waiter = self.submit(Arc::new(Replica::new(ReplicaId(0))), Work::Shutdown, None);
        self.shared.closing.store(true, Ordering::Release);
        self.shared.closing_changed.notify_waiters();
        self.wait(waiter).await
    }

    /// Hands work to the lane. The caller holds the replica's lock, so that the lane's order is the order of changes.
    pub(crate) fn submit(
        &self,
        replica: Arc<Replica>,
        work: Work,
        committed: Option<bytes::Bytes>,
    ) -> oneshot::Receiver<Result<(), WalError>> {
        let (sender, waiter) = oneshot::channel();
        let done = Box::new(move |result| {
            // Who waited may have gone.
            let _ = sender.send(result);
        });
        self.send(Request { replica, work, committed }, Some(done));
        waiter
    }

    pub(crate) fn send(&self, request: Request, done: Option<Completion>) {
        if let Err(refused) = self.queue.send((request, done))
            && let (_, Some(done)) = refused.0
        {
            done(Err(self.shared.closed_error()));
        }
    }

    pub(crate) async fn wait(&self, waiter: oneshot::Receiver<Result<(), WalError>>) -> Result<(), WalError> {
        waiter.await.unwrap_or_else(|_| Err(self.shared.closed_error()))
    }
}

async fn run_lane(
    env: Env,
    shared: Arc<Shared>,
    directory: Directory,
    options: WalOptions,
    events: UnboundedSender<Startup>,
    gathered: UnboundedReceiver<Gathered>,
) {
    let progress = |state| {
        let _ = events.send(Startup::Progress(state));
    };
    let started = async {
        let found = recovery::recover(&directory, options.segment_bytes, &progress).await?;
        *shared.index.lock() = found.index;
        let (segment_bytes, next) = (options.segment_bytes, found.next_number);
        let spares = Spares::start(&env, directory.clone(), shared.clone(), segment_bytes, found.spares, next);
        let mut lane = Lane::new(env.clone(), shared.clone(), options, spares, found.last_batch);
        lane.prepare().await?;
        Ok(lane)
    };
    match started.await {
        Ok(lane) => {
            let _ = events.send(Startup::Ready(Ok(())));
            drop(events);
            lane.run(gathered).await;
        }
        Err(error) => {
            let _ = events.send(Startup::Ready(Err(error)));
        }
    }
}
