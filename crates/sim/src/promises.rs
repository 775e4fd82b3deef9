//! Promises that restarts could break.
//!
//! ```text
//!   leader     reads under its lease, which the voter keeps up              reads under it still?
//!   voter      answers the leader, has promised         |dies, starts again|  votes?
//!   rival      hears nothing of the leader, calls elections in vain ...            leads, and is written to
//! ```
//! Who starts again has forgotten when it heard the leader. If it voted at once, the rival would lead and acknowledge
//! writes while the leader's lease lasts (RAFT-16). The time for that is short, so what comes by chance hardly ever
//! meets it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::some_key;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fabric::Host;
use crate::probe::{Probe, Seated, seated};
use crate::run::no_panic;
use crate::trace::trace;

/// The rival hears nothing for at least this long before the voter dies, so that it calls elections.
const UNHEARD_MIN_MILLIS: u64 = 750;
/// For so long it is asked after the voter died.
const ASKED: Duration = Duration::from_millis(500);

/// Two of them. Nobody else gets through to the leader meanwhile: what it wrote without the rival would keep the rival
/// from being elected.
pub(crate) struct Promises {
    cluster: Arc<Cluster>,
    probes: [Arc<Probe>; 2],
    /// All others.
    clients: Range<Host>,
}

/// Who does what.
struct Cast {
    key: String,
    leader: Seated,
    voter: Seated,
    rival: Seated,
}

impl Promises {
    pub(crate) fn new(cluster: Arc<Cluster>, probes: [Arc<Probe>; 2], clients: Range<Host>) -> Promises {
        Promises { cluster, probes, clients }
    }

    /// Does it once, if there is a shard with three replicas.
    pub(crate) async fn put_to_the_test(&self, dice: &mut Dice) {
        let Some(Cast { key, leader, voter, rival }) = self.cast(dice) else { return };
        let fabric = &self.cluster.fabric;
        for (from, to) in [(leader.host, rival.host), (rival.host, leader.host)] {
            fabric.set_cut(from, to, true);
        }
        for client in self.clients.clone() {
            fabric.set_cut(client, leader.host, true);
        }
        sleep(Duration::from_millis(dice.between(UNHEARD_MIN_MILLIS, UNHEARD_MIN_MILLIS + 400))).await;
        let (old, new) = (leader.host, rival.host);
        trace!(self.cluster.trace, "host-{} forgets what it promised host-{old}; host-{new} wants to lead", voter.host);
        self.cluster.stop(voter.host, false);
        let (map, until) = (self.cluster.newest_map(), Instant::now() + ASKED);
        let [writer, reader] = &self.probes;
        let asking = [
            tokio::spawn(writer.clone().write(map.clone(), key.clone(), rival.node, until)),
            tokio::spawn(reader.clone().read(map, key, leader.node, until)),
        ];
        sleep(Duration::from_millis(dice.between(1, 20))).await;
        self.cluster.start(voter.host);
        for asking in asking {
            no_panic(&self.cluster, asking.await);
        }
        fabric.mend();
    }

    fn cast(&self, dice: &mut Dice) -> Option<Cast> {
        let key = some_key(&self.probes[0].record, dice);
        let (leader, followers) = seated(&self.cluster, &key)?;
        let [one, other]: [Seated; 2] = followers.try_into().ok()?;
        let (voter, rival) = if dice.chance(500) { (one, other) } else { (other, one) };
        Some(Cast { key, leader, voter, rival })
    }
}
