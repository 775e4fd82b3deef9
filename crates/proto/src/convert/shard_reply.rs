//! ShardReply.

use strata_types::{Error, ErrorCode, NodeId, Reply, ShardMap, Timestamp};

use crate::v1::{self, shard_reply};

/// What a [`v1::ShardReply`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardAnswer {
    /// The batch was carried out.
    Done {
        /// One result for each request, in order.
        results: Vec<Result<Reply, Error>>,
        /// Logical time, not below that of anything that the results tell of.
        time: Timestamp,
    },
    /// Nothing was applied: the node does not lead the shard.
    NotLeader {
        /// The node that does, if it is known.
        leader: Option<NodeId>,
    },
    /// Nothing was applied: the batch was routed by an old map.
    StaleRoute(Box<ShardMap>),
    /// The whole batch failed.
    Failed(Error),
}

impl From<ShardAnswer> for v1::ShardReply {
    fn from(answer: ShardAnswer) -> v1::ShardReply {
        let outcome = match answer {
            ShardAnswer::Done { results, time } => {
                let reply = |result| v1::OperationReply { timestamp: time.0, ..v1::OperationReply::from(result) };
                let replies = results.into_iter().map(reply).collect();
                shard_reply::Outcome::Done(shard_reply::Done { replies })
            }
            ShardAnswer::NotLeader { leader } => {
                shard_reply::Outcome::NotLeader(shard_reply::NotLeader { leader: leader.map(|node| node.0) })
            }
            ShardAnswer::StaleRoute(map) => {
                shard_reply::Outcome::StaleRoute(shard_reply::StaleRoute { map: Some(v1::ShardMap::from(&*map)) })
            }
            ShardAnswer::Failed(error) => shard_reply::Outcome::Error(v1::ErrorDetail::from(&error)),
        };
        v1::ShardReply { outcome: Some(outcome) }
    }
}

impl From<v1::ShardReply> for ShardAnswer {
    fn from(reply: v1::ShardReply) -> ShardAnswer {
        let mute = || Error::unknown(ErrorCode::Internal, "the node answered a batch with nothing known");
        match reply.outcome {
            Some(shard_reply::Outcome::Done(done)) => {
                let latest = done.replies.iter().map(|reply| reply.timestamp).max();
                let results = done.replies.into_iter().map(Result::from).collect();
                ShardAnswer::Done { results, time: Timestamp(latest.unwrap_or_default()) }
            }
            Some(shard_reply::Outcome::NotLeader(other)) => ShardAnswer::NotLeader { leader: other.leader.map(NodeId) },
            Some(shard_reply::Outcome::StaleRoute(stale)) => {
                match stale.map.unwrap_or_default().try_into() {
                    Ok(map) => ShardAnswer::StaleRoute(Box::new(map)),
                    // Whatever the map looks like, the batch was not applied: somebody else may know where it belongs.
                    Err(_) => ShardAnswer::NotLeader { leader: None },
                }
            }
            Some(shard_reply::Outcome::Error(detail)) => ShardAnswer::Failed(detail.into()),
            None => ShardAnswer::Failed(mute()),
        }
    }
}
