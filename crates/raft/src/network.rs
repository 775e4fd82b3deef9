//! openraft's network over the node's calls.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetAppend, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RaftNetworkFactory, stream_append_sequential,
};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use strata_codec::DecodeError;
use strata_env::{Env, Mono};
use strata_net::{Caller, Lane, MessageKind, NetError};
use strata_types::{GroupId, NodeId, ReplicaId};

use crate::messages::{
    Ballot, Order, Parties, SnapshotPiece, decode_append_reply, decode_vote_reply, encode_append,
    encode_snapshot_piece, encode_transfer, encode_vote_request,
};
use crate::pipeline::Pipeline;
use crate::replica::Replica;
use crate::snapshot::{self, SendError, SnapshotSource};
use crate::types::{LeaderId, LogId, Seat, Snapshot, Types, Vote};

/// An append waits for the follower's disk; a slow disk must not look like a lost message.
const APPEND_DEADLINE: Duration = Duration::from_secs(2);

pub(crate) type Rpc<T> = Result<T, RPCError<Types>>;
pub(crate) type CallFuture = Pin<Box<dyn Future<Output = Result<Bytes, NetError>> + Send>>;

/// Makes clients for the replicas of one group.
pub(crate) struct Network {
    pub(crate) caller: Arc<Caller>,
    pub(crate) replica: Arc<Replica>,
}

/// One other replica, reached over one lane.
#[derive(Clone)]
pub(crate) struct Peer {
    caller: Arc<Caller>,
    replica: Arc<Replica>,
    group: GroupId,
    parties: Parties,
    node: NodeId,
    lane: Lane,
}

impl Network {
    fn peer(&self, target: ReplicaId, seat: &Seat, lane: Lane) -> Peer {
        Peer {
            caller: self.caller.clone(),
            replica: self.replica.clone(),
            group: self.replica.group,
            parties: Parties { from: self.replica.id, to: target },
            node: seat.node,
            lane,
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: ReplicaId, node: &Seat) -> Peer {
        self.peer(target, node, Lane::Data)
    }

    async fn new_heartbeat_client(&mut self, target: ReplicaId, node: &Seat) -> Peer {
        self.peer(target, node, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: ReplicaId, node: &Seat) -> Peer {
        self.peer(target, node, Lane::Bulk)
    }
}

impl Peer {
    /// Starts a call at once; the future only waits for the answer.
    fn call(&self, lane: Lane, kind: MessageKind, body: Bytes, deadline: Duration) -> CallFuture {
        Box::pin(self.caller.call(self.node, lane, self.group, kind, body, deadline))
    }

    /// Sends one request of a pipeline.
    pub(crate) fn append(&self, order: Order, request: &AppendEntriesRequest<Types>) -> CallFuture {
        self.replica.note_told(request.leader_commit);
        let body = encode_append(self.parties, order, request);
        self.call(Lane::Data, MessageKind::Append, body, APPEND_DEADLINE)
    }

    /// Whether the other replica, whose log ends there, lacks what was cut here, so that it needs a snapshot.
    pub(crate) fn is_cut_off(&self, last: Option<LogId>) -> bool {
        self.replica.is_cut_off(last)
    }

    pub(crate) fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    pub(crate) fn env(&self) -> &Env {
        &self.replica.env
    }

    pub(crate) fn target(&self) -> ReplicaId {
        self.parties.to
    }

    /// The other replica answered a request of this leader that was sent at an instant. If it took it, it has the leader's
    /// vote on its disk. About a conflict it tells sooner.
    pub(crate) fn note_answer(&self, leader: LeaderId, sent: Mono, answer: &AppendEntriesResponse<Types>) {
        if matches!(answer, AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_)) {
            self.replica.leases.answered(leader, self.parties.to, sent);
        }
    }

    pub(crate) fn snapshot_piece(&self, piece: &SnapshotPiece, deadline: Duration) -> CallFuture {
        let body = encode_snapshot_piece(self.parties, piece);
        self.call(Lane::Bulk, MessageKind::Snapshot, body, deadline)
    }

    async fn ballot(
        &self,
        ballot: Ballot,
        request: VoteRequest<Types>,
        deadline: Duration,
    ) -> Rpc<VoteResponse<Types>> {
        if let Some(left) = self.replica.leases.silence(self.env().now()) {
            let detail = format!("started a moment ago, asks for no vote yet: left=`{left:?}`");
            return Err(RPCError::Unreachable(Unreachable::from_string(detail)));
        }
        let body = encode_vote_request(self.parties, ballot, &request);
        let reply = self.call(Lane::Control, MessageKind::Vote, body, deadline).await.map_err(rpc_error)?;
        decode_vote_reply(reply).map_err(garbled)
    }
}

/// Whether openraft should back off (nobody there) or try again at once (a lost message).
pub(crate) fn rpc_error(error: NetError) -> RPCError<Types> {
    match error {
        NetError::NoAnswer { .. } => RPCError::Network(NetworkError::new(&error)),
        _ => RPCError::Unreachable(Unreachable::new(&error)),
    }
}

pub(crate) fn garbled(error: DecodeError) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::new(&error))
}

impl NetBackoff<Types> for Peer {
    fn backoff(&self) -> Option<Backoff> {
        None
    }
}

impl NetAppend<Types> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<Types>> {
        let (leader, sent) = (*request.vote.leader_id(), self.env().now());
        self.replica.note_told(request.leader_commit);
        let body = encode_append(self.parties, Order::default(), &request);
        let reply = self.call(self.lane, MessageKind::Append, body, option.hard_ttl()).await.map_err(rpc_error)?;
        let answer = decode_append_reply(reply).map_err(garbled)?;
        self.note_answer(leader, sent, &answer);
        Ok(answer)
    }
}

impl NetStreamAppend<Types> for Peer {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<StreamAppendResult<Types>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        if self.lane == Lane::Control {
            // A heartbeat is one request a stream.
            return stream_append_sequential(self, input, option);
        }
        let answers: BoxStream<'s, Rpc<StreamAppendResult<Types>>> = Box::pin(Pipeline::new(self.clone(), input));
        Box::pin(std::future::ready(Ok(answers)))
    }
}

impl NetVote<Types> for Peer {
    async fn vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Rpc<VoteResponse<Types>> {
        self.ballot(Ballot::Real, request, option.hard_ttl()).await
    }

    async fn pre_vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Rpc<VoteResponse<Types>> {
        self.ballot(Ballot::Pre, request, option.hard_ttl()).await
    }
}

impl NetTransferLeader<Types> for Peer {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<Types>> {
        // Before it is sent: whoever gets it votes at once.
        self.replica.leases.give_up(*request.from_leader().leader_id());
        let body = encode_transfer(self.parties, &request);
        let reply = self.call(Lane::Control, MessageKind::Transfer, body, option.hard_ttl()).await;
        reply.map(|_| Ok(())).map_err(rpc_error)
    }
}

impl NetSnapshot<Types> for Peer {
    type SnapshotData = SnapshotSource;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let sending = std::pin::pin!(snapshot::send(self, &self.replica, vote, snapshot));
        match futures_util::future::select(sending, std::pin::pin!(cancel)).await {
            futures_util::future::Either::Left((Ok(response), _)) => Ok(response),
            futures_util::future::Either::Left((Err(error), _)) => Err(streaming_error(&self.replica, error)),
            futures_util::future::Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }
}

fn streaming_error(replica: &Replica, error: SendError) -> StreamingError<Types> {
    let detail = match error {
        // The receiver says why: its disk is full, for one.
        SendError::Net(error @ NetError::Refused { .. }) => error.to_string(),
        SendError::Net(error) => return rpc_error(error).into(),
        SendError::Storage(error) => replica.storage_failed(&error).to_string(),
        SendError::Protocol(detail) => detail,
    };
    tracing::warn!(group = %replica.group, detail, "snapshot was not sent");
    StreamingError::Unreachable(Unreachable::from_string(detail))
}
