//! What a node is started with.

use std::collections::BTreeSet;
use std::sync::Arc;

use strata_env::{Disk, Env};
use strata_net::{Caller, Switchboard, Transport};
use strata_raft::{Retention, Timing};
use strata_storage::Tablets;
use strata_types::limits::{NODES_MAX, SHARDS_MAX};
use strata_wal::WalOptions;

use crate::{Phase, StartError};

/// Settings of one node.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Where other nodes reach it, `host:port`.
    pub peer_address: String,
    /// Where clients reach it, `host:port`.
    pub client_address: String,
    /// Failure domain; empty when not set.
    pub zone: String,
    /// Peer addresses to be founded with; the same list on every node. Empty: this node founds.
    pub join: Vec<String>,
    /// Nodes that the cluster is founded with.
    pub expect: u32,
    /// Shards that the cluster is founded with; by default as many as suits the cores of all nodes.
    pub shards: Option<u32>,
    /// Cores of this machine.
    pub cores: u32,
    /// How quickly leaders are replaced.
    pub timing: Timing,
    /// When tablets are flushed and logs are cut.
    pub retention: Retention,
    /// The log.
    pub wal: WalOptions,
}

/// Everything a node is made of. The transport must deliver to the switchboard from before the start.
pub struct NodeParts {
    /// Time, randomness, tasks.
    pub env: Env,
    /// The data directory.
    pub disk: Arc<dyn Disk>,
    /// The tablets in it.
    pub tablets: Arc<dyn Tablets>,
    /// The way to other nodes.
    pub transport: Arc<dyn Transport>,
    /// What arrives from them.
    pub switchboard: Arc<Switchboard>,
    /// Calls to them.
    pub caller: Arc<Caller>,
    /// Settings.
    pub settings: NodeSettings,
    /// Hears of each step; must not block.
    pub progress: Arc<dyn Fn(Phase) + Send + Sync>,
}

impl NodeSettings {
    /// Checks what needs no other node.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let invalid = |detail: String| Err(StartError::Settings { detail });
        if self.expect == 0 || self.expect > NODES_MAX {
            return invalid(format!("a cluster is founded with 1 to {NODES_MAX} nodes, not {}", self.expect));
        }
        if self.shards.is_some_and(|shards| shards == 0 || shards > SHARDS_MAX) {
            return invalid(format!("a cluster has 1 to {SHARDS_MAX} shards"));
        }
        if self.peer_address.is_empty() {
            return invalid("a node needs a peer address".to_owned());
        }
        let mut seen = BTreeSet::new();
        match self.join.iter().find(|address| !seen.insert(address.as_str())) {
            Some(address) => Err(StartError::JoinListTwice { address: address.clone() }),
            None => Ok(()),
        }
    }

    /// Checks what matters only for a node that is to be founded: if every node is in the join list, so is this one.
    pub(crate) fn check_fresh(&self) -> Result<(), StartError> {
        if self.join.is_empty() || self.join.contains(&self.peer_address) || self.join.len() < self.expect as usize {
            return Ok(());
        }
        Err(StartError::NotInJoinList { own: self.peer_address.clone(), join: self.join.join(",") })
    }

    /// Whether this node is the founder, as far as its own settings tell.
    pub(crate) fn is_first(&self) -> bool {
        self.join.first().is_none_or(|first| *first == self.peer_address)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn settings(own: &str, join: &[&str], expect: u32) -> NodeSettings {
        NodeSettings {
            peer_address: own.to_owned(),
            client_address: format!("{own}-client"),
            zone: String::new(),
            join: join.iter().map(|&address| address.to_owned()).collect(),
            expect,
            shards: Some(4),
            cores: 2,
            timing: Timing::default(),
            retention: Retention::default(),
            wal: WalOptions::default(),
        }
    }

    #[test]
    fn join_lists_are_checked() {
        assert_eq!(settings("a:1", &["a:1", "b:1"], 2).check(), Ok(()));
        let twice = settings("a:1", &["a:1", "b:1", "a:1"], 2).check();
        assert_eq!(twice, Err(StartError::JoinListTwice { address: "a:1".into() }));
        assert!(matches!(settings("a:1", &[], 0).check(), Err(StartError::Settings { .. })));
        let missing = settings("c:1", &["a:1", "b:1"], 2).check_fresh();
        assert_eq!(missing, Err(StartError::NotInJoinList { own: "c:1".into(), join: "a:1,b:1".into() }));
        assert_eq!(settings("c:1", &["a:1", "b:1"], 3).check_fresh(), Ok(()), "a list of some of the nodes");
        assert!(settings("a:1", &["a:1", "b:1"], 2).is_first());
        assert!(settings("a:1", &[], 1).is_first());
        assert!(!settings("b:1", &["a:1", "b:1"], 2).is_first());
    }
}
