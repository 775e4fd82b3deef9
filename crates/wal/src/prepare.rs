//! Makes segments ahead of the lane, and disposes of those behind it, so that neither delays a sync.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strata_env::Env;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::WalError;
use crate::segment::{Directory, Segment};
use crate::shared::Shared;

/// How soon a full disk is tried again, at first and in the end. While it is tried, it has no room for anybody: others need
/// some to free more.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(5);

enum Job {
    Make(Make),
    /// A segment that is needed no more.
    Retire(Arc<Segment>),
    /// Time to try what the full disk refused.
    Retry,
}

struct Make {
    number: u64,
    length: u64,
    /// A segment that is needed no more and may become the new one.
    former: Option<Arc<Segment>>,
}

/// What the preparer reports.
enum Made {
    Segment(Segment),
    /// The disk is full; it goes on trying.
    Full,
    Failed(WalError),
}

/// The lane's side: segments that are ready, and those on the way.
pub(crate) struct Spares {
    shared: Arc<Shared>,
    jobs: UnboundedSender<Job>,
    made: UnboundedReceiver<Made>,
    ready: VecDeque<Segment>,
    under_way: usize,
    next_number: u64,
}

impl Spares {
    /// Starts the preparer. `ready` are segments that recovery found unused; `next_number` follows the last of them.
    pub(crate) fn start(
        env: &Env,
        directory: Directory,
        shared: Arc<Shared>,
        segment_bytes: u64,
        ready: Vec<Segment>,
        next_number: u64,
    ) -> Spares {
        let (jobs, inbox) = unbounded_channel();
        let (outbox, made) = unbounded_channel();
        shared.spare_bytes.store(ready.iter().map(|segment| segment.length).sum(), Ordering::Relaxed);
        let preparer = Preparer {
            env: env.clone(),
            directory,
            shared: shared.clone(),
            segment_bytes,
            jobs: inbox,
            made: outbox,
            pending: VecDeque::new(),
        };
        env.dedicated("wal-prepare", preparer.run());
        Spares { shared, jobs, made, ready: ready.into(), under_way: 0, next_number }
    }

    /// Segments that are ready or on the way.
    pub(crate) fn count(&self) -> usize {
        self.ready.len() + self.under_way
    }

    /// Asks for one more segment.
    pub(crate) fn request(&mut self, length: u64, former: Option<Arc<Segment>>) {
        let make = Make { number: self.next_number, length, former };
        self.next_number += 1;
        self.under_way += 1;
        // A preparer that has failed has said so, and `take` will report it.
        let _ = self.jobs.send(Job::Make(make));
    }

    /// Gives up a segment that is needed no more.
    pub(crate) fn retire(&self, segment: Arc<Segment>) {
        let _ = self.jobs.send(Job::Retire(segment));
    }

    /// Waits until the first request was answered, be it that the disk is full.
    pub(crate) async fn settle(&mut self) -> Result<(), WalError> {
        if self.ready.is_empty()
            && let Some(made) = self.made.recv().await
        {
            self.note(made)?;
        }
        Ok(())
    }

    /// The next segment; waits for it while the disk is full.
    pub(crate) async fn take(&mut self) -> Result<Segment, WalError> {
        loop {
            if let Some(segment) = self.ready.pop_front() {
                self.shared.spare_bytes.fetch_sub(segment.length, Ordering::Relaxed);
                return Ok(segment);
            }
            let closing = self.shared.closing_changed.notified();
            if self.shared.closing.load(Ordering::Acquire) && self.shared.full.load(Ordering::Relaxed) {
                return Err(WalError::Closed);
            }
            let made = tokio::select! {
                biased;
                made = self.made.recv() => made,
                () = closing => continue,
            };
            self.note(made.ok_or(WalError::Closed)?)?;
        }
    }

    fn note(&mut self, made: Made) -> Result<(), WalError> {
        match made {
            Made::Segment(segment) => {
                self.under_way -= 1;
                self.ready.push_back(segment);
                Ok(())
            }
            Made::Full => Ok(()),
            Made::Failed(error) => Err(error),
        }
    }
}

/// The preparer's side.
struct Preparer {
    env: Env,
    directory: Directory,
    shared: Arc<Shared>,
    segment_bytes: u64,
    jobs: UnboundedReceiver<Job>,
    made: UnboundedSender<Made>,
    /// Segments still to be made, in order.
    pending: VecDeque<Make>,
}

impl Preparer {
    async fn run(mut self) {
        let mut pause = RETRY_MIN;
        loop {
            let received = if self.pending.is_empty() {
                pause = RETRY_MIN;
                self.jobs.recv().await
            } else {
                // The disk is full: try again after a while, or when something changes.
                let received = self.env.timeout(pause, self.jobs.recv()).await;
                pause = (pause * 2).min(RETRY_MAX);
                received.unwrap_or(Some(Job::Retry))
            };
            let Some(job) = received else { return };
            if let Err(error) = self.serve(job).await {
                let _ = self.made.send(Made::Failed(error));
                return;
            }
        }
    }

    async fn serve(&mut self, job: Job) -> Result<(), WalError> {
        match job {
            Job::Retry => {}
            Job::Make(mut make) => {
                if let Some(waiting) = self.pending.front_mut()
                    && waiting.former.is_none()
                {
                    waiting.former = make.former.take();
                }
                self.pending.push_back(make);
            }
            Job::Retire(segment) => match self.pending.front_mut() {
                Some(make) if make.former.is_none() => make.former = Some(segment),
                _ => self.discard(segment).await?,
            },
        }
        while let Some(mut make) = self.pending.pop_front() {
            match self.make(&mut make).await? {
                Some(segment) => {
                    self.shared.full.store(false, Ordering::Relaxed);
                    self.shared.spare_bytes.fetch_add(segment.length, Ordering::Relaxed);
                    let _ = self.made.send(Made::Segment(segment));
                }
                None => {
                    self.pending.push_front(make);
                    self.shared.full.store(true, Ordering::Relaxed);
                    let _ = self.made.send(Made::Full);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Makes a segment; `None` if the disk is full.
    async fn make(&self, make: &mut Make) -> Result<Option<Segment>, WalError> {
        if let Some(former) = make.former.take() {
            if former.length == self.segment_bytes {
                match Arc::try_unwrap(former) {
                    Ok(former) => {
                        let path = former.path.clone();
                        let recycled = self.directory.recycle(former, make.number).await;
                        return recycled.map(Some).map_err(|error| WalError::io("rename", &path, &error));
                    }
                    // Somebody reads it: it must keep its content until they are done.
                    Err(former) => self.discard(former).await?,
                }
            } else {
                self.discard(former).await?;
            }
        }
        match self.directory.create(make.number, make.length).await {
            Ok(segment) => Ok(Some(segment)),
            Err(error) if is_full(&error) => {
                self.clear_partial(make.number).await?;
                Ok(None)
            }
            Err(error) => Err(WalError::io("create", &self.directory.segment_path(make.number), &error)),
        }
    }

    async fn clear_partial(&self, number: u64) -> Result<(), WalError> {
        let path = self.directory.segment_path(number);
        let cleared = async {
            if self.directory.disk.exists(&path).await? { self.directory.remove(&path).await } else { Ok(()) }
        };
        cleared.await.map_err(|error| WalError::io("remove", &path, &error))
    }

    async fn discard(&self, segment: Arc<Segment>) -> Result<(), WalError> {
        let removed = self.directory.remove(&segment.path).await;
        removed.map_err(|error| WalError::io("remove", &segment.path, &error))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
