//! One replica of one group on this node; `group/life.rs` starts and stops it.

mod life;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use parking_lot::Mutex;
use strata_env::{Env, Mono, TaskHandle};
use strata_machine::Machine;
use strata_net::{Caller, Replier};
use strata_storage::{Engine, StorageError};
use strata_types::{GroupId, NodeId, Reach, ReplicaId, Timestamp};
use strata_wal::{ReplicaLog, Wal};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::barriers::Barriers;
use crate::batcher::{Batcher, Traffic};
use crate::error::{OpenError, ProposeError};
use crate::host::HostParts;
use crate::inbound::{Append, Piece};
use crate::reads::Reads;
use crate::replica::Replica;
use crate::roll_call::RollCall;
use crate::status::{self, GroupStatus};
use crate::timing::Timing;
use crate::types::Raft;

/// Unanswered append requests of one group; more than a leader's pipeline, so that only a flood is refused.
const APPENDS_QUEUED_MAX: usize = 256;
/// Unanswered pieces of snapshots of one group.
const PIECES_QUEUED_MAX: usize = 16;
/// Unanswered questions of one group: candidates ask again and again, and while the disk stands still nobody answers.
const QUESTIONS_MAX: usize = 64;

/// What a group is made of.
pub struct GroupSpec {
    /// The group.
    pub group: GroupId,
    /// The replica of this node.
    pub replica: ReplicaId,
    /// All replicas at the group's birth, and their nodes. Only a founder needs them.
    pub members: BTreeMap<ReplicaId, NodeId>,
    /// What is replicated.
    pub machine: Arc<dyn Machine>,
    /// Whether this replica may found the group when it is empty. Several may: they found the same one. A replica that
    /// joins a group later must not: empty, it waits until a leader has added it and sends it the log.
    pub initialize: bool,
}

/// One replica of one group. All replicas of a node share one log, one set of connections and one pool of threads.
pub struct Group {
    env: Env,
    replica: Arc<Replica>,
    log: ReplicaLog,
    wal: Arc<Wal>,
    caller: Arc<Caller>,
    timing: Timing,
    /// `None` while the group is stopped or being reopened.
    raft: ArcSwapOption<Raft>,
    /// Held while openraft starts or stops: there is never a second one, and a stop that returns is done, whoever began
    /// it.
    turning: tokio::sync::Mutex<()>,
    /// Whether it was stopped for good.
    stopped: AtomicBool,
    pub(crate) batcher: Arc<Batcher>,
    reads: Arc<Reads>,
    barriers: Arc<Barriers>,
    pub(crate) appends: mpsc::Sender<Append>,
    pub(crate) pieces: mpsc::Sender<Piece>,
    questions: Arc<Semaphore>,
    status: watch::Sender<GroupStatus>,
    tasks: Mutex<Vec<TaskHandle>>,
    /// When the group was reopened after openraft panicked, for bounding how often.
    pub(crate) reopened: Mutex<Vec<Mono>>,
    /// When the tablet was last flushed.
    pub(crate) flushed: Mutex<Mono>,
    /// What a crash would have lost of it when that was last looked at.
    pub(crate) unflushed: AtomicU64,
    /// When another replica last began to hand leadership over to this one.
    pub(crate) offered: Mutex<Option<Mono>>,
}

impl Group {
    pub(crate) async fn open(
        parts: &HostParts,
        traffic: Arc<Traffic>,
        roll_call: Arc<RollCall>,
        replica: Arc<Replica>,
        spec: &GroupSpec,
    ) -> Result<Arc<Group>, OpenError> {
        let HostParts { env, wal, caller, timing, .. } = parts;
        let (appends, appends_in) = mpsc::channel(APPENDS_QUEUED_MAX);
        let (pieces, pieces_in) = mpsc::channel(PIECES_QUEUED_MAX);
        let group = Arc::new(Group {
            log: wal.log(replica.id),
            batcher: Batcher::new(traffic, replica.clock.clone()),
            flushed: Mutex::new(env.now()),
            unflushed: AtomicU64::new(0),
            env: env.clone(),
            replica,
            wal: wal.clone(),
            caller: caller.clone(),
            timing: *timing,
            raft: ArcSwapOption::empty(),
            turning: tokio::sync::Mutex::default(),
            stopped: AtomicBool::new(false),
            reads: Arc::default(),
            barriers: Arc::default(),
            appends,
            pieces,
            questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            status: watch::Sender::new(GroupStatus::default()),
            tasks: Mutex::default(),
            reopened: Mutex::default(),
            offered: Mutex::default(),
        });
        group.start().await?;
        if spec.initialize {
            group.found(&spec.members).await?;
        }
        group.spawn_tasks(roll_call, appends_in, pieces_in);
        Ok(group)
    }

    /// The present incarnation; `None` while stopped.
    pub(crate) fn raft(&self) -> Option<Raft> {
        self.raft.load().as_deref().cloned()
    }

    pub(crate) fn state(&self) -> &Arc<Replica> {
        &self.replica
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.timing
    }

    pub(crate) fn reads(&self) -> &Reads {
        &self.reads
    }

    pub(crate) fn barriers(&self) -> &Barriers {
        &self.barriers
    }

    pub(crate) fn log(&self) -> &ReplicaLog {
        &self.log
    }

    /// The group.
    pub fn id(&self) -> GroupId {
        self.replica.group
    }

    /// The replica of this node.
    pub fn replica(&self) -> ReplicaId {
        self.replica.id
    }

    /// The replica's tablet. After a snapshot was installed this is another one: ask each time.
    pub fn tablet(&self) -> Arc<dyn Engine> {
        self.replica.tablet()
    }

    /// The present status.
    pub fn status(&self) -> GroupStatus {
        status::collect(&self.replica, self.raft.load().as_deref(), &self.log)
    }

    /// The last entry that is applied here: the tablet shows at least this.
    pub fn applied(&self) -> strata_types::LogIndex {
        self.replica.applied_index()
    }

    /// Bytes that are there of a snapshot on its way to this replica; 0 when none is.
    pub fn arrived(&self) -> u64 {
        self.replica.arrived.load(Ordering::Relaxed)
    }

    /// Whether this replica leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.status.borrow().is_leader
    }

    /// Whether nothing is known of damage to this replica's files.
    pub fn is_sound(&self) -> bool {
        self.replica.problem().is_none()
    }

    /// Changes when leader, term, membership or health change. Positions are as of then.
    pub fn watch(&self) -> watch::Receiver<GroupStatus> {
        self.status.subscribe()
    }

    fn publish_status(&self) {
        // One at a time: what is published last is the newest.
        self.status.send_modify(|status| {
            *status = self.status();
            self.replica.clock.lead(status.is_leader.then_some(status.term));
        });
    }

    /// Replicates commands together, in order, and returns their replies when they are durable and applied.
    pub async fn propose(&self, commands: Vec<Bytes>) -> Vec<Result<Bytes, ProposeError>> {
        let count = commands.len();
        match self.propose_all(commands, Reach::ALL, Timestamp(0)).await {
            Ok((replies, _)) => replies.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); count],
        }
    }

    pub(crate) async fn propose_all(
        &self,
        commands: Vec<Bytes>,
        reach: Reach,
        not_before: Timestamp,
    ) -> Result<(Vec<Bytes>, Timestamp), ProposeError> {
        if let Some(reason) = self.replica.problem() {
            return Err(ProposeError::Stopped { reason });
        }
        self.check_leader().map_err(|leader| ProposeError::NotLeader { leader })?;
        if !self.wal.room() {
            return Err(ProposeError::DiskFull);
        }
        let dropped = |_| ProposeError::Unknown { detail: "the replica stopped while the entry was on its way".into() };
        self.batcher.submit(commands, reach, not_before)?.await.map_err(dropped)?
    }

    /// Refuses at once what would only travel through the queues to be refused.
    pub(crate) fn check_leader(&self) -> Result<(), Option<NodeId>> {
        let status = self.status.borrow();
        if status.is_leader { Ok(()) } else { Err(status.leader.map(|(_, node)| node)) }
    }

    /// How far a follower's log is known to agree with this leader's; `None` when this replica does not lead.
    pub fn matched(&self, follower: ReplicaId) -> Option<strata_types::LogIndex> {
        let raft = self.raft()?;
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let at = metrics.replication.as_ref()?.get(&follower)?;
        Some(strata_types::LogIndex(at.map_or(0, |id| id.index)))
    }

    /// Refuses to serve from now on if the error says that this replica's own files are damaged: leadership goes to
    /// another replica, and the group goes on with the others (CLUSTER-5). Any other error is the caller's affair.
    pub fn refuse(self: &Arc<Self>, error: &StorageError) {
        if self.replica.refuse(error) {
            self.publish_status();
            let group = self.clone();
            self.env.spawn("raft-refuse", async move { group.leave().await });
        }
    }

    /// Whether there is room for entries of another replica: see [`Wal::takes`].
    pub(crate) fn log_takes(&self, bytes: u64) -> bool {
        self.wal.takes(bytes)
    }

    /// Queues an append request of another replica.
    pub(crate) fn take_append(&self, append: Append) {
        if let Err(mpsc::error::TrySendError::Full(append)) = self.appends.try_send(append) {
            append.replier.reply(Err("too many appends are waiting".into()));
        }
    }

    /// Queues a piece of a snapshot.
    pub(crate) fn take_piece(&self, piece: Piece) {
        if let Err(mpsc::error::TrySendError::Full(piece)) = self.pieces.try_send(piece) {
            piece.replier.reply(Err("too many pieces are waiting".into()));
        }
    }

    /// Runs a question of another replica that openraft answers from its core.
    pub(crate) fn ask<F>(self: &Arc<Self>, replier: Replier, question: impl FnOnce(Raft) -> F)
    where
        F: Future<Output = Result<Bytes, String>> + Send + 'static,
    {
        let Some(raft) = self.raft() else {
            return replier.reply(Err("the replica is stopped".into()));
        };
        let Ok(permit) = self.questions.clone().try_acquire_owned() else {
            return replier.reply(Err("too many questions are waiting".into()));
        };
        let answer = question(raft);
        self.env.spawn("raft-ask", async move {
            replier.reply(answer.await);
            drop(permit);
        });
    }
}
