//! Who may talk to whom.

use strata_proto::internal;
use strata_types::{ClusterId, NodeId};

use crate::Lane;

/// Oldest protocol between nodes that this program speaks.
const PROTOCOL_MIN: u32 = 1;
/// Newest protocol between nodes that this program speaks.
const PROTOCOL_MAX: u32 = 1;

/// Who this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
}

/// A hello that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) from: NodeId,
    pub(super) lane: Lane,
    pub(super) protocol: u32,
}

impl Identity {
    pub(super) fn hello(&self, to: NodeId, lane: Lane) -> internal::Hello {
        internal::Hello {
            cluster: self.cluster.to_string(),
            from: self.node.0,
            to: to.0,
            lane: wire_lane(lane).into(),
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
        }
    }

    /// Accepts a caller or says in one sentence why not; the sentence is read by the caller's operator. Only a caller of
    /// this cluster that means this node is let in (NET-1).
    pub(super) fn accept(&self, hello: &internal::Hello) -> Result<Accepted, String> {
        let Identity { cluster, node } = self;
        let (from, to) = (hello.from_node(), hello.to_node());
        let other = hello.cluster_id().map_err(|error| error.message)?;
        if other != *cluster {
            return Err(format!(
                "this is node {node} of cluster {cluster}, and the caller belongs to cluster {other}: check the \
                 addresses and the data directories of both"
            ));
        }
        if to != *node {
            return Err(format!("this is node {node}, not {to}: an address of the cluster is out of date"));
        }
        if from == *node {
            return Err(format!(
                "the caller says that it is node {node}, and so is this one: one data directory was copied"
            ));
        }
        if hello.protocol_max < PROTOCOL_MIN || hello.protocol_min > PROTOCOL_MAX {
            return Err(format!(
                "node {node} speaks protocols {PROTOCOL_MIN} to {PROTOCOL_MAX} and the caller {} to {}: upgrade one \
                 release at a time",
                hello.protocol_min, hello.protocol_max
            ));
        }
        let lane = match hello.lane() {
            internal::Lane::Control => Lane::Control,
            internal::Lane::Data => Lane::Data,
            internal::Lane::Bulk => Lane::Bulk,
            internal::Lane::Unspecified => return Err(format!("node {node} has no lane number {}", hello.lane)),
        };
        Ok(Accepted { from, lane, protocol: hello.protocol_max.min(PROTOCOL_MAX) })
    }
}

/// Whether this program speaks the protocol that the other side chose.
pub(super) fn speaks(protocol: u32) -> bool {
    (PROTOCOL_MIN..=PROTOCOL_MAX).contains(&protocol)
}

fn wire_lane(lane: Lane) -> internal::Lane {
    match lane {
        Lane::Control => internal::Lane::Control,
        Lane::Data => internal::Lane::Data,
        Lane::Bulk => internal::Lane::Bulk,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(0xabc);

    fn identity(node: u64) -> Identity {
        Identity { cluster: CLUSTER, node: NodeId(node) }
    }

    #[test]
    fn a_node_of_the_same_cluster_is_accepted() {
        for lane in Lane::ALL {
            let accepted = identity(2).accept(&identity(1).hello(NodeId(2), lane)).expect("accepted");
            assert_eq!(accepted, Accepted { from: NodeId(1), lane, protocol: PROTOCOL_MAX });
        }
    }

    #[test]
    fn everybody_else_is_refused_with_a_sentence() {
        let good = identity(1).hello(NodeId(2), Lane::Data);
        let refusal = |hello: internal::Hello| identity(2).accept(&hello).expect_err("refused");

        let foreign = Identity { cluster: ClusterId(0xdef), node: NodeId(1) }.hello(NodeId(2), Lane::Data);
        assert!(refusal(foreign).contains("belongs to cluster 00000000000000000000000000000def"));
        assert!(refusal(internal::Hello { cluster: "+1".into(), ..good.clone() }).contains("hexadecimal"));
        assert!(refusal(internal::Hello { to: 3, ..good.clone() }).contains("this is node n2, not n3"));
        assert!(refusal(internal::Hello { from: 2, ..good.clone() }).contains("copied"));
        let newer = internal::Hello { protocol_min: 7, protocol_max: 9, ..good.clone() };
        assert!(refusal(newer).contains("the caller 7 to 9"));
        assert!(refusal(internal::Hello { lane: 99, ..good }).contains("no lane number 99"));
    }
}
