//! Disks that fill up while everything else happens, until somebody makes room.
//!
//! One at a time, so that a majority has room. Replicas that are on their way to it wait or go elsewhere, leaders leave
//! it, and what takes no room goes on there. Nobody ends over it (SIM-NODE-1), and when there is room again everything
//! comes to rest (SIM-LIVE-2).
//!
//! Which runs have this is drawn apart from everything else, and so is what happens: the others are what they would be
//! without it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::cluster::{Cluster, Full};
use crate::dice::Dice;
use crate::fabric::Host;

/// How often the disk of one machine fills up in a run: nodes say for longer each time that they have no room, although
/// they have some again.
const TIMES_MAX: u32 = 2;
/// How long they say so after the last time.
pub(crate) const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Whether disks fill up in a run with this seed that changes members.
pub(crate) fn are_chosen(seed: u64) -> bool {
    Dice::new(seed, "full disks").chance(250)
}

/// Whoever fills disks, and makes room on them.
pub(crate) struct FullDisks {
    cluster: Arc<Cluster>,
    dice: Dice,
    times: BTreeMap<Host, u32>,
    /// Disks that filled up.
    pub(crate) made: u64,
}

impl FullDisks {
    pub(crate) fn new(cluster: Arc<Cluster>, dice: Dice) -> FullDisks {
        FullDisks { cluster, dice, times: BTreeMap::new(), made: 0 }
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.dice.between(low, high))
    }

    /// Works until told to stop. Then all disks have room.
    pub(crate) async fn work(mut self, mut stop: watch::Receiver<bool>) -> FullDisks {
        loop {
            let quiet = self.millis(1_000, 8_000);
            if is_told(&mut stop, quiet).await {
                return self;
            }
            let Some(host) = self.choose() else { continue };
            self.made += 1;
            *self.times.entry(host).or_default() += 1;
            let full = *self.dice.pick(&Full::ALL);
            self.cluster.set_full(host, Some(full));
            let time = self.millis(3_000, 25_000);
            let is_over = is_told(&mut stop, time).await;
            self.cluster.set_full(host, None);
            if is_over {
                return self;
            }
        }
    }

    /// A machine whose disk says already that it is a node: without room nobody becomes one.
    fn choose(&mut self) -> Option<Host> {
        let is_seated = |host: &Host| self.cluster.fabric.node_at(*host).is_some();
        let is_left = |host: &Host| self.times.get(host).is_none_or(|times| *times < TIMES_MAX);
        let hosts: Vec<Host> =
            self.cluster.in_service().into_iter().filter(|host| is_seated(host) && is_left(host)).collect();
        if hosts.is_empty() { None } else { Some(*self.dice.pick(&hosts)) }
    }
}

/// Waits for some time, or until it is over. Returns whether it is.
async fn is_told(stop: &mut watch::Receiver<bool>, time: Duration) -> bool {
    timeout(time, stop.changed()).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_fill_up_in_about_a_quarter_of_the_runs() {
        let chosen = (0..1_000).filter(|seed| are_chosen(*seed)).count();
        assert!((200..300).contains(&chosen), "{chosen} of a thousand");
    }
}
