//! Why a command was not carried out.

use strata_codec::{DecodeError, Decoder, Encoder};
use strata_types::{ChangeId, ClusterId, ClusterVersion, GroupId, NodeId, Term, VersionRange};

use crate::fields::{decode_versions, encode_versions};

/// Why a command was not carried out. Tags are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetaRefusal {
    /// There is a cluster, and it is another one. Tag 0.
    #[error("another cluster was founded here already; a new one needs empty data directories: cluster=`{cluster}`")]
    OtherCluster {
        /// The cluster that was founded here.
        cluster: ClusterId,
    },
    /// There is no cluster yet. Tag 1.
    #[error("the cluster is not founded yet; it is when all nodes that it is to begin with have started")]
    NotFounded,
    /// No such node. Tag 2.
    #[error("the cluster has no such node; `strata cluster nodes` lists them: node=`{node}`")]
    UnknownNode {
        /// The node that was named.
        node: NodeId,
    },
    /// The command contradicts itself or a limit. Tag 3.
    #[error("{detail}")]
    Invalid {
        /// What is wrong with it.
        detail: String,
    },
    /// The node was removed, or is lost and to be removed: it cannot come back. Tag 4.
    #[error(
        "the node was removed from the cluster and cannot come back; with an empty data directory it joins as a new \
         one: node=`{node}`"
    )]
    NodeRemoved {
        /// The node.
        node: NodeId,
    },
    /// No such group. Tag 5.
    #[error("there is no such shard; `strata cluster shards` lists them: shard=`{}`", name(*group))]
    UnknownGroup {
        /// The group that was named.
        group: GroupId,
    },
    /// The change is not under way: it was finished or abandoned, or never was. Tag 6.
    #[error(
        "this change was made or given up, or never begun; `strata cluster jobs` lists those under way: shard=`{}` \
         change=`{change}`",
        name(*group)
    )]
    StaleChange {
        /// The group.
        group: GroupId,
        /// The change that was named.
        change: ChangeId,
    },
    /// Another change of the group is under way. Tag 7.
    #[error(
        "another change of the shard is under way; ask again when it is over: shard=`{}` change=`{change}`",
        name(*group)
    )]
    Busy {
        /// The group.
        group: GroupId,
        /// The change that is under way.
        change: ChangeId,
    },
    /// A group would not keep a majority of its replicas on nodes that stay. Tag 8.
    #[error(
        "{staying} of {replicas} replicas would remain on nodes that stay, which is no majority; wait until other \
         nodes are back, or replicas have moved: shard=`{}` node=`{node}`",
        name(*group)
    )]
    Majority {
        /// The node that was to leave.
        node: NodeId,
        /// The first such group.
        group: GroupId,
        /// Replicas on other nodes that neither leave nor are lost.
        staying: u32,
        /// All replicas of the group.
        replicas: u32,
    },
    /// The node's binary cannot take part. Tag 9.
    #[error(
        "the node's program cannot take part in a cluster of this version; start it with the program of the other \
         nodes: version=`{version}` program=`{versions}`"
    )]
    Version {
        /// The version of the cluster.
        version: ClusterVersion,
        /// What the binary can.
        versions: VersionRange,
    },
    /// The change is no longer wished, so it cannot be decided any more. Tag 10.
    #[error("this change was cancelled, and is being given up: shard=`{}` change=`{change}`", name(*group))]
    Cancelled {
        /// The group.
        group: GroupId,
        /// The change.
        change: ChangeId,
    },
    /// The proposer no longer leads the group: a later leader has decided the change. Tag 11.
    #[error("a later leader sees to this change: shard=`{}` change=`{change}` term=`{term}`", name(*group))]
    Decided {
        /// The group.
        group: GroupId,
        /// The change.
        change: ChangeId,
        /// The term of that leader.
        term: Term,
    },
}

/// What operators call a group: the shard that it replicates.
pub(crate) fn name(group: GroupId) -> String {
    group.shard().map_or("meta".to_owned(), |shard| shard.to_string())
}

impl MetaRefusal {
    pub(crate) fn encode(&self, output: &mut Encoder) {
        match self {
            MetaRefusal::OtherCluster { cluster } => output.u8(0).u128(cluster.0),
            MetaRefusal::NotFounded => output.u8(1),
            MetaRefusal::UnknownNode { node } => output.u8(2).u64(node.0),
            MetaRefusal::Invalid { detail } => output.u8(3).bytes(detail.as_bytes()),
            MetaRefusal::NodeRemoved { node } => output.u8(4).u64(node.0),
            MetaRefusal::UnknownGroup { group } => output.u8(5).u64(group.0),
            MetaRefusal::StaleChange { group, change } => output.u8(6).u64(group.0).u64(change.0),
            MetaRefusal::Busy { group, change } => output.u8(7).u64(group.0).u64(change.0),
            MetaRefusal::Majority { node, group, staying, replicas } => {
                output.u8(8).u64(node.0).u64(group.0).u32(*staying).u32(*replicas)
            }
            MetaRefusal::Version { version, versions } => encode_versions(output.u8(9).u32(version.0), *versions),
            MetaRefusal::Cancelled { group, change } => output.u8(10).u64(group.0).u64(change.0),
            MetaRefusal::Decided { group, change, term } => output.u8(11).u64(group.0).u64(change.0).u64(term.0),
        };
    }

    pub(crate) fn decode(input: &mut Decoder) -> Result<MetaRefusal, DecodeError> {
        let group = |input: &mut Decoder| input.u64("group").map(GroupId);
        let node = |input: &mut Decoder| input.u64("node").map(NodeId);
        let change = |input: &mut Decoder| input.u64("change").map(ChangeId);
        Ok(match input.u8("meta refusal tag")? {
            0 => MetaRefusal::OtherCluster { cluster: ClusterId(input.u128("cluster")?) },
            1 => MetaRefusal::NotFounded,
            2 => MetaRefusal::UnknownNode { node: node(input)? },
            3 => MetaRefusal::Invalid { detail: input.string("refusal detail")? },
            4 => MetaRefusal::NodeRemoved { node: node(input)? },
            5 => MetaRefusal::UnknownGroup { group: group(input)? },
            6 => MetaRefusal::StaleChange { group: group(input)?, change: change(input)? },
            7 => MetaRefusal::Busy { group: group(input)?, change: change(input)? },
            8 => MetaRefusal::Majority {
                node: node(input)?,
                group: group(input)?,
                staying: input.u32("staying replicas")?,
                replicas: input.u32("replicas")?,
            },
            9 => MetaRefusal::Version {
                version: ClusterVersion(input.u32("cluster version")?),
                versions: decode_versions(input)?,
            },
            10 => MetaRefusal::Cancelled { group: group(input)?, change: change(input)? },
            11 => MetaRefusal::Decided { group: group(input)?, change: change(input)?, term: Term(input.u64("term")?) },
            tag => return Err(DecodeError::BadValue { field: "meta refusal tag", value: tag.into() }),
        })
    }

    /// A refusal in a sentence.
    pub(crate) fn because<T>(detail: String) -> Result<T, MetaRefusal> {
        Err(MetaRefusal::Invalid { detail })
    }
}
