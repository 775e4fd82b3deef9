//! Seeded bugs, for proving that the simulator finds them. Compiled into debug builds only and chosen at run time, so
//! that no release binary holds one.

use std::sync::atomic::{AtomicU8, Ordering};

/// A bug that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// None: the code as it is.
    None = 0,
    /// The anchor's part is committed while the others are being prepared: these may refuse, and their writes are lost.
    CommitBeforePrepared = 1,
    /// A commit without an answer counts as an abort, and the shards are told so, without asking the record.
    AbortAfterPrepare = 2,
    /// A commit without an answer is tried again by another transaction, without asking what became of it.
    BlindRetry = 3,
    /// Shards that were only read are left out: nobody checks there, or keeps others from writing.
    PrepareOnlyWrites = 4,
}

static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// Switches a bug on for the whole process.
pub fn choose(mutant: Mutant) {
    CHOSEN.store(mutant as u8, Ordering::SeqCst);
}

/// Whether this bug is switched on.
pub fn is(mutant: Mutant) -> bool {
    CHOSEN.load(Ordering::Relaxed) == mutant as u8
}
