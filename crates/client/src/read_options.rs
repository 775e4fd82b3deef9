//! Which reads to make.

use std::time::Duration;

use strata_types::{ReadLevel, ReadPreference};

/// How fresh reads must be, and which replicas may answer them. The default sees everything that was acknowledged before,
/// and asks leaders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// How fresh.
    pub level: ReadLevel,
    /// Who may answer linearizable reads. The weaker levels are spread over all replicas anyway.
    pub prefer: ReadPreference,
}

impl ReadOptions {
    /// Linearizable reads by any replica: one that does not lead asks the leader how far it must have got. Spreads the
    /// work of reading over all nodes, for one more message in each round.
    pub fn anywhere() -> ReadOptions {
        ReadOptions { prefer: ReadPreference::Any, ..ReadOptions::default() }
    }

    /// Reads by any replica that see every write which was acknowledged longer ago than this when they began.
    pub fn bounded(max_staleness: Duration) -> ReadOptions {
        ReadOptions { level: ReadLevel::Bounded { max_staleness }, prefer: ReadPreference::Any }
    }

    /// Reads of whatever the asked replica has applied.
    pub fn local() -> ReadOptions {
        ReadOptions { level: ReadLevel::Local, prefer: ReadPreference::Any }
    }
}
