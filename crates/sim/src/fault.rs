//! What can go wrong.

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A node's process dies; what it wrote stays in its machine's cache.
    Kill,
    /// A node loses power: what was not synced may be lost.
    PowerLoss,
    /// Every node loses power at once.
    Blackout,
    /// A node hears and is heard by nobody.
    Isolate,
    /// A node sends, but nothing arrives at it.
    Deafen,
    /// A node hears, but nothing it sends arrives.
    Mute,
    /// The nodes fall into two halves.
    Split,
    /// Two nodes do not reach each other; everybody else reaches both.
    BrokenLink,
    /// Messages are slow, lost, doubled and overtake each other.
    Storm,
    /// A node's disk takes long to sync.
    SlowDisk,
    /// A node's disk answers nothing for a while.
    StuckDisk,
    /// A node's clock jumps.
    ClockJump,
    /// The leader of a busy group dies.
    KillLeader,
    /// The leader of the meta group dies.
    KillMetaLeader,
    /// A node is away for long enough that the others cut their logs.
    LongAbsence,
    /// A sync fails: the node must stop itself.
    SyncError,
    /// While a group changes its members, the one that goes and one that stays are cut off from all others.
    SplitChange,
    /// Requests come late, when their senders have asked again or given up.
    Stragglers,
    /// The leadership of a group goes to and fro between two replicas, and nobody dies.
    Handovers,
    /// Some tasks of every node get their turns late.
    Sluggish,
    /// A leader hands over and leads again, and somebody has read in between.
    FormerLeader,
    /// A transaction is prepared once more when it is committed, and somebody has read beside it.
    RepeatedPrepare,
    /// A follower restarts while a leader that it answered has a lease, and another one wants to lead.
    Forgetful,
}

impl Fault {
    /// Those of any run.
    pub(crate) const ALL: [Fault; 22] = [
        Fault::Kill,
        Fault::PowerLoss,
        Fault::Blackout,
        Fault::Isolate,
        Fault::Deafen,
        Fault::Mute,
        Fault::Split,
        Fault::BrokenLink,
        Fault::Storm,
        Fault::SlowDisk,
        Fault::StuckDisk,
        Fault::ClockJump,
        Fault::KillLeader,
        Fault::KillMetaLeader,
        Fault::LongAbsence,
        Fault::SyncError,
        Fault::SplitChange,
        Fault::Stragglers,
        Fault::Handovers,
        Fault::Sluggish,
        Fault::FormerLeader,
        Fault::Forgetful,
    ];
}
