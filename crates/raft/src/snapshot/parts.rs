//! The pieces that a checkpoint is cut into.

use strata_storage::CheckpointFile;

/// Where a piece lies.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) file: String,
    /// In the file.
    pub(super) offset: u64,
    pub(super) length: u64,
    /// In the checkpoint.
    pub(super) position: u64,
}

/// The pieces of a checkpoint from a position on. An empty file is a piece without bytes.
pub(super) struct Parts {
    files: Vec<CheckpointFile>,
    at: usize,
    offset: u64,
    position: u64,
    piece_bytes: u64,
}

impl Parts {
    /// `None` if the checkpoint has no such position.
    pub(super) fn new(files: Vec<CheckpointFile>, position: u64, piece_bytes: u64) -> Option<Parts> {
        let mut at = 0;
        let mut offset = position;
        while offset > 0 && files.get(at)?.length <= offset {
            offset -= files[at].length;
            at += 1;
        }
        Some(Parts { files, at, offset, position, piece_bytes: piece_bytes.max(1) })
    }

    /// Bytes of the whole checkpoint.
    pub(super) fn total(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }
}

impl Iterator for Parts {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let file = self.files.get(self.at)?;
        let length = (file.length - self.offset).min(self.piece_bytes);
        let part = Part { file: file.name.clone(), offset: self.offset, length, position: self.position };
        self.offset += length;
        self.position += length;
        if self.offset >= file.length {
            self.at += 1;
            self.offset = 0;
        }
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(lengths: &[u64]) -> Vec<CheckpointFile> {
        let file = |(at, &length): (usize, &u64)| CheckpointFile { name: format!("f{at}"), length };
        lengths.iter().enumerate().map(file).collect()
    }

    #[test]
    fn from_wherever_it_goes_on_every_byte_comes_once_and_in_order() {
        let lengths = [0, 7, 3, 0, 0, 10, 1, 0];
        let total: u64 = lengths.iter().sum();
        for position in 0..=total {
            for piece_bytes in 1..12 {
                let parts = Parts::new(files(&lengths), position, piece_bytes).expect("a position in it");
                assert_eq!(parts.total(), total);
                let mut next = position;
                for part in parts {
                    let before: u64 = lengths.iter().take(part.file[1..].parse().expect("a number")).sum();
                    assert_eq!((part.position, before + part.offset), (next, next));
                    assert!(part.length <= piece_bytes);
                    next += part.length;
                }
                assert_eq!(next, total);
            }
        }
        assert!(Parts::new(files(&lengths), total + 1, 1).is_none());
        assert!(Parts::new(files(&[]), 0, 1).is_some_and(|mut parts| parts.next().is_none()));
    }

    #[test]
    fn empty_files_are_sent_too() {
        let names = |position| -> Vec<String> {
            let parts = Parts::new(files(&[0, 2, 0, 1, 0]), position, 9).expect("a position in it");
            parts.map(|part| part.file).collect()
        };
        assert_eq!(names(0), ["f0", "f1", "f2", "f3", "f4"]);
        // Whether the receiver got the empty ones at this very position cannot be told.
        assert_eq!(names(2), ["f2", "f3", "f4"]);
        assert_eq!(names(3), ["f4"]);
    }
}
