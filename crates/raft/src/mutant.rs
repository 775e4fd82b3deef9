//! Seeded bugs, for proving that the simulator finds them. Compiled into debug builds only and chosen at run time, so
//! that no release binary holds one and no cargo feature can leak one in.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::group::Group;

/// A bug that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// None: the code as it is.
    None = 0,
    /// A leader answers linearizable reads without asking a quorum.
    ReadWithoutQuorum = 1,
    /// Entries count as durable before the log was synced.
    AckBeforeSync = 2,
}

static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// Switches a bug on for the whole process.
pub fn choose(mutant: Mutant) {
    CHOSEN.store(mutant as u8, Ordering::SeqCst);
}

/// Lets the core of a group panic, as openraft does when it meets what it takes for impossible.
pub async fn panic_core(group: &Group) {
    if let Some(raft) = group.raft() {
        let _ = raft.with_raft_state(|_| -> () { panic!("a test asked for it") }).await;
    }
}

pub(crate) fn is(mutant: Mutant) -> bool {
    CHOSEN.load(Ordering::Relaxed) == mutant as u8
}
