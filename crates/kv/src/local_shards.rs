//! Carries out batches on this node's replicas.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use strata_cluster::Node;
use strata_codec::decode_reply;
#[cfg(debug_assertions)]
use strata_raft::mutant::{Mutant, is};
use strata_raft::{Group, ProposeError};
use strata_router::{ShardBatch, ShardExecutor, ShardReply};
use strata_storage::StorageError;
use strata_types::{
    Error, ErrorCode, Feature, Freshness, GroupId, NodeId, ReadLevel, Reply, Request, Result, ShardPlacement,
};

use crate::confirmed::{Confirmed, confirm};
use crate::plan::{Plan, Results};
use crate::read_counters::ReadCounters;
use crate::reads::ReadFailed;
use crate::refusals::{Elsewhere, propose_error, read_error, storage_error};
use crate::{reads, route};

/// This node's own shards.
pub struct LocalShards {
    node: Arc<Node>,
    counters: ReadCounters,
}

impl LocalShards {
    /// The shards of a node.
    pub fn new(node: Arc<Node>) -> LocalShards {
        LocalShards { node, counters: ReadCounters::new() }
    }

    /// The node.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }
}

#[async_trait]
impl ShardExecutor for LocalShards {
    async fn execute(&self, batch: ShardBatch) -> ShardReply {
        let map = self.node.map();
        let own = self.node.identity().node;
        let Some(placement) = route::placement(&map, own, batch.shard, batch.epoch, &batch.requests) else {
            return ShardReply::StaleRoute(map);
        };
        // A replica that is damaged or not open yet does not lead; the others of the shard may. What it holds is not
        // shown to local reads either.
        let group = self.node.host().group(GroupId::of_shard(batch.shard));
        let Some(group) = group.filter(|group| group.is_sound()) else {
            return ShardReply::NotLeader { leader: None };
        };
        // A replica that is being added has not everything yet, and shows it to nobody before it leads.
        if placement.changes.added().is_some_and(|add| add.node == own) {
            let status = group.watch().borrow().clone();
            if !status.is_leader {
                return ShardReply::NotLeader { leader: status.leader.map(|(_, leader)| leader) };
            }
        }
        let plan = Plan::new(placement, &batch.requests, map.has(Feature::FollowerReads));
        #[cfg(debug_assertions)]
        let plan = match is(Mutant::OldRouteServed) && batch.epoch < map.epoch && placement.changes.generation > 0 {
            true => plan.all_local(),
            false => plan,
        };
        self.carry_out(&group, placement, plan, &batch.requests).await
    }
}

impl LocalShards {
    async fn carry_out(
        &self,
        group: &Arc<Group>,
        placement: &ShardPlacement,
        mut plan: Plan,
        requests: &Arc<Vec<Request>>,
    ) -> ShardReply {
        let commands = std::mem::take(&mut plan.commands);
        let (written, confirmed) = futures_util::future::join(propose(group, commands), confirm(group, &plan)).await;
        if let Some(leader) = whole_batch_elsewhere(&written, &confirmed) {
            return ShardReply::NotLeader { leader };
        }
        let mut results = Results::new(requests.len());
        for (position, error) in plan.refused {
            results.set(position, Err(error));
        }
        for (position, reply) in plan.writes.into_iter().zip(written) {
            results.set(position, reply.map_err(propose_error).and_then(decode));
        }
        // Only what is confirmed, or needs nobody to confirm it, looks at the tablet now (KV-3).
        let mut readable: Vec<_> = plan.local.into_iter().map(|position| (position, ReadLevel::Local)).collect();
        let classes = [plan.leading, plan.anywhere, plan.bounded];
        for (positions, level) in classes.into_iter().zip(confirmed.levels()) {
            match level {
                Err(error) => {
                    let error = read_error(error);
                    positions.into_iter().for_each(|position| results.set(position, Err(error.clone())));
                }
                Ok(level) => readable.extend(positions.into_iter().map(|position| (position, level))),
            }
        }
        self.read(group, placement, requests, &readable, &mut results).await;
        ShardReply::Done(results.finish())
    }

    /// Reads what is here now, at positions with the level that was kept for each.
    async fn read(
        &self,
        group: &Arc<Group>,
        placement: &ShardPlacement,
        requests: &Arc<Vec<Request>>,
        readable: &[(usize, ReadLevel)],
        results: &mut Results,
    ) {
        if readable.is_empty() {
            return;
        }
        let is_leader = group.leads();
        // The tablet has at least what is applied before it is looked at.
        let applied = group.applied();
        let mut levels = vec![ReadLevel::default(); requests.len()];
        for &(position, level) in readable {
            levels[position] = level;
            self.counters.count(level, is_leader);
        }
        let positions: Vec<usize> = readable.iter().map(|(position, _)| *position).collect();
        for (position, result) in reads::read(self.node.env(), group.tablet(), placement, requests, &positions).await {
            let fresh = Freshness { level: levels[position], applied };
            let result = result.map(|reply| with_freshness(reply, fresh));
            results.set(position, result.map_err(|failed| self.read_failed(group, failed)));
        }
    }

    /// Damage is the replica's end, so that nothing more is read from it (CLUSTER-5). A disk that fails stops the node:
    /// what is durable on it is not known.
    fn read_failed(&self, group: &Arc<Group>, failed: ReadFailed) -> Error {
        match failed {
            ReadFailed::Storage(error) => {
                group.refuse(&error);
                if let StorageError::Io { detail } = &error {
                    self.node.env().halt(format!("reading a tablet failed: {detail}"));
                }
                storage_error(&error)
            }
            ReadFailed::BrokeOff => Error::not_applied(ErrorCode::Internal, "reading the replica's tablet broke off"),
        }
    }
}

type Written = Vec<std::result::Result<Bytes, ProposeError>>;
async fn propose(group: &Group, commands: Vec<Bytes>) -> Written {
    if commands.is_empty() {
        return Vec::new();
    }
    metrics::counter!("strata_kv_writes_total").increment(commands.len() as u64);
    group.propose(commands).await
}

fn with_freshness(reply: Reply, fresh: Freshness) -> Reply {
    match reply {
        Reply::Get { item, .. } => Reply::Get { item, freshness: Some(fresh) },
        Reply::Scan { items, resume, .. } => Reply::Scan { items, resume, freshness: Some(fresh) },
        written => written,
    }
}

/// Who should be asked instead, if there is anything that needs a leader and all of that was refused because this
/// replica is not one or cannot reach it (KV-1). What needs none is done again there.
fn whole_batch_elsewhere(written: &Written, confirmed: &Confirmed) -> Option<Option<NodeId>> {
    let writes = written.iter().map(|reply| reply.as_ref().err().map_or(Elsewhere::No, Elsewhere::from));
    let mut leader = None;
    for part in writes.chain(confirmed.parts()) {
        match part {
            Elsewhere::No => return None,
            Elsewhere::Yes { leader: hint } => leader = Some(leader.flatten().or(hint)),
        }
    }
    leader
}

/// The reply of a command. One that does not decode was applied all the same.
fn decode(reply: Bytes) -> Result<Reply> {
    decode_reply(reply).unwrap_or_else(|error| {
        let message = format!("the write was applied, but its reply is damaged: {error}");
        Err(Error::new(ErrorCode::Internal, strata_types::Outcome::Applied, message))
    })
}

#[cfg(test)]
mod tests {
    use strata_raft::ReadError;

    use super::*;

    /// KV-1
    #[test]
    fn a_batch_goes_elsewhere_only_if_nothing_of_it_was_done() {
        let not_leader = |leader: Option<u64>| ProposeError::NotLeader { leader: leader.map(NodeId) };
        let done = || Ok(Bytes::new());
        let nothing = Confirmed::default;
        let leading = |result| Confirmed { leading: Some(result), ..Confirmed::default() };
        assert_eq!(whole_batch_elsewhere(&vec![], &nothing()), None, "nothing needs a leader");
        let refused = vec![Err(not_leader(None)), Err(not_leader(Some(2)))];
        assert_eq!(whole_batch_elsewhere(&refused, &nothing()), Some(Some(NodeId(2))));
        assert_eq!(whole_batch_elsewhere(&vec![done(), Err(not_leader(Some(2)))], &nothing()), None);
        assert_eq!(whole_batch_elsewhere(&refused, &leading(Ok(()))), None);
        let reads = leading(Err(ReadError::NotLeader { leader: Some(NodeId(3)) }));
        assert_eq!(whole_batch_elsewhere(&vec![], &reads), Some(Some(NodeId(3))));
        assert_eq!(whole_batch_elsewhere(&vec![done()], &reads), None);
        let stopped = leading(Err(ReadError::Stopped { reason: "stopping".into() }));
        assert_eq!(whole_batch_elsewhere(&vec![], &stopped), Some(None));
        let unknown = vec![Err(ProposeError::Unknown { detail: "lost".into() })];
        assert_eq!(whole_batch_elsewhere(&unknown, &reads), None);
        let silent = || ReadError::LeaderSilent { leader: NodeId(1), detail: "cut".into() };
        let follower = Confirmed { anywhere: Some(Err(silent())), bounded: Some(Err(silent())), ..nothing() };
        assert_eq!(whole_batch_elsewhere(&vec![], &follower), Some(None), "another replica may reach the leader");
        let half = Confirmed { bounded: Some(Ok(None)), ..follower };
        assert_eq!(whole_batch_elsewhere(&vec![], &half), None);
    }
}
