//! What operators do.

/// What an operator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A node is to lead nothing, or may again.
    Drain,
    Undrain,
    /// A node is to go.
    Remove,
    /// A replica is to move.
    Move,
    /// Another replica is to lead.
    Prefer,
    /// A change is not wished any more.
    Cancel,
    /// A replica is to be built anew.
    Rebuild,
    /// A machine loses its disk.
    LoseDisk,
    /// Files of a replica are damaged.
    Damage,
    /// A node stops in good order and starts again.
    Restart,
}

impl Act {
    /// Each as often as it is to be done.
    pub(crate) const ALL: [Act; 19] = [
        Act::Drain,
        Act::Undrain,
        Act::Undrain,
        Act::Remove,
        Act::Remove,
        Act::Move,
        Act::Move,
        Act::Move,
        Act::Move,
        Act::Prefer,
        Act::Cancel,
        Act::Cancel,
        Act::Rebuild,
        Act::Rebuild,
        Act::LoseDisk,
        Act::LoseDisk,
        Act::Damage,
        Act::Damage,
        Act::Restart,
    ];
}
