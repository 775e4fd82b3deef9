//! What a node asks others, and what it says of its replicas.

use std::sync::Arc;
use std::time::Duration;

use strata_net::{Lane, MessageKind, NetError};
use strata_raft::Group;
use strata_types::{GroupId, NodeId, ReplicaFigures};

use crate::node::Node;
use crate::paces::Position;
use crate::question::{Question, Reply};
use crate::question_wire::{decode_reply, encode_question};
use crate::report::{DISK_FULL, GroupReport, NodeReport, Room};
use crate::service;

/// How long a node may take to say how it is.
const REPORT_DEADLINE: Duration = Duration::from_secs(1);

impl Node {
    /// How busy a replica of this node is, and how much of it there is.
    pub(crate) fn figures(&self, group: &Group) -> ReplicaFigures {
        let pace = self.paces().of(group.id());
        let tablet = group.tablet();
        ReplicaFigures {
            operations: if group.leads() { pace.operations } else { 0 },
            entries: pace.entries,
            size: tablet.disk_bytes() + tablet.unflushed_bytes(),
            arrived: group.arrived(),
            arriving: pace.bytes,
        }
    }

    /// Takes note of how far the replicas are.
    pub(crate) fn look_at_paces(&self) {
        let position = |group: &Arc<Group>| Position { applied: group.applied(), arrived: group.arrived() };
        let positions = self.host().groups().iter().map(|group| (group.id(), position(group))).collect();
        self.paces().look(self.env().now(), &positions);
    }

    /// How this node is.
    pub(crate) fn report(&self) -> NodeReport {
        let report = |group: &Arc<Group>| {
            let figures = Some(self.figures(group));
            GroupReport { is_damaged: !group.is_sound(), figures, ..group.status().into() }
        };
        let open: Vec<GroupReport> = self.host().groups().iter().map(report).collect();
        let closed = self.closed().reports();
        // What a replica waits for that serves, or that is well and not open, is room.
        let waits = open.iter().any(|group| group.serving && group.problem.is_some())
            || closed.iter().any(|group| !group.is_damaged);
        let room = self.room(waits);
        let full = (room == Room::No).then(|| DISK_FULL.to_owned());
        NodeReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: self.uptime(),
            is_stopping: self.is_stopping(),
            groups: open.into_iter().chain(closed).collect(),
            problems: full.into_iter().collect(),
            room,
        }
    }

    /// What this node has room for, where some of its replicas may wait for room.
    fn room(&self, waits: bool) -> Room {
        let (own, map, can_write) = (self.identity().node, self.map(), self.wal().room());
        let is_added_to = map.groups().filter_map(|group| group.changes.added()).any(|placement| placement.node == own);
        let is_full = self.room_watch().look(self.env().now(), can_write && !waits, is_added_to);
        match can_write {
            true if is_full => Room::Little,
            true => Room::Enough,
            false => Room::No,
        }
    }

    /// How another node is, or this one; `None` when it does not say.
    pub(crate) async fn ask_report(&self, node: NodeId) -> Option<NodeReport> {
        for question in [Question::WholeReport, Question::FullReport, Question::Report] {
            match self.ask_net(node, &question, REPORT_DEADLINE).await {
                Ok(Reply::Report(report) | Reply::FullReport(report) | Reply::WholeReport(report)) => {
                    return Some(*report);
                }
                // An older program does not know the question.
                Err(NetError::Refused { .. }) => {}
                Ok(_) | Err(_) => return None,
            }
        }
        None
    }

    /// Tells another node something that needs no answer.
    pub(crate) fn tell(&self, to: NodeId, news: &Question) {
        self.caller().tell(to, Lane::Control, GroupId::META, MessageKind::Cluster, encode_question(news));
    }

    /// Asks a node, or this one, about the cluster.
    pub(crate) async fn ask(&self, to: NodeId, question: &Question, deadline: Duration) -> Result<Reply, String> {
        self.ask_net(to, question, deadline).await.map_err(|error| error.to_string())
    }

    async fn ask_net(&self, to: NodeId, question: &Question, deadline: Duration) -> Result<Reply, NetError> {
        let own = self.identity().node;
        let unheard = |detail: String| NetError::NoAnswer { target: to.to_string(), detail };
        if to == own {
            let answer = service::answer(self, own, question.clone());
            return self.env().timeout(deadline, answer).await.map_err(|elapsed| unheard(elapsed.to_string()));
        }
        let body = encode_question(question);
        let call = self.caller().call(to, Lane::Control, GroupId::META, MessageKind::Cluster, body, deadline);
        decode_reply(call.await?).map_err(|error| unheard(error.to_string()))
    }
}
