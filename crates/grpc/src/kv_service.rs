//! strata.v1.Kv.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use strata_env::Env;
use strata_proto::{status_of, v1};
use strata_router::{Kv, Scan, ScanRange, ShardExecutor};
use strata_types::{Error, Reply, RequestHeader, Timestamp, limits::REQUEST_DEADLINE_DEFAULT};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use crate::deadline;
use crate::foreign::check_cluster;
use crate::kv_stream;
use crate::measure::Measure;
use crate::scan_pages::ScanPages;
use crate::stream_room::{ConnectionRoom, NodeRoom};

pub(crate) struct KvService {
    env: Env,
    kv: Arc<dyn Kv>,
    executor: Arc<dyn ShardExecutor>,
    /// What all streams share.
    streams: NodeRoom,
    /// Becomes true when streams end.
    ending: watch::Receiver<bool>,
    get: Measure,
    put: Measure,
    delete: Measure,
    compare_and_set: Measure,
    batch: Measure,
}

impl KvService {
    pub(crate) fn new(
        env: Env,
        kv: Arc<dyn Kv>,
        executor: Arc<dyn ShardExecutor>,
        ending: watch::Receiver<bool>,
    ) -> KvService {
        KvService {
            env,
            kv,
            executor,
            streams: NodeRoom::default(),
            ending,
            get: Measure::new("Get"),
            put: Measure::new("Put"),
            delete: Measure::new("Delete"),
            compare_and_set: Measure::new("CompareAndSet"),
            batch: Measure::new("Batch"),
        }
    }

    /// Any call with one request and one reply. Whatever goes wrong, the status carries code and outcome (GRPC-1).
    async fn unary<Wire, WireReply>(
        &self,
        measure: &Measure,
        request: Request<Wire>,
    ) -> Result<Response<WireReply>, Status>
    where
        strata_types::Request: TryFrom<Wire, Error = Error>,
        WireReply: TryFrom<(Reply, Timestamp), Error = Error>,
    {
        let start = self.env.now();
        let deadline = deadline::of_request(request.metadata());
        let result = match strata_types::Request::try_from(request.into_inner()) {
            Ok(request) => {
                let answer = self.kv.call(request, deadline).await;
                // Looked at when the answer is there, so that it covers what the answer tells of.
                answer.and_then(|reply| WireReply::try_from((reply, self.kv.time())))
            }
            Err(error) => Err(error),
        };
        measure.answered(&self.env, start, result.is_err());
        result.map(Response::new).map_err(|error| status_of(&error))
    }
}

#[tonic::async_trait]
impl v1::kv_server::Kv for KvService {
    type ScanStream = Pin<Box<dyn Stream<Item = Result<v1::ScanReply, Status>> + Send>>;
    type StreamStream = kv_stream::Replies;

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetReply>, Status> {
        self.unary(&self.get, request).await
    }

    async fn put(&self, request: Request<v1::PutRequest>) -> Result<Response<v1::PutReply>, Status> {
        self.unary(&self.put, request).await
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteReply>, Status> {
        self.unary(&self.delete, request).await
    }

    async fn compare_and_set(
        &self,
        request: Request<v1::CompareAndSetRequest>,
    ) -> Result<Response<v1::CompareAndSetReply>, Status> {
        self.unary(&self.compare_and_set, request).await
    }

    async fn batch(&self, request: Request<v1::BatchRequest>) -> Result<Response<v1::BatchReply>, Status> {
        self.unary(&self.batch, request).await
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        let deadline = self.env.now() + deadline::of_scan(request.metadata());
        let request = request.into_inner();
        let header = RequestHeader::try_from(&request).map_err(|error| status_of(&error))?;
        let limit = (request.limit > 0).then_some(request.limit);
        let range = ScanRange { header, start: request.start, end: request.end, limit };
        let scan = Scan::new(self.kv.clone(), range, REQUEST_DEADLINE_DEFAULT);
        let pages = ScanPages::new(self.env.clone(), scan, deadline);
        Ok(Response::new(Box::pin(pages.into_stream())))
    }

    async fn stream(
        &self,
        request: Request<Streaming<v1::KvStreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        check_cluster(self.kv.map().cluster, request.metadata())?;
        let connection = request.extensions().get::<ConnectionRoom>().cloned().unwrap_or_default();
        let (executor, room) = (self.executor.clone(), self.streams.of_stream(connection));
        Ok(Response::new(kv_stream::serve(&self.env, executor, room, request.into_inner(), self.ending.clone())))
    }
}
