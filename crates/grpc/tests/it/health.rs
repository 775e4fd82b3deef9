//! grpc.health.v1, as load balancers ask it.

use tonic::Code;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::nobody::connect;

const SERVICES: [&str; 3] = ["", "strata.v1.Kv", "strata.v1.Admin"];

fn question(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn every_service_follows_the_switch() {
    let (channel, switch) = connect().await;
    let mut client = HealthClient::new(channel);
    for (is_serving, expected) in [
        (None, ServingStatus::NotServing),
        (Some(true), ServingStatus::Serving),
        (Some(false), ServingStatus::NotServing),
    ] {
        if let Some(is_serving) = is_serving {
            switch.set_serving(is_serving).await;
        }
        for service in SERVICES {
            let answer = client.check(question(service)).await.expect("answered").into_inner();
            assert_eq!(answer.status, expected as i32, "{service:?} after {is_serving:?}");
        }
    }
    let unknown = client.check(question("strata.v1.Nothing")).await.expect_err("there is no such service");
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn who_watches_hears_of_every_flip() {
    let (channel, switch) = connect().await;
    let mut client = HealthClient::new(channel);
    let mut watched = client.watch(question("strata.v1.Kv")).await.expect("answered").into_inner();
    let mut next = async || watched.message().await.expect("readable").expect("it goes on").status;
    assert_eq!(next().await, ServingStatus::NotServing as i32, "not before the node says so");
    for (is_serving, expected) in [(true, ServingStatus::Serving), (false, ServingStatus::NotServing)] {
        switch.set_serving(is_serving).await;
        assert_eq!(next().await, expected as i32);
    }
}
