//! Answers the questions of other nodes.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use strata_net::{Handler, Replier};
use strata_types::{GroupId, NodeId};

use crate::commanding;
use crate::map_watch::POLL;
use crate::node::Node;
use crate::question::{Question, Reply};
use crate::question_wire::{decode_question, encode_reply};
use crate::time::{self, Ask};

/// The handler of [`strata_net::MessageKind::Cluster`].
pub(crate) struct ClusterService {
    node: Weak<Node>,
}

impl ClusterService {
    pub(crate) fn new(node: &Arc<Node>) -> ClusterService {
        ClusterService { node: Arc::downgrade(node) }
    }
}

impl Handler for ClusterService {
    fn handle(&self, from: NodeId, _group: GroupId, body: Bytes, replier: Replier) {
        let Some(node) = self.node.upgrade() else {
            return replier.reply(Err("the node is stopping".into()));
        };
        match decode_question(body) {
            Err(error) => replier.reply(Err(error.to_string())),
            // The most frequent one, which is told: nobody wants to know what this node has heard.
            Ok(Question::Heard { known }) if !replier.is_awaited() => node.timestamps().note(known),
            Ok(question) => {
                node.env().clone().spawn("cluster-answer", async move {
                    replier.reply(Ok(encode_reply(&answer(&node, from, question).await)));
                });
            }
        }
    }
}

/// The answer to a question of a node.
pub(crate) async fn answer(node: &Node, from: NodeId, question: Question) -> Reply {
    match question {
        Question::FetchMap { newer_than } => {
            let newer = node.env().timeout(POLL, node.keeper().newer_than(newer_than)).await;
            Reply::Map(newer.ok().map(|map| Box::new(map.as_ref().clone())))
        }
        Question::Report => Reply::Report(Box::new(node.report())),
        Question::FullReport => Reply::FullReport(Box::new(node.report())),
        Question::WholeReport => Reply::WholeReport(Box::new(node.report())),
        Question::Command { command } => commanding::carry_out(node, command).await,
        Question::Begin => time::answer(node, Ask::Begin).await,
        Question::BeginAtOnce { claims } => time::answer_at_once(node, &claims).await,
        Question::Floor => time::answer(node, Ask::Floor).await,
        Question::InUse { oldest } => time::note_in_use(node, from, oldest),
        Question::Heard { known } => Reply::Timestamp(time::note_heard(node, known)),
    }
}
