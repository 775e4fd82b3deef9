//! The end of a run: nothing fails any more.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_check::Call;
use strata_types::ErrorCode;

use crate::client::{Client, Record};
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fabric::Weather;
use crate::full_disks::REMEMBERED_FOR;
use crate::operator::Operator;
use crate::run::{no_panic, report, within};
use crate::settled::{crowded, unsettled};
use crate::staff::{Clients, Staff};
use crate::trace::trace;
use crate::txn::Transactors;

/// A healed cluster serves again, has done all that was asked of it, and agrees with itself within this time.
const HEALING_MAX: Duration = Duration::from_secs(120);

/// All faults end: the cluster must serve again, agree with itself, and hold what it acknowledged.
pub(crate) async fn heal(
    cluster: &Arc<Cluster>,
    mut staff: Staff,
    (record, transactors): (&Arc<Record>, &Arc<Transactors>),
    clients: &mut Clients,
) {
    trace!(cluster.trace, "HEALING");
    cluster.fabric.mend();
    cluster.fabric.set_weather(Weather::CALM);
    if let Some(exchange) = &mut staff.exchange {
        exchange.complete();
    }
    for host in cluster.in_service() {
        let machine = cluster.machine(host);
        machine.set_stuck(false);
        machine.set_latency(Cluster::SYNC_LATENCY);
        machine.set_sluggish(None);
        machine.hold_up(None);
        cluster.start(host);
    }
    let tidying = staff.operator.map(|operator| tokio::spawn(tidy(operator)));
    // What is to come to a node that was full comes when it is believed to have room.
    let remembered = if cluster.shape.full_disks { REMEMBERED_FOR } else { Duration::ZERO };
    let is_settled = within(HEALING_MAX + remembered, || unsettled(cluster).is_none()).await;
    if let Some(tidying) = tidying {
        tidying.abort();
        no_panic(cluster, tidying.await);
    }
    if !is_settled {
        let missing = unsettled(cluster).unwrap_or_default();
        trace!(cluster.trace, "map {:?}", cluster.newest_map());
        report(cluster, format!("SIM-LIVE-2 a healed cluster converges: {missing}: {:?}", cluster.statuses()));
        return;
    }
    read_all(cluster, record, clients).await;
    if let Some(exchange) = &mut staff.exchange {
        let is_upgraded = exchange.finish(HEALING_MAX).await;
        if !is_upgraded || !within(HEALING_MAX, || unsettled(cluster).is_none()).await {
            let version = cluster.newest_map().version;
            report(
                cluster,
                format!("SIM-LIVE-6 a healed cluster is upgraded: it has {version}: {:?}", unsettled(cluster)),
            );
            return;
        }
    }
    transactors.settle().await;
    // What tidies up after transactions may have written since.
    if !within(HEALING_MAX, || unsettled(cluster).is_none()).await {
        let missing = unsettled(cluster).unwrap_or_default();
        report(cluster, format!("SIM-LIVE-2 a healed cluster converges: after all was done, {missing}"));
    }
    if let Some(crowded) = crowded(&cluster.newest_map()) {
        report(cluster, crowded);
    }
    trace!(cluster.trace, "SETTLED");
    cluster.check();
    let statuses = cluster.statuses();
    cluster.invariants.lock().committed_survives(&statuses);
}

/// The final read of every key.
async fn read_all(cluster: &Cluster, record: &Arc<Record>, clients: &Clients) {
    let mut keys: Vec<Bytes> = record.history().operations().iter().map(|operation| operation.key.clone()).collect();
    keys.sort();
    keys.dedup();
    let (id, router) = &clients.routers[0];
    let dice = Dice::new(clients.seed, "final");
    let mut reader = Client::new(*id, router.clone(), record.clone(), dice, Duration::from_millis(1), clients.level);
    for key in keys {
        let name = String::from_utf8_lossy(&key);
        let mut trouble = reader.perform(&name, Call::Get).await;
        if trouble == Some(ErrorCode::Blocked) {
            // By what a client left that died a moment ago: it is tidied up in a few seconds.
            trouble = reader.perform(&name, Call::Get).await;
        }
        if trouble.is_some() {
            report(cluster, format!("SIM-LIVE-3 a healed cluster serves: the final read of {key:?} failed"));
        }
    }
}

/// An operator who wishes nothing any more, but that what is over be forgotten. For ever.
async fn tidy(mut operator: Operator) {
    loop {
        operator.give_up_dead().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
