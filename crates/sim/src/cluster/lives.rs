//! Nodes start on their machines, and end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use strata_cluster::{Node, NodeParts, TimeLimits};
use strata_kv::Gateway;
use strata_net::{Caller, Inbox, Switchboard};
use strata_router::RouterOptions;
use strata_storage::memory::MemoryTablets;
use tokio::time::timeout;

use super::Cluster;
use crate::fabric::{Host, SimTransport};
use crate::seat::Running;
use crate::tablets::WatchedTablets;
use crate::trace::trace;

/// How long a machine rests after its node did not start.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

impl Cluster {
    /// Starts the node of a machine in service, on what its disk kept. Does nothing if it runs.
    pub(crate) fn start(self: &Arc<Self>, host: Host) {
        let mut seats = self.seats.lock();
        let seat = &mut seats[host];
        if !seat.in_service || (seat.running.is_some() && seat.machine.is_up() && seat.failure.is_none()) {
            return;
        }
        // Perhaps it did not wait for anybody to see why it had ended.
        if let Some(halt) = seat.machine.halted() {
            self.judge_end(host, &halt.reason);
        }
        seat.machine.restart();
        seat.life += 1;
        seat.failure = None;
        let env = seat.machine.env();
        let transport = SimTransport::new(self.fabric.clone(), host);
        let caller = Caller::new(env.clone(), transport.clone());
        let switchboard = Switchboard::new(caller.clone(), transport.clone());
        let inbox: Arc<dyn Inbox> = switchboard.clone();
        self.fabric.attach(host, env.clone(), Arc::downgrade(&inbox));
        let inner = MemoryTablets::over(seat.tablets.clone());
        let inner = inner.with_write_buffer_bytes(self.shape.write_buffer_bytes);
        let tablets = WatchedTablets { inner, disk: seat.machine.number(), cluster: Arc::downgrade(self) };
        let parts = NodeParts {
            env: env.clone(),
            disk: seat.machine.disk(),
            tablets: Arc::new(tablets),
            transport: transport.clone(),
            switchboard: switchboard.clone(),
            caller,
            settings: seat.settings(&self.shape, host),
            progress: Arc::new(|_| ()),
        };
        let limits = TimeLimits { retention: self.shape.history, ..TimeLimits::default() };
        let node = Arc::new(Mutex::new(None));
        let (found, board, cluster, life) = (node.clone(), switchboard.clone(), Arc::downgrade(self), seat.life);
        let starting = env.spawn("sim-start", async move {
            match Node::start(parts).await {
                Ok(node) => {
                    node.timestamps().set_limits(limits);
                    // Serves until the machine stops, which ends this task.
                    let _gateway = Gateway::open(&node, &board, RouterOptions::default());
                    *found.lock() = Some(node.clone());
                    look_on(cluster, host, life, node).await;
                }
                Err(error) => {
                    let Some(cluster) = cluster.upgrade() else { return };
                    trace!(cluster.trace, "host-{host} does not start: {error}");
                    tokio::time::sleep(RESTART_PAUSE).await;
                    cluster.seats.lock()[host].failure = Some(error.to_string());
                }
            }
        });
        seat.running = Some(Running { transport, _switchboard: switchboard, node, starting });
        trace!(self.trace, "host-{host} starts, life {}", seat.life);
    }

    /// Stops the node of a machine at once: a killed process, or a machine without power.
    pub(crate) fn stop(&self, host: Host, power_loss: bool) {
        let mut seats = self.seats.lock();
        let seat = &mut seats[host];
        let Some(running) = seat.running.take() else { return };
        running.transport.unplug();
        running.starting.abort();
        if power_loss {
            seat.machine.crash();
        } else {
            seat.machine.kill();
        }
        // A tablet may have flushed by itself before.
        let env = seat.machine.env();
        seat.tablets.crash_keeping(|unflushed| match env.random_below(4) {
            0 | 1 => 0,
            2 => unflushed,
            _ => env.random_below(unflushed as u64 + 1) as usize,
        });
        let node = running.node.lock().take();
        if let Some(node) = node {
            // Tasks of the Raft library do not belong to the machine: end them, so that they do not pile up.
            tokio::spawn(async move { node.host().abandon().await });
        }
        trace!(self.trace, "host-{host} stops, power loss: {power_loss}");
    }

    /// Stops the node of a machine in good order, if there is one and that takes no longer than this.
    pub(crate) async fn shut_down(&self, host: Host, patience: Duration) {
        let node = self.nodes().into_iter().find(|(running, _, _)| *running == host).map(|(_, _, node)| node);
        if let Some(node) = node {
            let done = timeout(patience, node.shutdown()).await.is_ok();
            trace!(self.trace, "host-{host} stopped in good order: {done}");
        }
        self.stop(host, false);
    }
}

/// Shows the invariants every map that a node gets, until the node ends.
async fn look_on(cluster: Weak<Cluster>, host: Host, life: u64, node: Arc<Node>) {
    if let Some(cluster) = cluster.upgrade() {
        trace!(cluster.trace, "host-{host} is {}", node.identity().node);
    }
    let mut maps = node.watch_map();
    loop {
        let map = maps.borrow_and_update().clone();
        let Some(cluster) = cluster.upgrade() else { return };
        cluster.invariants.lock().see_map(node.identity().node, life, &map);
        drop(cluster);
        if maps.changed().await.is_err() {
            return;
        }
    }
}
