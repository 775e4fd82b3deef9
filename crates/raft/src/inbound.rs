//! What other replicas ask of this node's groups.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use strata_codec::Decoder;
use strata_net::{Handler, MessageKind, Replier};
use strata_types::{GroupId, NodeId, ReplicaId};
use tokio::sync::mpsc;

use crate::group::Group;
use crate::host::Host;
use crate::messages::{
    Ballot, Order, Parties, SnapshotPiece, decode_append, decode_snapshot_piece, decode_transfer, decode_vote_request,
    encode_append_reply, encode_vote_reply,
};
use crate::read_index::decode_question;
use crate::replica::Replica;
use crate::snapshot::Inlet;
use crate::types::{Entry, EntryBody, Raft, Types};

/// An append request that waits for its turn.
pub(crate) struct Append {
    pub(crate) from: ReplicaId,
    pub(crate) order: Order,
    pub(crate) request: AppendEntriesRequest<Types>,
    pub(crate) replier: Replier,
}

/// A piece of a snapshot that waits for its turn.
pub(crate) struct Piece {
    pub(crate) piece: SnapshotPiece,
    pub(crate) replier: Replier,
}

/// Handles the messages of one kind for all groups of the node.
pub(crate) struct Inbound {
    host: Weak<Host>,
    kind: MessageKind,
}

impl Inbound {
    /// The kinds that belong to Raft.
    pub(crate) const KINDS: [MessageKind; 5] =
        [MessageKind::Append, MessageKind::Vote, MessageKind::Transfer, MessageKind::Snapshot, MessageKind::ReadIndex];

    pub(crate) fn new(host: Weak<Host>, kind: MessageKind) -> Inbound {
        Inbound { host, kind }
    }

    /// The group and the rest of a message that is really meant for the replica which is here now.
    fn address(&self, group: GroupId, body: Bytes) -> Result<(Arc<Group>, Parties, Decoder), String> {
        let mut input = Decoder::new(body);
        let parties = Parties::take(&mut input).map_err(|error| error.to_string())?;
        let found = self.host.upgrade().and_then(|host| host.group(group));
        let found = found.ok_or_else(|| format!("{group} has no replica here"))?;
        if found.replica() != parties.to {
            return Err(format!("{group} has {} here, not {}", found.replica(), parties.to));
        }
        Ok((found, parties, input))
    }

    fn dispatch(
        &self,
        group: &Arc<Group>,
        from: ReplicaId,
        input: Decoder,
        replier: Replier,
    ) -> Result<(), (Replier, String)> {
        macro_rules! decoded {
            ($decoded:expr) => {
                match $decoded {
                    Ok(message) => message,
                    Err(error) => return Err((replier, error.to_string())),
                }
            };
        }
        match self.kind {
            MessageKind::Append => {
                let bytes = input.remaining() as u64;
                let (order, request) = decoded!(decode_append(input));
                if !group.log_takes(bytes) && brings_writes(group, &request) {
                    let refusal = "the disk is full, and what room its log has left is kept for votes and removals";
                    return Err((replier, refusal.to_owned()));
                }
                group.take_append(Append { from, order, request, replier });
            }
            MessageKind::Snapshot => {
                let piece = decoded!(decode_snapshot_piece(input));
                group.take_piece(Piece { piece, replier });
            }
            MessageKind::Vote => {
                let (ballot, request) = decoded!(decode_vote_request(input));
                if let Some(left) = group.state().leases.silence(group.env().now()) {
                    return Err((replier, format!("started a moment ago, does not vote yet: left=`{left:?}`")));
                }
                group.ask(replier, |raft| async move {
                    let reply = match ballot {
                        Ballot::Real => raft.vote(request).await,
                        Ballot::Pre => raft.pre_vote(request).await,
                    };
                    reply.map(|reply| encode_vote_reply(&reply)).map_err(|error| error.to_string())
                });
            }
            MessageKind::Transfer => {
                let request = decoded!(decode_transfer(input));
                if request.to_node_id() == &group.replica() {
                    group.note_offer();
                }
                // It would stand for election: it is late rather than lost.
                let (env, left) = (group.env().clone(), group.state().leases.silence(group.env().now()));
                group.ask(replier, |raft| async move {
                    if let Some(left) = left {
                        env.sleep(left).await;
                    }
                    match raft.handle_transfer_leader(request).await {
                        Ok(Ok(())) => Ok(Bytes::new()),
                        Ok(Err(refusal)) => Err(refusal.to_string()),
                        Err(fatal) => Err(fatal.to_string()),
                    }
                });
            }
            MessageKind::ReadIndex => {
                let at = decoded!(decode_question(input));
                group.take_index_question(from, at, replier);
            }
            kind => return Err((replier, format!("{kind:?} is not a message between replicas"))),
        }
        Ok(())
    }
}

/// Whether a request has writes that this replica's log has no place for yet. Without what a new leader writes first, and
/// without memberships, a shard may have no quorum; and a leader finds out by entries that are here already how far this
/// log goes.
fn brings_writes(group: &Group, request: &AppendEntriesRequest<Types>) -> bool {
    let last = group.log().state().last;
    let is_write = |entry: &Entry| matches!(entry.payload, EntryBody::Normal(_));
    request.entries.iter().any(|entry| is_write(entry) && last.is_none_or(|last| entry.log_id.index > last.0))
}

impl Handler for Inbound {
    fn handle(&self, _from: NodeId, group: GroupId, body: Bytes, replier: Replier) {
        #[cfg(debug_assertions)]
        if crate::mutant::is(crate::mutant::Mutant::RemovedNodeVotes)
            && self.kind == MessageKind::Vote
            && let Some(vote) =
                self.host.upgrade().and_then(|host| crate::mutant::vote_of_the_dead(&host, body.clone()))
        {
            return replier.reply(Ok(vote));
        }
        match self.address(group, body) {
            Err(refusal) => replier.reply(Err(refusal)),
            Ok((group, parties, input)) => {
                if let Err((replier, refusal)) = self.dispatch(&group, parties.from, input, replier) {
                    replier.reply(Err(refusal));
                }
            }
        }
    }
}

/// Appends that openraft has and that are not durable yet; more than any leader's pipeline. While the disk stands still,
/// leaders ask again and again.
const APPENDS_OPEN_MAX: usize = 256;

/// Hands appends to openraft in the order they came, without waiting for one to be durable before the next.
pub(crate) async fn append_loop(
    mut appends: mpsc::Receiver<Append>,
    replica: Arc<Replica>,
    raft: impl Fn() -> Option<Raft> + Send,
) {
    let mut open = FuturesUnordered::new();
    let mut last: BTreeMap<ReplicaId, Order> = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            append = appends.recv(), if open.len() < APPENDS_OPEN_MAX => {
                let Some(Append { from, order, request, replier }) = append else { return };
                if !order.follows(last.entry(from).or_default()) {
                    replier.reply(Err("this append is not the next one of its stream".into()));
                    continue;
                }
                let Some(raft) = raft() else {
                    replier.reply(Err("the replica is stopped".into()));
                    continue;
                };
                let (replica, taken) = (&replica, replica.env.now());
                open.push(async move {
                    let reply = raft.append_entries(request).await;
                    if reply.as_ref().is_ok_and(|reply| !matches!(reply, AppendEntriesResponse::HigherVote(_))) {
                        replica.hear(taken);
                    }
                    replier.reply(reply.map(|reply| encode_append_reply(&reply)).map_err(|error| error.to_string()));
                });
                // Polled once now, so that it reaches openraft's queue before the one that comes next.
                let _ = futures_util::future::poll_immediate(open.next()).await;
            }
            Some(()) = open.next() => {}
        }
    }
}

/// Takes pieces of snapshots one after the other.
pub(crate) async fn piece_loop(
    mut pieces: mpsc::Receiver<Piece>,
    replica: Arc<Replica>,
    raft: impl Fn() -> Option<Raft> + Send,
) {
    let env = replica.env.clone();
    let group = replica.group;
    let mut inlet = Inlet::new(replica);
    loop {
        let next = match inlet.patience() {
            None => pieces.recv().await,
            Some(patience) => match env.timeout(patience, pieces.recv()).await {
                Ok(next) => next,
                Err(_) => {
                    inlet.rest().await;
                    continue;
                }
            },
        };
        let Some(Piece { piece, replier }) = next else { return };
        let Some(raft) = raft() else {
            replier.reply(Err("the replica is stopped".into()));
            continue;
        };
        let answer = inlet.take(piece, &raft).await;
        // What is in the way of all of them was said when it was met.
        if let Err(refusal) = answer.as_ref()
            && !inlet.is_obstructed()
        {
            tracing::warn!(%group, refusal, "piece of a snapshot refused");
        }
        replier.reply(answer);
    }
}
