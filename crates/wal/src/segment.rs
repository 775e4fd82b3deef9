//! Segment files: their names, and how they come and go.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strata_env::{Disk, File, OpenMode};

/// A new file is zeroed in pieces of this size.
const ZERO_PIECE_BYTES: usize = 1024 * 1024;
const SUFFIX: &str = ".wal";

/// An open segment file. Numbers rise and follow each other without a gap.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    /// Bytes allocated when it was made: what fits without growing the file.
    pub(crate) length: u64,
    pub(crate) file: Box<dyn File>,
}

/// The directory of the segments.
#[derive(Clone)]
pub(crate) struct Directory {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
}

impl Directory {
    /// Creates the directory if there is none, and makes it durable.
    pub(crate) async fn prepare(&self) -> io::Result<()> {
        self.disk.create_dir_all(&self.path).await?;
        for parent in self.path.ancestors().skip(1) {
            self.disk.sync_dir(parent).await?;
        }
        Ok(())
    }

    pub(crate) fn segment_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:016x}{SUFFIX}"))
    }

    /// Numbers of the segments in the directory, rising.
    pub(crate) async fn numbers(&self) -> io::Result<Vec<u64>> {
        let names = self.disk.list(&self.path).await?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(crate) async fn open(&self, number: u64) -> io::Result<Segment> {
        let path = self.segment_path(number);
        let file = self.disk.open(&path, OpenMode::Write).await?;
        let length = file.length().await?;
        Ok(Segment { number, path, length, file })
    }

    /// Makes a segment of zeros: writing over allocated blocks later needs no change of metadata, which makes each
    /// sync many times faster.
    pub(crate) async fn create(&self, number: u64, length: u64) -> io::Result<Segment> {
        let path = self.segment_path(number);
        let file = self.disk.open(&path, OpenMode::CreateNew).await?;
        let zeros = vec![0; ZERO_PIECE_BYTES.min(usize::try_from(length).unwrap_or(ZERO_PIECE_BYTES))];
        let mut offset = 0;
        while offset < length {
            let piece = zeros.len().min(usize::try_from(length - offset).unwrap_or(zeros.len()));
            file.write_at(offset, &zeros[..piece]).await?;
            offset += piece as u64;
        }
        file.sync_data().await?;
        self.sync().await?;
        Ok(Segment { number, path, length, file })
    }

    /// Gives a segment that is needed no more a new number. Its old frames do not validate under it.
    pub(crate) async fn recycle(&self, segment: Segment, number: u64) -> io::Result<Segment> {
        let path = self.segment_path(number);
        self.disk.rename(&segment.path, &path).await?;
        self.sync().await?;
        Ok(Segment { number, path, ..segment })
    }

    /// Removes a file, durably: the names of segments must never have a gap, whatever a crash keeps.
    pub(crate) async fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path).await?;
        self.sync().await
    }

    pub(crate) async fn sync(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.path).await
    }
}

fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}
