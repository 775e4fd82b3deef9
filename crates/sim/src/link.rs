//! How simulated clients reach nodes: from machines of their own, over the same network.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use strata_cluster::Timestamps;
use strata_env::Env;
use strata_kv::execute_at;
use strata_net::{Caller, Inbox, Switchboard, Transport as _};
use strata_router::{HOLD_TIME, Link, LinkError, ShardBatch, ShardReply, TimestampKind};
use strata_types::{
    ClusterId, Epoch, Error, ErrorCode, GroupId, NodeId, Operation, Outcome, Request, Result, Retry, ShardMap,
    Timestamp, TransactionCall,
};

use crate::cluster::Cluster;
use crate::fabric::{Host, SimTransport};
use crate::stragglers::Late;

/// A client's way to the cluster.
pub(crate) struct ClientLink {
    env: Env,
    host: Host,
    caller: Arc<Caller>,
    cluster: Weak<Cluster>,
    /// Keeps the inbox that answers arrive at.
    _switchboard: Arc<Switchboard>,
}

impl ClientLink {
    pub(crate) fn new(
        env: Env,
        cluster: &Arc<Cluster>,
        transport: Arc<SimTransport>,
        host: Host,
        id: ClusterId,
    ) -> Arc<ClientLink> {
        let node = NodeId(host as u64);
        transport.identify(id, node);
        let caller = Caller::new(env.clone(), transport.clone());
        caller.identify(node);
        let switchboard = Switchboard::new(caller.clone(), transport);
        let inbox: Arc<dyn Inbox> = switchboard.clone();
        cluster.fabric.attach(host, env.clone(), Arc::downgrade(&inbox));
        Arc::new(ClientLink { env, host, caller, cluster: Arc::downgrade(cluster), _switchboard: switchboard })
    }
}

impl ClientLink {
    /// Some node that runs. The simulated way of what SDKs send by gRPC.
    fn some_node(&self) -> Result<(Arc<Cluster>, Host, Arc<Timestamps>)> {
        let unavailable = |detail: &str| Error::not_applied(ErrorCode::Unavailable, detail);
        let cluster = self.cluster.upgrade().ok_or_else(|| unavailable("there is no cluster any more"))?;
        let nodes = cluster.nodes();
        if nodes.is_empty() {
            return Err(unavailable("no node runs"));
        }
        let (host, _, node) = &nodes[self.env.random_below(nodes.len() as u64) as usize];
        Ok((cluster, *host, node.timestamps().clone()))
    }

    /// One way over the network. What is lost never arrives.
    async fn travel(&self, cluster: &Cluster, from: Host, to: Host) {
        match cluster.fabric.journey(from, to) {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    }
}

/// Whether it changes what a shard knows of a transaction.
fn is_part(request: &Request) -> bool {
    let Operation::Transact(call) = &request.operation else { return false };
    !matches!(**call, TransactionCall::Lock { .. } | TransactionCall::Unlock { .. } | TransactionCall::Status { .. })
}

/// What is known of a request after the first of two attempts was answered, while the other one is still on its way: what
/// was refused for a reason that may pass is not refused yet.
fn as_of_the_second(answer: std::result::Result<ShardReply, LinkError>) -> std::result::Result<ShardReply, LinkError> {
    let ShardReply::Done { mut results, time } = answer? else {
        return Err(LinkError::Unknown { detail: "another attempt is on its way".into() });
    };
    let refusals = results.iter_mut().filter_map(|result| result.as_mut().err());
    let passing = refusals.filter(|error| matches!(error.retry(), Retry::Reroute | Retry::Backoff));
    passing.filter(|error| error.outcome == Outcome::NotApplied).for_each(|error| error.outcome = Outcome::Unknown);
    Ok(ShardReply::Done { results, time })
}

#[async_trait]
impl Link for ClientLink {
    async fn execute(
        &self,
        node: NodeId,
        batch: ShardBatch,
        deadline: Duration,
    ) -> std::result::Result<ShardReply, LinkError> {
        let Some(fabric) = self.cluster.upgrade().map(|cluster| cluster.fabric.clone()) else {
            return Err(LinkError::NotSent { detail: "there is no cluster any more".into() });
        };
        let group = GroupId::of_shard(batch.shard);
        let likely = if batch.requests.iter().any(is_part) { 1_000 } else { 100 };
        let is_repeatable = batch.requests.iter().all(is_part);
        let late = fabric.may_straggle(self.host, group, likely, is_repeatable);
        match (execute_at(&self.caller, node, batch, deadline).await, late) {
            (Err(LinkError::NotSent { detail }), Some(_)) => {
                fabric.sends_nothing(self.host, group);
                Err(LinkError::NotSent { detail })
            }
            (answer, Some(Late::Copy)) => as_of_the_second(answer),
            (answer, _) => answer,
        }
    }

    async fn timestamp(&self, kind: TimestampKind, deadline: Duration) -> Result<Timestamp> {
        let (cluster, host, timestamps) = self.some_node()?;
        let asked = cluster.time.lock().asked();
        let ask = async {
            self.travel(&cluster, self.host, host).await;
            let answer = match kind {
                TimestampKind::Begin => timestamps.begin(deadline).await,
                TimestampKind::Floor => timestamps.floor(deadline).await,
            };
            self.travel(&cluster, host, self.host).await;
            answer
        };
        let late =
            |_| Error::not_applied(ErrorCode::DeadlineExceeded, format!("host-{host} gave no timestamp in time"));
        let answer = self.env.timeout(deadline, ask).await.map_err(late)?;
        let answer = answer.map_err(|error| Error::not_applied(ErrorCode::Unavailable, error.to_string()))?;
        let broken = cluster.time.lock().answered(kind, asked, answer);
        if let Some(broken) = broken {
            cluster.invariants.lock().report(broken);
        }
        Ok(answer)
    }

    async fn hold(&self, at: Timestamp, _deadline: Duration) -> Result<()> {
        let (_, _, timestamps) = self.some_node()?;
        let (guard, env) = (timestamps.register(at), self.env.clone());
        self.env.spawn("sim-hold", async move {
            env.sleep(HOLD_TIME * 2).await;
            drop(guard);
        });
        Ok(())
    }

    /// Mostly a stale route is answered with the newer map. Only a client that was away while all nodes were replaced has
    /// to look for others: it asks whoever runs.
    async fn fetch_map(&self, newer_than: Epoch) -> Result<Arc<ShardMap>> {
        let maps = self.cluster.upgrade().map(|cluster| cluster.nodes()).unwrap_or_default();
        let newer = maps.into_iter().map(|(_, _, node)| node.map()).find(|map| map.epoch > newer_than);
        Ok(newer.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_still_be_done_by_the_other_attempt_is_not_refused_yet() {
        let refused = |code| Err(Error::not_applied(code, "refused"));
        let codes = [ErrorCode::Blocked, ErrorCode::NotLeader, ErrorCode::Conflict, ErrorCode::InvalidArgument];
        let results = codes.map(refused).into_iter().chain([Err(Error::unknown(ErrorCode::Unavailable, "lost"))]);
        let done = ShardReply::Done { results: results.collect(), time: Timestamp(7) };
        let Ok(ShardReply::Done { results, time: Timestamp(7) }) = as_of_the_second(Ok(done)) else {
            panic!("an answer to all of it is one");
        };
        let outcomes: Vec<Outcome> = results.into_iter().map(|result| result.unwrap_err().outcome).collect();
        use Outcome::{NotApplied, Unknown};
        assert_eq!(outcomes, [Unknown, Unknown, NotApplied, NotApplied, Unknown], "the first two may pass");

        for nothing_taken in [ShardReply::NotLeader { leader: None }, ShardReply::StaleRoute(Arc::default())] {
            assert!(matches!(as_of_the_second(Ok(nothing_taken)), Err(LinkError::Unknown { .. })));
        }
        let not_sent = || LinkError::NotSent { detail: "refused".into() };
        assert_eq!(as_of_the_second(Err(not_sent())).unwrap_err(), not_sent());
    }
}
