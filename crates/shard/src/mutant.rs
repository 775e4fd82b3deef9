//! Seeded bugs, for proving that tests find them: each takes out one rule. Compiled into debug builds only and chosen at
//! run time, so that no release binary holds one.

use std::sync::atomic::{AtomicU8, Ordering};

/// A bug that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// None: the code as it is.
    None = 0,
    /// What another transaction wants to write is written all the same.
    WriteLockIgnored = 1,
    /// What another transaction has read is written before that one is decided.
    SharedLockIgnored = 2,
    /// A transaction commits though keys have come, gone or changed in a range that it has read.
    RangeUnvalidated = 3,
    /// A transaction commits though a key that it has read was changed.
    ReadUnvalidated = 4,
    /// A prepare that comes a second time is carried out a second time.
    RepeatedPrepareAnew = 5,
    /// What was aborted is committed by a commit that was late.
    LateCommitAllowed = 6,
    /// What was resolved is prepared again by a prepare that was late.
    LatePrepareAllowed = 7,
    /// Transactions and reads from below the horizon are admitted.
    HorizonIgnored = 8,
    /// Reads do not see that a write is not decided.
    IntentIgnoredByReads = 9,
    /// Nothing is left of a transaction that was resolved.
    ResolvedForgotten = 10,
    /// A transaction is checked without a look at writes that are not decided.
    IntentIgnoredByChecks = 11,
}

impl Mutant {
    /// All of them, without `None`.
    pub const ALL: [Mutant; 11] = [
        Mutant::WriteLockIgnored,
        Mutant::SharedLockIgnored,
        Mutant::RangeUnvalidated,
        Mutant::ReadUnvalidated,
        Mutant::RepeatedPrepareAnew,
        Mutant::LateCommitAllowed,
        Mutant::LatePrepareAllowed,
        Mutant::HorizonIgnored,
        Mutant::IntentIgnoredByReads,
        Mutant::ResolvedForgotten,
        Mutant::IntentIgnoredByChecks,
    ];
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
