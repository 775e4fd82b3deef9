//! Figures of a replica, for people and for spreading leaders.

/// How busy a replica is, and how much of it there is. Coarse, and for nothing that must be right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaFigures {
    /// Requests a second that it carries out as the leader.
    pub operations: u64,
    /// Entries a second that it applies.
    pub entries: u64,
    /// Bytes of its data.
    pub size: u64,
    /// Bytes that are there of a snapshot on its way to it.
    pub arrived: u64,
    /// Bytes a second that come of it.
    pub arriving: u64,
}
