//! Programs are exchanged one machine after the other, while everything else happens; then the cluster is upgraded.
//!
//! ```text
//!   programs   1..=1  1..=1  1..=1    1..=3  1..=1  1..=1    1..=3  1..=3  1..=1    1..=3  1..=3  1..=3
//!   cluster    v1                     v1, a wish for v3      v1, and sometimes      v1, then v3
//!                                     is refused             a step back
//! ```
//! Programs differ in what they say that they know, and in what they refuse. What an older program does not know at all is
//! kept from it by the version of the cluster, which all features wait for.

use std::sync::Arc;
use std::time::Duration;

use strata_meta::MetaCommand;
use strata_types::{ClusterVersion, VersionRange};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fabric::Host;
use crate::trace::trace;

/// How long is waited for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Somebody who brings newer programs.
pub(crate) struct Exchange {
    cluster: Arc<Cluster>,
    dice: Dice,
    /// Programs that were exchanged.
    pub(crate) made: u64,
}

impl Exchange {
    pub(crate) fn new(cluster: Arc<Cluster>, dice: Dice) -> Exchange {
        Exchange { cluster, dice, made: 0 }
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.dice.between(low, high))
    }

    /// Works until told to stop.
    pub(crate) async fn work(mut self, mut stop: watch::Receiver<bool>) -> Exchange {
        while !*stop.borrow_and_update() {
            let pause = self.millis(200, 2_500);
            sleep(pause).await;
            self.step().await;
        }
        self
    }

    async fn step(&mut self) {
        let version = self.cluster.newest_map().version;
        let is_behind = |host: &Host| self.cluster.program(*host).most < ClusterVersion::NEWEST;
        let (behind, done): (Vec<Host>, Vec<Host>) = (0..self.cluster.size()).partition(is_behind);
        let is_raised = version == ClusterVersion::NEWEST;
        if is_raised {
            match behind.first() {
                Some(host) => self.exchange(*host, ClusterVersion::NEWEST).await,
                // Nobody must take part in what it does not know.
                None if self.dice.chance(200) => self.step_back(&done).await,
                None => {}
            }
        } else if behind.is_empty() || self.dice.chance(100) {
            let to = if self.dice.chance(200) { ClusterVersion(version.0 + 1) } else { ClusterVersion::NEWEST };
            self.raise(to).await;
        } else if !done.is_empty() && self.dice.chance(150) {
            self.step_back(&done).await;
            if self.dice.chance(500) {
                // Perhaps before it has said what it is now.
                let moment = self.millis(0, 300);
                sleep(moment).await;
                self.raise(ClusterVersion::NEWEST).await;
            }
        } else {
            let (host, is_in_between) = (*self.dice.pick(&behind), self.dice.chance(150));
            let next = ClusterVersion(self.cluster.program(host).most.0 + 1);
            self.exchange(host, if is_in_between { next } else { ClusterVersion::NEWEST }).await;
        }
    }

    async fn step_back(&mut self, hosts: &[Host]) {
        let host = *self.dice.pick(hosts);
        self.exchange(host, self.cluster.shape.version).await;
    }

    /// A machine gets a program that knows the versions up to this one.
    async fn exchange(&mut self, host: Host, most: ClusterVersion) {
        trace!(self.cluster.trace, "EXCHANGE of the program of host-{host} for one of {most}");
        self.made += 1;
        match self.dice.chance(600) {
            true => self.cluster.shut_down(host, PATIENCE).await,
            false => {
                let power_loss = self.dice.chance(300);
                self.cluster.stop(host, power_loss);
            }
        }
        self.cluster.set_program(host, VersionRange { most, ..VersionRange::SUPPORTED });
        let down = self.millis(10, 1_000);
        sleep(down).await;
        self.cluster.start(host);
    }

    /// Has some running node see to it that the cluster has a version. The answer may be a refusal.
    async fn raise(&mut self, to: ClusterVersion) {
        let nodes = self.cluster.nodes();
        if nodes.is_empty() {
            return;
        }
        let (host, _, node) = self.dice.pick(&nodes).clone();
        drop(nodes);
        trace!(self.cluster.trace, "EXCHANGE by host-{host}: the cluster is to have {to}");
        self.cluster.versions.lock().wish(to);
        // The node may die before it answers.
        let reply = timeout(PATIENCE, node.administer(MetaCommand::RaiseVersion { to }, PATIENCE)).await;
        trace!(self.cluster.trace, "EXCHANGE -> {reply:?}");
    }

    /// All machines get the newest program at once. They have to be started.
    pub(crate) fn complete(&mut self) {
        let is_behind = |host: &Host| self.cluster.program(*host).most < ClusterVersion::NEWEST;
        for host in (0..self.cluster.size()).filter(is_behind) {
            self.made += 1;
            self.cluster.stop(host, false);
            self.cluster.set_program(host, VersionRange::SUPPORTED);
        }
    }

    /// Raises the version, again and again. Returns whether the cluster has the newest one then.
    pub(crate) async fn finish(&mut self, within: Duration) -> bool {
        let until = Instant::now() + within;
        while self.cluster.newest_map().version < ClusterVersion::NEWEST {
            if Instant::now() >= until {
                return false;
            }
            self.raise(ClusterVersion::NEWEST).await;
            let pause = self.millis(50, 500);
            sleep(pause).await;
        }
        true
    }
}
