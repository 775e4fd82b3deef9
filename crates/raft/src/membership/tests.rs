//! A change that was decided on what is no longer so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use strata_env::sim::SimWorld;
use strata_machine::{CommandContext, Machine, ViewMut};
use strata_net::{Caller, Lane, Message, NetError, Transport};
use strata_storage::memory::MemoryTablets;
use strata_types::{ClusterId, GroupId, NodeId, ReplicaId};
use strata_wal::{Wal, WalOptions};

use super::*;
use crate::{GroupSpec, Host, HostParts, Retention, Timing};

pub(crate) struct Nothing;

impl Machine for Nothing {
    fn apply(&self, _view: &mut dyn ViewMut, _context: CommandContext, _command: &Bytes) -> Bytes {
        Bytes::new()
    }
}

/// Nobody can be reached.
struct Alone;

#[async_trait]
impl Transport for Alone {
    fn send(&self, _lane: Lane, message: Message) -> Result<(), NetError> {
        Err(NetError::Unreachable { target: message.to.to_string(), detail: "down".into() })
    }

    fn identify(&self, _cluster: ClusterId, _node: NodeId) {}

    fn set_address(&self, _node: NodeId, _address: &str) {}

    async fn introduce(&self, address: &str, _body: Bytes, _deadline: Duration) -> Result<Bytes, NetError> {
        Err(NetError::Unreachable { target: address.into(), detail: "down".into() })
    }
}

/// A host with a group of one replica, which leads.
pub(crate) async fn leader(machine: impl Machine) -> (Arc<Host>, Arc<Group>) {
    let replicated = Arc::new(machine);
    let machine = SimWorld::new(1).node(1);
    let env = machine.env();
    let wal = Wal::open(env.clone(), machine.disk(), Path::new("log"), WalOptions::default(), &|_| ()).await;
    let host = Host::new(HostParts {
        caller: Caller::new(env.clone(), Arc::new(Alone)),
        env,
        node: NodeId(1),
        wal: wal.expect("log opens"),
        tablets: Arc::new(MemoryTablets::new()),
        timing: Timing::default(),
        retention: Retention::default(),
        snapshot_bytes_per_second: crate::SNAPSHOT_BYTES_PER_SECOND,
        cores: 1,
    });
    let members = [(ReplicaId(1), NodeId(1))].into();
    let spec = GroupSpec { group: GroupId(1), replica: ReplicaId(1), members, machine: replicated, initialize: true };
    let group = host.open(spec).await.expect("group opens");
    while group.members().is_none() {
        host.parts.env.sleep(Duration::from_millis(10)).await;
    }
    (host, group)
}

fn add(replica: u64) -> ChangeMembers<ReplicaId, Seat> {
    ChangeMembers::AddNodes([(ReplicaId(replica), Seat { node: NodeId(replica) })].into())
}

/// RAFT-8
#[tokio::test(start_paused = true)]
async fn a_change_starts_from_the_newest_membership_and_in_the_term_it_was_decided_in() {
    let (_host, group) = leader(Nothing).await;
    let stale = group.settled().await.expect("it leads");
    group.add_learner(ReplicaId(2), NodeId(2)).await.expect("it leads");
    let refused = stale.change(add(3)).await;
    assert!(matches!(refused, Err(ChangeError::Superseded { .. })), "{refused:?}");

    let mut former = group.settled().await.expect("it leads");
    former.leader.term -= 1;
    assert_eq!(former.change(add(3)).await, Err(ChangeError::NotLeader { leader: None }));

    let learners: Vec<ReplicaId> = group.members().expect("it leads").learners.into_keys().collect();
    assert_eq!(learners, [ReplicaId(2)]);
    assert_eq!(group.settled().await.expect("it leads").change(add(3)).await, Ok(()));

    let (term, to) = (group.status().term, || BTreeSet::from([ReplicaId(1)]));
    let earlier = group.change_voters(Term(term.0 - 1), to()).await;
    assert_eq!(earlier, Err(ChangeError::NotLeader { leader: None }), "decided before it lost and won leadership");
    assert_eq!(group.change_voters(term, to()).await, Ok(()));
}
