//! What can go wrong when asking a group.

use strata_types::{NodeId, ReplicaId};

use crate::clock::Closed;

/// A proposal failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// This replica does not lead. Nothing was applied.
    #[error("this replica does not lead the shard: leader=`{leader:?}`")]
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// Too much is waiting. Nothing was applied.
    #[error("too many writes wait for this shard")]
    Overloaded,
    /// The log has no room. Nothing was applied.
    #[error("the disk of the shard's leader is full")]
    DiskFull,
    /// This replica leads a shard with time, and does not know the time yet. Nothing was applied.
    #[error("the shard's new leader has not heard from the meta group")]
    NoTime,
    /// The replica is stopped or refuses to serve. Nothing was applied.
    #[error("this replica does not serve: reason=`{reason}`")]
    Stopped {
        /// Why.
        reason: String,
    },
    /// Nobody can tell whether the write was or will be applied.
    #[error("the write may or may not have been applied: detail=`{detail}`")]
    Unknown {
        /// What happened.
        detail: String,
    },
}

impl From<Closed> for ProposeError {
    fn from(closed: Closed) -> ProposeError {
        match closed {
            Closed::NotLeader => ProposeError::NotLeader { leader: None },
            Closed::NoTime => ProposeError::NoTime,
        }
    }
}

impl From<Closed> for ReadError {
    fn from(closed: Closed) -> ReadError {
        match closed {
            Closed::NotLeader => ReadError::NotLeader { leader: None },
            Closed::NoTime => ReadError::NoTime,
        }
    }
}

/// A linearizable read could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// This replica does not lead.
    #[error("this replica does not lead the shard: leader=`{leader:?}`")]
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// Leadership could not be confirmed by a majority in time.
    #[error("no majority of the shard's replicas answered: detail=`{detail}`")]
    NoQuorum {
        /// What happened.
        detail: String,
    },
    /// This replica follows, and the leader did not say how far a read must see.
    #[error("the leader of the shard did not answer a follower: leader=`{leader}` detail=`{detail}`")]
    LeaderSilent {
        /// The leader.
        leader: NodeId,
        /// What happened.
        detail: String,
    },
    /// This replica leads a shard with time, and does not know the time yet; or nobody has told it that there is time.
    #[error("the shard's new leader has not heard from the meta group")]
    NoTime,
    /// The replica is stopped or refuses to serve.
    #[error("this replica does not serve: reason=`{reason}`")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// The members of a group were not changed as asked, or not wholly. Ask for [`Group::members`](crate::Group::members)
/// before trying again: all changes may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// This replica does not lead, or not any more, or has not committed an entry of its own yet.
    #[error("this replica does not lead the shard: leader=`{leader:?}`")]
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// Another change came first: the membership that this one was to start from is not the newest.
    #[error("the members were changed meanwhile: detail=`{detail}`")]
    Superseded {
        /// What was there instead.
        detail: String,
    },
    /// Anything else.
    #[error("the members were not changed: detail=`{detail}`")]
    Failed {
        /// What happened.
        detail: String,
    },
}

/// A group could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The replica's own files are damaged: it refuses to serve, the others of the group go on.
    #[error("damaged file: file=`{file}` detail=`{detail}`")]
    Corrupt {
        /// The file.
        file: String,
        /// What is wrong.
        detail: String,
    },
    /// The replica was deleted here. Its id is never used again.
    #[error("the replica was deleted on this node: replica=`{replica}`")]
    Deleted {
        /// The replica.
        replica: ReplicaId,
    },
    /// There is no room on the disk: it may be tried again when there is.
    #[error("no room to open the group: detail=`{detail}`")]
    Full {
        /// What the disk said.
        detail: String,
    },
    /// Anything else.
    #[error("group cannot be opened: detail=`{detail}`")]
    Failed {
        /// What happened.
        detail: String,
    },
}
