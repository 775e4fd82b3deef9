//! The small files of a data directory.
//!
//! ```text
//!   LOCK          of the server crate
//!   FORMAT        "strata 1": the newest format in this directory
//!   identity      IdentityFile
//!   map           the nodes and the meta group as last known
//!   log/          the node's log
//!   shards/<replica id>/   tablets
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use strata_env::{Disk, Env};
use strata_types::ShardMap;

use crate::identity_file::{IdentityFile, Membership};
use crate::{InstanceId, StartError, map_file};

/// The newest format that this program writes and reads.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const FORMAT_WORD: &str = "strata";
const IDENTITY_FILE: &str = "identity";
const MAP_FILE: &str = "map";

/// The node's log, below the data directory.
pub(crate) const LOG_DIRECTORY: &str = "log";

/// Reads and writes the small files.
#[derive(Clone)]
pub(crate) struct DataDirectory {
    env: Env,
    disk: Arc<dyn Disk>,
}

impl DataDirectory {
    pub(crate) fn new(env: Env, disk: Arc<dyn Disk>) -> DataDirectory {
        DataDirectory { env, disk }
    }

    /// Checks the format and reads the identity; makes both in a new directory.
    pub(crate) async fn open(&self) -> Result<IdentityFile, StartError> {
        let fresh = InstanceId(u128::from(self.env.rng.next_u64()) << 64 | u128::from(self.env.rng.next_u64()));
        let disk = self.disk.clone();
        self.on_disk(async move { open(&disk, fresh).await }).await
    }

    /// Writes down, durably, that this directory is a node of a cluster.
    pub(crate) async fn save(&self, instance: InstanceId, membership: Membership) -> Result<(), StartError> {
        let disk = self.disk.clone();
        let identity = IdentityFile { instance, membership: Some(membership) };
        self.on_disk(async move { write(&disk, IDENTITY_FILE, &identity.encode()).await }).await
    }

    /// The nodes and the meta group as they were last known here.
    pub(crate) async fn map(&self) -> Result<Option<ShardMap>, StartError> {
        let disk = self.disk.clone();
        let read = self.on_disk(async move { read(&disk, MAP_FILE).await }).await?;
        read.map(|bytes| map_file::decode(bytes).map_err(|error| damaged(MAP_FILE, error))).transpose()
    }

    /// Writes them down, durably.
    pub(crate) async fn save_map(&self, map: &ShardMap) -> Result<(), StartError> {
        let (disk, bytes) = (self.disk.clone(), map_file::encode(map));
        self.on_disk(async move { write(&disk, MAP_FILE, &bytes).await }).await
    }

    /// Runs disk operations where they may block.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StartError>> + Send + 'static,
    ) -> Result<T, StartError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.env.dedicated("data-directory", async move {
            let _ = sender.send(work.await);
        });
        receiver.await.unwrap_or_else(|_| {
            let detail = "the node is stopping".to_owned();
            Err(StartError::Disk { file: IDENTITY_FILE.to_owned(), verb: "used", detail })
        })
    }
}

async fn open(disk: &Arc<dyn Disk>, fresh: InstanceId) -> Result<IdentityFile, StartError> {
    let format = read(disk, FORMAT_FILE).await?;
    let identity = read(disk, IDENTITY_FILE).await?;
    match format {
        Some(format) => check_format(&format)?,
        None if identity.is_some() => return Err(damaged(FORMAT_FILE, "it is missing")),
        None => write(disk, FORMAT_FILE, format!("{FORMAT_WORD} {FORMAT}\n").as_bytes()).await?,
    }
    match identity {
        Some(bytes) => IdentityFile::decode(bytes).map_err(|error| damaged(IDENTITY_FILE, error)),
        None => {
            let identity = IdentityFile { instance: fresh, membership: None };
            write(disk, IDENTITY_FILE, &identity.encode()).await?;
            Ok(identity)
        }
    }
}

pub(crate) fn check_format(content: &[u8]) -> Result<(), StartError> {
    let text = std::str::from_utf8(content).unwrap_or_default();
    let number = text.trim_end().strip_prefix(FORMAT_WORD).and_then(|rest| rest.trim_start().parse().ok());
    match number {
        None | Some(0) => Err(damaged(FORMAT_FILE, format!("expected `{FORMAT_WORD} {FORMAT}`"))),
        Some(found) if found > FORMAT => Err(StartError::NewerFormat { found, known: FORMAT }),
        Some(_) => Ok(()),
    }
}

fn damaged(file: &str, detail: impl ToString) -> StartError {
    StartError::DamagedFile { file: file.to_owned(), detail: detail.to_string() }
}

async fn read(disk: &Arc<dyn Disk>, file: &str) -> Result<Option<Bytes>, StartError> {
    match disk.read(Path::new(file)).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StartError::Disk { file: file.to_owned(), verb: "read", detail: error.to_string() }),
    }
}

async fn write(disk: &Arc<dyn Disk>, file: &str, content: &[u8]) -> Result<(), StartError> {
    let failed =
        |error: io::Error| StartError::Disk { file: file.to_owned(), verb: "written", detail: error.to_string() };
    disk.replace(Path::new(file), content).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use strata_env::sim::SimWorld;
    use strata_types::NodeId;

    use super::*;
    use crate::{Charter, Seat};

    fn seat() -> Seat {
        let name = String::new;
        let (node, instance) = (NodeId(3), InstanceId(0));
        Seat { node, instance, peer_address: name(), client_address: name(), zone: name() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_keeps_its_identity_over_a_power_loss() {
        let node = SimWorld::new(1).node(1);
        let directory = |node: &strata_env::sim::SimNode| DataDirectory::new(node.env(), node.disk());
        let first = directory(&node).open().await.expect("a new directory");
        assert_eq!(first.membership, None);
        node.crash();
        node.restart();
        assert_eq!(directory(&node).open().await, Ok(first.clone()));
        let seat = Seat { instance: first.instance, ..seat() };
        let charter = Charter { seats: vec![seat], shard_count: 4, ..Charter::default() };
        let cluster = crate::ClusterName::default();
        let membership = Membership { cluster, node: NodeId(3), charter, is_founding: true };
        directory(&node).save(first.instance, membership.clone()).await.expect("room");
        node.crash();
        node.restart();
        let last = directory(&node).open().await.expect("still there");
        assert_eq!(last, IdentityFile { instance: first.instance, membership: Some(membership) });
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_of_the_meta_group_survives_a_power_loss() {
        let node = SimWorld::new(1).node(1);
        let directory = |node: &strata_env::sim::SimNode| DataDirectory::new(node.env(), node.disk());
        assert_eq!(directory(&node).map().await, Ok(None));
        let map = ShardMap { epoch: strata_types::Epoch(4), ..ShardMap::default() };
        directory(&node).save_map(&map).await.expect("room");
        node.crash();
        node.restart();
        assert_eq!(directory(&node).map().await, Ok(Some(map)));
        node.disk().replace(Path::new(MAP_FILE), b"rubbish").await.expect("room");
        assert!(matches!(directory(&node).map().await, Err(StartError::DamagedFile { file, .. }) if file == "map"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_at_any_operation_leaves_a_directory_that_opens() {
        for operation in 1..40 {
            let node = SimWorld::new(operation).node(1);
            node.crash_at_operation(Some(operation));
            let _ = DataDirectory::new(node.env(), node.disk()).open().await;
            node.crash_at_operation(None);
            node.crash();
            node.restart();
            let opened = DataDirectory::new(node.env(), node.disk()).open().await;
            assert!(opened.is_ok(), "operation {operation}: {opened:?}");
        }
    }

    #[test]
    fn formats_are_compared() {
        assert_eq!(check_format(b"strata 1\n"), Ok(()));
        assert_eq!(check_format(b"strata 2\n"), Err(StartError::NewerFormat { found: 2, known: 1 }));
        for garbage in [&b""[..], b"strata", b"strata 0\n", b"other 1\n", b"\xff\xff"] {
            assert!(matches!(check_format(garbage), Err(StartError::DamagedFile { .. })), "{garbage:?}");
        }
    }
}
