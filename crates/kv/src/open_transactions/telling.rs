//! Asks other nodes about open transactions, and answers them. Everybody is asked at once, so that one silent node costs
//! its deadline and nothing else.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use strata_net::{Handler, Lane, MessageKind, Replier};
use strata_router::{Keepers, KeptElsewhere, KeptTransaction};
use strata_types::{GroupId, NodeId, TransactionId};

use super::wire::{
    Open, Question, decode_found, decode_open, decode_question, encode_found, encode_open, encode_question,
};
use super::{AllOpen, TOLD_MAX};
use crate::LocalShards;

impl LocalShards {
    /// What the shards of all nodes have, and what other nodes keep for their clients.
    pub async fn all_open(&self, deadline: Duration) -> AllOpen {
        let own = self.node().identity().node;
        let ask = async |to| (to, self.ask_all(to, deadline).await);
        let answers: FuturesUnordered<_> = self.others().into_iter().map(ask).collect();
        let answers: Vec<_> = answers.collect().await;
        let mut all = AllOpen::default();
        all.on_shards.extend(self.open_transactions().await.into_iter().map(|open| (own, open)));
        for (to, answer) in answers {
            match answer {
                Ok(open) => all.add(to, open),
                Err(detail) => all.problems.push(format!("{to} did not tell of its transactions ({detail})")),
            }
        }
        all.on_shards.sort_by_key(|(_, open)| (open.transaction.age, open.transaction.id, open.shard));
        all.problems.sort();
        all
    }

    async fn ask_all(&self, to: NodeId, deadline: Duration) -> Result<Open, String> {
        let answer = self.ask(to, Question::All, deadline).await?;
        decode_open(answer, to).map_err(|error| error.to_string())
    }

    async fn ask(&self, to: NodeId, question: Question, deadline: Duration) -> Result<Bytes, String> {
        let (lane, kind, body) = (Lane::Control, MessageKind::Transactions, encode_question(question));
        let call = self.node().caller().call(to, lane, GroupId::META, kind, body, deadline);
        call.await.map_err(|error| error.to_string())
    }

    fn others(&self) -> Vec<NodeId> {
        let own = self.node().identity().node;
        self.node().map().nodes.iter().map(|node| node.id).filter(|id| *id != own).collect()
    }

    /// The first node that keeps a transaction ends the search.
    async fn search(&self, question: Question, deadline: Duration) -> KeptElsewhere {
        let ask = async |to| {
            let answer = self.ask(to, question, deadline).await;
            (to, answer.and_then(|answer| decode_found(answer, to).map_err(|error| error.to_string())))
        };
        let mut answers: FuturesUnordered<_> = self.others().into_iter().map(ask).collect();
        let mut silent = Vec::new();
        while let Some((to, answer)) = answers.next().await {
            match answer {
                Ok(None) => {}
                Ok(kept) => return KeptElsewhere { kept, silent: Vec::new() },
                Err(detail) => {
                    tracing::debug!(%to, detail, "a node does not say whether it keeps a transaction");
                    silent.push(to);
                }
            }
        }
        silent.sort();
        KeptElsewhere { kept: None, silent }
    }
}

impl AllOpen {
    fn add(&mut self, node: NodeId, open: Open) {
        let Open { on_shards, kept, left_out } = open;
        self.on_shards.extend(on_shards.into_iter().map(|open| (node, open)));
        match kept {
            Some(kept) => self.kept.extend(kept),
            None => self.problems.push(format!(
                "{node} runs an older program, which does not tell what its clients have open: ask that node"
            )),
        }
        if left_out > 0 {
            self.problems
                .push(format!("{node} keeps {left_out} more for its clients, which are not shown: ask that node"));
        }
    }
}

#[async_trait]
impl Keepers for LocalShards {
    async fn find(&self, id: TransactionId, deadline: Duration) -> KeptElsewhere {
        self.search(Question::Find(id), deadline).await
    }

    async fn abort(&self, id: TransactionId, deadline: Duration) -> KeptElsewhere {
        // Whoever waits there for a call that is under way should answer in time.
        self.search(Question::Abort(id, deadline / 2), deadline).await
    }
}

/// Answers other nodes.
pub(crate) struct Teller(pub(crate) Arc<LocalShards>);

impl Handler for Teller {
    fn handle(&self, _from: NodeId, _group: GroupId, body: Bytes, replier: Replier) {
        let question = match decode_question(body) {
            Ok(question) => question,
            Err(error) => return replier.reply(Err(error.to_string())),
        };
        let local = self.0.clone();
        self.0.node().env().spawn("kv-transactions", async move {
            replier.reply(Ok(local.answer(question).await));
        });
    }
}

impl LocalShards {
    async fn answer(&self, question: Question) -> Bytes {
        let keeper = self.keeper();
        let keeper = keeper.as_deref();
        match question {
            Question::OnShards => {
                let on_shards = self.open_transactions().await;
                encode_open(&Open { on_shards, ..Open::default() })
            }
            Question::All => {
                let (kept, left_out) = oldest(keeper.map(|keeper| keeper.list()).unwrap_or_default());
                encode_open(&Open { on_shards: self.open_transactions().await, kept: Some(kept), left_out })
            }
            Question::Find(id) => encode_found(keeper.and_then(|keeper| keeper.find(id)).as_ref()),
            Question::Abort(id, patience) => {
                let found = match keeper {
                    Some(keeper) => keeper.abort(id, patience).await,
                    None => None,
                };
                encode_found(found.as_ref())
            }
        }
    }
}

/// As many as are told, and how many are not.
fn oldest(mut kept: Vec<KeptTransaction>) -> (Vec<KeptTransaction>, u32) {
    kept.sort_by_key(|kept| (kept.age, kept.id));
    let left_out = kept.len().saturating_sub(TOLD_MAX);
    kept.truncate(TOLD_MAX);
    (kept, u32::try_from(left_out).unwrap_or(u32::MAX))
}
