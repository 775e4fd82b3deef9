//! How anybody has a command carried out by the meta group.

use std::time::Duration;

use bytes::Bytes;
use strata_meta::{MetaCommand, MetaRefusal, MetaReply};
use strata_raft::ProposeError;
use strata_types::NodeId;

use crate::meta_group;
use crate::node::Node;
use crate::question::{Question, Reply};

/// How long one node may take: a majority of the meta group may have to write it down.
const ASK_DEADLINE: Duration = Duration::from_secs(2);
/// Pause before the next one is asked.
const PAUSE: Duration = Duration::from_millis(100);

/// A command has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Nobody said in time that it was carried out. It may have been, or may yet be.
    #[error("the meta group did not answer in time, and may have carried the command out: last=`{detail}`")]
    Timeout {
        /// What the last one that was asked said.
        detail: String,
    },
    /// It was carried out by a newer program, and what came of it cannot be read.
    #[error("the answer of the meta group cannot be read: {detail}")]
    Reply {
        /// What is wrong with it.
        detail: String,
    },
}

/// Has the meta group carry out a command, and tries again until the deadline: every command may be repeated. A refusal
/// is a reply; only "not founded yet" is waited out.
pub(crate) async fn command(node: &Node, command: MetaCommand, deadline: Duration) -> Result<MetaReply, CommandError> {
    let end = node.env().now() + deadline;
    let question = Question::Command { command: command.encode() };
    let mut turn = node.env().random_below(64) as usize;
    let (mut hint, mut detail) = (meta_group::known_leader(node), "nobody could be asked".to_owned());
    loop {
        let left = end.since(node.env().now());
        if left.is_zero() {
            return Err(CommandError::Timeout { detail });
        }
        let target = hint.take().or_else(|| {
            turn += 1;
            let map = node.map();
            let replicas = &map.meta;
            replicas.get(turn % replicas.len().max(1)).map(|replica| replica.node)
        });
        if let Some(target) = target {
            match node.ask(target, &question, ASK_DEADLINE.min(left)).await {
                Ok(Reply::Command { reply }) => match MetaReply::decode(reply) {
                    Ok(MetaReply::Refused(refusal @ MetaRefusal::NotFounded)) => detail = refusal.to_string(),
                    Ok(reply) => return Ok(reply),
                    Err(error) => return Err(CommandError::Reply { detail: error.to_string() }),
                },
                Ok(Reply::NotLeader { leader }) => {
                    hint = leader.filter(|leader| *leader != target);
                    detail = format!("node {target} does not lead the meta group");
                }
                Ok(Reply::Failed { detail: said }) | Err(said) => detail = format!("node {target}: {said}"),
                Ok(other) => detail = format!("node {target} gave an answer to another question: {other:?}"),
            }
            tracing::debug!(%target, detail, "a command to the meta group is tried again");
        }
        let left = end.since(node.env().now());
        node.env().sleep(node.env().jittered(PAUSE).min(left)).await;
    }
}

/// Why a node is not given up that is alive.
pub(crate) fn alive(node: NodeId) -> MetaRefusal {
    let detail = format!(
        "the node is alive, and would come back at once with all that it has; to empty it, use `strata cluster \
         remove`, and to give it up as it is, stop its process first: node=`{node}`"
    );
    MetaRefusal::Invalid { detail }
}

/// Another node, or this one, has a command for the meta group, which this node may lead.
pub(crate) async fn carry_out(node: &Node, command: Bytes) -> Reply {
    // An unreadable one would stop every replica of the meta group when it is applied.
    if let Err(error) = MetaCommand::decode(command.clone()) {
        return Reply::Failed { detail: format!("not a command that this version knows: {error}") };
    }
    match meta_group::propose(node, command).await {
        Ok(reply) => Reply::Command { reply },
        Err(ProposeError::NotLeader { leader }) => Reply::NotLeader { leader },
        Err(error) => Reply::Failed { detail: error.to_string() },
    }
}
