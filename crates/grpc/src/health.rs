//! grpc.health.v1: what load balancers and Kubernetes ask. And the end of the streams, which do not ask.

use std::sync::Arc;

use strata_proto::v1::{admin_server, kv_server, txn_server};
use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

/// Tells health checks whether the node serves, and streams that it will not.
#[derive(Clone, Debug)]
pub struct HealthSwitch {
    reporter: HealthReporter,
    ending: Arc<watch::Sender<bool>>,
}

impl HealthSwitch {
    /// Sets the answer for the server as a whole and for each of its services.
    pub async fn set_serving(&self, is_serving: bool) {
        let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", kv_server::SERVICE_NAME, txn_server::SERVICE_NAME, admin_server::SERVICE_NAME] {
            self.reporter.set_service_status(service, status).await;
        }
    }

    /// The node takes no more batches from streams, those that come later included: each ends when all that it took is
    /// answered, and tells its client that nothing else of it was done.
    pub fn end_streams(&self) {
        self.ending.send_replace(true);
    }

    /// Becomes true when streams end.
    pub(crate) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }
}

pub(crate) async fn health() -> (HealthSwitch, HealthServer<impl Health>) {
    let (reporter, server) = health_reporter();
    let switch = HealthSwitch { reporter, ending: Arc::new(watch::Sender::new(false)) };
    switch.set_serving(false).await;
    (switch, server)
}
