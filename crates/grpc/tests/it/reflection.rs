//! Reflection, as grpcurl and its kin ask it.

use futures_util::stream;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::{v1, v1alpha};

use crate::nobody::connect;

/// What a user looks for.
const SERVICES: [&str; 4] = ["grpc.health.v1.Health", "strata.v1.Admin", "strata.v1.Kv", "strata.v1.Txn"];

async fn ask(question: MessageRequest) -> Result<MessageResponse, Status> {
    let (channel, _) = connect().await;
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let asked = ServerReflectionClient::new(channel).server_reflection_info(stream::iter([request])).await;
    let answer = asked?.into_inner().message().await?.expect("an answer");
    Ok(answer.message_response.expect("an answer with something in it"))
}

#[tokio::test]
async fn it_lists_every_service() {
    let listed = ask(MessageRequest::ListServices(String::new())).await.expect("answered");
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let names: Vec<&str> = listed.service.iter().map(|service| service.name.as_str()).collect();
    assert!(SERVICES.iter().all(|service| names.contains(service)), "{names:?}");
}

#[tokio::test]
async fn it_describes_services_down_to_their_messages() {
    for (symbol, words) in [
        ("strata.v1.Kv", ["CompareAndSet", "PutRequest"]),
        ("strata.v1.Admin", ["ClusterStatus", "ShardMapRequest"]),
        ("strata.v1.Txn", ["GetForUpdate", "TxnCommitRequest"]),
        ("strata.v1.PutRequest", ["PutRequest", "value"]),
    ] {
        let files = ask(MessageRequest::FileContainingSymbol(symbol.to_owned())).await.expect("answered");
        let MessageResponse::FileDescriptorResponse(files) = files else { panic!("{files:?}") };
        let text: String = files.file_descriptor_proto.iter().map(|file| String::from_utf8_lossy(file)).collect();
        assert!(words.iter().all(|word| text.contains(word)), "{symbol}: {text}");
    }
    let refused = ask(MessageRequest::FileContainingSymbol("strata.v1.Nothing".to_owned())).await;
    assert_eq!(refused.map_err(|status| status.code()), Err(Code::NotFound));
}

#[tokio::test]
async fn the_older_version_answers_too() {
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let (channel, _) = connect().await;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let question = MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut answers = client.server_reflection_info(stream::iter([request])).await.expect("answered").into_inner();
    let answer = answers.message().await.expect("readable").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else { panic!("{answer:?}") };
    let names: Vec<&str> = listed.service.iter().map(|service| service.name.as_str()).collect();
    assert!(SERVICES.iter().all(|service| names.contains(service)), "{names:?}");
}
