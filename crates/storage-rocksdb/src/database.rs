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
        self.tiers().flush()?;
        self.tiers().rocks().checkpoint(directory.path())?;
        Ok(Arc::new(RocksCheckpoint::new(directory)))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(tiers) = self.tiers.take() else { return };
        // So that a planned restart replays nothing.
        if !self.directory.is_doomed()
            && let Err(error) = tiers.flush()
        {
            tracing::warn!(path = %self.path().display(), %error, "recent rows are not kept: the log will be replayed");
        }
        tiers.close();
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::fs;

    use bytes::Bytes;
    use strata_storage::{Engine, Tablets, WriteBatch};
    use tempfile::TempDir;

    use super::*;
    use crate::rocks::NEW_FILE;
    use crate::tablet::RocksTablet;
    use crate::{RocksOptions, RocksTablets};

    fn batch(rows: std::ops::Range<u32>, value: u32) -> WriteBatch {
        let mut batch = WriteBatch::new();
        let bytes = |number: u32| Bytes::from(number.to_be_bytes().to_vec());
        rows.for_each(|row| batch.put(bytes(row), bytes(value)));
        batch
    }

    fn tablets(directory: &TempDir, memory_bytes: usize) -> RocksTablets {
        let options = RocksOptions { memory_bytes, bundle_bytes: 2_000, ..RocksOptions::default() };
        RocksTablets::new(directory.path().join("shards"), options).unwrap()
    }

    fn open(tablets: &RocksTablets, replica: u64) -> RocksTablet {
        let tablet = tablets.open(ReplicaId(replica)).unwrap();
        let tablet: &dyn Any = &*tablet;
        RocksTablet::new(Arc::clone(tablet.downcast_ref::<RocksTablet>().unwrap().database()))
    }

    fn value(tablet: &RocksTablet, row: u32) -> u32 {
        let value = tablet.get(&row.to_be_bytes()).unwrap().expect("a row");
        u32::from_be_bytes(value[..].try_into().unwrap())
    }

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
    fn a_flush_that_failed_loses_nothing_and_the_next_one_has_it_all() {
        let directory = tempfile::tempdir().unwrap();
        let tablets = tablets(&directory, 1 << 20);
        let tablet = open(&tablets, 1);
        // A directory of that name is in the way.
        let obstacle = tablet.database().path().join(NEW_FILE);
        fs::create_dir(&obstacle).unwrap();
        for round in 0..30 {
            tablet.write(batch(round * 10..round * 10 + 20, round)).unwrap();
            assert!(tablet.flush().is_err());
        }
        let check = |tablet: &RocksTablet| {
            assert!((0..310).all(|row| value(tablet, row) == (row / 10).min(29)));
            let mut count = 0;
            tablet.scan(b"", b"", &mut |_, _| (count += 1, true).1).unwrap();
            assert_eq!(count, 310);
        };
        check(&tablet);
        assert_eq!(tablet.get_persisted(&0_u32.to_be_bytes()).unwrap(), None);
        fs::remove_dir(&obstacle).unwrap();
        tablet.flush().unwrap();
        check(&tablet);
        assert!(tablet.get_persisted(&309_u32.to_be_bytes()).unwrap().is_some());
        assert_eq!(tablet.unflushed_bytes(), 0);
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
}
