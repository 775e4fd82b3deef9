//! Carries out batches on this node's replicas.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use strata_cluster::{Begun, Node};
#[cfg(debug_assertions)]
use strata_raft::mutant::{Mutant, is};
use strata_router::{Keeper, ShardBatch, ShardExecutor, ShardReply, size_of_reply};
use strata_types::{
    Error, GroupId, NodeId, Operation, ReadLevel, Reply, Request, Result, ShardId, ShardPlacement, Slot,
    TransactionReply, limits::GRPC_MESSAGE_BYTES_MAX,
};

use crate::confirmed::{Confirmed, confirm};
use crate::holds::Holds;
use crate::plan::{Plan, Results};
use crate::read_counters::ReadCounters;
use crate::refusals::{Elsewhere, propose_error, read_error};
use crate::steps::{Place, Steps};
use crate::tidying::Seen;
use crate::writes::Written;
use crate::{route, times};

/// How long the requests of a batch wait for transactions that are not decided; the others of the batch wait with them.
pub(crate) const BLOCKED_SLICE: Duration = Duration::from_millis(50);

/// This node's own shards.
pub struct LocalShards {
    node: Arc<Node>,
    counters: ReadCounters,
    steps: Steps,
    holds: Holds,
    seen: Mutex<BTreeMap<ShardId, Seen>>,
    /// What the node keeps for clients, if it does.
    keeper: Mutex<Option<Weak<dyn Keeper>>>,
}

impl LocalShards {
    /// The shards of a node.
    pub(crate) fn new(node: Arc<Node>) -> LocalShards {
        let (counters, steps) = (ReadCounters::new(), Steps::default());
        let (holds, seen, keeper) = (Holds::default(), Mutex::default(), Mutex::default());
        LocalShards { node, counters, steps, holds, seen, keeper }
    }

    /// The node.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// From now on other nodes are told what is kept here for clients.
    pub fn set_keeper(&self, keeper: Weak<dyn Keeper>) {
        *self.keeper.lock() = Some(keeper);
    }

    pub(crate) fn keeper(&self) -> Option<Arc<dyn Keeper>> {
        self.keeper.lock().as_ref()?.upgrade()
    }

    /// What was unfinished when it was looked last.
    pub(crate) fn seen(&self) -> &Mutex<BTreeMap<ShardId, Seen>> {
        &self.seen
    }

    /// Timestamps that readers outside use.
    pub(crate) fn holds(&self) -> &Holds {
        &self.holds
    }

    /// How often which reads were made.
    pub(crate) fn counters(&self) -> &ReadCounters {
        &self.counters
    }

    /// What is remembered of transactions.
    pub(crate) fn steps(&self) -> &Steps {
        &self.steps
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
        // A replica that is being added has not everything yet, and shows it to nobody before it leads. What begins at the
        // leader goes there before anybody is asked for a timestamp.
        let is_added = placement.changes.added().is_some_and(|add| add.node == own);
        if is_added || times::begin_at_leader(&batch.requests) {
            let status = group.watch().borrow().clone();
            if !status.is_leader {
                return ShardReply::NotLeader { leader: status.leader.map(|(_, leader)| leader) };
            }
        }
        if group.leads() {
            self.node.paces().note(group.id(), batch.requests.len() as u64);
        }
        let mut untimely = times::check(&self.node, &batch.requests).await;
        let (requests, begun) = times::begin(&self.node, &group, batch.requests.clone(), &mut untimely).await;
        let plan = Plan::new(placement, &requests, |feature| map.has(feature), untimely);
        #[cfg(debug_assertions)]
        let plan = match is(Mutant::OldRouteServed) && batch.epoch < map.epoch && placement.changes.generation > 0 {
            true => plan.all_local(),
            false => plan,
        };
        let work = Work { place: Place { node: &self.node, group: &group, shard: batch.shard }, placement };
        self.carry_out(&work, plan, &requests, begun.as_ref()).await
    }
}

/// Where a batch is carried out.
pub(crate) struct Work<'a> {
    pub(crate) place: Place<'a>,
    pub(crate) placement: &'a ShardPlacement,
}

impl Work<'_> {
    /// A slot of the shard.
    pub(crate) fn slot(&self) -> Slot {
        Slot::new(self.placement.slots.start).expect("a shard owns slots")
    }
}

impl LocalShards {
    async fn carry_out(
        &self,
        work: &Work<'_>,
        mut plan: Plan,
        requests: &Arc<Vec<Request>>,
        begun: Option<&Begun>,
    ) -> ShardReply {
        let group = work.place.group;
        let lease = if plan.leased.is_empty() { None } else { group.lease() };
        if lease.is_none() {
            plan.without_lease(requests);
        }
        let commands = std::mem::take(&mut plan.commands);
        let (written, confirmed, stepped, unconfirmed) = futures_util::future::join4(
            self.write(work, &plan, commands, requests),
            confirm(group, &plan, begun),
            self.take_steps(work, &plan, requests),
            times::confirm(&self.node, begun),
        )
        .await;
        if let Some(leader) = whole_batch_elsewhere(&written, &confirmed) {
            return ShardReply::NotLeader { leader };
        }
        let mut results = Results::new(requests.len());
        for (position, error) in plan.refused {
            results.set(position, Err(error));
        }
        for (position, result) in plan.steps.into_iter().zip(stepped) {
            results.set(position, result);
        }
        for (position, result) in plan.writes.into_iter().zip(written) {
            results.set(position, result.map_err(propose_error).and_then(std::convert::identity));
        }
        if let Some(error) = unconfirmed {
            let begins = |position: &usize| times::begins(&requests[*position]);
            plan.dated.iter().filter(|position| begins(position)).for_each(|it| results.set(*it, Err(error.clone())));
            plan.dated.retain(|position| !begins(position));
        }
        // Only what is confirmed, or needs nobody to confirm it, looks at the tablet now (KV-3).
        let mut readable: Vec<_> = plan.local.into_iter().map(|position| (position, ReadLevel::Local)).collect();
        readable.extend(plan.leased.into_iter().map(|position| (position, ReadLevel::Lease)));
        let classes = [plan.leading, plan.anywhere, plan.bounded, plan.dated];
        for (positions, level) in classes.into_iter().zip(confirmed.levels()) {
            match level {
                Err(error) => {
                    let error = read_error(error);
                    positions.into_iter().for_each(|position| results.set(position, Err(error.clone())));
                }
                Ok(level) => readable.extend(positions.into_iter().map(|position| (position, level))),
            }
        }
        self.read(work, requests, readable, lease, &mut results).await;
        // Everything that is told of was stamped, and most of it applied, before this look.
        ShardReply::Done { results: results.finish(), time: group.heard() }
    }

    /// The steps of transactions that do not go into the log, side by side.
    async fn take_steps(&self, work: &Work<'_>, plan: &Plan, requests: &[Request]) -> Vec<Result<Reply>> {
        // Of what was found behind locks, no more is kept than goes into one answer.
        let held = AtomicUsize::new(0);
        let take = |position: &usize| {
            let Operation::Transact(call) = &requests[*position].operation else {
                unreachable!("the plan put something else among the steps");
            };
            async {
                let reply = self.steps.take(&work.place, call).await.map(Reply::Transact)?;
                let is_large = matches!(reply, Reply::Transact(TransactionReply::Locked { item: Some(_), .. }));
                match held.fetch_add(size_of_reply(&reply), Ordering::Relaxed) > GRPC_MESSAGE_BYTES_MAX && is_large {
                    // Who asks again has the lock already.
                    true => Err(Error::without_room()),
                    false => Ok(reply),
                }
            }
        };
        futures_util::future::join_all(plan.steps.iter().map(take)).await
    }
}

/// Who should be asked instead, if there is anything that needs a leader and all of that was refused because this
/// replica is not one or cannot reach it (KV-1). What needs none is done again there.
fn whole_batch_elsewhere(written: &[Written], confirmed: &Confirmed) -> Option<Option<NodeId>> {
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

#[cfg(test)]
mod tests {
    use strata_raft::{ProposeError, ReadError};
    use strata_types::Revision;

    use super::*;

    /// KV-1
    #[test]
    fn a_batch_goes_elsewhere_only_if_nothing_of_it_was_done() {
        let not_leader = |leader: Option<u64>| ProposeError::NotLeader { leader: leader.map(NodeId) };
        let done = || Ok(Ok(Reply::Put { revision: Revision::default() }));
        let nothing = Confirmed::default;
        let leading = |result| Confirmed { leading: Some(result), ..Confirmed::default() };
        assert_eq!(whole_batch_elsewhere(&[], &nothing()), None, "nothing needs a leader");
        let refused = [Err(not_leader(None)), Err(not_leader(Some(2)))];
        assert_eq!(whole_batch_elsewhere(&refused, &nothing()), Some(Some(NodeId(2))));
        assert_eq!(whole_batch_elsewhere(&[done(), Err(not_leader(Some(2)))], &nothing()), None);
        assert_eq!(whole_batch_elsewhere(&refused, &leading(Ok(()))), None);
        let reads = leading(Err(ReadError::NotLeader { leader: Some(NodeId(3)) }));
        assert_eq!(whole_batch_elsewhere(&[], &reads), Some(Some(NodeId(3))));
        assert_eq!(whole_batch_elsewhere(&[done()], &reads), None);
        let stopped = leading(Err(ReadError::Stopped { reason: "stopping".into() }));
        assert_eq!(whole_batch_elsewhere(&[], &stopped), Some(None));
        let unknown = [Err(ProposeError::Unknown { detail: "lost".into() })];
        assert_eq!(whole_batch_elsewhere(&unknown, &reads), None);
        let silent = || ReadError::LeaderSilent { leader: NodeId(1), detail: "cut".into() };
        let follower = Confirmed { anywhere: Some(Err(silent())), bounded: Some(Err(silent())), ..nothing() };
        assert_eq!(whole_batch_elsewhere(&[], &follower), Some(None), "another replica may reach the leader");
        let half = Confirmed { bounded: Some(Ok(None)), ..follower };
        assert_eq!(whole_batch_elsewhere(&[], &half), None);
    }
}
