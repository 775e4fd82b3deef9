//! What must hold between the version of the cluster and what the programs of its nodes know.

use std::collections::BTreeMap;
use std::time::Duration;

use strata_types::{ClusterVersion, Feature, NodeId, ShardMap, VersionRange};
use tokio::time::Instant;

/// A node whose program is too old ends within this time. Its tasks may get their turns late.
const FAREWELL: Duration = Duration::from_secs(3);

/// Remembers what was wished, and who is to end.
pub(crate) struct VersionRules {
    /// The highest version that the cluster may have.
    wished: ClusterVersion,
    /// Lives of nodes that know a map of a version which their programs do not know, and since when.
    outgrown: BTreeMap<(NodeId, u64), Instant>,
}

impl VersionRules {
    /// Of a cluster that is founded by programs of this version.
    pub(crate) fn new(wished: ClusterVersion) -> VersionRules {
        VersionRules { wished, outgrown: BTreeMap::new() }
    }

    /// Somebody wishes that the cluster has a version, from now on.
    pub(crate) fn wish(&mut self, version: ClusterVersion) {
        self.wished = self.wished.max(version);
    }

    /// SIM-VERSION-2: a node with a map of a version that its program does not know ends.
    pub(crate) fn see(
        &mut self,
        node: NodeId,
        life: u64,
        knows: VersionRange,
        version: ClusterVersion,
    ) -> Option<String> {
        if knows.contains(version) {
            return None;
        }
        let since = *self.outgrown.entry((node, life)).or_insert_with(Instant::now);
        let text =
            || format!("SIM-VERSION-2 old programs end: {node} runs in a cluster of {version} and knows {knows}");
        (since.elapsed() > FAREWELL).then(text)
    }

    /// SIM-VERSION-3: nothing is made use of before somebody has wished for the version that brings it.
    pub(crate) fn use_of(&self, feature: Feature) -> Option<String> {
        let (wished, since) = (self.wished, feature.since());
        let text = || format!("SIM-VERSION-3 features wait: {feature:?} came before {since}, when {wished} was wished");
        (since > wished).then(text)
    }
}

/// SIM-VERSION-1: each node that has something or may come to, unless it was given up, can follow the cluster's version.
pub(crate) fn cannot_follow(map: &ShardMap) -> Option<String> {
    let holds = |id| map.groups().any(|group| group.open_replicas().any(|placed| placed.node == id));
    let mut counted = map.nodes.iter().filter(|node| node.state.is_counted_on() || holds(node.id));
    let old = counted.find(|node| !node.versions.contains(map.version))?;
    Some(format!("SIM-VERSION-1 members can follow: {} knows {} in {}", old.id, old.versions, map.version))
}

#[cfg(test)]
mod tests {
    use strata_types::NodeDescriptor;

    use super::*;

    fn knows(most: u32) -> VersionRange {
        VersionRange { most: ClusterVersion(most), ..VersionRange::default() }
    }

    /// SIM-VERSION-1
    #[test]
    fn a_member_that_cannot_follow_is_found() {
        let map = |version| {
            let nodes = [2, 3].map(|most| NodeDescriptor { versions: knows(most), ..NodeDescriptor::default() });
            ShardMap { version: ClusterVersion(version), nodes: nodes.to_vec(), ..ShardMap::default() }
        };
        assert_eq!(cannot_follow(&map(2)), None);
        assert!(cannot_follow(&map(3)).is_some_and(|text| text.starts_with("SIM-VERSION-1")));
    }

    /// SIM-VERSION-2
    #[tokio::test(start_paused = true)]
    async fn an_old_program_that_runs_on_is_found() {
        let mut rules = VersionRules::new(ClusterVersion(1));
        let mut see = |life, version| rules.see(NodeId(1), life, knows(1), ClusterVersion(version));
        assert_eq!((see(1, 1), see(1, 2)), (None, None));
        tokio::time::advance(FAREWELL * 2).await;
        assert_eq!((see(1, 1), see(2, 2)), (None, None), "another life");
        assert!(see(1, 2).is_some_and(|text| text.starts_with("SIM-VERSION-2")));
    }

    /// SIM-VERSION-3
    #[test]
    fn what_comes_too_early_is_found() {
        let mut rules = VersionRules::new(ClusterVersion(1));
        assert!(rules.use_of(Feature::Transactions).is_some_and(|text| text.starts_with("SIM-VERSION-3")));
        rules.wish(Feature::Transactions.since());
        assert_eq!(rules.use_of(Feature::Transactions), None);
    }
}
