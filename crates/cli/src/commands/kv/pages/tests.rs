//! Scans of a node that never gets to the end of one.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use clap::Parser;
use futures_util::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use strata_proto::v1::kv_server::{Kv, KvServer};
use strata_types::Error;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::*;
use crate::args::{Cli, Command, KvArgs};

static KEYS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
/// Keys of a page.
const PAGE: u64 = 2;

/// Brings one page of each scan. Then its time is over, or it is silent.
#[derive(Default)]
struct Node {
    is_silent: bool,
    /// Start and limit of each scan.
    asked: Mutex<Vec<(Bytes, u64)>>,
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn scans_only<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("scans only"))
}

#[tonic::async_trait]
impl Kv for Node {
    type ScanStream = Replies<v1::ScanReply>;
    type StreamStream = Replies<v1::KvStreamReply>;

    async fn get(&self, _: Request<v1::GetRequest>) -> Result<Response<v1::GetReply>, Status> {
        scans_only()
    }

    async fn put(&self, _: Request<v1::PutRequest>) -> Result<Response<v1::PutReply>, Status> {
        scans_only()
    }

    async fn delete(&self, _: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteReply>, Status> {
        scans_only()
    }

    async fn compare_and_set(
        &self,
        _: Request<v1::CompareAndSetRequest>,
    ) -> Result<Response<v1::CompareAndSetReply>, Status> {
        scans_only()
    }

    async fn batch(&self, _: Request<v1::BatchRequest>) -> Result<Response<v1::BatchReply>, Status> {
        scans_only()
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        let v1::ScanRequest { start, limit, .. } = request.into_inner();
        self.asked.lock().push((start.clone(), limit));
        let most = if limit == 0 { PAGE } else { limit.min(PAGE) };
        let found = KEYS.iter().filter(|key| key.as_bytes() >= &start[..]).take(most as usize);
        let item = |key: &&'static str| v1::Item { key: Bytes::from_static(key.as_bytes()), ..v1::Item::default() };
        let items: Vec<v1::Item> = found.map(item).collect();
        let resume = items.last().map(|item| Bytes::from([&item.key[..], &[0]].concat()));
        let is_last = resume.is_none();
        let page = stream::iter([Ok::<_, Status>(v1::ScanReply { items, resume, ..v1::ScanReply::default() })]);
        let late = Error::not_applied(ErrorCode::DeadlineExceeded, "the scan did not end by its deadline");
        let replies: Self::ScanStream = match (is_last, self.is_silent) {
            (true, _) => page.boxed(),
            (false, true) => page.chain(stream::pending()).boxed(),
            (false, false) => page.chain(stream::iter([Err(strata_proto::status_of(&late))])).boxed(),
        };
        Ok(Response::new(replies))
    }

    async fn stream(&self, _: Request<Streaming<v1::KvStreamRequest>>) -> Result<Response<Self::StreamStream>, Status> {
        scans_only()
    }
}

async fn start(node: Node) -> (Arc<Node>, String) {
    let node = Arc::new(node);
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = incoming.local_addr().expect("bound").to_string();
    let server = Server::builder().add_service(KvServer::from_arc(node.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));
    (node, address)
}

/// All keys of a scan, as it is typed.
async fn scan(address: &str, arguments: &[&str]) -> Result<Vec<Bytes>, Failure> {
    let line = ["strata", "kv", "scan", "--addr", address, "--timeout", "100ms"];
    let cli = Cli::try_parse_from(line.iter().chain(arguments)).expect("valid");
    let Command::Kv(KvArgs { command, connect, encoding }) = cli.command else { panic!("strata kv") };
    let session = Session::new(&connect)?;
    let mut pages = Pages::of(&session, &command, encoding)?;
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await? {
        keys.extend(page.into_iter().map(|item| item.key));
    }
    Ok(keys)
}

#[tokio::test]
async fn a_scan_goes_on_when_the_time_of_a_call_is_over() {
    let (node, address) = start(Node::default()).await;
    assert_eq!(scan(&address, &[]).await.expect("scanned"), KEYS);
    let starts: Vec<Bytes> = node.asked.lock().drain(..).map(|(start, _)| start).collect();
    assert_eq!(starts, [&b""[..], b"b\0", b"d\0", b"f\0", b"g\0"]);
    assert_eq!(scan(&address, &["--limit", "5"]).await.expect("scanned"), KEYS[..5]);
    let limits: Vec<u64> = node.asked.lock().drain(..).map(|(_, limit)| limit).collect();
    assert_eq!(limits, [5, 3, 1], "what was read is not asked for again");
}

#[tokio::test]
async fn a_scan_survives_a_node_that_falls_silent_and_ends_when_nobody_speaks() {
    let (_, address) = start(Node { is_silent: true, ..Node::default() }).await;
    assert_eq!(scan(&address, &["--limit", "3"]).await.expect("each call brings a page"), KEYS[..3]);
    // The system accepts connections for a process that is stopped.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let stopped = listener.local_addr().expect("bound").to_string();
    let failure = scan(&stopped, &[]).await.expect_err("nobody answers");
    assert_eq!(failure.to_json()["outcome"], "not applied", "{failure}");
    let both = format!("{stopped},{address}");
    assert_eq!(scan(&both, &["--limit", "2"]).await.expect("the other one answers"), KEYS[..2]);
}
