//! Seeded bugs, for proving that the simulator finds them. Compiled into debug builds only and chosen at run time, so that
//! no release binary holds one.

use std::sync::atomic::{AtomicU8, Ordering};

/// A bug that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// None: the code as it is.
    None = 0,
    /// A new process that leads the meta group counts from where it believes to have stopped, not from its block.
    TimestampsGoBack = 1,
    /// Who led the meta group hands out its block without asking whether it still leads.
    BeginWithoutBarrier = 2,
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
