//! Reads of a batch: on what is confirmed, and again if a transaction was in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strata_raft::{Group, Lease};
use strata_shard::Obstacle;
use strata_storage::StorageError;
use strata_types::{Error, ErrorCode, Freshness, ReadLevel, Reply, Request, Transaction};

use crate::LocalShards;
use crate::blockers::{self, InTheWay};
use crate::local_shards::{BLOCKED_SLICE, Work};
use crate::plan::Results;
use crate::reads::{self, ReadFailed};
use crate::refusals::{self, read_error, storage_error};

/// What was read and has no result.
#[derive(Default)]
struct Unread {
    /// Which transaction was in the way, by position.
    met: BTreeMap<usize, Transaction>,
    /// Positions of what was read under a lease that did not last.
    lapsed: BTreeSet<usize>,
}

impl LocalShards {
    /// Reads what is here now, at positions with the level that was kept for each. What meets a transaction that is not
    /// decided is read again when it is.
    pub(crate) async fn read(
        &self,
        work: &Work<'_>,
        requests: &Arc<Vec<Request>>,
        mut readable: Vec<(usize, ReadLevel)>,
        lease: Option<Lease>,
        results: &mut Results,
    ) {
        let group = work.place.group;
        let until = self.node().env().now() + BLOCKED_SLICE;
        while !readable.is_empty() {
            let Unread { met, lapsed } = self.read_once(work, requests, &readable, lease, results).await;
            if met.is_empty() && lapsed.is_empty() {
                return;
            }
            if !lapsed.is_empty() {
                readable.retain(|(position, _)| met.contains_key(position) || lapsed.contains(position));
                after_a_round(&mut readable, group.read_barrier_anywhere().await.map_err(read_error), results);
                continue;
            }
            let mut in_the_way = InTheWay::new();
            met.values().for_each(|by| blockers::note(&mut in_the_way, *by, None));
            let cleared = self.steps().blockers.clear(work.slot(), in_the_way).await;
            let again = match cleared || self.node().env().now() < until {
                // What was resolved must be applied here, too, before it is read here.
                true => group.read_barrier_anywhere().await.map_err(read_error),
                false => Err(blockers::blocked(met.values().next().expect("not empty"))),
            };
            readable.retain(|(position, _)| met.contains_key(position));
            after_a_round(&mut readable, again, results);
        }
    }

    /// Reads once. Returns what has no result.
    async fn read_once(
        &self,
        work: &Work<'_>,
        requests: &Arc<Vec<Request>>,
        readable: &[(usize, ReadLevel)],
        lease: Option<Lease>,
        results: &mut Results,
    ) -> Unread {
        let group = work.place.group;
        let is_leader = group.leads();
        // The tablet has at least what is applied before it is looked at.
        let applied = group.applied();
        let mut levels = vec![ReadLevel::default(); requests.len()];
        for &(position, level) in readable {
            levels[position] = level;
        }
        let positions: Vec<usize> = readable.iter().map(|(position, _)| *position).collect();
        let mut unread = Unread::default();
        let read = reads::read(self.node().env(), group.tablet(), work.placement, requests, &positions).await;
        // Asked after everything was read: the process may have been stopped before or in between (RAFT-15).
        let is_lapsed = lease.is_none_or(|lease| !group.holds(&lease));
        for (position, result) in read {
            if let Err(ReadFailed::Met(Obstacle::Blocked(by))) = result {
                unread.met.insert(position, by);
                continue;
            }
            if is_lapsed && levels[position] == ReadLevel::Lease {
                unread.lapsed.insert(position);
                continue;
            }
            self.counters().count(levels[position], is_leader);
            let fresh = Freshness { level: levels[position], applied, at: requests[position].header.at };
            let result = result.map(|reply| with_freshness(reply, fresh));
            results.set(position, result.map_err(|failed| self.read_failed(group, failed)));
        }
        unread
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
            ReadFailed::NoRoom => Error::without_room(),
            ReadFailed::BrokeOff => Error::not_applied(ErrorCode::Internal, "reading the replica's tablet broke off"),
        }
    }
}

/// What is still to be read is as new as the round that was just made for it, or fails as it did.
fn after_a_round(readable: &mut Vec<(usize, ReadLevel)>, round: Result<(), Error>, results: &mut Results) {
    match round {
        Ok(()) => readable.iter_mut().filter(|(_, level)| *level == ReadLevel::Lease).for_each(|(_, level)| {
            *level = ReadLevel::Linearizable;
        }),
        Err(error) => readable.drain(..).for_each(|(position, _)| results.set(position, Err(error.clone()))),
    }
}

fn with_freshness(reply: Reply, fresh: Freshness) -> Reply {
    match reply {
        Reply::Get { item, .. } => Reply::Get { item, freshness: Some(fresh) },
        Reply::Scan { items, resume, .. } => Reply::Scan { items, resume, freshness: Some(fresh) },
        written => written,
    }
}
