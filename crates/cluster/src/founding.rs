//! The founder's decision, without any I/O.
//!
//! ```text
//!   candidates arrive --> admit --> enough that were heard of lately? --> decide --> Charter (made durable, then told)
//!   later candidates  -------------------> have they a seat in the charter? otherwise they join: see Admission
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strata_env::Mono;
use strata_meta::default_shard_count;
use strata_types::{ClusterId, NodeId, ReplicaId, ReplicaPlacement};

use crate::introduction::{Candidate, Refusal, Verdict};
use crate::{Charter, InstanceId, Seat};

/// Replicas of the meta group at its birth: survives the loss of one node.
const REPLICAS_OF_META: usize = 3;
/// A candidate that was not heard of for this long is not founded with: it may be gone for ever. Candidates ask many
/// times within it.
const FRESH: Duration = Duration::from_secs(3);

/// The candidates of a cluster that is not founded yet. All of it is lost in a crash, and gathered again.
pub(crate) struct Founding {
    own: Candidate,
    /// The join list, for the order of node ids.
    join: Vec<String>,
    found: BTreeMap<InstanceId, Found>,
}

struct Found {
    candidate: Candidate,
    heard: Mono,
}

impl Founding {
    pub(crate) fn new(own: Candidate, join: Vec<String>) -> Founding {
        Founding { own, join, found: BTreeMap::new() }
    }

    /// Whether this candidate was admitted with this address before.
    pub(crate) fn knows(&self, candidate: &Candidate) -> bool {
        self.found.get(&candidate.instance).is_some_and(|found| found.candidate.peer_address == candidate.peer_address)
    }

    /// Takes note of a candidate that answers at the address that it gives.
    pub(crate) fn admit(&mut self, candidate: Candidate, now: Mono) -> Verdict {
        if let Some(detail) = self.difference(&candidate) {
            return Verdict::Refused(Refusal::SettingsDiffer { detail });
        }
        if candidate.peer_address == self.own.peer_address {
            return Verdict::Refused(Refusal::AddressTaken { address: candidate.peer_address });
        }
        // Whoever answers at an address now is who lives there: its predecessor lost its data directory.
        self.found.retain(|instance, found| {
            *instance == candidate.instance || found.candidate.peer_address != candidate.peer_address
        });
        let is_full = self.present(now) >= self.own.expect;
        if !is_full || self.found.contains_key(&candidate.instance) {
            self.found.insert(candidate.instance, Found { candidate, heard: now });
        }
        Verdict::Wait { known: self.present(now), expected: self.own.expect }
    }

    /// Candidates that are there, the founder included.
    pub(crate) fn present(&self, now: Mono) -> u32 {
        1 + self.fresh(now).count() as u32
    }

    /// The cluster, once enough candidates are there.
    pub(crate) fn decide(&self, cluster: ClusterId, now: Mono) -> Option<Charter> {
        if self.present(now) < self.own.expect {
            return None;
        }
        let mut others: Vec<&Candidate> = self.fresh(now).collect();
        let rank = |candidate: &Candidate| {
            self.join.iter().position(|address| *address == candidate.peer_address).unwrap_or(usize::MAX)
        };
        others.sort_by_key(|candidate| (rank(candidate), candidate.peer_address.clone()));
        let members: Vec<_> = [&self.own].into_iter().chain(others).take(self.own.expect as usize).collect();
        let seats: Vec<_> = (1..).map(NodeId).zip(&members).map(|(node, candidate)| seat(node, candidate)).collect();
        let cores = members.iter().map(|candidate| candidate.cores).fold(0, u32::saturating_add);
        let shard_count = self.own.shards.unwrap_or_else(|| default_shard_count(cores));
        Some(Charter { cluster, meta: place_meta(&seats), seats, shard_count })
    }

    fn fresh(&self, now: Mono) -> impl Iterator<Item = &Candidate> {
        self.found.values().filter(move |found| now.since(found.heard) <= FRESH).map(|found| &found.candidate)
    }

    fn difference(&self, candidate: &Candidate) -> Option<String> {
        if candidate.cluster != self.own.cluster {
            return Some(format!("--cluster {} and --cluster {}", candidate.cluster, self.own.cluster));
        }
        if let (Some(first), Some(own)) = (&candidate.first, &self.own.first)
            && first != own
        {
            return Some(format!("--join lists that begin with {first} and with {own}"));
        }
        if candidate.expect != self.own.expect {
            return Some(format!("--expect {} and --expect {}", candidate.expect, self.own.expect));
        }
        if candidate.versions != self.own.versions {
            let (theirs, own) = (candidate.versions, self.own.versions);
            return Some(format!("a program of cluster versions {theirs} and one of {own}"));
        }
        let name = |shards: Option<u32>| shards.map_or("no --shards".to_owned(), |count| format!("--shards {count}"));
        (candidate.shards != self.own.shards)
            .then(|| format!("{} and {}", name(candidate.shards), name(self.own.shards)))
    }
}

fn seat(node: NodeId, candidate: &Candidate) -> Seat {
    Seat {
        node,
        instance: candidate.instance,
        peer_address: candidate.peer_address.clone(),
        client_address: candidate.client_address.clone(),
        zone: candidate.zone.clone(),
    }
}

/// The first nodes, but as many different zones as there are.
fn place_meta(seats: &[Seat]) -> Vec<ReplicaPlacement> {
    let mut zones = BTreeSet::new();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for seat in seats {
        let is_new = seat.zone.is_empty() || zones.insert(&seat.zone);
        if is_new { first.push(seat.node) } else { second.push(seat.node) }
    }
    first.extend(second);
    first.truncate(REPLICAS_OF_META);
    (1..).map(ReplicaId).zip(first).map(|(replica, node)| ReplicaPlacement { replica, node }).collect()
}

#[cfg(test)]
#[path = "founding/tests.rs"]
mod tests;
