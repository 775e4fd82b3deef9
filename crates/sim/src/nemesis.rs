//! Bad luck, chosen by the seed.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fabric::Weather;
use crate::trace::trace;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A node's process dies; what it wrote stays in its machine's cache.
    Kill,
    /// A node loses power: what was not synced may be lost.
    PowerLoss,
    /// Every node loses power at once.
    Blackout,
    /// A node hears and is heard by nobody.
    Isolate,
    /// A node sends, but nothing arrives at it.
    Deafen,
    /// A node hears, but nothing it sends arrives.
    Mute,
    /// The nodes fall into two halves.
    Split,
    /// Two nodes do not reach each other; everybody else reaches both.
    BrokenLink,
    /// Messages are slow, lost, doubled and overtake each other.
    Storm,
    /// A node's disk takes long to sync.
    SlowDisk,
    /// A node's disk answers nothing for a while.
    StuckDisk,
    /// A node's clock jumps.
    ClockJump,
    /// The leader of a busy group dies.
    KillLeader,
    /// A node is away for long enough that the others cut their logs.
    LongAbsence,
    /// A sync fails: the node must stop itself.
    SyncError,
}

impl Fault {
    pub(crate) const ALL: [Fault; 15] = [
        Fault::Kill,
        Fault::PowerLoss,
        Fault::Blackout,
        Fault::Isolate,
        Fault::Deafen,
        Fault::Mute,
        Fault::Split,
        Fault::BrokenLink,
        Fault::Storm,
        Fault::SlowDisk,
        Fault::StuckDisk,
        Fault::ClockJump,
        Fault::KillLeader,
        Fault::LongAbsence,
        Fault::SyncError,
    ];
}

/// Installs faults, one after the other, and takes each away again.
pub(crate) struct Nemesis {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) dice: Dice,
    /// The kinds this run uses: a random subset finds more than all at once would.
    pub(crate) kinds: Vec<Fault>,
    /// Faults installed so far.
    pub(crate) installed: u64,
}

impl Nemesis {
    pub(crate) fn new(cluster: Arc<Cluster>, mut dice: Dice) -> Nemesis {
        let mut kinds: Vec<Fault> = Fault::ALL.into_iter().filter(|_| dice.chance(700)).collect();
        if kinds.is_empty() {
            kinds.push(Fault::PowerLoss);
        }
        Nemesis { cluster, dice, kinds, installed: 0 }
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.dice.between(low, high))
    }

    /// One quiet moment and one fault.
    pub(crate) async fn strike(&mut self) {
        let quiet = self.millis(500, 4_000);
        tokio::time::sleep(quiet).await;
        let fault = *self.dice.pick(&self.kinds.clone());
        let victim = self.dice.between(0, self.cluster.size() as u64 - 1) as usize;
        self.installed += 1;
        trace!(self.cluster.trace, "FAULT {fault:?} host-{victim}");
        match fault {
            Fault::Kill | Fault::PowerLoss | Fault::KillLeader => self.stop_one(fault, victim).await,
            Fault::Blackout => self.blackout().await,
            Fault::LongAbsence => self.absence(victim).await,
            Fault::Isolate | Fault::Deafen | Fault::Mute => self.cut_off(fault, victim).await,
            Fault::Split => self.split().await,
            Fault::BrokenLink => self.broken_link(victim).await,
            Fault::Storm => self.storm().await,
            Fault::SlowDisk | Fault::StuckDisk => self.bad_disk(fault, victim).await,
            Fault::ClockJump => self.clock(victim),
            Fault::SyncError => self.sync_error(victim).await,
        }
        trace!(self.cluster.trace, "MENDED {fault:?}");
    }

    async fn stop_one(&mut self, fault: Fault, victim: usize) {
        let victim = if fault == Fault::KillLeader { self.cluster.some_leader().unwrap_or(victim) } else { victim };
        self.cluster.stop(victim, fault == Fault::PowerLoss);
        let down = self.millis(10, 3_000);
        tokio::time::sleep(down).await;
        self.cluster.start(victim);
    }

    async fn blackout(&mut self) {
        if self.dice.chance(600) {
            // What is acknowledged while every disk is slow, and lost in the dark, was acknowledged too early.
            for host in 0..self.cluster.size() {
                self.cluster.machine(host).set_latency(Duration::from_millis(20)..=Duration::from_millis(150));
            }
            let slow = self.millis(300, 1_500);
            tokio::time::sleep(slow).await;
        }
        for host in 0..self.cluster.size() {
            self.cluster.stop(host, true);
        }
        let down = self.millis(10, 500);
        tokio::time::sleep(down).await;
        for host in 0..self.cluster.size() {
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
        for other in 0..self.cluster.ends() {
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
        };
        self.cluster.fabric.set_weather(weather);
        let time = self.millis(500, 4_000);
        tokio::time::sleep(time).await;
        self.cluster.fabric.set_weather(Weather::CALM);
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
        machine.set_clock_offset(self.dice.between(0, 2_000_000) as i64 - 1_000_000);
        machine.set_clock_drift(self.dice.between(0, 40_000) as i64 - 20_000);
    }

    async fn sync_error(&mut self, victim: usize) {
        self.cluster.machine(victim).fail_next_sync();
        let time = self.millis(200, 2_000);
        tokio::time::sleep(time).await;
        self.cluster.stop(victim, true);
        self.cluster.start(victim);
    }
}
