//! Reads of a batch: on what is confirmed, and again if a transaction was in the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use strata_raft::Group;
use strata_shard::Obstacle;
use strata_storage::StorageError;
use strata_types::{Error, ErrorCode, Freshness, ReadLevel, Reply, Request, Transaction};

use crate::LocalShards;
use crate::blockers::{self, InTheWay};
use crate::local_shards::{BLOCKED_SLICE, Work};
use crate::plan::Results;
use crate::reads::{self, ReadFailed};
use crate::refusals::{self, read_error, storage_error};

impl LocalShards {
    /// Reads what is here now, at positions with the level that was kept for each. What meets a transaction that is not
    /// decided is read again when it is.
    pub(crate) async fn read(
        &self,
        work: &Work<'_>,
        requests: &Arc<Vec<Request>>,
        mut readable: Vec<(usize, ReadLevel)>,
        results: &mut Results,
    ) {
        let until = self.node().env().now() + BLOCKED_SLICE;
        while !readable.is_empty() {
            let met = self.read_once(work, requests, &readable, results).await;
            if met.is_empty() {
                return;
            }
            let mut in_the_way = InTheWay::new();
            met.values().for_each(|by| blockers::note(&mut in_the_way, *by, None));
            let cleared = self.steps().blockers.clear(work.slot(), in_the_way).await;
            let again = match cleared || self.node().env().now() < until {
                // What was resolved must be applied here, too, before it is read here.
                true => work.place.group.read_barrier_anywhere().await.map_err(read_error),
                false => Err(blockers::blocked(met.values().next().expect("not empty"))),
            };
            readable.retain(|(position, _)| met.contains_key(position));
            if let Err(error) = again {
                readable.drain(..).for_each(|(position, _)| results.set(position, Err(error.clone())));
            }
        }
    }

    /// Reads once. Returns what was met at which position.
    async fn read_once(
        &self,
        work: &Work<'_>,
        requests: &Arc<Vec<Request>>,
        readable: &[(usize, ReadLevel)],
        results: &mut Results,
    ) -> BTreeMap<usize, Transaction> {
        let group = work.place.group;
        let is_leader = group.leads();
        // The tablet has at least what is applied before it is looked at.
        let applied = group.applied();
        let mut levels = vec![ReadLevel::default(); requests.len()];
        for &(position, level) in readable {
            levels[position] = level;
            self.counters().count(level, is_leader);
        }
        let positions: Vec<usize> = readable.iter().map(|(position, _)| *position).collect();
        let mut met = BTreeMap::new();
        let read = reads::read(self.node().env(), group.tablet(), work.placement, requests, &positions).await;
        for (position, result) in read {
            if let Err(ReadFailed::Met(Obstacle::Blocked(by))) = result {
                met.insert(position, by);
                continue;
            }
            let fresh = Freshness { level: levels[position], applied, at: requests[position].header.at };
            let result = result.map(|reply| with_freshness(reply, fresh));
            results.set(position, result.map_err(|failed| self.read_failed(group, failed)));
        }
        met
    }

    /// Damage is the replica's end, so that nothing more is read from it (CLUSTER-5). A disk that fails stops the node:
    /// what is durable on it is not known.
    fn read_failed(&self, group: &Arc<Group>, failed: ReadFailed) -> Error {
        match failed {
            ReadFailed::Storage(error) => {
                group.refuse(&error);
                if let StorageError::Io { detail } = &error {
                    self.node().env().halt(format!("reading a tablet failed: {detail}"));
                }
                storage_error(&error)
            }
            ReadFailed::Met(obstacle) => refusals::obstacle(obstacle),
            ReadFailed::BrokeOff => Error::not_applied(ErrorCode::Internal, "reading the replica's tablet broke off"),
        }
    }
}

fn with_freshness(reply: Reply, fresh: Freshness) -> Reply {
    match reply {
        Reply::Get { item, .. } => Reply::Get { item, freshness: Some(fresh) },
        Reply::Scan { items, resume, .. } => Reply::Scan { items, resume, freshness: Some(fresh) },
        written => written,
    }
}
