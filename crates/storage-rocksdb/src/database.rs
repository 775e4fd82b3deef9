//! The database of a tablet: what it holds, and the directory where that lies.

use std::path::Path;
use std::sync::Arc;

use strata_storage::{Checkpoint, StorageResult};
use strata_types::ReplicaId;

use crate::checkpoint::RocksCheckpoint;
use crate::directory::{CHECKPOINT, Directory};
use crate::options::Shared;
use crate::tiers::Tiers;

/// An open database. Holders share it; it closes with the last one.
pub(crate) struct Database {
    /// Gone when it is dropped: it closes before the directory is let go, and perhaps removed.
    tiers: Option<Arc<Tiers>>,
    directory: Directory,
    replica: ReplicaId,
}

impl Database {
    pub(crate) fn open(
        shared: &Shared,
        directory: Directory,
        replica: ReplicaId,
        create: bool,
    ) -> StorageResult<Database> {
        let tiers = Some(Tiers::open(shared, directory.path(), create)?);
        Ok(Database { tiers, directory, replica })
    }

    pub(crate) fn tiers(&self) -> &Tiers {
        self.tiers.as_ref().expect("taken only by drop")
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn replica(&self) -> ReplicaId {
        self.replica
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn checkpoint(&self) -> StorageResult<Arc<dyn Checkpoint>> {
        let home = self.path().parent().expect("a tablet lies in its replica's directory");
        let directory = self.directory.directories().hold_new(home, CHECKPOINT)?;
        self.tiers().flush_anyway()?;
        self.tiers().rocks().checkpoint(directory.path())?;
        Ok(Arc::new(RocksCheckpoint::new(directory)))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(tiers) = self.tiers.take() else { return };
        // So that a planned restart replays nothing.
        if !self.directory.is_doomed()
            && let Err(error) = tiers.flush_anyway()
        {
            tracing::warn!(path = %self.path().display(), %error, "recent rows are not kept: the log will be replayed");
        }
        tiers.close();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use strata_storage::Engine;

    use crate::rocks::NEW_FILE;
    use crate::tablet::RocksTablet;
    use crate::testing::{batch, bytes, open, soon, tablets, value};
    use crate::{RocksOptions, RocksTablets};

    /// A file that became part of the database may have its first name still, if the process died just then.
    #[test]
    fn a_file_that_a_crash_left_is_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let tablets = tablets(&directory, 1 << 20);
        let tablet = open(&tablets, 1);
        tablet.write(batch(0..1_000, 1)).unwrap();
        tablet.flush().unwrap();
        let path = tablet.database().path().to_path_buf();
        let is_file = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "sst");
        let file = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).find(is_file).unwrap();
        fs::hard_link(file, path.join(NEW_FILE)).unwrap();
        tablet.write(batch(500..600, 2)).unwrap();
        tablet.flush().unwrap();
        assert!(!path.join(NEW_FILE).exists());
        drop((tablet, tablets));
        let tablets = self::tablets(&directory, 1 << 20);
        let tablet = open(&tablets, 1);
        assert_eq!([0, 499, 500, 599, 600, 999].map(|row| value(&tablet, row)), [1, 1, 2, 2, 1, 1]);
    }

    #[test]
    fn a_snapshot_shows_what_is_removed_after_it_when_all_is_merged() {
        let directory = tempfile::tempdir().unwrap();
        let tablets = tablets(&directory, 32 << 20);
        let tablet = open(&tablets, 1);
        tablet.write(batch(0..100, 1)).unwrap();
        tablet.flush().unwrap();
        let snapshot = tablet.snapshot();
        for round in 2..5 {
            let mut changes = batch(0..50, round);
            (50..100).for_each(|row| changes.delete(bytes(row)));
            tablet.write(changes).unwrap();
            tablet.flush().unwrap();
        }
        tablet.database().tiers().rocks().db().compact_range(None::<&[u8]>, None::<&[u8]>);
        assert!((0..100).all(|row| snapshot.get(&bytes(row)).unwrap() == Some(bytes(1))));
        let seen = |row: u32| tablet.get_persisted(&bytes(row)).unwrap();
        assert!((0..50).all(|row| seen(row) == Some(bytes(4))) && (50..100).all(|row| seen(row).is_none()));
    }

    #[test]
    fn tablets_make_room_for_each_other() {
        let directory = tempfile::tempdir().unwrap();
        // Room for half of it: some two thousand rows.
        let tablets = tablets(&directory, 1 << 20);
        let (first, second) = (open(&tablets, 1), open(&tablets, 2));
        for round in 0..200 {
            for tablet in [&first, &second] {
                tablet.write(batch(round * 50..round * 50 + 60, round)).unwrap();
                assert!(first.database().tiers().node_bytes() <= 512 << 10);
            }
        }
        for tablet in [&first, &second] {
            assert!((0..10_010).all(|row| value(tablet, row) == (row / 50).min(199)));
            assert!(tablet.get_persisted(&0_u32.to_be_bytes()).unwrap().is_some(), "there was no room for all of it");
        }
        // More than there is room for at all.
        second.write(batch(0..20_000, 1_000)).unwrap();
        assert_eq!([value(&second, 0), value(&second, 19_999), value(&first, 0)], [1_000, 1_000, 0]);
    }

    #[test]
    fn tablets_without_a_full_bundle_are_flushed_before_there_is_no_room() {
        let directory = tempfile::tempdir().unwrap();
        // Room for half of it, which is a bundle: seven tablets take more than three quarters, and less than all.
        let options = RocksOptions { memory_bytes: 1 << 20, ..RocksOptions::default() };
        let node = RocksTablets::new(directory.path().join("shards"), options).unwrap();
        let tablets: Vec<RocksTablet> = (1..=7).map(|replica| open(&node, replica)).collect();
        for round in 0..68 {
            for tablet in &tablets {
                tablet.write_now(batch(round * 8..round * 8 + 8, round)).unwrap();
            }
        }
        // By a thread of the node, which takes its time.
        assert!(soon(|| tablets.iter().any(|tablet| tablet.get_persisted(&bytes(0)).unwrap().is_some())));
    }
}
