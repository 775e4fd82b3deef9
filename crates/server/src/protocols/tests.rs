//! What calls are told of their connection.

use strata_env::real;
use strata_proto::v1::KvStreamRequest;
use strata_proto::v1::kv_client::KvClient;
use tonic::codegen::tokio_stream;

use super::*;
use crate::loopback;

/// The room that each of two streams of a new connection gets.
async fn rooms() -> [ConnectionRoom; 2] {
    let env = real::env();
    let port = loopback::connect(InboundBodies::new(&env), OutboundBodies::new(&env), None).await;
    for _ in 0..2 {
        let mut client = KvClient::new(port.channel.clone());
        let refused = client.stream(tokio_stream::empty::<KvStreamRequest>()).await;
        assert!(refused.is_err(), "this port has no streams");
    }
    let rooms = port.rooms.lock().clone();
    let [Some(first), Some(second)] = &rooms[..] else { panic!("a stream came without room") };
    [first.clone(), second.clone()]
}

/// GRPC-2
#[tokio::test]
async fn the_streams_of_a_connection_get_the_same_room_and_those_of_another_one_do_not() {
    let (one, other) = (rooms().await, rooms().await);
    assert!(one[0] == one[1] && other[0] == other[1], "they would not wait for each other");
    assert!(one[0] != other[0], "one client would stop the other");
}
