//! The disks of machines are lost, or fill up.

use std::sync::atomic::Ordering;

use strata_storage::memory::Durable;

use super::{Cluster, FRESH_DISKS};
use crate::fabric::Host;
use crate::seat::Seat;
use crate::trace::trace;

/// What has no room on a full disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Tablets, but for the little that opening one takes.
    TabletsNearly,
    /// Tablets: none can be opened either.
    Tablets,
    /// The log, once the segments that it has are used up, and the small files.
    Log,
    /// All of these.
    Everything,
}

impl Full {
    pub(crate) const ALL: [Full; 4] = [Full::TabletsNearly, Full::Tablets, Full::Log, Full::Everything];
}

impl Cluster {
    /// A stopped machine gets an empty disk. What its node was is lost for ever.
    pub(crate) fn wipe(&self, host: Host, may_found: bool) {
        let number = FRESH_DISKS + self.wipes.fetch_add(1, Ordering::Relaxed);
        let mut seats = self.seats.lock();
        let seat = &mut seats[host];
        assert!(seat.running.is_none(), "only a stopped machine is wiped");
        self.invariants.lock().files.wiped(seat.machine.number());
        seat.machine = self.world.node(number);
        seat.machine.set_latency(Cluster::SYNC_LATENCY);
        seat.tablets = Durable::new();
        self.dead.lock().extend(self.fabric.node_at(host));
        self.fabric.forget(host);
        seat.may_found &= may_found;
        trace!(self.trace, "host-{host} is wiped, disk {number}");
    }

    /// From now on there is no room for more on the disk of a machine; `None`: there is again.
    pub(crate) fn set_full(&self, host: Host, full: Option<Full>) {
        let seats = self.seats.lock();
        let Seat { machine, tablets, .. } = &seats[host];
        tablets.set_nearly_full(full == Some(Full::TabletsNearly));
        tablets.set_full(matches!(full, Some(Full::Tablets | Full::Everything)));
        let used = || machine.files().iter().map(|(_, length)| *length).sum::<u64>();
        machine.set_capacity(matches!(full, Some(Full::Log | Full::Everything)).then(used));
        match full {
            Some(full) => trace!(self.trace, "FULL host-{host}: {full:?}"),
            None => trace!(self.trace, "ROOM host-{host}"),
        }
    }
}
