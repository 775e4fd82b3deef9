//! The way of a gateway inside a node to all shards.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use strata_net::{Caller, Handler, Lane, MessageKind, NetError, Replier, Switchboard};
use strata_proto::{ShardAnswer, ShardCall, v1};
use strata_router::{Link, LinkError, ShardBatch, ShardExecutor, ShardReply, TimestampKind, fit_results};
use strata_types::limits::GRPC_MESSAGE_BYTES_MAX;
use strata_types::{Epoch, GroupId, NodeId, Result, ShardMap, Timestamp};

use crate::LocalShards;
use crate::open_transactions::Teller;
use crate::times::no_timestamp;

/// How long a router that wants a newer map waits for it.
const MAP_PATIENCE: Duration = Duration::from_secs(1);

/// Reaches local shards directly and those of other nodes by message; and carries out what other nodes send.
#[derive(Clone)]
pub struct NodeLink {
    local: Arc<LocalShards>,
}

impl NodeLink {
    /// A link from a node.
    pub fn new(local: Arc<LocalShards>) -> NodeLink {
        NodeLink { local }
    }

    /// Takes the requests that other nodes send from now on.
    pub fn register(&self, switchboard: &Switchboard) {
        switchboard.set_handler(MessageKind::Requests, Arc::new(self.clone()));
        switchboard.set_handler(MessageKind::Transactions, Arc::new(Teller(self.local.clone())));
    }
}

/// Has another node carry out a batch.
pub async fn execute_at(
    caller: &Arc<Caller>,
    node: NodeId,
    batch: ShardBatch,
    deadline: Duration,
) -> std::result::Result<ShardReply, LinkError> {
    let count = batch.requests.len();
    let group = GroupId::of_shard(batch.shard);
    let body = encode_batch(batch, deadline);
    let call = caller.call(node, Lane::Data, group, MessageKind::Requests, body, deadline);
    let answer = call.await.map_err(link_error)?;
    decode_answer(answer, count)
}

#[async_trait]
impl Link for NodeLink {
    async fn execute(
        &self,
        node: NodeId,
        batch: ShardBatch,
        deadline: Duration,
    ) -> std::result::Result<ShardReply, LinkError> {
        let own = self.local.node();
        if node == own.identity().node {
            let done = own.env().timeout(deadline, self.local.execute(batch)).await;
            return done.map_err(|_| LinkError::Unknown { detail: format!("not done within {deadline:?}") });
        }
        execute_at(own.caller(), node, batch, deadline).await
    }

    async fn fetch_map(&self, newer_than: Epoch) -> Result<Arc<ShardMap>> {
        let node = self.local.node();
        let mut changes = node.watch_map();
        let newer = changes.wait_for(|map| map.epoch > newer_than);
        // The node learns maps by itself; there is nobody better to ask.
        let _ = node.env().timeout(MAP_PATIENCE, newer).await;
        Ok(node.map())
    }

    async fn timestamp(&self, kind: TimestampKind, deadline: Duration) -> Result<Timestamp> {
        let timestamps = self.local.node().timestamps();
        let asked = match kind {
            TimestampKind::Begin => timestamps.begin(deadline).await,
            TimestampKind::Floor => timestamps.floor(deadline).await,
        };
        asked.map_err(|error| no_timestamp(&error))
    }

    async fn hold(&self, at: Timestamp, _deadline: Duration) -> Result<()> {
        self.local.holds().hold(self.local.node(), at)
    }

    fn own_node(&self) -> Option<NodeId> {
        Some(self.local.node().identity().node)
    }
}

impl Handler for NodeLink {
    fn handle(&self, _from: NodeId, _group: GroupId, body: Bytes, replier: Replier) {
        let local = self.local.clone();
        // A batch runs to its end even if its sender has given up: it may be in the log already.
        self.local.node().env().spawn("kv-requests", async move {
            let answer = match decode_batch(body) {
                Ok(batch) => answer_of(local.execute(batch).await),
                Err(error) => ShardAnswer::Failed(error),
            };
            replier.reply(Ok(v1::ShardReply::from(answer).encode_to_vec().into()));
        });
    }
}

fn encode_batch(batch: ShardBatch, deadline: Duration) -> Bytes {
    let requests = Arc::unwrap_or_clone(batch.requests);
    let call = ShardCall { epoch: batch.epoch, shard: batch.shard, requests, deadline: Some(deadline) };
    v1::ShardBatch::from(call).encode_to_vec().into()
}

fn decode_batch(body: Bytes) -> Result<ShardBatch> {
    let call = ShardCall::try_from(strata_proto::decode::<v1::ShardBatch>(body)?)?;
    Ok(ShardBatch { epoch: call.epoch, shard: call.shard, requests: Arc::new(call.requests) })
}

fn answer_of(reply: ShardReply) -> ShardAnswer {
    match reply {
        ShardReply::Done { mut results, time } => {
            fit_results(&mut results, GRPC_MESSAGE_BYTES_MAX);
            ShardAnswer::Done { results, time }
        }
        ShardReply::NotLeader { leader } => ShardAnswer::NotLeader { leader },
        ShardReply::StaleRoute(map) => ShardAnswer::StaleRoute(Box::new(Arc::unwrap_or_clone(map))),
    }
}

/// The reply to a batch of `count` requests.
fn decode_answer(answer: Bytes, count: usize) -> std::result::Result<ShardReply, LinkError> {
    let unknown = |detail: String| LinkError::Unknown { detail };
    let reply = v1::ShardReply::decode(answer).map_err(|error| unknown(format!("not a reply to a batch: {error}")))?;
    match ShardAnswer::from(reply) {
        ShardAnswer::Done { results, time } if results.len() == count => Ok(ShardReply::Done { results, time }),
        ShardAnswer::Done { results, .. } => Err(unknown(format!("{} results for {count} requests", results.len()))),
        ShardAnswer::NotLeader { leader } => Ok(ShardReply::NotLeader { leader }),
        ShardAnswer::StaleRoute(map) => Ok(ShardReply::StaleRoute(Arc::new(*map))),
        ShardAnswer::Failed(error) => Ok(ShardReply::failed(&error, count)),
    }
}

/// The router knows whom it asked: only what happened there is told.
fn link_error(error: NetError) -> LinkError {
    match error {
        NetError::Unreachable { detail, .. } | NetError::Refused { detail, .. } => LinkError::NotSent { detail },
        NetError::Overflow { .. } => LinkError::NotSent { detail: "too much is queued for it".to_owned() },
        NetError::NoAnswer { detail, .. } => LinkError::Unknown { detail },
        // Whatever else went wrong, went wrong after sending.
        other => LinkError::Unknown { detail: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use strata_types::{Error, ErrorCode, Operation, Outcome, Reply, Request, RequestHeader, ShardId};

    use super::*;

    strata_codec::fuzz_targets!();

    fn encoded(reply: ShardReply) -> Bytes {
        v1::ShardReply::from(answer_of(reply)).encode_to_vec().into()
    }

    #[test]
    fn batches_and_replies_survive_the_way() {
        let get = Request { header: RequestHeader::default(), operation: Operation::Get { key: "k".into() } };
        let batch = ShardBatch { epoch: Epoch(3), shard: ShardId(2), requests: Arc::new(vec![get.clone(), get]) };
        let arrived = decode_batch(encode_batch(batch.clone(), Duration::from_secs(1))).expect("our own bytes");
        assert_eq!((arrived.epoch, arrived.shard), (batch.epoch, batch.shard));
        assert_eq!(arrived.requests, batch.requests);

        let results =
            vec![Ok(Reply::Get { item: None, freshness: None }), Err(Error::unknown(ErrorCode::Unavailable, "lost"))];
        let (done, sent) = (results.clone(), Timestamp(7));
        let reply = ShardReply::Done { results: done, time: sent };
        match decode_answer(encoded(reply), 2).expect("our own bytes") {
            ShardReply::Done { results: arrived, time } => assert_eq!((arrived, time), (results, sent)),
            other => panic!("{other:?}"),
        }
        match decode_answer(encoded(ShardReply::NotLeader { leader: Some(NodeId(2)) }), 2).expect("our own bytes") {
            ShardReply::NotLeader { leader } => assert_eq!(leader, Some(NodeId(2))),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_understood_may_have_been_applied() {
        let results = vec![Ok(Reply::Get { item: None, freshness: None })];
        let too_few = decode_answer(encoded(ShardReply::Done { results, time: Timestamp(0) }), 2);
        assert!(matches!(too_few, Err(LinkError::Unknown { .. })));
        assert!(matches!(decode_answer(Bytes::from_static(b"\xff\xff"), 1), Err(LinkError::Unknown { .. })));
        let nonsense = decode_batch(Bytes::from_static(b"\xff\xff")).expect_err("not a batch");
        assert_eq!(nonsense.outcome, Outcome::NotApplied);
    }

    #[test]
    fn damaged_batches_and_replies_are_errors_or_other_ones() {
        let put = Operation::Put { key: "k".into(), value: "v".into() };
        let requests = [Operation::Get { key: "k".into() }, put]
            .map(|operation| Request { header: RequestHeader::default(), operation });
        let batch = ShardBatch { epoch: Epoch(3), shard: ShardId(2), requests: Arc::new(requests.to_vec()) };
        each(&[encode_batch(batch, Duration::from_secs(1))], |bytes| drop(decode_batch(bytes)));
        let replies = [
            ShardReply::failed(&Error::unknown(ErrorCode::Unavailable, "lost"), 2),
            ShardReply::NotLeader { leader: Some(NodeId(2)) },
            ShardReply::StaleRoute(Arc::new(ShardMap::default())),
        ];
        each(&replies.map(encoded), |bytes| {
            if let Ok(ShardReply::Done { results, .. }) = decode_answer(bytes, 2) {
                assert_eq!(results.len(), 2, "one result for each request");
            }
        });
    }

    #[test]
    fn only_what_was_certainly_not_carried_out_is_not_sent() {
        let (target, detail) = ("n2".to_owned(), "x".to_owned());
        let of = |error| matches!(link_error(error), LinkError::NotSent { .. });
        assert!(of(NetError::Unreachable { target: target.clone(), detail: detail.clone() }));
        assert!(of(NetError::Overflow { target: target.clone() }));
        assert!(of(NetError::Refused { target: target.clone(), detail: detail.clone() }));
        assert!(!of(NetError::NoAnswer { target, detail }));
    }
}
