//! Leaders that lead again.
//!
//! ```text
//!   one     leads, stamps          |hands over                    leads again: by which clock does it stamp?
//!   other                           leads, shows what is at T     |hands back
//! ```
//! Between its two terms somebody may have read at a time that the first one knows nothing of. Its clock of the first term
//! is not to be trusted (RAFT-14), also if it has not yet noticed that there was another term (RAFT-12). If it were, what is
//! written then would lie at or below T, and what was read there would change. What the other one writes would raise the
//! clock, so by chance that hardly ever happens.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use strata_types::{Feature, ShardMap, Timestamp};
use tokio::time::{Instant, sleep, timeout};

use crate::client::some_key;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fabric::Host;
use crate::probe::{Probe, Seated, seated};
use crate::run::no_panic;
use crate::trace::trace;
use crate::txn::{Book, Notes, Story};

/// How long a leader tries to hand over, and how long it is waited for.
const PATIENCE: Duration = Duration::from_millis(400);
const LOOK: Duration = Duration::from_millis(1);
/// For so long it is written to who leads again.
const ASKED: Duration = Duration::from_millis(120);
/// The tasks by which a replica hears whether it leads, and has its clock opened. One that lags may stand still.
const LAG: [Option<&str>; 3] = [None, Some("raft-status"), Some("time-clocks")];

/// Two clients: one writes, one reads at a timestamp. No other client gets through to the other leader.
pub(crate) struct FormerLeader {
    cluster: Arc<Cluster>,
    book: Arc<Book>,
    probes: [Arc<Probe>; 2],
    /// All others.
    clients: Range<Host>,
}

impl FormerLeader {
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        book: Arc<Book>,
        probes: [Arc<Probe>; 2],
        clients: Range<Host>,
    ) -> FormerLeader {
        FormerLeader { cluster, book, probes, clients }
    }

    /// Does it once, if there are timestamps and a shard with another replica that can lead.
    pub(crate) async fn put_to_the_test(&self, dice: &mut Dice) {
        let map = self.cluster.newest_map();
        if !map.has(Feature::Transactions) {
            return;
        }
        let key = some_key(&self.probes[0].record, dice);
        let Some((one, followers)) = seated(&self.cluster, &key).filter(|(_, followers)| !followers.is_empty()) else {
            return;
        };
        let other = dice.pick(&followers).clone();
        for client in self.clients.clone() {
            self.cluster.fabric.set_cut(client, other.host, true);
        }
        let machine = self.cluster.machine(one.host);
        machine.hold_up(*dice.pick(&LAG));
        trace!(self.cluster.trace, "{} is to leave host-{} and to come back", one.group.id(), one.host);
        if let Some(at) = self.read_in_between(&map, &key, &one, &other).await {
            let until = Instant::now() + ASKED;
            let writing = self.probes[0].clone().write(map.clone(), key.clone(), one.node, until);
            no_panic(&self.cluster, tokio::spawn(writing).await);
            machine.hold_up(None);
            self.look(&map, &key, &one, at).await;
        }
        machine.hold_up(None);
        self.cluster.fabric.mend();
    }

    /// The other one leads for a moment, and shows what there is at a new timestamp.
    async fn read_in_between(&self, map: &ShardMap, key: &str, one: &Seated, other: &Seated) -> Option<Timestamp> {
        hand_over(one, other).await.then_some(())?;
        let at = self.probes[1].begin().await.ok()?;
        self.look(map, key, other, at).await.then_some(())?;
        hand_over(other, one).await.then_some(at)
    }

    /// Reads at a timestamp. SIM-TXN-2 is in the book. Returns whether there was an answer.
    async fn look(&self, map: &ShardMap, key: &str, replica: &Seated, at: Timestamp) -> bool {
        let Some(item) = self.probes[1].look(map, key, replica.node, at).await else { return false };
        // Of no story whose own checker would have to know all keys.
        let notes = Notes::open_past(&self.book, self.book.fresh_client(), Story::Registers);
        notes.read(at, key, item);
        notes.committed(Some(at));
        true
    }
}

/// Whether it came to that.
async fn hand_over(from: &Seated, to: &Seated) -> bool {
    // It may die while it is asked to.
    let _ = timeout(PATIENCE, from.group.transfer_leader(to.group.replica(), PATIENCE)).await;
    let until = Instant::now() + PATIENCE;
    while !to.group.status().is_leader && Instant::now() < until {
        sleep(LOOK).await;
    }
    to.group.status().is_leader
}
