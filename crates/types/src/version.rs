//! What the programs of a cluster have in common, so that they can be exchanged one node after the other.
//!
//! ```text
//!   program 1..=1   program 1..=1   program 1..=1      cluster v1
//!   program 1..=2   program 1..=1   program 1..=2      cluster v1: nodes are upgraded one by one, and may go back
//!   program 1..=2   program 1..=2   program 1..=2      cluster v1: everything old still works
//!                    an operator raises the version    cluster v2: new features; programs of v1 are refused
//! ```
//! A feature that changes what nodes say to each other, or what they write, is off until the cluster has its version.

use std::fmt;

use crate::{ClusterVersion, ShardMap};

/// What an older program would not understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// Followers ask their leader how far they must be, and then answer linearizable reads themselves.
    FollowerReads,
    /// Entries have timestamps, keys have versions, and there are transactions.
    Transactions,
    /// Whoever restarts takes no part in elections for a moment, so that leaders may read by lease. No program of version 3
    /// was without it when it was released.
    LeaseReads,
    /// Plans name the nodes that have no room for more replicas. All programs of version 3 know that, as they know
    /// [`Feature::LeaseReads`].
    FullNodes,
}

impl Feature {
    /// The version that brings it.
    pub const fn since(self) -> ClusterVersion {
        match self {
            Feature::FollowerReads => ClusterVersion(2),
            Feature::Transactions | Feature::LeaseReads | Feature::FullNodes => ClusterVersion(3),
        }
    }
}

impl ShardMap {
    /// Whether every node of the cluster understands a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.version >= feature.since()
    }

    /// The newest version that every node of the cluster can take part in.
    pub fn version_within_reach(&self) -> ClusterVersion {
        self.nodes.iter().map(|node| node.versions.most).min().unwrap_or(self.version).max(self.version)
    }
}

/// The cluster versions that a binary can take part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionRange {
    /// The lowest.
    pub least: ClusterVersion,
    /// The highest.
    pub most: ClusterVersion,
}

impl Default for VersionRange {
    fn default() -> VersionRange {
        VersionRange { least: ClusterVersion::FIRST, most: ClusterVersion::FIRST }
    }
}

impl VersionRange {
    /// What this program can take part in.
    pub const SUPPORTED: VersionRange = VersionRange { least: ClusterVersion::FIRST, most: ClusterVersion::NEWEST };

    /// Whether the binary can take part in a cluster of this version.
    pub fn contains(self, version: ClusterVersion) -> bool {
        self.least <= version && version <= self.most
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeDescriptor;

    #[test]
    fn a_feature_is_there_when_the_cluster_has_its_version_and_not_before() {
        let mut map = ShardMap { version: ClusterVersion(1), ..ShardMap::default() };
        assert!(!map.has(Feature::FollowerReads));
        map.version = Feature::FollowerReads.since();
        assert!(map.has(Feature::FollowerReads) && VersionRange::SUPPORTED.contains(map.version));
    }

    #[test]
    fn what_is_within_reach_is_what_the_oldest_program_knows() {
        let node = |most| NodeDescriptor {
            versions: VersionRange { least: ClusterVersion(1), most: ClusterVersion(most) },
            ..NodeDescriptor::default()
        };
        let reach = |version, nodes: &[u32]| {
            let nodes = nodes.iter().map(|most| node(*most)).collect();
            ShardMap { version: ClusterVersion(version), nodes, ..ShardMap::default() }.version_within_reach()
        };
        assert_eq!(reach(1, &[2, 1, 3]), ClusterVersion(1));
        assert_eq!(reach(1, &[2, 2, 3]), ClusterVersion(2));
        assert_eq!(reach(2, &[1, 3]), ClusterVersion(2), "it never falls");
        assert_eq!(reach(1, &[]), ClusterVersion(1));
    }
}
