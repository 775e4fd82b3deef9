//! The timers of a node's replicas are looked at together, and only where something can be due.
//!
//! # Problem
//! openraft looks at the timers of each replica five times in a heartbeat, each replica at a time of its own. Nearly
//! always nothing is due, and a node of hundreds of replicas never sleeps for as much as a millisecond.
//!
//! # Model
//! ```text
//!   leads                                  no timers; a heartbeat at every fifth beat of the node
//!   has heard its leader a moment ago      no timers: no election can be due
//!   has not                                openraft's timers, as they are
//! ```
//! What is sent in one beat travels together; groups are spread over the five beats, so that no beat has much to do.
//!
//! Nothing that is safe or not hangs on this: openraft measures the silence of a leader itself, and an election is due
//! after no less than it was. Timers are looked at again well before it is; only where a leader has just handed over to
//! somebody who fell silent may it begin two beats late.

use std::sync::Weak;
use std::time::Duration;

use futures_util::FutureExt as _;
use strata_env::{Env, Mono};

use crate::group::Group;
use crate::host::Host;
use crate::replica::Replica;

/// Beats in a heartbeat.
const BEATS: u64 = 5;

impl Replica {
    /// Something was taken at an instant from a leader whom this replica follows.
    pub(crate) fn hear(&self, at: Mono) {
        let mut heard = self.heard.lock();
        *heard = (*heard).max(Some(at));
    }

    fn has_heard(&self, now: Mono, within: Duration) -> bool {
        self.heard.lock().is_some_and(|at| now.since(at) < within)
    }
}

impl Group {
    fn beat(&self, now: Mono, beat: u64) {
        let Some(raft) = self.raft() else { return };
        if self.leads() && beat % BEATS == self.id().0 % BEATS {
            // Where the queue is full the followers hear enough of this leader.
            let _ = raft.trigger().heartbeat().now_or_never();
        }
        raft.runtime_config().tick(self.needs_timers(now));
    }

    fn needs_timers(&self, now: Mono) -> bool {
        !self.leads() && !self.state().has_heard(now, self.timing().election_min)
    }
}

/// Runs as long as the host.
pub(crate) async fn run(host: Weak<Host>, env: Env, heartbeat: Duration) {
    let step = heartbeat / BEATS as u32;
    let mut next = env.now();
    for beat in 0.. {
        // A node that stood still goes on from here: missed beats are not made up for.
        next = (next + step).max(env.now());
        env.sleep(next.since(env.now())).await;
        let Some(host) = host.upgrade() else { return };
        let now = env.now();
        for group in host.groups() {
            group.beat(now, beat);
        }
    }
}

#[cfg(test)]
mod tests {
    use strata_types::{GroupId, NodeId, ReplicaId};

    use crate::GroupSpec;
    use crate::membership::tests::{Nothing, leader};

    #[tokio::test(start_paused = true)]
    async fn timers_are_needed_where_no_leader_was_heard_a_moment_ago() {
        let (host, leads) = leader(Nothing).await;
        let (env, timing) = (host.parts.env.clone(), host.parts.timing);
        let members = [(ReplicaId(2), NodeId(1)), (ReplicaId(3), NodeId(2)), (ReplicaId(4), NodeId(3))].into();
        let machine = std::sync::Arc::new(Nothing);
        let spec = GroupSpec { group: GroupId(2), replica: ReplicaId(2), members, machine, initialize: true };
        let follows = host.open(spec).await.expect("group opens");
        env.sleep(timing.heartbeat).await;
        assert!(!leads.needs_timers(env.now()), "a leader has none");
        assert!(follows.needs_timers(env.now()), "it has no leader");

        for _ in 0..10 {
            follows.state().hear(env.now());
            env.sleep(timing.heartbeat).await;
            assert!(!follows.needs_timers(env.now()), "it has heard its leader");
        }
        env.sleep(timing.election_min - timing.heartbeat / 2).await;
        assert!(follows.needs_timers(env.now()), "an election may soon be due");
    }
}
