//! Whom to ask: the leader of the meta group, as far as it is known.

use std::collections::BTreeMap;
use std::time::Duration;

use strata_env::Env;
use strata_types::{GroupId, NodeId};

use crate::meta_group;
use crate::node::Node;
use crate::question::{Question, Reply};

/// How long one node may take: longer than the barrier that it makes, so that it can say why there is none.
const ASK_DEADLINE: Duration = Duration::from_secs(1);

/// Remembers who has answered, and who has not.
pub(crate) struct Aim {
    /// Who leads, as somebody said or as its last answer shows.
    hint: Option<NodeId>,
    /// Who was asked last, in vain.
    failed: Option<NodeId>,
    turn: usize,
    /// Why those who were asked since the last answer gave none.
    reasons: BTreeMap<NodeId, String>,
}

impl Aim {
    pub(crate) fn new(env: &Env) -> Aim {
        Aim { hint: None, failed: None, turn: env.random_below(64) as usize, reasons: BTreeMap::new() }
    }

    /// Asks one node what is to be asked of it. Returns why there is no answer, from all who were asked since there was one.
    pub(crate) async fn ask(
        &mut self,
        node: &Node,
        question: impl FnOnce(NodeId) -> Question,
    ) -> Result<Reply, String> {
        let Some(target) = self.target(node) else { return Err("nobody could be asked".to_owned()) };
        let question = question(target);
        let asked = node.ask(target, &question, ASK_DEADLINE);
        // A machine that died says nothing: its successor may be known long before it counts as silent.
        let answer = tokio::select! {
            biased;
            answer = asked => answer,
            () = another_leads(node, target) => Err("another node leads the meta group now".to_owned()),
        };
        match answer {
            Ok(Reply::NotLeader { leader: None }) => {
                Err(self.missed(target, None, "no leader of the meta group is known".to_owned()))
            }
            Ok(Reply::NotLeader { leader: Some(leader) }) => {
                Err(self.missed(target, Some(leader), format!("{leader} leads the meta group")))
            }
            Ok(Reply::Failed { detail }) | Err(detail) => Err(self.missed(target, None, detail)),
            Ok(reply) => {
                (self.hint, self.failed) = (Some(target), None);
                self.reasons.clear();
                Ok(reply)
            }
        }
    }

    fn missed(&mut self, target: NodeId, leader: Option<NodeId>, reason: String) -> String {
        (self.hint, self.failed) = (leader.filter(|leader| *leader != target), Some(target));
        self.reasons.insert(target, reason);
        let reasons: Vec<String> = self.reasons.iter().map(|(node, reason)| format!("{node}: {reason}")).collect();
        reasons.join("; ")
    }

    /// The leader that this node knows, or that others named, unless it was just asked in vain; then one after the
    /// other.
    fn target(&mut self, node: &Node) -> Option<NodeId> {
        let named = [meta_group::known_leader(node), self.hint.take()];
        if let Some(named) = named.into_iter().flatten().find(|named| Some(*named) != self.failed) {
            return Some(named);
        }
        self.turn += 1;
        let map = node.map();
        let replicas = &map.meta;
        replicas.get(self.turn % replicas.len().max(1)).map(|replica| replica.node)
    }
}

/// Completes when this node's replica of the meta group hears of a new leader on another node than the one asked.
async fn another_leads(node: &Node, asked: NodeId) {
    if let Some(group) = node.host().group(GroupId::META) {
        let mut status = group.watch();
        let before = status.borrow_and_update().leader;
        let is_news = |leader: Option<_>| leader != before && leader.is_some_and(|(_, by)| by != asked);
        if status.wait_for(|status| is_news(status.leader)).await.is_ok() {
            return;
        }
    }
    std::future::pending().await
}
