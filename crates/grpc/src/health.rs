//! grpc.health.v1: what load balancers and Kubernetes ask.

use strata_proto::v1::{admin_server, kv_server, txn_server};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

/// Tells health checks whether the node serves.
#[derive(Clone, Debug)]
pub struct HealthSwitch(HealthReporter);

impl HealthSwitch {
    /// Sets the answer for the server as a whole and for each of its services.
    pub async fn set_serving(&self, is_serving: bool) {
        let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", kv_server::SERVICE_NAME, txn_server::SERVICE_NAME, admin_server::SERVICE_NAME] {
            self.0.set_service_status(service, status).await;
        }
    }
}

pub(crate) async fn health() -> (HealthSwitch, HealthServer<impl Health>) {
    let (reporter, server) = health_reporter();
    let switch = HealthSwitch(reporter);
    switch.set_serving(false).await;
    (switch, server)
}
