//! Why machines stop themselves, and whether they may.

use std::sync::Arc;

use strata_env::sim::SimNode;

use super::Cluster;
use crate::fabric::Host;
use crate::trace::trace;

/// What a node says that was removed.
const REMOVED: &str = "was removed from the cluster";
/// What nodes say that are not wanted for another reason: at the door, by the meta group, by what they know themselves.
const TURNED_AWAY: [&str; 3] = ["does not take this node", " has version ", "cannot take part in a cluster"];
/// What else nodes may end for: a sync fails; or two that have lost their disks meet where no member hears them, and one
/// of them has a newer program.
const PROVOKED: [&str; 2] = ["input/output error of the simulated device", "were started with different settings"];

/// SIM-NODE-1: nothing panics, and what stops itself has a reason that the simulation gave it.
fn is_needless(reason: &str) -> bool {
    let mut known = [REMOVED].into_iter().chain(TURNED_AWAY).chain(PROVOKED);
    reason.contains("panic") || !known.any(|words| reason.contains(words))
}

impl Cluster {
    /// Starts again what stopped itself. A node may do so only because its disk failed, or because it is not wanted.
    pub(crate) fn revive(self: &Arc<Self>) {
        for host in 0..self.size() {
            let node = self.fabric.node_at(host);
            let (halt, failure, program, ended, life) = {
                let seat = &self.seats.lock()[host];
                let Some(running) = &seat.running else { continue };
                let ended = running.node.lock().clone();
                (seat.machine.halted().map(|halt| halt.reason), seat.failure.clone(), seat.versions, ended, seat.life)
            };
            let Some(reason) = halt.or(failure) else { continue };
            trace!(self.trace, "host-{host} ended: {reason}");
            if let Some(ended) = ended {
                // Perhaps the first to have it, and nobody looked since.
                self.invariants.lock().see_map(ended.identity().node, life, &ended.map());
            }
            self.judge_end(host, &reason);
            let is_removed = node.is_some_and(|node| self.invariants.lock().maps.is_removed(node));
            // One that died while it joined, and was removed then, never heard which node it was.
            let is_removed = is_removed || (node.is_none() && reason.contains(REMOVED));
            let is_old = !program.contains(self.newest_map().version);
            let is_turned_away = TURNED_AWAY.iter().any(|words| reason.contains(words));
            if (reason.contains(REMOVED) && !is_removed) || (is_turned_away && !is_old) {
                let text = format!(
                    "SIM-NODE-2 only removed nodes and old programs are turned away: host-{host}, {node:?}: {reason}"
                );
                self.invariants.lock().report(text);
            }
            self.stop(host, true);
            if is_removed {
                self.take_out(host);
            }
            self.start(host);
        }
    }

    /// A node has stopped itself.
    pub(super) fn judge_end(&self, host: Host, reason: &str) {
        if is_needless(reason) {
            self.invariants.lock().report(format!("SIM-NODE-1 nobody ends without need: host-{host}: {reason}"));
        }
    }

    /// Whether the machines of clients run: what a router or a coordinator does in the background panics there.
    pub(crate) fn look_at_clients(&self) {
        self.client_machines().iter().for_each(|machine| self.look_at_client(machine));
    }

    /// The same of one, which is about to start again, and forgets then why it had stopped itself.
    pub(crate) fn look_at_client(&self, machine: &SimNode) {
        if let Some(halt) = machine.halted() {
            let (number, reason) = (machine.number(), halt.reason);
            self.invariants.lock().report(format!("SIM-NODE-1 nobody ends without need: client-{number}: {reason}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SIM-NODE-1
    #[test]
    fn whoever_ends_for_a_reason_that_nobody_gave_is_found() {
        for given in [
            "the log failed: detail=`cannot sync log/7: input/output error of the simulated device`",
            "this data directory belongs to node n4, which was removed from the cluster; start with an empty directory",
            "the cluster does not take this node: it is full",
        ] {
            assert!(!is_needless(given), "{given}");
        }
        for needless in [
            "shard 3 failed: the log has a hole",
            "the log file log/7 is damaged: no valid frame",
            "a task panicked: task=`x` message=`input/output error of the simulated device`",
        ] {
            assert!(is_needless(needless), "{needless}");
        }
    }
}
