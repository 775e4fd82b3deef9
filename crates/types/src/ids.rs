//! Newtypes for every id and position.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// A machine that runs `strata start`; given by the meta group and kept for the life of its data directory.
    NodeId(u64), "n");
id!(
    /// One replica of one group: the id that Raft sees. Handed out by the meta group, never used twice, so that a
    /// replica that lost its disk cannot vote as its former self.
    ReplicaId(u64), "r");
id!(
    /// A Raft group: [`GroupId::META`] or the group of a shard.
    GroupId(u64), "g");
id!(
    /// A contiguous range of slots, replicated together.
    ShardId(u32), "s");
id!(
    /// A database: the outermost name space of keys.
    DatabaseId(u32), "d");
id!(
    /// A name space within a database: plain keys, a table, an index.
    KeySpaceId(u32), "k");
id!(
    /// Version of the shard map.
    Epoch(u64), "e");
id!(
    /// Raft term.
    Term(u64), "t");
id!(
    /// Position in one group's log.
    LogIndex(u64), "");
id!(
    /// Logical time, counted by the meta group. Zero means "none".
    Timestamp(u64), "@");
id!(
    /// Version of the descriptors a command was planned with.
    SchemaVersion(u32), "v");
id!(
    /// A client with a session. Chosen at random by the client.
    ClientId(u64), "c");

impl From<u64> for ReplicaId {
    fn from(id: u64) -> ReplicaId {
        ReplicaId(id)
    }
}

id!(
    /// A change of a group's members. Given out by the meta group, never used twice.
    ChangeId(u64), "m");
id!(
    /// What all nodes of a cluster have agreed to understand. Rises when every node can follow.
    ClusterVersion(u32), "v");

impl ClusterVersion {
    /// The version of the first clusters.
    pub const FIRST: ClusterVersion = ClusterVersion(1);
    /// The newest one that this program knows. [`crate::Feature`] says what it brings.
    pub const NEWEST: ClusterVersion = ClusterVersion(3);
}

/// A data directory: drawn at random when it is first used, and never again. Zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u128);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A cluster: chosen at random when it is founded, carried in every handshake and data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl GroupId {
    /// The group that holds the node registry and the shard map.
    pub const META: GroupId = GroupId(0);

    /// The group that replicates a shard.
    pub const fn of_shard(shard: ShardId) -> GroupId {
        GroupId(shard.0 as u64 + 1)
    }

    /// The shard this group replicates; `None` for the meta group.
    pub fn shard(self) -> Option<ShardId> {
        self.0.checked_sub(1).and_then(|id| u32::try_from(id).ok()).map(ShardId)
    }
}

impl Timestamp {
    /// The timestamp after this one.
    pub const fn next(self) -> Timestamp {
        Timestamp(self.0 + 1)
    }
}

impl LogIndex {
    /// The position after this one.
    pub const fn next(self) -> LogIndex {
        LogIndex(self.0 + 1)
    }
}

/// Version of one key: where in the shard's log it was last written. Revisions of a key only ever rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// The log entry.
    pub index: LogIndex,
    /// The command within that entry.
    pub position: u32,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.position)
    }
}

impl std::str::FromStr for Revision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("not a revision (expected INDEX.POSITION, such as 17.0): `{text}`");
        let (index, position) = text.split_once('.').ok_or_else(wrong)?;
        Ok(Revision {
            index: LogIndex(index.parse().map_err(|_| wrong())?),
            position: position.parse().map_err(|_| wrong())?,
        })
    }
}
