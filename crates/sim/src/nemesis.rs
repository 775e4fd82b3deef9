//! Bad luck, chosen by the seed.

use std::sync::Arc;
use std::time::Duration;

use strata_types::{GroupPlacement, ReplicaId};

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fabric::{Host, Weather};
use crate::fault::Fault;
use crate::former_leader::FormerLeader;
use crate::handovers::Handovers;
use crate::promises::Promises;
use crate::repeated_prepare::RepeatedPrepare;
use crate::trace::trace;

/// How often it is looked for what a fault waits for.
const LOOK: Duration = Duration::from_millis(5);

/// Installs faults, one after the other, and takes each away again.
pub(crate) struct Nemesis {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) dice: Dice,
    /// The kinds this run uses: a random subset finds more than all at once would.
    pub(crate) kinds: Vec<Fault>,
    /// For those who forget theirs, where leaders rest on them.
    pub(crate) promises: Option<Promises>,
    /// For those who lead again, where timestamps are used.
    pub(crate) former_leader: Option<FormerLeader>,
    /// For what is prepared twice, there as well.
    pub(crate) repeated_prepare: Option<RepeatedPrepare>,
    /// Faults installed so far.
    pub(crate) installed: u64,
}

impl Nemesis {
    pub(crate) fn new(cluster: Arc<Cluster>, mut dice: Dice) -> Nemesis {
        let mut kinds: Vec<Fault> = Fault::ALL.into_iter().filter(|_| dice.chance(700)).collect();
        kinds.retain(|kind| !matches!(kind, Fault::Forgetful | Fault::FormerLeader));
        if kinds.is_empty() {
            kinds.push(Fault::PowerLoss);
        }
        // Without leases that is but another kill.
        if cluster.shape.lease_reads {
            kinds.extend([Fault::Forgetful; 4]);
        }
        // Where members change, this shall happen when they do.
        if cluster.shape.has_operator && dice.chance(500) {
            kinds.extend([Fault::SplitChange; 2]);
        }
        // Steps of transactions must bear copies that come late, and snapshots a leader of the past: some runs have little
        // else.
        if !cluster.shape.stories.is_empty() {
            match dice.between(0, 4) {
                0 | 1 => kinds.extend([Fault::Stragglers; 8]),
                2 => kinds.extend([Fault::Handovers; 8]),
                3 => {
                    kinds.extend([Fault::FormerLeader; 8]);
                    kinds.extend([Fault::RepeatedPrepare; 4]);
                }
                _ => {}
            }
        }
        Nemesis { cluster, dice, kinds, promises: None, former_leader: None, repeated_prepare: None, installed: 0 }
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.dice.between(low, high))
    }

    /// One quiet moment and one fault.
    pub(crate) async fn strike(&mut self) {
        let quiet = self.millis(500, 4_000);
        tokio::time::sleep(quiet).await;
        let fault = *self.dice.pick(&self.kinds.clone());
        let victim = *self.dice.pick(&self.cluster.in_service());
        self.installed += 1;
        trace!(self.cluster.trace, "FAULT {fault:?} host-{victim}");
        match fault {
            Fault::Kill | Fault::PowerLoss | Fault::KillLeader | Fault::KillMetaLeader => {
                self.stop_one(fault, victim).await
            }
            Fault::Blackout => self.blackout().await,
            Fault::LongAbsence => self.absence(victim).await,
            Fault::Isolate | Fault::Deafen | Fault::Mute => self.cut_off(fault, victim).await,
            Fault::Split => self.split().await,
            Fault::BrokenLink => self.broken_link(victim).await,
            Fault::Storm => self.storm().await,
            Fault::SlowDisk | Fault::StuckDisk => self.bad_disk(fault, victim).await,
            Fault::ClockJump => self.clock(victim),
            Fault::SyncError => self.sync_error(victim).await,
            Fault::SplitChange => self.split_change().await,
            Fault::Stragglers => self.stragglers().await,
            Fault::Handovers => self.handovers().await,
            Fault::Sluggish => self.sluggish().await,
            Fault::FormerLeader => self.former_leader().await,
            Fault::RepeatedPrepare => self.repeated_prepare().await,
            Fault::Forgetful => self.forgetful().await,
        }
        trace!(self.cluster.trace, "MENDED {fault:?}");
    }

    async fn stop_one(&mut self, fault: Fault, victim: usize) {
        let aimed_at = match fault {
            Fault::KillLeader => self.cluster.some_leader(),
            Fault::KillMetaLeader => self.cluster.meta_leader(),
            _ => None,
        };
        let victim = aimed_at.unwrap_or(victim);
        self.cluster.stop(victim, fault == Fault::PowerLoss);
        let down = self.millis(10, 3_000);
        tokio::time::sleep(down).await;
        self.cluster.start(victim);
    }

    async fn blackout(&mut self) {
        if self.dice.chance(600) {
            // What is acknowledged while every disk is slow, and lost in the dark, was acknowledged too early.
            for host in self.cluster.in_service() {
                self.cluster.machine(host).set_latency(Duration::from_millis(20)..=Duration::from_millis(150));
            }
            let slow = self.millis(300, 1_500);
            tokio::time::sleep(slow).await;
        }
        for host in self.cluster.in_service() {
            self.cluster.stop(host, true);
        }
        let down = self.millis(10, 500);
        tokio::time::sleep(down).await;
        for host in self.cluster.in_service() {
            self.cluster.machine(host).set_latency(Cluster::SYNC_LATENCY);
            self.cluster.start(host);
        }
        let recovery = self.millis(1_500, 3_000);
        tokio::time::sleep(recovery).await;
    }

    async fn absence(&mut self, victim: usize) {
        self.cluster.stop(victim, true);
        let away = self.millis(8_000, 15_000);
        tokio::time::sleep(away).await;
        self.cluster.start(victim);
    }

    async fn cut_off(&mut self, fault: Fault, victim: usize) {
        for other in 0..self.cluster.size() {
            if other != victim {
                let fabric = &self.cluster.fabric;
                fabric.set_cut(victim, other, fault != Fault::Deafen);
                fabric.set_cut(other, victim, fault != Fault::Mute);
            }
        }
        let time = self.millis(300, 4_000);
        tokio::time::sleep(time).await;
        self.cluster.fabric.mend();
    }

    async fn split(&mut self) {
        let side: Vec<bool> = (0..self.cluster.size()).map(|_| self.dice.chance(500)).collect();
        for a in 0..side.len() {
            for b in 0..side.len() {
                self.cluster.fabric.set_cut(a, b, side[a] != side[b]);
            }
        }
        let time = self.millis(300, 4_000);
        tokio::time::sleep(time).await;
        self.cluster.fabric.mend();
    }

    /// Waits for a change, and cuts the one that goes and one that stays off from all others while it is made.
    async fn split_change(&mut self) {
        let patience = self.millis(500, 8_000);
        let begun = tokio::time::Instant::now();
        let cut_off = loop {
            match self.old_side() {
                Some(side) => break side,
                None if begun.elapsed() >= patience => return self.split().await,
                None => tokio::time::sleep(LOOK).await,
            }
        };
        let moment = self.millis(0, 150);
        tokio::time::sleep(moment).await;
        for a in 0..self.cluster.size() {
            for b in 0..self.cluster.size() {
                self.cluster.fabric.set_cut(a, b, cut_off.contains(&a) != cut_off.contains(&b));
            }
        }
        let time = self.millis(500, 5_000);
        tokio::time::sleep(time).await;
        self.cluster.fabric.mend();
    }

    /// The machines of a replica that is about to be replaced and of a follower that stays, while the leader has a third
    /// one beside it that is to become a voter.
    fn old_side(&self) -> Option<Vec<Host>> {
        let map = self.cluster.newest_map();
        let nodes = self.cluster.nodes();
        let learns = |group: &GroupPlacement<'_>, add: ReplicaId| {
            let open = nodes.iter().filter_map(|(_, _, node)| node.host().group(group.group));
            let leader = open.filter_map(|replica| Some((replica.replica(), replica.members()?)));
            leader.filter(|(_, members)| members.learners.contains_key(&add)).map(|(leader, _)| leader).next()
        };
        let mut sides = map.groups().filter_map(|group| {
            let leader = learns(&group, group.changes.added()?.replica)?;
            let goes = group.replicas.iter().find(|placed| Some(placed.replica) == group.changes.removed())?;
            let stays = group.replicas.iter().find(|one| one.replica != goes.replica && one.replica != leader)?;
            (goes.replica != leader).then_some([goes.node, stays.node])
        });
        let side = sides.next()?;
        let seated = self.cluster.seated();
        Some(seated.iter().filter(|(_, node)| side.contains(node)).map(|(host, _)| *host).collect())
    }

    async fn broken_link(&mut self, victim: usize) {
        let other = (victim + 1) % self.cluster.size();
        self.cluster.fabric.set_cut(victim, other, true);
        self.cluster.fabric.set_cut(other, victim, true);
        let time = self.millis(500, 5_000);
        tokio::time::sleep(time).await;
        self.cluster.fabric.mend();
    }

    async fn storm(&mut self) {
        let weather = Weather {
            delay_micros: (50, self.dice.between(1_000, 60_000)),
            lost: self.dice.between(0, 150),
            doubled: self.dice.between(0, 100),
            overtaking: self.dice.between(0, 300),
            straggling: self.dice.between(0, 100),
        };
        self.cluster.fabric.set_weather(weather);
        let time = self.millis(500, 4_000);
        tokio::time::sleep(time).await;
        self.cluster.fabric.set_weather(Weather::CALM);
    }

    /// Mostly in calm weather: who hears nothing then has reason to believe that nothing came.
    async fn stragglers(&mut self) {
        let lost = if self.dice.chance(300) { self.dice.between(0, 50) } else { 0 };
        let straggling = self.dice.between(50, 400);
        self.cluster.fabric.set_weather(Weather { lost, straggling, ..Weather::CALM });
        // Between the steps of a transaction there is more time for what comes late then.
        let are_clients_sluggish = self.dice.chance(500);
        for client in self.cluster.client_machines() {
            let choice = self.dice.next();
            client.set_sluggish(are_clients_sluggish.then_some(choice));
        }
        let time = self.millis(2_000, 8_000);
        tokio::time::sleep(time).await;
        for client in self.cluster.client_machines() {
            client.set_sluggish(None);
        }
        self.cluster.fabric.set_weather(Weather::CALM);
    }

    async fn handovers(&mut self) {
        let time = self.millis(1_000, 4_000);
        // Who leads and does not notice is a leader of the past when it is elected again.
        let is_sluggish = self.dice.chance(500);
        if is_sluggish {
            self.set_sluggish(true);
        }
        if let Some(handovers) = Handovers::choose(&self.cluster, &mut self.dice) {
            handovers.make(&mut self.dice, time).await;
        }
        self.set_sluggish(false);
    }

    async fn forgetful(&mut self) {
        let Some(promises) = &self.promises else { return };
        for _ in 0..self.dice.between(1, 3) {
            promises.put_to_the_test(&mut self.dice).await;
        }
    }

    async fn former_leader(&mut self) {
        let Some(former_leader) = &self.former_leader else { return };
        for _ in 0..self.dice.between(1, 3) {
            former_leader.put_to_the_test(&mut self.dice).await;
        }
    }

    async fn repeated_prepare(&mut self) {
        let Some(repeated_prepare) = &self.repeated_prepare else { return };
        for _ in 0..self.dice.between(1, 3) {
            repeated_prepare.put_to_the_test(&mut self.dice).await;
        }
    }

    async fn sluggish(&mut self) {
        self.set_sluggish(true);
        let time = self.millis(500, 4_000);
        tokio::time::sleep(time).await;
        self.set_sluggish(false);
    }

    fn set_sluggish(&mut self, is_sluggish: bool) {
        for host in 0..self.cluster.size() {
            let choice = self.dice.next();
            self.cluster.machine(host).set_sluggish(is_sluggish.then_some(choice));
        }
    }

    async fn bad_disk(&mut self, fault: Fault, victim: usize) {
        let machine = self.cluster.machine(victim);
        if fault == Fault::SlowDisk {
            machine.set_latency(Duration::from_millis(5)..=Duration::from_millis(200));
        } else {
            machine.set_stuck(true);
        }
        let time = self.millis(300, 3_000);
        tokio::time::sleep(time).await;
        machine.set_stuck(false);
        machine.set_latency(Cluster::SYNC_LATENCY);
    }

    fn clock(&mut self, victim: usize) {
        let machine = self.cluster.machine(victim);
        // A second or so; or a year.
        let most = if self.dice.chance(300) { 365 * 24 * 3_600 * 1_000 } else { 1_000_000 };
        machine.set_clock_offset(self.dice.between(0, 2 * most) as i64 - most as i64);
        // Leases bear a quarter between two clocks. More than real ones differ, and less than that.
        machine.set_clock_drift(self.dice.between(0, 180_000) as i64 - 90_000);
    }

    async fn sync_error(&mut self, victim: usize) {
        self.cluster.machine(victim).fail_next_sync();
        let time = self.millis(200, 2_000);
        tokio::time::sleep(time).await;
        self.cluster.stop(victim, true);
        self.cluster.start(victim);
    }
}
